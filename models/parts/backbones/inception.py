"""Backbones of parallel convolutions of several widths.

Legend: B batch, C channels, L positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models import register_backbone
from models.parts.attention import SqueezeExcite
from models.parts.blocks import ChannelGate, Parallel, Residual, conv_norm, shares
from models.parts.norms import NormName, norm_of


@register_backbone("Inception1DBackbone")
class Inception1DBackbone(nn.Module):
    """Two modules of GoogLeNet (Szegedy et al. 2015) on a spectrum, four times shorter.

    [B, C, L] to [B, 480, L/4]; 235,600 parameters over one channel, 233,456 without norms.

    Args:
        stem: channels of the first convolution.
        norm: normalisation after every convolution.
    """

    def __init__(self, in_channels: int, stem: int = 64, norm: NormName = "batch") -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_norm(in_channels, stem, 7, norm, stride=2),
            nn.ReLU(),
            nn.MaxPool1d(3, 2, 1),
            _module(stem, 64, (96, 128), (16, 32), 32, norm),
            _module(256, 128, (128, 192), (32, 96), 64, norm),
        )

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features, four times fewer positions."""
        y_BCL: Tensor = self.layers(x_BCL)
        return y_BCL


@register_backbone("ResInceptionBackbone")
class ResInceptionBackbone(nn.Module):
    """Residual blocks whose first convolution has several widths; 16 times shorter.

    [B, C, L] to [B, 128, L/16]; 597,960 parameters over one channel, 590,872 without norms.

    Args:
        stem: channels of the first convolution.
        channels: channels that each stage gives.
        kernels: widths of the convolutions of each stage, which share its channels.
        blocks: blocks of each stage; the first of all but the first stage halves the length.
        norm: normalisation before and after the convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        stem: int = 16,
        channels: Sequence[int] = (8, 16, 64, 128),
        kernels: Sequence[Sequence[int]] = ((3, 5, 7), (3, 5, 7, 9), (3, 5, 7), (3, 5)),
        blocks: Sequence[int] = (3, 4, 6, 3),
        norm: NormName = "batch",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(in_channels, stem, 15, norm, stride=2, bias=False), nn.ReLU()]
        width = stem
        for stage, (outer, sizes, repeat) in enumerate(zip(channels, kernels, blocks, strict=True)):
            for block in range(repeat):
                stride = 2 if stage and not block else 1
                layers.append(_res_inception(width, outer, sizes, stride, norm))
                width = outer
        self.layers = nn.Sequential(*layers)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features, 16 times fewer positions with four stages."""
        y_BCL: Tensor = self.layers(x_BCL)
        return y_BCL


@register_backbone("MultiLayerInceptionBackbone")
class MultiLayerInceptionBackbone(nn.Module):
    """Four small layers of parallel convolutions with channel attention; four times shorter.

    [B, C, L] to [B, 16, L/4]; 9,328 parameters over one channel. In the published layout the attention over 8
    channels has a bottleneck of no unit, so that its gates are one half whatever comes in, and that over 16
    has one, which may never fire; here each has four. layout: faithful brings the published one back (9,008).

    Args:
        channels: channels of each layer, and of each of its convolutions.
        kernels: widths of the convolutions of each layer.
        pooled: how many layers, from the first, are followed by a max pooling of two.
        norm: normalisation after each layer.
        dropout: share of the features that a training step switches off.
        gate: weigh the channels once more at the end (148 parameters).
        layout: repaired, or faithful to the published one.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int] = (8, 16, 8, 16),
        kernels: Sequence[Sequence[int]] = ((3, 5, 7, 11), (3, 5, 7, 9), (3, 5, 7), (3, 5)),
        pooled: int = 2,
        norm: NormName = "batch",
        dropout: float = 0.1,
        gate: bool = False,
        layout: Literal["repaired", "faithful"] = "repaired",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = in_channels
        for number, (outer, sizes) in enumerate(zip(channels, kernels, strict=True)):
            layers.append(_InceptionLayer(width, outer, sizes, norm, dropout, layout == "faithful"))
            if number < pooled:
                layers.append(nn.MaxPool1d(2))
            width = outer
        if gate:
            layers.append(ChannelGate(width, max(1, width // 4)))
        self.layers = nn.Sequential(*layers)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features, four times fewer positions when two layers are pooled."""
        y_BCL: Tensor = self.layers(x_BCL)
        return y_BCL


def _module(
    channels: int, one: int, three: tuple[int, int], five: tuple[int, int], pooled: int, norm: NormName
) -> Parallel:
    """Return the four paths of GoogLeNet; what has two widths is narrowed by a 1x1 convolution before."""

    def path(*layers: nn.Module) -> nn.Sequential:
        return nn.Sequential(*[both for layer in layers for both in (layer, nn.ReLU())])

    paths = [
        path(conv_norm(channels, one, 1, norm)),
        path(conv_norm(channels, three[0], 1, norm), conv_norm(three[0], three[1], 3, norm)),
        path(conv_norm(channels, five[0], 1, norm), conv_norm(five[0], five[1], 5, norm)),
        nn.Sequential(nn.MaxPool1d(3, 1, 1), path(conv_norm(channels, pooled, 1, norm))),
    ]
    return Parallel(paths)


def _res_inception(
    in_channels: int, channels: int, kernels: Sequence[int], stride: int, norm: NormName
) -> Residual:
    """Return a residual block; its convolutions keep their biases, whatever the norm."""
    paths = [
        nn.Conv1d(in_channels, width, kernel, stride, kernel // 2)
        for width, kernel in zip(shares(channels, len(kernels)), kernels, strict=True)
    ]
    body = nn.Sequential(
        norm_of(norm, in_channels),
        nn.ReLU(),
        Parallel(paths),
        conv_norm(channels, channels, 1, norm),
        norm_of(norm, channels),
        nn.ReLU(),
        conv_norm(channels, channels, 3, norm),
    )
    return Residual(body, in_channels, channels, stride, norm)


class _InceptionLayer(nn.Module):
    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernels: Sequence[int],
        norm: NormName,
        dropout: float,
        faithful: bool,
    ) -> None:
        super().__init__()
        wide = Parallel([nn.Conv1d(in_channels, channels, kernel, padding="same") for kernel in kernels])
        empty = faithful and channels < 16
        reduction = 16 if faithful else min(16, max(1, channels // 4))
        self.body = nn.Sequential(
            wide,
            nn.Conv1d(channels * len(kernels), channels, 1),
            _Half() if empty else SqueezeExcite(channels, reduction),
        )
        self.around = nn.Identity() if in_channels == channels else nn.Conv1d(in_channels, channels, 1)
        self.after = nn.Sequential(norm_of(norm, channels), nn.ReLU(), nn.Dropout(dropout))

    def forward(self, x_BCL: Tensor) -> Tensor:
        y_BCL: Tensor = self.after(self.body(x_BCL) + self.around(x_BCL))
        return y_BCL


class _Half(nn.Module):
    """What a channel attention without a unit in between comes to."""

    def forward(self, x_BCL: Tensor) -> Tensor:
        return torch.mul(x_BCL, 0.5)
