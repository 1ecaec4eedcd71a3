"""Local branches of parallel convolutions, and one of plain ones.

Legend: B batch, C channels, L positions.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models import register_local_branch
from models.parts.attention import SqueezeExcite
from models.parts.blocks import ChannelGate, Parallel, conv_norm, shares
from models.parts.global_branches.frequency import pyramid
from models.parts.norms import NormName, norm_of


@register_local_branch("InceptionBranch")
class InceptionBranch(nn.Module):
    """Blocks of convolutions of several widths, with channel attention at the end; two times shorter.

    [B, C, L] to [B, 128, L/2]; 176,000 parameters over 64 channels, 165,696 over 32.

    Args:
        channels: channels of each block, which its convolutions share.
        kernels: points of the convolutions of each block.
        strides: by how much each block is shorter.
        reduction: how much narrower the bottleneck of the channel attention is.
        norm: normalisation after each block.
        dropout: share of the features that a training step switches off.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int] = (64, 128, 128),
        kernels: Sequence[Sequence[int]] = ((3, 5, 7), (3, 5), (3, 5, 7)),
        strides: Sequence[int] = (1, 2, 1),
        reduction: int = 16,
        norm: NormName = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = in_channels
        for outer, sizes, stride in zip(channels, kernels, strides, strict=True):
            paths = [
                nn.Conv1d(width, share, kernel, stride, kernel // 2)
                for share, kernel in zip(shares(outer, len(sizes)), sizes, strict=True)
            ]
            layers += [Parallel(paths), conv_norm(outer, outer, 1, norm), nn.ReLU(), nn.Dropout(dropout)]
            width = outer
        self.layers = nn.Sequential(*layers, SqueezeExcite(width, reduction))

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features."""
        y_BCL: Tensor = self.layers(x_BCL)
        return y_BCL


@register_local_branch("ConvBranch")
class ConvBranch(nn.Module):
    """Three plain convolutions; two times shorter.

    [B, C, L] to [B, 64, L/2].

    Args:
        channels: channels of each convolution.
        kernels: points of each convolution.
        strides: by how much each convolution shortens.
        norm: normalisation after every convolution.
        dropout: share of the features that a training step switches off.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int] = (64, 64, 64),
        kernels: Sequence[int] = (3, 5, 3),
        strides: Sequence[int] = (1, 1, 2),
        norm: NormName = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = in_channels
        for outer, kernel, stride in zip(channels, kernels, strides, strict=True):
            layers += [conv_norm(width, outer, kernel, norm, stride=stride), nn.ReLU(), nn.Dropout(dropout)]
            width = outer
        self.layers = nn.Sequential(*layers)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features."""
        y_BCL: Tensor = self.layers(x_BCL)
        return y_BCL


@register_local_branch("MultiScalePyramidBranch")
class MultiScalePyramidBranch(nn.Module):
    """Layers of parallel convolutions with channel attention, each half as long as the one before.

    [B, C, L] to [B, 16, L/16]; 92,864 parameters over one channel, 92,576 without norms.

    Args:
        channels: channels of each layer.
        kernels: points of the convolutions of a layer.
        norm: normalisation after every layer.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int] = (32, 64, 32, 16),
        kernels: Sequence[int] = (3, 5, 7),
        norm: NormName = "batch",
    ) -> None:
        super().__init__()
        self.layers = pyramid(in_channels, channels, kernels, norm)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features."""
        y_BCL: Tensor = self.layers(x_BCL)
        return y_BCL


@register_local_branch("MultiScaleConvBranch")
class MultiScaleConvBranch(nn.Module):
    """Two residual layers of parallel convolutions that keep every position.

    [B, C, L] to [B, 32, L]; 12,624 parameters over one channel.

    Args:
        channels: channels of each layer and of each of its convolutions.
        kernels: points of the convolutions of a layer.
        norm: normalisation after every layer.
        dropout: share of the features that a training step switches off.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int] = (16, 32),
        kernels: Sequence[int] = (3, 5, 7),
        norm: NormName = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        widths = [in_channels, *channels]
        self.layers = nn.Sequential(
            *[
                _ResidualPaths(before, after, kernels, norm, dropout)
                for before, after in zip(widths, channels, strict=False)
            ]
        )

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features, as many positions as came in."""
        y_BCL: Tensor = self.layers(x_BCL)
        return y_BCL


class _ResidualPaths(nn.Module):
    def __init__(
        self, in_channels: int, channels: int, kernels: Sequence[int], norm: NormName, dropout: float
    ) -> None:
        super().__init__()
        wide = Parallel([nn.Conv1d(in_channels, channels, kernel, padding="same") for kernel in kernels])
        narrow = nn.Conv1d(channels * len(kernels), channels, 1)
        self.body = nn.Sequential(wide, nn.ReLU(), nn.Dropout(dropout), narrow)
        self.around = nn.Conv1d(in_channels, channels, 1)
        self.norm = norm_of(norm, channels)

    def forward(self, x_BCL: Tensor) -> Tensor:
        y_BCL: Tensor = self.norm(self.body(x_BCL) + self.around(x_BCL))
        return y_BCL


@register_local_branch("AbsorptionBranch")
class AbsorptionBranch(nn.Module):
    """Residual blocks of parallel convolutions with channel attention, averaged over the spectrum.

    [B, C, L] to [B, 64, 1]; 51,468 parameters over one channel.

    Args:
        channels: channels of each block and of each of its convolutions.
        kernels: points of the convolutions of a block.
        norm: normalisation after every convolution.
        dropout: share of the features that a training step switches off.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int] = (32, 64),
        kernels: Sequence[int] = (3, 5, 7),
        norm: NormName = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = in_channels
        for outer in channels:
            layers += [_AbsorptionBlock(width, outer, kernels, norm, dropout), nn.AvgPool1d(2)]
            width = outer
        self.layers = nn.Sequential(*layers)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return one position."""
        y_BCL: Tensor = self.layers(x_BCL)
        return y_BCL.mean(dim=2, keepdim=True)


class _AbsorptionBlock(nn.Module):
    def __init__(
        self, in_channels: int, channels: int, kernels: Sequence[int], norm: NormName, dropout: float
    ) -> None:
        super().__init__()
        wide = Parallel([conv_norm(in_channels, channels, kernel, norm) for kernel in kernels])
        self.body = nn.Sequential(
            wide,
            nn.ReLU(),
            conv_norm(channels * len(kernels), channels, 1, norm),
            nn.ReLU(),
            nn.Dropout(dropout),
            ChannelGate(channels, max(1, channels // 8)),
        )
        self.around = conv_norm(in_channels, channels, 1, norm)

    def forward(self, x_BCL: Tensor) -> Tensor:
        y_BCL: Tensor = self.body(x_BCL) + self.around(x_BCL)
        return y_BCL.relu()
