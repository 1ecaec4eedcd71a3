"""Small pieces that the parts are made of.

Legend: B batch, C channels, L positions, D features, T labels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.parts.norms import NormName, norm_of


def conv_norm(
    channels: int, width: int, kernel: int, norm: NormName, *, stride: int = 1, bias: bool = True
) -> nn.Sequential:
    """Return a convolution that keeps the length (but for its stride) and the normalisation after it."""
    convolution = nn.Conv1d(channels, width, kernel, stride, kernel // 2, bias=bias)
    return nn.Sequential(convolution, norm_of(norm, width))


def shares(width: int, paths: int) -> list[int]:
    """Split channels over parallel paths; the last takes the rest."""
    return [width // paths] * (paths - 1) + [width - width // paths * (paths - 1)]


class Parallel(nn.Module):
    """Several layers over the same input, their channels one after the other."""

    def __init__(self, paths: Sequence[nn.Module]) -> None:
        super().__init__()
        self.paths = nn.ModuleList(paths)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the joined channels."""
        return torch.cat([path(x_BCL) for path in self.paths], dim=1)


class Residual(nn.Module):
    """A body and a way around it; a 1x1 convolution where the shapes differ."""

    def __init__(self, body: nn.Module, in_channels: int, channels: int, stride: int, norm: NormName) -> None:
        super().__init__()
        self.body = body
        same = in_channels == channels and stride == 1
        self.around = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv1d(in_channels, channels, 1, stride, bias=False), norm_of(norm, channels)
            )
        )

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the sum after a ReLU."""
        y_BCL: Tensor = self.body(x_BCL) + self.around(x_BCL)
        return y_BCL.relu()


class Adjuster(nn.Module):
    """Bring [B, C, L] to wanted channels and length: a 1x1 convolution, then means over stretches.

    Means are taken first where that is less work; the two commute.
    """

    def __init__(self, in_channels: int, channels: int, length: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(in_channels, channels, 1)
        self.pool = nn.AdaptiveAvgPool1d(length)
        self.length = length

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return [B, channels, length]."""
        if x_BCL.shape[2] > self.length:
            y_BCL: Tensor = self.convolution(self.pool(x_BCL))
        else:
            y_BCL = self.pool(self.convolution(x_BCL))
        return y_BCL


class ChannelGate(nn.Module):
    """Weigh the channels by what their means say, with biases; `width` units in between."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, channels), nn.Sigmoid()
        )

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the weighted tensor, of the same shape."""
        weight_BC: Tensor = self.gate(x_BCL.mean(dim=2))
        return x_BCL * weight_BC[:, :, None]


def encoder(width: int, heads: int, hidden: int, layers: int, dropout: float) -> nn.TransformerEncoder:
    """Return Transformer encoder layers with the norm after each sum, for [B, L, D].

    The weights of the attention are not dropped: with them dropped the fused attention of torch cannot be
    used, and L x L weights per head and star are kept for the way back.
    """
    layer = nn.TransformerEncoderLayer(width, heads, hidden, dropout, batch_first=True)
    layer.self_attn.dropout = 0.0
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def sinusoid(length: int, width: int, base: float = 10000.0) -> Tensor:
    """Return fixed positions [L, D]: sines and cosines in turn, slower from pair to pair."""
    place_L1 = torch.arange(length, dtype=torch.float32)[:, None]
    rate_H = torch.exp(torch.arange(0, width, 2) * (-math.log(base) / width))
    positions_LD = torch.zeros(length, width)
    positions_LD[:, 0::2] = torch.sin(place_L1 * rate_H)
    positions_LD[:, 1::2] = torch.cos(place_L1 * rate_H)[:, : width // 2]
    return positions_LD


def standardised(x_BCL: Tensor) -> Tensor:
    """Return every star's channels with mean 0 and standard deviation 1 over the positions."""
    centred_BCL = x_BCL - x_BCL.mean(dim=2, keepdim=True)
    return centred_BCL * torch.rsqrt(centred_BCL.square().mean(dim=2, keepdim=True) + 1e-5)


def perceptron(widths: Sequence[int], dropout: float) -> nn.Sequential:
    """Return linear layers of these widths, first to last, with ReLU and dropout between them."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers[:-2])


class PerLabel(nn.Module):
    """One perceptron per label over the same features [B, D]; gives [B, T]."""

    def __init__(self, labels: int, widths: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.labels = nn.ModuleList(perceptron([*widths, 1], dropout) for _ in range(labels))

    def forward(self, x_BD: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        return torch.cat([one(x_BD) for one in self.labels], dim=1)
