"""RRNet: residual convolutions, a recurrent network over forty pieces, and an uncertainty with every label.

Legend: B batch, L points of one branch, C channels, S pieces, D features, T labels. Source: Xiong et al. 2022
(ApJS 261, 36), LAMOST medium-resolution spectra.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models import register_model
from models.parts.sigmas import Labels, LabelsAndSigmas


@register_model("RRNet")
class RRNet(nn.Module):
    """Residual blocks, each pooled by two, then a recurrent layer over pieces of what they saw.

    Published for 7200 points in forty pieces, trained in ensembles of six with noise added to the spectra; a
    length that the pieces do not divide is filled with zeros. The faithful layout has the published second
    head, softplus of a variance; the repaired one, the default, gives the logarithm of sigma as it is, whose
    gradient does not fade where sigma is small. 2,609,212 parameters in both at 4700 points and 4 labels.

    Takes the normalized spectrum [B, L]; gives [B, T] and the logarithm of their sigmas [B, T], for the loss
    gaussian_nll.

    Args:
        layout: repaired, or faithful, as published.
        channels: of the residual blocks, first to last.
        pieces: steps of the recurrent layer.
        hidden: units of the hidden layers, first to last.
        dropout: after the hidden layers.
        sigmas: give an uncertainty with each label.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        layout: Literal["repaired", "faithful"] = "repaired",
        channels: Sequence[int] = (4, 8, 16),
        pieces: int = 40,
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.3,
        sigmas: bool = True,
    ) -> None:
        super().__init__()
        length = points // 2 ** len(channels)
        if length < 1:
            raise ValueError(f"{points} points are too few for {len(channels)} blocks, each pooled by 2")
        blocks: list[nn.Module] = []
        width = 1
        for one in channels:
            blocks += [_Residual(width, one), nn.AvgPool1d(2)]
            width = one
        self.blocks = nn.Sequential(*blocks, nn.ReLU())
        self.pieces, self.missing = pieces, -length % pieces
        size = (length + self.missing) // pieces * width
        self.recurrent = nn.RNN(size, size, batch_first=True)
        layers: list[nn.Module] = []
        width = pieces * size
        for units in hidden:
            layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(dropout)]
            width = units
        self.hidden = nn.Sequential(*layers)
        self.last = LabelsAndSigmas(width, labels) if sigmas else nn.Linear(width, labels)
        self.variance = sigmas and layout == "faithful"

    def forward(self, normalized_BL: Tensor) -> Labels:
        """Return the scaled labels [B, T], with `sigmas` and the logarithm of their sigmas [B, T]."""
        y_BCL = self.blocks(normalized_BL[:, None, :])
        y_BLC = nn.functional.pad(y_BCL, (0, self.missing)).transpose(1, 2)
        read_BSD, _ = self.recurrent(y_BLC.reshape(len(y_BLC), self.pieces, -1))
        y: Labels = self.last(self.hidden(read_BSD.flatten(1)))
        if self.variance and isinstance(y, tuple):
            variance_BT = nn.functional.softplus(y[1])
            return y[0], 0.5 * torch.log(variance_BT + 1e-12)
        return y


class _Residual(nn.Module):
    """Two convolutions and a shortcut of one point."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv1d(in_channels, channels, 3, padding=1), nn.ReLU(),
            nn.Conv1d(channels, channels, 3, padding=1),
        )  # fmt: skip
        self.shortcut = nn.Conv1d(in_channels, channels, 1)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return as many positions as came in."""
        y_BCL: Tensor = self.path(x_BCL) + self.shortcut(x_BCL)
        return y_BCL
