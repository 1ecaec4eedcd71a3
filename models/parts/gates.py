"""A gate over positions; those over channels are in attention.py and blocks.py.

Legend: B batch, C channels, L positions along the spectrum.
"""

from __future__ import annotations

from torch import Tensor, nn


class PositionGate(nn.Module):
    """Weigh every channel at every position by what all channels say there.

    Args:
        channels: size of dim 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Conv1d(channels, channels, 1)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the weighted tensor, of the same shape."""
        weight_BCL: Tensor = self.gate(x_BCL).sigmoid()
        return x_BCL * weight_BCL
