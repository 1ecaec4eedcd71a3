"""DualSpectralNet: a transformer over the continuum, convolutions over the lines, and attention across.

Legend: B batch, L points of one branch, C channels, S positions, D features, T labels. Source: the framework
that the older confs come from; its second version never ran there and is built here as it was meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from models import register_model
from models.parts.blocks import ChannelGate, encoder, sinusoid
from models.parts.dead import biases_before_norm
from models.parts.dense import dense
from models.parts.pyramid import convolution


class _Sizes(NamedTuple):
    stem: tuple[tuple[int, int, int, int], ...]
    """in, out, kernel, stride of the convolutions over the continuum"""
    transformer: tuple[int, int, int]
    """heads, inner units, layers"""
    blocks: tuple[tuple[int, tuple[int, ...], bool, bool], ...]
    """channels, kernels, gated, pooled: the blocks over the lines"""
    fused: int
    heads: int
    hidden: tuple[int, ...]
    batch_norm: bool


SIZES = {
    "v1": _Sizes(
        stem=((1, 32, 15, 1), (32, 64, 9, 2), (64, 128, 5, 2)),
        transformer=(8, 512, 4),
        blocks=(
            (16, (3, 5, 7), False, False), (32, (3, 5, 7, 9), True, True), (64, (3, 5, 7), True, True),
            (96, (3, 5), True, True), (128, (3, 5), True, False),
        ),
        fused=256, heads=8, hidden=(512, 256, 128), batch_norm=False,
    ),
    "v2": _Sizes(
        stem=((1, 32, 11, 2), (32, 64, 7, 2)),
        transformer=(4, 128, 2),
        blocks=((32, (3, 5, 7), True, True), (64, (3, 5, 7), True, True)),
        fused=128, heads=4, hidden=(256, 128), batch_norm=True,
    ),
}  # fmt: skip


@register_model("DualSpectralNet")
class DualSpectralNet(nn.Module):
    """A transformer over the continuum and gated convolutions over the lines, joined by attention.

    As published (`layout: faithful`; v1 1,917,724 parameters, v2 321,232) each branch is averaged first,
    and the attention has a single thing to look at: its weight is always one, and the projections of
    queries and keys (131,584 parameters of v1) get no gradient, nor do biases before BatchNorm (v2). The
    repaired layout, the default, lets the mean of each branch look at every position of the other; it also
    leaves out the clipping of the tokens, the biases before BatchNorm, and the uniform start of v1:
    1,917,724 and 320,272 parameters. With 4 labels, whatever the number of points.

    Takes continuum and normalized spectrum, [B, L] each; gives [B, T].

    Args:
        version: v1, as first published; v2, a sixth of its size, with BatchNorm.
        layout: repaired, attention over positions, or faithful, attention over one mean.
        dropout: in both branches and where they meet.
        head_dropout: after the hidden layers.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        version: Literal["v1", "v2"] = "v1",
        layout: Literal["repaired", "faithful"] = "repaired",
        dropout: float = 0.1,
        head_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        sizes, faithful = SIZES[version], layout == "faithful"
        features = sizes.stem[-1][1]
        self.continuum = _Continuum(points, sizes, dropout, faithful)
        self.lines = _Lines(sizes, dropout, bias=faithful)
        self.fusion = _Across(features, self.lines.features, sizes, dropout, means=faithful)
        self.head = dense(
            sizes.fused, sizes.hidden, labels, head_dropout, sizes.batch_norm, bias=faithful
        )
        self.dead = biases_before_norm(self)
        if faithful and version == "v1":
            self.apply(_uniform)

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        continuum_BSD = self.continuum(continuum_BL)
        lines_BSD = self.lines(normalized_BL[:, None, :]).transpose(1, 2)
        y_BT: Tensor = self.head(self.fusion(continuum_BSD, lines_BSD))
        return y_BT


class _Continuum(nn.Module):
    """Convolutions that shorten the continuum, then a transformer over what is left."""

    place_SD: Tensor

    def __init__(self, points: int, sizes: _Sizes, dropout: float, faithful: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        length = points
        for width, channels, kernel, stride in sizes.stem:
            if sizes.batch_norm:
                layers += convolution(width, channels, kernel, True, faithful, stride)
            else:
                layers.append(nn.Conv1d(width, channels, kernel, stride, kernel // 2, bias=False))
            layers += [nn.ReLU(), nn.Dropout(dropout)]
            length = (length - 1) // stride + 1
        features = sizes.stem[-1][1]
        self.convolutions = nn.Sequential(*layers)
        self.linear = nn.Linear(features, features)
        self.register_buffer("place_SD", 0.1 * sinusoid(length, features, base=1000.0), persistent=False)
        self.norm = nn.LayerNorm(features, eps=1e-6)
        heads, units, depth = sizes.transformer
        self.transformer = encoder(features, heads, units, depth, dropout)
        self.clipped = faithful

    def forward(self, continuum_BL: Tensor) -> Tensor:
        """Return [B, S, D]."""
        tokens_BSD = self.linear(self.convolutions(continuum_BL[:, None, :]).transpose(1, 2)) + self.place_SD
        if self.clipped:
            tokens_BSD = tokens_BSD.clamp(-10, 10)
        y_BSD: Tensor = self.transformer(self.norm(tokens_BSD))
        return y_BSD


class _Lines(nn.Sequential):
    """Blocks of parallel convolutions over the normalized spectrum."""

    def __init__(self, sizes: _Sizes, dropout: float, bias: bool) -> None:
        layers: list[nn.Module] = []
        width = 1
        for channels, kernels, gated, pooled in sizes.blocks:
            layers.append(_Block(width, channels, kernels, gated, dropout, sizes.batch_norm, bias))
            layers += [nn.AvgPool1d(2)] if pooled else []
            width = channels
        super().__init__(*layers)
        self.features = width


class _Block(nn.Module):
    """Parallel convolutions, mixed by one of a single point, [gated,] added to what came in."""

    def __init__(
        self, width: int, channels: int, kernels: Sequence[int], gated: bool, dropout: float,
        batch_norm: bool, bias: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.paths = nn.ModuleList(
            nn.Sequential(*convolution(width, channels, kernel, batch_norm, bias), nn.ReLU())
            for kernel in kernels
        )
        mixing = convolution(channels * len(kernels), channels, 1, batch_norm, bias)
        self.mix = nn.Sequential(*mixing, nn.ReLU(), nn.Dropout(dropout))
        self.gate = ChannelGate(channels, max(1, channels // 8)) if gated else nn.Identity()
        self.shortcut = nn.Sequential(*convolution(width, channels, 1, batch_norm, bias))

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return as many positions as came in."""
        joined_BCL = torch.cat([path(x_BCL) for path in self.paths], dim=1)
        y_BCL: Tensor = self.gate(self.mix(joined_BCL)) + self.shortcut(x_BCL)
        return y_BCL.relu()


class _Across(nn.Module):
    """The mean of each branch looks at the other branch: at its positions, or (`means`) at its mean."""

    def __init__(self, continuum: int, lines: int, sizes: _Sizes, dropout: float, means: bool) -> None:
        super().__init__()
        width = sizes.fused
        self.means = means
        self.continuum = nn.Sequential(nn.Linear(continuum, width), nn.LayerNorm(width))
        self.lines = nn.Sequential(nn.Linear(lines, width), nn.LayerNorm(width))
        self.attention = nn.MultiheadAttention(width, sizes.heads, dropout, batch_first=True)
        self.joined = nn.Sequential(
            nn.Linear(2 * width, width), nn.LayerNorm(width), nn.ReLU(), nn.Dropout(dropout)
        )

    def forward(self, continuum_BSD: Tensor, lines_BSD: Tensor) -> Tensor:
        """Return the features of both [B, D]."""
        if self.means:
            continuum_BSD, lines_BSD = continuum_BSD.mean(1, keepdim=True), lines_BSD.mean(1, keepdim=True)
        continuum_BSD, lines_BSD = self.continuum(continuum_BSD), self.lines(lines_BSD)
        answers = []
        for asking_BSD, asked_BSD in ((continuum_BSD, lines_BSD), (lines_BSD, continuum_BSD)):
            question_B1D = asking_BSD.mean(1, keepdim=True)
            answer_B1D, _ = self.attention(question_B1D, asked_BSD, asked_BSD, need_weights=False)
            answers.append(answer_B1D[:, 0])
        y_BD: Tensor = self.joined(torch.cat(answers, dim=1))
        return y_BD


def _uniform(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.uniform_(module.weight, -0.1, 0.1)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
