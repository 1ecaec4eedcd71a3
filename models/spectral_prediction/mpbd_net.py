"""MPBDNet: blocks of two paths and a shortcut, pooled, then an LSTM in both directions.

Legend: B batch, L points of one branch, C channels, S steps, D features, T labels. Source: MPBDNet by Z. Fang
(2024, LAMOST low-resolution spectra) in the form of the framework that the older confs come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models import register_model
from models.parts.dead import biases_before_norm
from models.parts.dense import dense
from models.parts.pyramid import convolution
from models.parts.recurrent import Reader
from models.parts.sigmas import Labels, LabelsAndSigmas


@register_model("MPBDNet")
class MPBDNet(nn.Module):
    """Multi-path blocks, each pooled by three, then a bidirectional LSTM whose every step goes to the head.

    The faithful layout (12,055,476 parameters at 4700 points and 4 labels) sees the continuum alone: its
    code took the first half of its input, and the lines never reached it. The repaired one, the default,
    reads both spectra as two channels and has no biases before BatchNorm, which get no gradient:
    12,055,236.

    Takes continuum and normalized spectrum, [B, L] each; gives [B, T].

    Args:
        layout: repaired, with both spectra, or faithful, with the continuum alone.
        channels: of the blocks, first to last.
        batch_norm: normalise after every convolution and hidden layer.
        lstm_hidden: units per direction.
        lstm_layers: LSTMs on top of each other.
        hidden: units of the hidden layers, first to last.
        dropout: between the LSTMs and after the hidden layers.
        sigmas: give an uncertainty with each label, for the loss gaussian_nll.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        layout: Literal["repaired", "faithful"] = "repaired",
        channels: Sequence[int] = (16, 32, 64),
        batch_norm: bool = True,
        lstm_hidden: int = 128,
        lstm_layers: int = 2,
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.1,
        sigmas: bool = False,
    ) -> None:
        super().__init__()
        self.both = layout == "repaired"
        steps = points // 3 ** len(channels)
        if steps < 1:
            raise ValueError(f"{points} points are too few for {len(channels)} blocks, each pooled by 3")
        layers: list[nn.Module] = []
        width = 2 if self.both else 1
        for one in channels:
            layers += [_Block(width, one, batch_norm), nn.AvgPool1d(3)]
            width = one
        self.blocks = nn.Sequential(*layers)
        self.reader = Reader(width, lstm_hidden, lstm_layers, dropout, read="steps")
        flat = steps * 2 * lstm_hidden
        self.head = dense(flat, hidden, labels, dropout, batch_norm, bias=not self.both)
        if sigmas:
            self.head[-1] = LabelsAndSigmas([flat, *hidden][-1], labels)
        self.dead = biases_before_norm(self)
        self.apply(_he_normal)

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Labels:
        """Return the scaled labels [B, T], with `sigmas` and the logarithm of their sigmas [B, T]."""
        seen = (continuum_BL, normalized_BL) if self.both else (continuum_BL,)
        y_BCL = self.blocks(torch.stack(seen, dim=1))
        y_BT: Labels = self.head(self.reader(y_BCL.transpose(1, 2)).flatten(1))
        return y_BT


class _Block(nn.Module):
    """Convolutions of 3 and of 5 points side by side, summed with a shortcut."""

    def __init__(self, in_channels: int, channels: int, batch_norm: bool) -> None:
        super().__init__()
        self.narrow = nn.Sequential(*convolution(in_channels, channels, 3, batch_norm), nn.ReLU())
        self.wide = nn.Sequential(*convolution(in_channels, channels, 5, batch_norm), nn.ReLU())
        same = in_channels == channels
        self.shortcut = nn.Sequential(*([] if same else convolution(in_channels, channels, 1, batch_norm)))

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return as many positions as came in."""
        y_BCL: Tensor = self.narrow(x_BCL) + self.wide(x_BCL) + self.shortcut(x_BCL)
        return y_BCL


def _he_normal(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear):
        mode: Literal["fan_out", "fan_in"] = "fan_out" if isinstance(module, nn.Conv1d) else "fan_in"
        nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
