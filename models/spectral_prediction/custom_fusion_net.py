"""CustomFusionNet: one vector of the continuum beside every step of the lines, read by an LSTM; four
versions.

Legend: B batch, L points of one branch, F = L//2 + 1 frequencies, C channels, S steps, D features, T labels.
Source: the framework that the older confs come from, where one name stood for several networks in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models import register_model
from models.parts.blocks import ChannelGate, PerLabel
from models.parts.pyramid import Pyramid
from models.parts.recurrent import Reader
from models.parts.wavelet import LowPass

MIXED = (1, 3, 5)
"""Kernels side by side, of the blocks without a gate."""


@register_model("CustomFusionNet")
class CustomFusionNet(nn.Module):
    """A summary of the continuum joins the lines, whose steps an LSTM reads before a head for each label.

    With 4700 points and 4 labels: v1 (4,724,612 parameters) has linear layers over the strengths of the
    continuum's frequencies and plain blocks over the lines; v2 (4,930,200) a gated pyramid in their place; v3
    (2,850,982) the smooth part of the continuum by wavelets, and a lighter pyramid; v4 (284,188) is v3 at a
    tenth of the size. A fifth version is the assembler DualBranchSpectralModel with parts of the same
    names.

    As published (`layout: faithful`) the LSTM is read at its last step, where the backward direction has seen
    one step only and its last recurrent matrix gets no gradient, and the strengths of v1 and v2 grow with the
    root of the number of points. The repaired layout, the default, reads each direction at its end and takes
    strengths that do not depend on the number of points; the sizes are the same.

    Takes continuum and normalized spectrum, [B, L] each; gives [B, T].

    Args:
        version: v1 to v4, see above.
        layout: repaired, or faithful, as published.
        dropout: between the LSTMs and after the hidden layers of the heads; by default 0.3, in v3 and v4
        none.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        version: Literal["v1", "v2", "v3", "v4"] = "v4",
        layout: Literal["repaired", "faithful"] = "repaired",
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        faithful = layout == "faithful"
        rate = dropout if dropout is not None else (0.3 if version in ("v1", "v2") else 0.0)
        self.continuum, features = _continuum(version, points, "backward" if faithful else "ortho")
        self.lines, channels = _lines(version)
        hidden = 64 if version == "v4" else 256
        read: Literal["last", "ends"] = "last" if faithful else "ends"
        self.reader = Reader(features + channels, hidden, 2, rate, read)
        self.head = PerLabel(labels, (2 * hidden, 128, 64), rate)
        self.dead = (f"reader.{self.reader.dead}",) if faithful else ()

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        lines_BCS = self.lines(normalized_BL[:, None, :])
        vector_BD = self.continuum(continuum_BL)
        spread_BDS = vector_BD[:, :, None].expand(-1, -1, lines_BCS.shape[2])
        y_BT: Tensor = self.head(self.reader(torch.cat((lines_BCS, spread_BDS), dim=1).transpose(1, 2)))
        return y_BT


def _continuum(version: str, points: int, norm: str) -> tuple[nn.Module, int]:
    """Return what makes one vector of the continuum, and its size."""
    if version in ("v1", "v2"):
        linear = (nn.Linear(points // 2 + 1, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU())
        return nn.Sequential(_Strengths(norm), *linear), 256
    levels, (first, second) = (4, (16, 32)) if version == "v3" else (2, (8, 8))
    return nn.Sequential(
        LowPass(levels), nn.Unflatten(1, (1, -1)),
        _Mixed(1, first), nn.MaxPool1d(2), _Mixed(3 * first, second), nn.MaxPool1d(2),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(),
    ), 3 * second  # fmt: skip


def _lines(version: str) -> tuple[nn.Sequential, int]:
    """Return what makes steps of the lines, and the channels of each."""
    layers: list[nn.Module] = []
    if version == "v1":
        width = 1
        for channels, pool in ((16, 4), (32, 4), (64, 2)):
            layers += [_Mixed(width, channels), nn.BatchNorm1d(3 * channels), nn.MaxPool1d(pool)]
            width = 3 * channels
        return nn.Sequential(*layers), width
    kernels, depth = ((3, 5, 9), 2) if version == "v2" else ((3, 5, 7), 1)
    blocks = {"v2": (16, 32, 64), "v3": (8, 16, 32), "v4": (8, 8, 16)}[version]
    layers += [nn.Conv1d(1, blocks[0], 7, padding=3), nn.ReLU()]
    width = blocks[0]
    for channels in blocks:
        joined = channels * len(kernels)
        layers += [
            Pyramid(width, channels, kernels, ChannelGate(joined, joined // 4), depth),
            nn.MaxPool1d(2),
        ]
        width = joined
    return nn.Sequential(*layers), width


class _Strengths(nn.Module):
    """How strong each frequency of a spectrum is."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x_BL: Tensor) -> Tensor:
        """Return [B, F]."""
        # Half-precision FFTs exist for powers of two only, and would lose the small frequencies.
        with torch.autocast(x_BL.device.type, enabled=False):
            wide_BL = x_BL if x_BL.dtype == torch.float64 else x_BL.float()
            return torch.fft.rfft(wide_BL, norm=self.norm).abs()


class _Mixed(nn.Module):
    """Convolutions of 1, 3 and 5 points side by side."""

    def __init__(self, in_channels: int, channels: int, kernels: Sequence[int] = MIXED) -> None:
        super().__init__()
        self.paths = nn.ModuleList(nn.Conv1d(in_channels, channels, k, padding=k // 2) for k in kernels)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the joined channels, as many positions as came in."""
        return torch.cat([path(x_BCL) for path in self.paths], dim=1).relu()
