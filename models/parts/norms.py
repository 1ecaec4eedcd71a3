"""Normalisations over the channels of a spectrum, by name: what a part's `norm` field chooses from.

Legend: B batch, C channels, L positions along the spectrum.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models import register_norm, registry

NormName = str
"""Annotates the field of a part or network that takes the name of a norm; the conf check knows it."""


def norm_of(name: NormName, channels: int) -> nn.Module:
    """Return the normalisation registered under a name, for so many channels."""
    return registry.get(name, "norm")(channels)


@register_norm("batch")
class BatchNorm(nn.BatchNorm1d):
    """Over the batch and the positions (Ioffe & Szegedy 2015); keeps statistics for evaluation."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)


@register_norm("group")
class GroupNorm(nn.GroupNorm):
    """Over groups of channels and all positions of one star (Wu & He 2018); knows no batch."""

    def __init__(self, channels: int) -> None:
        super().__init__(math.gcd(8, channels), channels)


@register_norm("none")
class NoNorm(nn.Identity):
    """Leave everything as it is."""

    def __init__(self, channels: int) -> None:
        super().__init__()


@register_norm("layer")
class ChannelNorm(nn.Module):
    """Normalise every position over its channels, like nn.LayerNorm(channels) on a transposed tensor.

    [B, C, L] is written as a formula over dim 1: a transposed tensor costs the convolution after it more than
    is won here. [B, C, 1, L] in channels-last memory has its channels side by side, where torch's own norm is
    one pass. The statistics are taken in float32 even under autocast, where squares would lose their digits.

    Args:
        channels: size of dim 1.
        eps: added to the variance.
        affine: learn a scale and a shift per channel.
    """

    def __init__(self, channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the normalised tensor in the precision of the input."""
        if x_BCL.dim() == 4:
            last_B1LC = x_BCL.permute(0, 2, 3, 1)
            y_B1LC = nn.functional.layer_norm(last_B1LC, (self.channels,), self.weight, self.bias, self.eps)
            return y_B1LC.permute(0, 3, 1, 2).to(x_BCL.dtype)
        wide_BCL = x_BCL if x_BCL.dtype == torch.float64 else x_BCL.float()
        centred_BCL = wide_BCL - wide_BCL.mean(1, keepdim=True)
        scale_B1L = torch.rsqrt(centred_BCL.square().mean(1, keepdim=True) + self.eps)
        y_BCL = centred_BCL * scale_B1L
        if self.weight is not None and self.bias is not None:
            y_BCL = torch.addcmul(self.bias[:, None], y_BCL, self.weight[:, None])
        return y_BCL.to(x_BCL.dtype)

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}, affine={self.weight is not None}"
