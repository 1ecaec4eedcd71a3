"""Layers that read a sequence, and what is left of them when the sequence is one step long.

Legend: B batch, S steps, D features, H hidden units.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Read = Literal["ends", "last", "steps"]


class Reader(nn.Module):
    """A bidirectional LSTM, and what is taken from it.

    `ends`: each direction where it has read everything (the last step forwards, the first one backwards).
    `last`: both directions at the last step, where the backward one has read a single step; its recurrent
    matrix in the last layer then never learns. `steps`: every step.

    Args:
        features: size of each step.
        hidden: units per direction.
        layers: LSTMs on top of each other.
        dropout: between them.
        read: what is taken.
    """

    def __init__(self, features: int, hidden: int, layers: int, dropout: float, read: Read = "ends") -> None:
        super().__init__()
        self.hidden, self.read = hidden, read
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(features, hidden, layers, batch_first=True, bidirectional=True, dropout=between)

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Return [B, 2H], or with `steps` [B, S, 2H]."""
        y_BSD: Tensor = self.lstm(x_BSD)[0]
        if self.read == "steps":
            return y_BSD
        if self.read == "last":
            return y_BSD[:, -1]
        return torch.cat((y_BSD[:, -1, : self.hidden], y_BSD[:, 0, self.hidden :]), dim=1)

    @property
    def dead(self) -> str:
        """Name what never learns, relative to this module; empty when everything does."""
        return f"lstm.weight_hh_l{self.lstm.num_layers - 1}_reverse" if self.read == "last" else ""


class OneStep(nn.Module):
    """What a bidirectional LSTM computes on a sequence of one step, without what it cannot use there.

    With one step and no past, h = sigmoid(o) tanh(sigmoid(i) tanh(g)): no recurrent matrix, no forget gate,
    one bias for two.

    Args:
        features: size of what comes in.
        hidden: units per direction.
        layers: how many on top of each other.
        dropout: between them.
    """

    def __init__(self, features: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        widths = [features] + [2 * hidden] * (layers - 1)
        self.layers = nn.ModuleList(nn.Linear(width, 6 * hidden) for width in widths)
        self.dropout = nn.Dropout(dropout)
        for layer in self.layers:
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5)  # as an LSTM begins

    def forward(self, x_BD: Tensor) -> Tensor:
        """Return [B, 2H]."""
        for number, layer in enumerate(self.layers):
            gate_i, gate_g, gate_o = layer(self.dropout(x_BD) if number else x_BD).chunk(3, dim=1)
            x_BD = gate_o.sigmoid() * (gate_i.sigmoid() * gate_g.tanh()).tanh()
        return x_BD
