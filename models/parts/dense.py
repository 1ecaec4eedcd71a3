"""Fully connected layers at the end of a network.

Where nothing is normalised and one dropout is enough, blocks.perceptron is shorter.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def dense(
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
