"""AMFN: attention over pieces of the continuum, convolutions of three widths over the lines, added.

Legend: B batch, L points of one branch, C channels, S positions, T labels. Source: the framework that the
older confs come from.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from models import register_model
from models.parts.fusions.joining import AddFusion
from models.parts.global_branches.attention import GlobalAttentionBranch
from models.parts.heads.recurrent import DecoderHead
from models.parts.local_branches.inception import MultiScaleConvBranch
from models.parts.sections import shape_after


@register_model("AMFN")
class AMFN(nn.Module):
    """A small transformer over the continuum and two layers of convolutions over the lines.

    Both are added, and the head gives one label after the other, each from what it said before. 843,617
    parameters as published, 819,537 with the lines alone, 799,633 with the continuum alone, whatever the
    numbers of points and labels.

    Takes continuum and normalized spectrum, [B, L] each; gives [B, T].

    Args:
        branches: both, or one of them alone.
        channels: that both branches are brought to before they are added.
        length: positions that both are brought to.
        units: of the decoder.
        dropout: in all parts.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        branches: Literal["both", "continuum", "lines"] = "both",
        channels: int = 64,
        length: int = 600,
        units: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        near = far = None
        self.continuum: nn.Module | None = None
        self.lines: nn.Module | None = None
        self.fusion: nn.Module | None = None
        if branches != "lines":
            self.continuum = GlobalAttentionBranch(1, dropout=dropout)
            far = shape_after(self.continuum, (1, points))
        if branches != "continuum":
            self.lines = MultiScaleConvBranch(1, dropout=dropout)
            near = shape_after(self.lines, (1, points))
        if near and far:
            self.fusion = AddFusion(near[0], far[0], channels, length)
            joined = shape_after(self.fusion, near, far)
        else:
            joined = near or far or (0, 0)
        self.head = DecoderHead(joined[0], labels, units, dropout=dropout)

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        seen = []
        if self.lines is not None:
            seen.append(self.lines(normalized_BL[:, None, :]))
        if self.continuum is not None:
            seen.append(self.continuum(continuum_BL[:, None, :]))
        y_BT: Tensor = self.head(seen[0] if self.fusion is None else self.fusion(*seen))
        return y_BT
