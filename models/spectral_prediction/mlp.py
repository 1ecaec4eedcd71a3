"""MLP: fully connected layers, the baseline that every other network should beat.

Legend: B batch, L points of one branch, T labels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models import register_model
from models.parts.sigmas import Labels, LabelsAndSigmas


@register_model("MLP")
class MLP(nn.Module):
    """Fully connected layers over both spectra, with ReLU and dropout between them.

    Takes continuum and normalized spectrum one after the other [B, 2L]; gives [B, T]. 2,440,068 parameters at
    4700 points and 4 labels; the older framework's wide form, hidden [2048, 1024, 512, 256], has 22,008,580.

    Args:
        hidden: units of the hidden layers, first to last.
        dropout: share of the hidden units that a training step switches off.
        sigmas: give an uncertainty with each label, for the loss gaussian_nll.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.1,
        sigmas: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 2 * points
        for units in hidden:
            layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(dropout)]
            width = units
        last = LabelsAndSigmas(width, labels) if sigmas else nn.Linear(width, labels)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, concatenated_BD: Tensor) -> Labels:
        """Return the scaled labels [B, T], with `sigmas` and the logarithm of their sigmas [B, T]."""
        y_BT: Labels = self.layers(concatenated_BD)
        return y_BT
