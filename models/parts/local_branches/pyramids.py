"""Local branches of residual pyramid blocks, whose channels grow threefold from kernel sizes.

Legend: B batch, C channels, L positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models import register_local_branch
from models.parts.blocks import ChannelGate, Parallel, conv_norm
from models.parts.norms import NormName


class PositionGate(nn.Module):
    """Weigh every channel at every position by a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(channels, channels, 1)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the weighted tensor, of the same shape."""
        return x_BCL * torch.sigmoid(self.convolution(x_BCL))


class PyramidBlock(nn.Module):
    """Parallel convolutions, a gate, a way around, ReLU: [B, C, L] to [B, channels * kernels, L].

    The convolutions have biases only where no norm follows them.
    """

    def __init__(
        self, in_channels: int, channels: int, kernels: Sequence[int], gate: nn.Module, norm: NormName
    ) -> None:
        super().__init__()
        bias, width = norm == "none", channels * len(kernels)
        wide = Parallel([conv_norm(in_channels, channels, kernel, norm, bias=bias) for kernel in kernels])
        self.body = nn.Sequential(wide, nn.ReLU(), gate)
        same = in_channels == width
        self.around = nn.Identity() if same else conv_norm(in_channels, width, 1, norm, bias=bias)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features, as many positions as came in."""
        y_BCL: Tensor = self.body(x_BCL) + self.around(x_BCL)
        return y_BCL.relu()


@register_local_branch("NormalizedSpectrumBranch")
class NormalizedSpectrumBranch(nn.Module):
    """One convolution and three pyramid blocks with channel attention, eight times shorter.

    [B, C, L] to [B, 48, L/8]; 103,884 parameters over one channel, 103,468 without norms.

    Args:
        stem: channels of the first convolution.
        channels: channels of each convolution of a block.
        kernels: points of the convolutions of a block.
        norm: normalisation after every convolution.
    """

    def __init__(
        self,
        in_channels: int,
        stem: int = 32,
        channels: Sequence[int] = (32, 32, 16),
        kernels: Sequence[int] = (3, 5, 7),
        norm: NormName = "batch",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(in_channels, stem, 7, norm, bias=norm == "none"), nn.ReLU()]
        width = stem
        for outer in channels:
            after = outer * len(kernels)
            gate = ChannelGate(after, max(1, after // 4))
            layers += [PyramidBlock(width, outer, kernels, gate, norm), nn.MaxPool1d(2)]
            width = after
        self.layers = nn.Sequential(*layers)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features."""
        y_BCL: Tensor = self.layers(x_BCL)
        return y_BCL


@register_local_branch("UpsampleMultiScaleBranch")
class UpsampleMultiScaleBranch(nn.Module):
    """Twice the points by a transposed convolution, then three pyramid blocks, each half as long.

    [B, C, L] to [B, 192, L/4]; 184,084 parameters over one channel.

    Args:
        stem: channels of the transposed convolution.
        channels: channels of each convolution of a block.
        kernels: points of the convolutions of a block.
        norm: normalisation after every convolution of the blocks.
    """

    def __init__(
        self,
        in_channels: int,
        stem: int = 16,
        channels: Sequence[int] = (16, 32, 64),
        kernels: Sequence[int] = (3, 5, 9),
        norm: NormName = "none",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ConvTranspose1d(in_channels, stem, 4, 2, 1), nn.ReLU()]
        width = stem
        for outer in channels:
            after = outer * len(kernels)
            gate = ChannelGate(after, max(1, after // 4))
            layers += [PyramidBlock(width, outer, kernels, gate, norm), nn.AvgPool1d(2)]
            width = after
        self.layers = nn.Sequential(*layers)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features."""
        y_BCL: Tensor = self.layers(x_BCL)
        return y_BCL


@register_local_branch("PyramidFeatureExtractor")
class PyramidFeatureExtractor(nn.Module):
    """One convolution and three pyramid blocks with a gate per position, averaged over the spectrum.

    [B, C, L] to [B, 192, 1]; 208,928 parameters over one channel. Nothing is shortened on the way: every
    block works on every point.

    Args:
        stem: channels of the first convolution.
        channels: channels of each convolution of a block.
        kernels: points of the convolutions of a block.
        norm: normalisation after every convolution.
    """

    def __init__(
        self,
        in_channels: int,
        stem: int = 16,
        channels: Sequence[int] = (16, 32, 64),
        kernels: Sequence[int] = (3, 5, 9),
        norm: NormName = "batch",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(in_channels, stem, 7, norm, bias=norm == "none"), nn.ReLU()]
        width = stem
        for outer in channels:
            after = outer * len(kernels)
            layers.append(PyramidBlock(width, outer, kernels, PositionGate(after), norm))
            width = after
        self.layers = nn.Sequential(*layers)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return one position."""
        y_BCL: Tensor = self.layers(x_BCL)
        return y_BCL.mean(dim=2, keepdim=True)
