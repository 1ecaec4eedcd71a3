"""Channel attention.

Legend: B batch, C channels, L positions along the spectrum.
"""

from __future__ import annotations

from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    """Weigh the channels by what their means say (Hu et al. 2018).

    Mean over positions, Linear C to C/reduction, ReLU, Linear back, sigmoid, multiply; no biases. The
    bottleneck is never narrower than one unit: a width of zero would fix every weight at one half.

    Args:
        channels: size of dim 1.
        reduction: by how much the bottleneck is narrower.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        width = max(1, channels // reduction)
        self.gate = nn.Sequential(
            nn.Linear(channels, width, bias=False), nn.ReLU(),
            nn.Linear(width, channels, bias=False), nn.Sigmoid())

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the weighted tensor, of the same shape."""
        weight_BC: Tensor = self.gate(x_BCL.mean(dim=2))
        return x_BCL * weight_BC[:, :, None]
