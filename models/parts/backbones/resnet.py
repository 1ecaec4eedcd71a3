"""Residual backbones: bottlenecks in the manner of ResNet-50, and a pyramid of basic blocks.

Legend: B batch, C channels, L positions.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from models import register_backbone
from models.parts.blocks import Residual, conv_norm
from models.parts.norms import NormName


@register_backbone("ResNet50Backbone1D")
class ResNet50Backbone1D(nn.Module):
    """Sixteen narrow bottleneck blocks in four stages, as in ResNet-50 (He et al. 2016), 32 times shorter.

    [B, C, L] to [B, 32, L/32]; 63,696 parameters over one channel, 60,784 without norms.

    Args:
        stem: channels of the first convolution.
        widths: channels inside the blocks of each stage.
        channels: channels that each stage gives.
        blocks: blocks of each stage.
        norm: normalisation after every convolution.
        pool: give the mean over all positions, one position in all.
    """

    def __init__(
        self,
        in_channels: int,
        stem: int = 16,
        widths: Sequence[int] = (8, 16, 32, 16),
        channels: Sequence[int] = (16, 32, 64, 32),
        blocks: Sequence[int] = (3, 4, 6, 3),
        norm: NormName = "batch",
        pool: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            conv_norm(in_channels, stem, 3, norm, stride=2, bias=False),
            nn.ReLU(),
            nn.MaxPool1d(3, 2, 1),
        ]
        width = stem
        for stage, (inner, outer, repeat) in enumerate(zip(widths, channels, blocks, strict=True)):
            for block in range(repeat):
                stride = 2 if stage and not block else 1
                layers.append(_bottleneck(width, inner, outer, stride, norm))
                width = outer
        if pool:
            layers.append(nn.AdaptiveAvgPool1d(1))
        self.layers = nn.Sequential(*layers)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features, fewer positions than came in."""
        y_BCL: Tensor = self.layers(x_BCL)
        return y_BCL


@register_backbone("PyramidCNNBackbone")
class PyramidCNNBackbone(nn.Module):
    """Basic residual blocks, wider and shorter from stage to stage, as in ResNet-18; 16 times shorter.

    [B, C, L] to [B, 512, L/16]; 3,794,240 parameters over one channel, 3,785,152 without norms.

    Args:
        stem: channels of the first convolution.
        channels: channels that each stage gives.
        blocks: blocks of each stage; the first of them halves the length.
        norm: normalisation after every convolution.
    """

    def __init__(
        self,
        in_channels: int,
        stem: int = 64,
        channels: Sequence[int] = (128, 256, 512),
        blocks: int = 2,
        norm: NormName = "batch",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(in_channels, stem, 7, norm, stride=2, bias=False), nn.ReLU()]
        width = stem
        for outer in channels:
            for block in range(blocks):
                stride = 1 if block else 2
                body = nn.Sequential(
                    conv_norm(width, outer, 3, norm, stride=stride, bias=False),
                    nn.ReLU(),
                    conv_norm(outer, outer, 3, norm, bias=False),
                )
                layers.append(Residual(body, width, outer, stride, norm))
                width = outer
        self.layers = nn.Sequential(*layers)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features, 16 times fewer positions with three stages."""
        y_BCL: Tensor = self.layers(x_BCL)
        return y_BCL


def _bottleneck(in_channels: int, inner: int, outer: int, stride: int, norm: NormName) -> Residual:
    body = nn.Sequential(
        conv_norm(in_channels, inner, 1, norm, bias=False),
        nn.ReLU(),
        conv_norm(inner, inner, 3, norm, stride=stride, bias=False),
        nn.ReLU(),
        conv_norm(inner, outer, 1, norm, bias=False),
    )
    return Residual(body, in_channels, outer, stride, norm)
