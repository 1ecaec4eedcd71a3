"""Normalisations over the channels of a spectrum.

Legend: B batch, C channels, L positions along the spectrum.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Normalise every position over its channels, like nn.LayerNorm(channels) on a transposed tensor.

    Written as a formula over dim 1: a transposed tensor costs the convolution after it more than is won here.
    The statistics are taken in float32 even under autocast, where squares would lose their digits.

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
        wide_BCL = x_BCL if x_BCL.dtype == torch.float64 else x_BCL.float()
        centred_BCL = wide_BCL - wide_BCL.mean(1, keepdim=True)
        scale_B1L = torch.rsqrt(centred_BCL.square().mean(1, keepdim=True) + self.eps)
        y_BCL = centred_BCL * scale_B1L
        if self.weight is not None and self.bias is not None:
            y_BCL = torch.addcmul(self.bias[:, None], y_BCL, self.weight[:, None])
        return y_BCL.to(x_BCL.dtype)

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}, affine={self.weight is not None}"
