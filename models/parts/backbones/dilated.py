"""A backbone that keeps the length and sees far by holes in its kernels.

Legend: B batch, C channels, L positions.
"""

from __future__ import annotations

from torch import Tensor, nn

from models import register_backbone
from models.parts.norms import NormName, norm_of


@register_backbone("DilatedCNNBackbone")
class DilatedCNNBackbone(nn.Module):
    """Gated convolutions, each with twice the spacing of the one before, as in WaveNet (Oord et al. 2016).

    [B, C, L] to [B, 64, L], every position seeing 511 points; 221,824 parameters over one channel, 220,800
    without norms. The length is kept: what follows pays for every point.

    Args:
        stem: channels of the first convolution.
        channels: channels of every block.
        blocks: how many there are; the spacing of the last is 2 to the power of blocks - 1.
        kernel: points of each convolution.
        norm: normalisation inside each block.
    """

    def __init__(
        self,
        in_channels: int,
        stem: int = 32,
        channels: int = 64,
        blocks: int = 8,
        kernel: int = 3,
        norm: NormName = "batch",
    ) -> None:
        super().__init__()
        widths = [stem] + [channels] * (blocks - 1)
        self.stem = nn.Conv1d(in_channels, stem, 1)
        self.blocks = nn.Sequential(
            *[_Gated(width, channels, kernel, 2**number, norm) for number, width in enumerate(widths)]
        )

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features, as many positions as came in."""
        y_BCL: Tensor = self.blocks(self.stem(x_BCL))
        return y_BCL


class _Gated(nn.Module):
    def __init__(self, in_channels: int, channels: int, kernel: int, dilation: int, norm: NormName) -> None:
        super().__init__()
        self.wide = nn.Conv1d(in_channels, 2 * channels, kernel, padding="same", dilation=dilation)
        self.narrow = nn.Sequential(nn.Conv1d(channels, channels, 1), norm_of(norm, channels))
        self.around = nn.Identity() if in_channels == channels else nn.Conv1d(in_channels, channels, 1)

    def forward(self, x_BCL: Tensor) -> Tensor:
        value_BCL, gate_BCL = self.wide(x_BCL).chunk(2, dim=1)
        y_BCL: Tensor = self.narrow(value_BCL.tanh() * gate_BCL.sigmoid()) + self.around(x_BCL)
        return y_BCL
