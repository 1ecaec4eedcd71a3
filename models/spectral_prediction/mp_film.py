"""MPFiLM: the continuum, seen over stretches of two lengths, steers what a patch transformer makes of the
lines.

Legend: B batch, L points of one branch, C channels, S positions, T labels. Source: the framework that the
older confs come from; MICN (Wang et al. 2023, ICLR), PatchTST (Nie et al. 2023, arXiv 2211.14730), FiLM
(Perez et al. 2018, arXiv 1709.07871).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from models import register_model
from models.parts.fusions.joining import FilmFusion
from models.parts.global_branches.micn import MicnBranch
from models.parts.heads.feed_forward import GlobalProjectionHead
from models.parts.local_branches.patch_tst import PatchTstBranch
from models.parts.sections import shape_after
from models.parts.sigmas import Labels


@register_model("MPFiLM")
class MPFiLM(nn.Module):
    """MICN over the continuum says how the features of a PatchTST over the lines are scaled and shifted.

    As published (`layout: faithful`, 3,040,516 parameters) the steering branch is laid out flat, 16,384
    numbers into 128 units; the repaired layout, the default, averages it to twelve stretches before:
    1,139,972. With 4 labels, whatever the number of points.

    Takes continuum and normalized spectrum, [B, L] each; gives [B, T], with `sigmas` and their logarithms.

    Args:
        layout: repaired, steered by means of stretches, or faithful, as published.
        controller: which branch steers the other.
        layers: of the transformer over the lines.
        dropout: inside both branches.
        head_dropout: after the hidden layers.
        sigmas: give an uncertainty with each label, for the loss gaussian_nll.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        layout: Literal["repaired", "faithful"] = "repaired",
        controller: Literal["global", "local"] = "global",
        layers: int = 3,
        dropout: float = 0.1,
        head_dropout: float = 0.2,
        sigmas: bool = False,
    ) -> None:
        super().__init__()
        self.continuum = MicnBranch(1, dropout=dropout)
        self.lines = PatchTstBranch(1, points, layers=layers, dropout=dropout)
        near, far = shape_after(self.lines, (1, points)), shape_after(self.continuum, (1, points))
        self.fusion = FilmFusion(near[0], far[0], controller=controller, layout=layout)
        joined = shape_after(self.fusion, near, far)
        self.head = GlobalProjectionHead(joined[0], labels, dropout=head_dropout, sigmas=sigmas)

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Labels:
        """Return the scaled labels [B, T], with `sigmas` and the logarithm of their sigmas [B, T]."""
        lines_BCS = self.lines(normalized_BL[:, None, :])
        joined_BCS = self.fusion(lines_BCS, self.continuum(continuum_BL[:, None, :]))
        y_BT: Labels = self.head(joined_BCS)
        return y_BT
