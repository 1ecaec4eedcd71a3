"""LargeKernelConvNet: one very wide convolution over the continuum, a pyramid over the doubled lines.

Legend: B batch, L points of one branch, C channels, S steps, D features, T labels. Source: the framework that
the older confs come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models import register_model
from models.parts.blocks import ChannelGate, PerLabel
from models.parts.pyramid import Pyramid
from models.parts.recurrent import Reader

KERNELS = (3, 5, 9)


@register_model("LargeKernelConvNet")
class LargeKernelConvNet(nn.Module):
    """A convolution of 128 points gives one vector of the continuum, an LSTM reads it with every line.

    The normalized spectrum is doubled in length before its pyramid of convolutions, and halved after each
    block: the LSTM reads L/4 steps, which takes most of the time. As published (`layout: faithful`) it is
    read at its last step, where the backward direction has seen one step only and its last recurrent matrix
    gets no gradient; the repaired layout, the default, reads each direction at its end. 3,122,072
    parameters in both, 2,978,584 with the lines alone, with 4 labels and whatever the number of points.

    Takes continuum and normalized spectrum, [B, L] each; gives [B, T].

    Args:
        layout: repaired, or faithful, as published.
        spectra: both, or the lines alone.
        kernel: points that the convolution over the continuum sees.
        channels: of each path of the pyramid, by block.
        lstm_hidden: units per direction.
        lstm_layers: LSTMs on top of each other.
        lstm_dropout: between them.
        hidden: units of the last hidden layers of each label, first to last.
        dropout: after these.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        layout: Literal["repaired", "faithful"] = "repaired",
        spectra: Literal["both", "lines"] = "both",
        kernel: int = 128,
        channels: Sequence[int] = (16, 32, 64),
        lstm_hidden: int = 256,
        lstm_layers: int = 2,
        lstm_dropout: float = 0.3,
        hidden: Sequence[int] = (128, 64),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        seen = 64 if spectra == "both" else 0
        self.continuum: nn.Sequential | None = None
        if seen:
            wide = nn.Conv1d(1, seen, kernel, 16, padding=(kernel - 1) // 2)
            last = nn.Linear(seen, seen)
            self.continuum = nn.Sequential(wide, nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), last)
        layers: list[nn.Module] = [nn.ConvTranspose1d(1, channels[0], 4, 2, 1), nn.ReLU()]
        width = channels[0]
        for one in channels:
            joined = one * len(KERNELS)
            layers.append(Pyramid(width, one, KERNELS, ChannelGate(joined, joined // 4)))
            layers.append(nn.AvgPool1d(2))
            width = joined
        self.lines = nn.Sequential(*layers)
        read: Literal["last", "ends"] = "last" if layout == "faithful" else "ends"
        self.reader = Reader(width + seen, lstm_hidden, lstm_layers, lstm_dropout, read)
        self.head = PerLabel(labels, (2 * lstm_hidden, *hidden), dropout)
        self.dead = (f"reader.{self.reader.dead}",) if self.reader.dead else ()

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        joined_BCS = self.lines(normalized_BL[:, None, :])
        if self.continuum is not None:
            vector_BD = self.continuum(continuum_BL[:, None, :])
            spread_BDS = vector_BD[:, :, None].expand(-1, -1, joined_BCS.shape[2])
            joined_BCS = torch.cat((joined_BCS, spread_BDS), dim=1)
        y_BT: Tensor = self.head(self.reader(joined_BCS.transpose(1, 2)))
        return y_BT
