"""Global branches in which every position may look at every other.

Legend: B batch, C channels, L positions, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import register_global_branch
from models.parts.blocks import conv_norm, encoder, sinusoid
from models.parts.norms import NormName


@register_global_branch("GlobalBranch")
class GlobalBranch(nn.Module):
    """Attention over the positions of a backbone, then convolutions; two times shorter.

    [B, C, L] to [B, 64, L/2]; 66,560 parameters over 64 channels, 52,032 over 32. Over more positions than
    `key_positions` the attention looks at means of stretches: time and memory grow with the length and not
    with its square.

    Args:
        channels: channels of the convolutions.
        kernels: points of each convolution; the last halves the length.
        heads: heads of the attention; their number must divide the channels that come in.
        key_positions: how many positions, or means of stretches, each position looks at.
        positions: learn a vector per position, so that the attention knows where it is.
        norm: normalisation after every convolution.
        dropout: share of the features that a training step switches off.
    """

    def __init__(
        self,
        in_channels: int,
        in_length: int,
        channels: int = 64,
        kernels: Sequence[int] = (3, 5, 3),
        heads: int = 8,
        key_positions: int = 600,
        positions: bool = False,
        norm: NormName = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.positions_LD = nn.Parameter(torch.randn(in_length, in_channels) * 0.02) if positions else None
        if in_channels % heads:
            raise ValueError(f"{heads} heads do not divide the {in_channels} channels that come in")
        self.attention = nn.MultiheadAttention(in_channels, heads, batch_first=True)
        self.norm = nn.LayerNorm(in_channels)
        self.linear = nn.Linear(in_channels, channels)
        last = len(kernels) - 1
        self.convolutions = nn.ModuleList(
            nn.Sequential(
                conv_norm(channels, channels, kernel, norm, stride=2 if number == last else 1),
                nn.ReLU(),
                nn.Dropout(dropout),
            )
            for number, kernel in enumerate(kernels)
        )
        self.key_positions = key_positions

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return [B, channels, L/2]."""
        x_BLC = x_BCL.transpose(1, 2)
        if self.positions_LD is not None:
            x_BLC = x_BLC + self.positions_LD
        keys_BKC = x_BLC
        if x_BLC.shape[1] > self.key_positions:
            keys_BKC = functional.adaptive_avg_pool1d(x_BLC.transpose(1, 2), self.key_positions).transpose(
                1, 2
            )
        seen_BLC, _ = self.attention(x_BLC, keys_BKC, keys_BKC, need_weights=False)
        y_BCL = self.linear(self.norm(x_BLC + seen_BLC)).transpose(1, 2)
        for convolution in self.convolutions:
            after_BCL = convolution(y_BCL)
            y_BCL = after_BCL + y_BCL if after_BCL.shape == y_BCL.shape else after_BCL
        return y_BCL


@register_global_branch("GlobalAttentionBranch")
class GlobalAttentionBranch(nn.Module):
    """Transformer layers over overlapping patches of the spectrum, each a token as it is.

    [B, C, L] to [B, 8C, L/4]; 5,008 parameters over one channel.

    Args:
        patch: points of a patch; times the channels that come in, the width of the Transformer.
        step: points from one patch to the next.
        heads: heads of the attention.
        hidden: units between the two linear layers of a Transformer layer.
        layers: Transformer layers.
        dropout: share of the features that a training step switches off.
    """

    def __init__(
        self,
        in_channels: int,
        patch: int = 8,
        step: int = 4,
        heads: int = 4,
        hidden: int = 128,
        layers: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.patch, self.step = patch, step
        self.encoder = encoder(patch * in_channels, heads, hidden, layers, dropout)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return one position per patch."""
        length = x_BCL.shape[2]
        missing = max(0, self.patch - length) or -(length - self.patch) % self.step
        padded_BCL = functional.pad(x_BCL, (0, missing))
        patches_BLD = padded_BCL.unfold(2, self.patch, self.step).transpose(1, 2).flatten(2)
        y_BLD: Tensor = self.encoder(patches_BLD)
        return y_BLD.transpose(1, 2)


@register_global_branch("CnnTransformerBranch")
class CnnTransformerBranch(nn.Module):
    """Two convolutions that shorten four times, then Transformer layers.

    [B, C, L] to [B, 64, L/4]; 110,848 parameters over one channel.

    Args:
        channels: channels of the convolutions.
        kernels: points of each convolution.
        width: width of the Transformer.
        heads: heads of the attention.
        hidden: units between the two linear layers of a Transformer layer.
        layers: Transformer layers.
        norm: normalisation after every convolution.
        dropout: share of the features that a training step switches off.
    """

    positions_LD: Tensor

    def __init__(
        self,
        in_channels: int,
        in_length: int,
        channels: Sequence[int] = (32, 64),
        kernels: Sequence[int] = (5, 3),
        width: int = 64,
        heads: int = 8,
        hidden: int = 256,
        layers: int = 2,
        norm: NormName = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        convolutions: list[nn.Module] = []
        before, length = in_channels, in_length
        for outer, kernel in zip(channels, kernels, strict=True):
            convolutions += [conv_norm(before, outer, kernel, norm, stride=2), nn.ReLU(), nn.Dropout(dropout)]
            before, length = outer, (length + 2 * (kernel // 2) - kernel) // 2 + 1
        self.convolutions = nn.Sequential(*convolutions)
        self.linear = nn.Linear(before, width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.encoder = encoder(width, heads, hidden, layers, dropout)
        self.register_buffer("positions_LD", 0.1 * sinusoid(length, width, 1000.0), persistent=False)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features, four times fewer positions."""
        tokens_BLD = self.linear(self.convolutions(x_BCL).transpose(1, 2))
        placed_BLD = (tokens_BLD + self.positions_LD).clamp(-10, 10)
        y_BLD: Tensor = self.encoder(self.norm(placed_BLD))
        return y_BLD.transpose(1, 2)
