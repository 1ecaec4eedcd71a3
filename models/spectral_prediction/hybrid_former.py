"""HybridFormer: two transformers, one behind convolutions, joined by a GRU; labels decoded one by one.

Legend: B batch, L points of one branch, C channels, S positions, T labels. Source: the framework that the
older confs come from; PatchTST (Nie et al. 2023, arXiv 2211.14730).
"""

from __future__ import annotations

from torch import Tensor, nn

from models import register_model
from models.parts.fusions.joining import GruFusion
from models.parts.global_branches.attention import CnnTransformerBranch
from models.parts.heads.recurrent import DecoderHead
from models.parts.local_branches.patch_tst import PatchTstBranch
from models.parts.sections import shape_after


@register_model("HybridFormer")
class HybridFormer(nn.Module):
    """A transformer over the convolved continuum and one over patches of the lines.

    A GRU reads both side by side, and the head gives one label after the other, each from what it said
    before. 1,720,833 parameters as published, whatever the numbers of points and labels; with `units: 128`
    in the decoder the first published form. GRUs are slow on a CPU.

    Takes continuum and normalized spectrum, [B, L] each; gives [B, T].

    Args:
        layers: of the transformer over the lines.
        length: positions that the GRU reads.
        units: of the decoder.
        dropout: in all parts.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        layers: int = 3,
        length: int = 128,
        units: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.continuum = CnnTransformerBranch(1, points, dropout=dropout)
        self.lines = PatchTstBranch(1, points, layers=layers, dropout=dropout)
        near, far = shape_after(self.lines, (1, points)), shape_after(self.continuum, (1, points))
        self.fusion = GruFusion(near[0], far[0], length=length)
        joined = shape_after(self.fusion, near, far)
        self.head = DecoderHead(joined[0], labels, units, dropout=dropout)

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        lines_BCS = self.lines(normalized_BL[:, None, :])
        joined_BCS = self.fusion(lines_BCS, self.continuum(continuum_BL[:, None, :]))
        y_BT: Tensor = self.head(joined_BCS)
        return y_BT
