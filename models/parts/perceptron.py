"""Fully connected layers at the end of a network.

Legend: B batch, D features, T labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def perceptron(
    features: int,
    hidden: Sequence[int],
    outputs: int,
    dropout: float | Sequence[float],
    batch_norm: bool = False,
    bias: bool = False,
) -> nn.Sequential:
    """Return linear layers with [BatchNorm,] ReLU and dropout between them; the last one stands alone.

    Args:
        features: size of what comes in.
        hidden: units of the hidden layers, first to last.
        outputs: size of what comes out.
        dropout: of all hidden layers, or of each.
        batch_norm: normalise before each ReLU; the linear layer then has no bias.
        bias: keep the bias before BatchNorm all the same, where a published count has it.
    """
    rates = [dropout] * len(hidden) if isinstance(dropout, float | int) else list(dropout)
    layers: list[nn.Module] = []
    for units, rate in zip(hidden, rates, strict=True):
        layers.append(nn.Linear(features, units, bias=bias or not batch_norm))
        layers += [nn.BatchNorm1d(units)] if batch_norm else []
        layers += [nn.ReLU(), nn.Dropout(rate)]
        features = units
    return nn.Sequential(*layers, nn.Linear(features, outputs))


class PerLabel(nn.Module):
    """One small perceptron for each label.

    Args:
        features: size of what comes in.
        hidden: units of the hidden layers of each, first to last.
        labels: how many labels there are.
        dropout: of all hidden layers, or of each.
    """

    def __init__(
        self, features: int, hidden: Sequence[int], labels: int, dropout: float | Sequence[float]
    ) -> None:
        super().__init__()
        self.each = nn.ModuleList(perceptron(features, hidden, 1, dropout) for _ in range(labels))

    def forward(self, x_BD: Tensor) -> Tensor:
        """Return one number for each label, [B, T]."""
        return torch.cat([one(x_BD) for one in self.each], dim=1)
