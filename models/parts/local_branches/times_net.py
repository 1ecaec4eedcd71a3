"""A local branch that folds the spectrum at its strongest periods and looks at it as pictures.

Legend: B batch, C channels, L positions, F frequencies, K periods, P points of a period, R rows of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import register_local_branch
from models.parts.blocks import standardised
from models.parts.norms import ChannelNorm


class WideKernels(nn.Module):
    """The mean of square convolutions of several sizes, which is one convolution of the largest.

    Each kernel is laid into the middle of the largest and they are added up: the same numbers as one after
    the other, at less than half the work.
    """

    def __init__(self, channels: int, width: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.empty(width, channels, size, size) for size in kernels)
        self.biases = nn.ParameterList(torch.zeros(width) for _ in kernels)
        for weight in self.weights:
            nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
        self.largest = max(kernels)

    def forward(self, x_BCRP: Tensor) -> Tensor:
        """Return as many rows and columns as came in."""
        laid = [functional.pad(one, ((self.largest - one.shape[-1]) // 2,) * 4) for one in self.weights]
        weight = torch.stack(laid).mean(dim=0)
        bias = torch.stack(list(self.biases)).mean(dim=0)
        return functional.conv2d(x_BCRP, weight, bias, padding=self.largest // 2)


@register_local_branch("TimesNetBranch")
class TimesNetBranch(nn.Module):
    """Foldings at the strongest periods through wide 2-D convolutions (TimesNet, Wu et al. 2023).

    Every star is brought to mean 0 and deviation 1 first. [B, C, L] to [B, 64, L]; 4,687,616 parameters over
    one channel. Costly: five foldings of 11 x 11 convolutions over every point, twice.

    As published the periods are those of the mean of a batch, so that what a star gets depends on who is
    beside it; here they are those of a running mean over training, kept with the weights. The published
    writing also leaves out the way around each block, which the original network has and this one too.

    Args:
        channels: channels of everything.
        hidden: channels between the two convolutions of a block.
        kernels: sizes of the square convolutions, odd numbers.
        blocks: how many blocks there are.
        periods: how many of the strongest periods each block folds at.
        around: add what came into a block to what it gives.
        dropout: share of the features that a training step switches off.
    """

    def __init__(
        self,
        in_channels: int,
        in_length: int,
        channels: int = 64,
        hidden: int = 64,
        kernels: Sequence[int] = (1, 3, 5, 7, 9, 11),
        blocks: int = 2,
        periods: int = 5,
        around: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.embedding = nn.Sequential(nn.Conv1d(in_channels, channels, 1), nn.Dropout(dropout))
        self.blocks = nn.ModuleList(
            _TimesBlock(in_length, channels, hidden, kernels, periods, around) for _ in range(blocks)
        )
        self.norm = ChannelNorm(channels)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features, as many positions as came in."""
        y_BCL: Tensor = self.embedding(standardised(x_BCL))
        for block in self.blocks:
            y_BCL = self.norm(block(y_BCL))
        return y_BCL


class _TimesBlock(nn.Module):
    amplitudes_F: Tensor

    def __init__(
        self, length: int, channels: int, hidden: int, kernels: Sequence[int], periods: int, around: bool
    ) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            WideKernels(channels, hidden, kernels), nn.GELU(), WideKernels(hidden, channels, kernels)
        )
        frequencies = length // 2 + 1
        self.periods, self.around = min(periods, frequencies - 1), around
        # Before anything was seen the long periods lead, as they do in spectra.
        self.register_buffer("amplitudes_F", 1.0 / torch.arange(1, frequencies + 1))

    def forward(self, x_BCL: Tensor) -> Tensor:
        length = x_BCL.shape[2]
        with torch.autocast(x_BCL.device.type, enabled=False):
            wide_BCL = x_BCL if x_BCL.dtype == torch.float64 else x_BCL.float()
            amplitude_BF = torch.fft.rfft(wide_BCL, norm="ortho").abs().mean(dim=1)
        if self.training:
            seen_F = amplitude_BF.detach().mean(dim=0).to(self.amplitudes_F.dtype)
            self.amplitudes_F.lerp_(seen_F, 0.1)
        strongest_K = self.amplitudes_F[1:].topk(self.periods).indices + 1
        share_BK = amplitude_BF[:, strongest_K].softmax(dim=1)
        y_BCL = x_BCL if self.around else torch.zeros_like(x_BCL)
        for place, frequency in enumerate(strongest_K.tolist()):
            period = math.ceil(length / frequency)
            folded_BCRP = functional.pad(x_BCL, (0, -length % period)).unflatten(2, (-1, period))
            seen_BCL = self.convolutions(folded_BCRP).flatten(2)[..., :length]
            y_BCL = y_BCL + seen_BCL * share_BK[:, place, None, None]
        return y_BCL
