"""FreqInceptionNet: FreqInceptionLNet's elder sister, with BatchNorm and a normalised Fourier transform.

Legend: B batch, L points of one branch, F = L//2 + 1 frequencies, C channels, K kernel sizes, D features,
T labels. Source: the framework that the older confs come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models import register_model
from models.parts.attention import SqueezeExcite
from models.parts.dead import biases_before_norm
from models.parts.dense import dense
from models.parts.pyramid import convolution
from models.parts.recurrent import OneStep, Reader

BLOCKS = (((3, 5, 7), 16, 8), ((3, 5, 9), 32, 16), ((3, 5, 11), 64, 16), ((3, 5), 96, 16))
"""Kernels, channels of each, reduction of the channel attention; all but the last are pooled by 2."""


@register_model("FreqInceptionNet")
class FreqInceptionNet(nn.Module):
    """A Fourier branch and an inception branch with BatchNorm, joined, through gates to the labels.

    As published (`layout: faithful`, 3,753,074 parameters at 4700 points) a bidirectional LSTM reads a
    sequence of one step: its recurrent matrices and forget gates get no gradient, nor do biases before
    BatchNorm. The repaired layout, the default, computes the same without them: 2,206,450 parameters.

    Takes continuum and normalized spectrum, [B, L] each; gives [B, T].

    Args:
        layout: repaired, without the parts that never learn, or faithful, as published.
        batch_norm: normalise over the batch after every convolution and hidden layer.
        frequency_channels: channels of the convolutions over the frequencies, first to last.
        frequency_features: what the Fourier branch gives to the fusion.
        lstm_hidden: units per direction of the LSTM, or of the gates in its place.
        lstm_layers: how many on top of each other.
        hidden: units of the last hidden layers, first to last.
        dropout: where the branches meet and after the last hidden layers.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        layout: Literal["repaired", "faithful"] = "repaired",
        batch_norm: bool = True,
        frequency_channels: Sequence[int] = (16, 32, 64),
        frequency_features: int = 256,
        lstm_hidden: int = 256,
        lstm_layers: int = 2,
        hidden: Sequence[int] = (512, 256),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        faithful = layout == "faithful"
        self.frequency = _Frequency(points, frequency_channels, frequency_features, batch_norm, faithful)
        self.inception = _Inception(batch_norm, faithful)
        self.fusion = nn.Dropout(dropout)
        width = frequency_features + self.inception.features
        self.sequence: Reader | OneStep
        if faithful:
            self.sequence = Reader(width, lstm_hidden, lstm_layers, dropout=0.2, read="last")
        else:
            self.sequence = OneStep(width, lstm_hidden, lstm_layers, dropout=0.2)
        self.head = dense(2 * lstm_hidden, hidden, labels, dropout, batch_norm, bias=faithful)
        self.dead = biases_before_norm(self) + (("sequence.lstm.weight_hh_*",) if faithful else ())

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        joined_BD = torch.cat((self.frequency(continuum_BL), self.inception(normalized_BL)), dim=1)
        joined_BD = self.fusion(joined_BD)
        if isinstance(self.sequence, Reader):
            joined_BD = joined_BD[:, None, :]
        y_BT: Tensor = self.head(self.sequence(joined_BD))
        return y_BT


class _Frequency(nn.Module):
    """The Fourier transform of the continuum, normalised over its frequencies, through convolutions."""

    def __init__(
        self, points: int, channels: Sequence[int], features: int, batch_norm: bool, bias: bool
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(points // 2 + 1)
        layers: list[nn.Module] = []
        width = 2
        for number, one in enumerate(channels):
            kernel = max(3, 7 - 2 * number)
            layers += [*convolution(width, one, kernel, batch_norm, bias, stride=2), nn.ReLU()]
            width = one
        self.convolutions = nn.Sequential(*layers)
        self.mlp = nn.Sequential(nn.Linear(width, features), nn.ReLU(), nn.Dropout(0.2))

    def forward(self, continuum_BL: Tensor) -> Tensor:
        """Return the features [B, D]."""
        # Half-precision FFTs exist for powers of two only, and would lose the small frequencies.
        with torch.autocast(continuum_BL.device.type, enabled=False):
            wide_BL = continuum_BL if continuum_BL.dtype == torch.float64 else continuum_BL.float()
            spectrum_BF = torch.fft.rfft(wide_BL, norm="ortho")
            parts_B2F = self.norm(torch.stack((spectrum_BF.real, spectrum_BF.imag), dim=1))
        y_BD: Tensor = self.mlp(self.convolutions(parts_B2F).mean(dim=2))
        return y_BD


class _Inception(nn.Sequential):
    """Four blocks of parallel convolutions, each followed by channel attention."""

    def __init__(self, batch_norm: bool, bias: bool) -> None:
        layers: list[nn.Module] = []
        width = 1
        for number, (kernels, channels, reduction) in enumerate(BLOCKS):
            layers.append(_Paths(width, channels, kernels, batch_norm, bias))
            width = channels * len(kernels)
            layers.append(SqueezeExcite(width, reduction))
            if number < len(BLOCKS) - 1:
                layers.append(nn.MaxPool1d(2))
        super().__init__(*layers)
        self.features = width

    def forward(self, normalized_BL: Tensor) -> Tensor:
        """Return the features [B, D]."""
        y_BCL: Tensor = super().forward(normalized_BL[:, None, :])
        return y_BCL.mean(dim=2)


class _Paths(nn.ModuleList):
    """One convolution per kernel size, their channels one after the other."""

    def __init__(
        self, in_channels: int, channels: int, kernels_K: Sequence[int], batch_norm: bool, bias: bool
    ) -> None:
        super().__init__(
            nn.Sequential(*convolution(in_channels, channels, kernel, batch_norm, bias), nn.ReLU())
            for kernel in kernels_K
        )

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the joined channels, as many positions as came in."""
        return torch.cat([path(x_BCL) for path in self], dim=1)
