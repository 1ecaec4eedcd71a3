"""DualBranchSpectralModel: any backbone, a branch that sees far, one that sees lines, a fusion and a head.

Legend: B batch, C channels, L positions (points of a spectrum at the start), T labels.
The parts are those registered in `models/parts/` and in the workspace; see `spectui models --parts`.
"""

from __future__ import annotations

import inspect
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models import register_model, registry
from models.errors import ContractError
from models.parts.blocks import Adjuster
from models.parts.norms import NormName
from models.parts.sections import Part, Shape, build_part, shape_after
from models.parts.sigmas import Labels

_READ = {"own": 1, "normalized": 1, "continuum": 1, "stacked": 2}  # channels of what the first part reads


@register_model("DualBranchSpectralModel")
class DualBranchSpectralModel(nn.Module):
    """A backbone, a global and a local branch side by side, a fusion and a head, each chosen by name.

    Every part is a section of the conf: a name, or a mapping of a name and the part's own fields. Whatever
    lengths come out of a part are found by a trial with one flat star when the network is built.

    Without a backbone the branches read the spectra themselves. One branch may be left out (null): with a
    fusion a 1x1 convolution stands in its place, without one the other branch goes to the head alone. Without
    a fusion two branches are laid side by side. Takes continuum and normalized spectrum, [B, L] each; gives
    [B, T]. 5,519,140 parameters with the parts below at 4800 points.

    Args:
        backbone: reads a spectrum before both branches do.
        global_branch: sees far.
        local_branch: sees lines.
        fusion: joins the branches.
        head: gives the labels.
        spectra: own gives the continuum to the global branch and the normalized spectrum to the local one,
            each through the one backbone; normalized or continuum gives both branches this one, at half the
            time; stacked gives both spectra as two channels.
        norm: the norm of every part that takes one and does not say its own.
        dropout: the dropout of every part that takes one and does not say its own.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        backbone: Part | None = "ResNet50Backbone1D",
        global_branch: Part | None = "GlobalBranch",
        local_branch: Part | None = "InceptionBranch",
        fusion: Part | None = "add",
        head: Part = "MultiTaskHead",
        spectra: Literal["own", "normalized", "continuum", "stacked"] = "own",
        norm: NormName | None = None,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        if global_branch is None and local_branch is None:
            raise ContractError("it needs a global_branch or a local_branch", name="DualBranchSpectralModel")
        self.spectra = spectra
        for_all = {"norm": norm, "dropout": dropout}

        def make(kind: str, section: Part, **given: int) -> nn.Module:
            return build_part(kind, _with_defaults(kind, section, for_all), **given)

        def place(shape: Shape) -> dict[str, int]:
            return {"in_channels": shape[0], "in_length": shape[1]}

        read: Shape = (_READ[spectra], points)
        self.backbone = nn.Identity() if backbone is None else make("backbone", backbone, **place(read))
        inner = shape_after(self.backbone, read)

        branches = {"global_branch": global_branch, "local_branch": local_branch}
        made = {kind: make(kind, part, **place(inner)) for kind, part in branches.items() if part is not None}
        shapes = {kind: shape_after(branch, inner) for kind, branch in made.items()}
        if fusion is not None:
            (known, *_) = shapes.values()
            for kind in branches:
                if kind not in made:
                    made[kind] = Adjuster(inner[0], *known)
                    shapes[kind] = shape_after(made[kind], inner)
        self.global_branch, self.local_branch = made.get("global_branch"), made.get("local_branch")

        self.fusion: nn.Module | None = None
        if len(made) == 2:
            near, far = shapes["local_branch"], shapes["global_branch"]
            self.fusion = make(
                "fusion", "concat_channels" if fusion is None else fusion,
                local_channels=near[0], local_length=near[1],
                global_channels=far[0], global_length=far[1],
            )  # fmt: skip
            joined = shape_after(self.fusion, near, far)
        else:
            (joined,) = shapes.values()
        self.head = make("head", head, labels=labels, **place(joined))

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Labels:
        """Return the scaled labels [B, T], with a head that gives sigmas their logarithms [B, T] too."""
        far_BCL, near_BCL = self._read(continuum_BL, normalized_BL)
        if self.fusion is not None:
            assert self.global_branch is not None and self.local_branch is not None
            joined_BCL = self.fusion(self.local_branch(near_BCL), self.global_branch(far_BCL))
        elif self.local_branch is not None:
            joined_BCL = self.local_branch(near_BCL)
        else:
            assert self.global_branch is not None
            joined_BCL = self.global_branch(far_BCL)
        y_BT: Labels = self.head(joined_BCL)
        return y_BT

    def _read(self, continuum_BL: Tensor, normalized_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the global and what the local branch gets, [B, C, L] each."""
        if self.spectra != "own" or self.fusion is None:
            if self.spectra == "stacked":
                x_BCL = torch.stack((continuum_BL, normalized_BL), dim=1)
            else:
                alone = "normalized" if self.global_branch is None else "continuum"
                which = alone if self.spectra == "own" else self.spectra
                x_BCL = (normalized_BL if which == "normalized" else continuum_BL)[:, None]
            y_BCL = self.backbone(x_BCL)
            return y_BCL, y_BCL
        if isinstance(self.backbone, nn.Identity):
            return continuum_BL[:, None], normalized_BL[:, None]
        # One pass of both spectra, so that a norm over the batch sees the same mixture as at evaluation.
        both_BCL = self.backbone(torch.cat((continuum_BL, normalized_BL))[:, None])
        far_BCL, near_BCL = both_BCL.chunk(2)
        return far_BCL, near_BCL


def _with_defaults(kind: str, section: Part, for_all: dict[str, Any]) -> Part:
    """Add to a section what is said for all parts, where the part takes it and does not say its own."""
    fields = {"name": section} if isinstance(section, str) else dict(section)
    if isinstance(fields.get("name"), str):
        accepted = inspect.signature(registry.get(fields["name"], kind).__init__).parameters
        for key, value in for_all.items():
            if value is not None and key in accepted:
                fields.setdefault(key, value)
    return fields
