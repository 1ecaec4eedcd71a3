"""Convolutions of several widths side by side, with a gate and a shortcut: the block of the pyramid networks.

Legend: B batch, C channels, L positions along the spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Pyramid(nn.Module):
    """One path of convolutions per kernel size, joined, gated, and added to what came in.

    Args:
        in_channels: channels of what comes in.
        channels: channels of each path.
        kernels: points that the convolutions of each path see.
        gate: what weighs the joined channels; None for no gate.
        depth: convolutions in each path.
        batch_norm: normalise after every convolution, which then has no bias.
        last_relu: cut off what is negative after the sum.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernels: Sequence[int],
        gate: nn.Module | None = None,
        depth: int = 1,
        batch_norm: bool = False,
        last_relu: bool = False,
    ) -> None:
        super().__init__()
        self.channels = channels * len(kernels)
        self.paths = nn.ModuleList()
        for kernel in kernels:
            layers, width = [], in_channels
            for _ in range(depth):
                layers += [*convolution(width, channels, kernel, batch_norm), nn.ReLU()]
                width = channels
            self.paths.append(nn.Sequential(*layers))
        self.gate = gate or nn.Identity()
        same = in_channels == self.channels
        self.shortcut = nn.Sequential(
            *([] if same else convolution(in_channels, self.channels, 1, batch_norm))
        )
        self.last = nn.ReLU() if last_relu else nn.Identity()

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return as many positions as came in."""
        joined_BCL = torch.cat([path(x_BCL) for path in self.paths], dim=1)
        y_BCL: Tensor = self.last(self.gate(joined_BCL) + self.shortcut(x_BCL))
        return y_BCL


def convolution(
    in_channels: int, channels: int, kernel: int, batch_norm: bool, bias: bool = False, stride: int = 1
) -> list[nn.Module]:
    """Return a convolution that keeps the length, with BatchNorm if asked.

    A bias before BatchNorm is taken away again with the mean; `bias` keeps it where a published count has it.
    """
    layer = nn.Conv1d(in_channels, channels, kernel, stride, kernel // 2, bias=bias or not batch_norm)
    return [layer, nn.BatchNorm1d(channels)] if batch_norm else [layer]
