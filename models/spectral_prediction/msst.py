"""MSST: the multi-scale spectral transformer, which reads the lines in three ways at once.

Legend: B batch, L points of one branch, F = L//2 + 1 frequencies, S pieces, C channels, D features, T labels.
Source: the framework that the older confs come from (MultiScaleSpectralTransformer).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models import register_model
from models.parts.blocks import encoder
from models.parts.dead import biases_before_norm
from models.parts.dense import dense
from models.parts.pyramid import convolution


@register_model("MSST")
class MSST(nn.Module):
    """Convolutions over the continuum; convolutions, a transformer and a Fourier transform over the lines.

    The faithful layout (1,060,868 parameters at 4700 points and 4 labels) has biases before BatchNorm,
    which get no gradient; the repaired one, the default, leaves these 192 out.

    Takes continuum and normalized spectrum, [B, L] each; gives [B, T].

    Args:
        layout: repaired, without biases before BatchNorm, or faithful, as published.
        patch: points of each piece that the transformer reads.
        features: size of each piece inside the transformer.
        heads: of its attention.
        feedforward: units of its inner layers.
        layers: of the transformer.
        dropout: inside the transformer.
        hidden: units of the last hidden layers, first to last.
        head_dropout: after each of these.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        layout: Literal["repaired", "faithful"] = "repaired",
        patch: int = 16,
        features: int = 128,
        heads: int = 8,
        feedforward: int = 256,
        layers: int = 3,
        dropout: float = 0.1,
        hidden: Sequence[int] = (512, 256),
        head_dropout: Sequence[float] = (0.3, 0.2),
    ) -> None:
        super().__init__()
        bias = layout == "faithful"
        self.continuum = _convolutions((7, 5), bias)
        self.lines = _convolutions((5, 3), bias)
        self.pieces = _Pieces(points, patch, features, heads, feedforward, layers, dropout)
        self.frequencies = nn.Sequential(
            nn.Linear(points // 2 + 1, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU()
        )
        self.head = dense(64 + 64 + features + 64, hidden, labels, head_dropout)
        self.dead = biases_before_norm(self)

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        # Half-precision FFTs exist for powers of two only, and would lose the small frequencies.
        with torch.autocast(normalized_BL.device.type, enabled=False):
            wide_BL = normalized_BL if normalized_BL.dtype == torch.float64 else normalized_BL.float()
            strength_BF = torch.fft.rfft(wide_BL, norm="ortho").abs()
        views = (
            self.continuum(continuum_BL[:, None, :]),
            self.lines(normalized_BL[:, None, :]),
            self.pieces(normalized_BL),
            self.frequencies(strength_BF),
        )
        y_BT: Tensor = self.head(torch.cat(views, dim=1))
        return y_BT


def _convolutions(kernels: Sequence[int], bias: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    width = 1
    for channels, kernel in zip((32, 64), kernels, strict=True):
        layers += [*convolution(width, channels, kernel, True, bias), nn.ReLU(), nn.MaxPool1d(4)]
        width = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten())


class _Pieces(nn.Module):
    """A transformer over pieces of a spectrum; an extra token gathers what they say."""

    def __init__(
        self,
        points: int,
        patch: int,
        features: int,
        heads: int,
        feedforward: int,
        layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.patch, self.missing = patch, -points % patch
        self.linear = nn.Linear(patch, features)
        self.gather = nn.Parameter(torch.randn(1, 1, features))
        self.place_SD = nn.Parameter(torch.randn((points + self.missing) // patch + 1, features))
        self.transformer = encoder(features, heads, feedforward, layers, dropout)

    def forward(self, x_BL: Tensor) -> Tensor:
        """Return [B, D]."""
        pieces_BSD = self.linear(nn.functional.pad(x_BL, (0, self.missing)).unflatten(1, (-1, self.patch)))
        gather_B1D = self.gather.expand(len(x_BL), -1, -1)
        tokens_BSD = torch.cat((gather_B1D, pieces_BSD), dim=1) + self.place_SD
        y_BSD: Tensor = self.transformer(tokens_BSD)
        return y_BSD[:, 0]
