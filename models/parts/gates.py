"""Gates with biases: how much of each channel, or of each position, passes on.

Legend: B batch, C channels, L positions along the spectrum.
"""

from __future__ import annotations

from torch import Tensor, nn


class ChannelGate(nn.Module):
    """Weigh the channels by what their means say; like SqueezeExcite, its two layers have biases.

    Args:
        channels: size of dim 1.
        width: units in between.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, channels), nn.Sigmoid()
        )

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the weighted tensor, of the same shape."""
        weight_BC: Tensor = self.gate(x_BCL.mean(dim=2))
        return x_BCL * weight_BC[:, :, None]


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
