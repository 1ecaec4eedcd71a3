"""The backbone of those who want none.

Legend: B batch, C channels, L positions.
"""

from __future__ import annotations

from torch import Tensor, nn

from models import register_backbone
from models.parts.blocks import Adjuster


@register_backbone("AdjusterBackbone")
class AdjusterBackbone(nn.Module):
    """Bring a spectrum to wanted channels and length, and do nothing else.

    [B, C, L] to [B, 64, 600]; 128 parameters over one channel.

    Args:
        channels: channels to bring it to.
        length: positions to bring it to, each the mean of a stretch.
    """

    def __init__(self, in_channels: int, channels: int = 64, length: int = 600) -> None:
        super().__init__()
        self.adjuster = Adjuster(in_channels, channels, length)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return [B, channels, length]."""
        y_BCL: Tensor = self.adjuster(x_BCL)
        return y_BCL
