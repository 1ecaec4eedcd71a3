"""Heads that read the positions, or give the labels, one after the other.

Legend: B batch, C channels, L positions, D features, T labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models import register_head
from models.parts.blocks import Adjuster, PerLabel, perceptron


def both_ends(read_BLD: Tensor) -> Tensor:
    """Return what each direction of a bidirectional layer says at the end of its way, [B, D].

    At the last position the backward direction has seen that position and no other.
    """
    half = read_BLD.shape[2] // 2
    return torch.cat((read_BLD[:, -1, :half], read_BLD[:, 0, half:]), dim=1)


@register_head("LstmFfnHead")
class LstmFfnHead(nn.Module):
    """A bidirectional LSTM over the positions, then layers for each label; 83,972 over 64 channels.

    As published it took the last position, where the backward direction has seen one step; here each
    direction is taken at the end of its way.

    Args:
        units: units per direction.
        layers: layers of the LSTM.
        hidden: units of the hidden layers of each label.
        dropout: share of the units that a training step switches off.
    """

    def __init__(
        self,
        in_channels: int,
        labels: int,
        units: int = 32,
        layers: int = 2,
        hidden: Sequence[int] = (128,),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.lstm = _lstm(in_channels, units, layers, dropout)
        self.labels = PerLabel(labels, [2 * units, *hidden], dropout)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        read_BLD, _ = self.lstm(x_BCL.transpose(1, 2))
        y_BT: Tensor = self.labels(both_ends(read_BLD))
        return y_BT


@register_head("LSTMHead")
class LSTMHead(nn.Module):
    """A wide bidirectional LSTM and deep layers of its own for each label; 824,324 over 128 channels.

    As LstmFfnHead it takes each direction at the end of its way and not at the last position.

    Args:
        units: units per direction.
        layers: layers of the LSTM.
        hidden: units of the hidden layers of each label.
        dropout: share of the units that a training step switches off.
    """

    def __init__(
        self,
        in_channels: int,
        labels: int,
        units: int = 128,
        layers: int = 2,
        hidden: Sequence[int] = (128, 64),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.lstm = _lstm(in_channels, units, layers, dropout)
        self.labels = PerLabel(labels, [2 * units, *hidden], dropout)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        read_BLD, _ = self.lstm(x_BCL.transpose(1, 2))
        y_BT: Tensor = self.labels(both_ends(read_BLD))
        return y_BT


@register_head("LstmFfnHead_old")
class LstmFfnHeadOld(nn.Module):
    """Few channels and positions, a wide LSTM, layers for all labels; 664,484 over 128 channels.

    Args:
        channels: channels that the input is brought to.
        length: positions that the input is brought to.
        units: units per direction.
        layers: layers of the LSTM.
        hidden: units of the hidden layers.
        dropout: share of the units that a training step switches off.
    """

    def __init__(
        self,
        in_channels: int,
        labels: int,
        channels: int = 32,
        length: int = 128,
        units: int = 128,
        layers: int = 2,
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.adjuster = Adjuster(in_channels, channels, length)
        self.lstm = _lstm(channels, units, layers, dropout)
        self.layers = perceptron([2 * units, *hidden, labels], dropout)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        read_BLD, _ = self.lstm(self.adjuster(x_BCL).transpose(1, 2))
        y_BT: Tensor = self.layers(both_ends(read_BLD))
        return y_BT


@register_head("DecoderHead")
class DecoderHead(nn.Module):
    """A GRU that gives one label after the other, each from what it said before.

    It starts from the mean over the positions and a learned token. 823,297 parameters over 64 channels,
    856,065 over 128, whatever the number of labels.

    Args:
        units: units of the GRU.
        layers: layers of the GRU.
        dropout: share of the units that a training step switches off between the layers.
    """

    def __init__(
        self, in_channels: int, labels: int, units: int = 256, layers: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.steps, self.layers = labels, layers
        self.state = nn.Linear(in_channels, units * layers)
        self.start = nn.Parameter(torch.randn(units) * 0.02)
        self.gru = nn.GRU(units, units, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.out = nn.Linear(units, 1)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        batch = x_BCL.shape[0]
        state_NBD = self.state(x_BCL.mean(dim=2)).reshape(batch, self.layers, -1).transpose(0, 1).contiguous()
        said_B1D = self.start.expand(batch, 1, -1)
        outputs = []
        for _ in range(self.steps):
            said_B1D, state_NBD = self.gru(said_B1D, state_NBD)
            outputs.append(self.out(said_B1D[:, 0]))
        return torch.cat(outputs, dim=1)


def _lstm(width: int, units: int, layers: int, dropout: float) -> nn.LSTM:
    return nn.LSTM(
        width, units, layers, batch_first=True, bidirectional=True, dropout=dropout if layers > 1 else 0.0
    )
