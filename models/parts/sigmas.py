"""A last layer that says how sure it is.

Legend: B batch, D features, T labels.
"""

from __future__ import annotations

from torch import Tensor, nn

Labels = Tensor | tuple[Tensor, Tensor]


class LabelsAndSigmas(nn.Module):
    """Two linear layers side by side: the labels, and the natural logarithm of their sigmas.

    Args:
        features: size of what comes in.
        labels: how many labels there are.
    """

    def __init__(self, features: int, labels: int) -> None:
        super().__init__()
        self.labels = nn.Linear(features, labels)
        self.log_sigmas = nn.Linear(features, labels)

    def forward(self, x_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Return both, [B, T] each."""
        return self.labels(x_BD), self.log_sigmas(x_BD)
