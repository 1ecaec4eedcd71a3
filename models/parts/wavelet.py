"""The smooth part of a spectrum, by a wavelet transform.

Legend: B batch, L points, M coefficients.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DB4 = (
    0.23037781330885523, 0.7148465705525415, 0.6308807679295904, -0.02798376941698385,
    -0.18703481171888114, 0.030841381835986965, 0.032883011666982945, -0.010597401784997278,
)  # fmt: skip
"""The scaling filter of Daubechies' wavelet with four vanishing moments (Daubechies 1992, table 6.1)."""


class LowPass(nn.Module):
    """The approximation coefficients of a db4 transform, the ends mirrored.

    A level turns n values into (n + 7) // 2; 4700 points give 2353 and 1180. Nothing here learns.

    Args:
        levels: how many times the smooth part is taken of the smooth part.
    """

    filter_11K: Tensor

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels
        # Convolving with the reversed filter is what conv1d, a correlation, does with the filter itself.
        self.register_buffer("filter_11K", torch.tensor(DB4)[None, None], persistent=False)

    def forward(self, x_BL: Tensor) -> Tensor:
        """Return the coefficients of the last level, [B, M]."""
        for _ in range(self.levels):
            more = 6 + x_BL.shape[1] % 2  # an odd length needs one more at its end
            x_BL = torch.cat((x_BL[:, :6].flip(1), x_BL, x_BL[:, -more:].flip(1)), dim=1)
            filter_11K = self.filter_11K.to(x_BL.dtype)
            x_BL = nn.functional.conv1d(x_BL[:, None], filter_11K, stride=2)[:, 0]
        return x_BL
