"""A backbone of convolutions and a Transformer.

Legend: B batch, C channels, L positions, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models import register_backbone
from models.parts.blocks import conv_norm, encoder, sinusoid
from models.parts.norms import NormName


@register_backbone("HybridTransformerBackbone")
class HybridTransformerBackbone(nn.Module):
    """Three convolutions that shorten eight times, then Transformer layers over what is left.

    [B, C, L] to [B, 256, L/8]; 2,233,088 parameters over one channel, 2,232,192 without norms.

    Args:
        channels: channels of the convolutions; the last is the width of the Transformer.
        kernels: points of each convolution.
        heads: heads of the attention.
        hidden: units between the two linear layers of a Transformer layer.
        layers: Transformer layers.
        norm: normalisation after every convolution.
        dropout: share of the features that a training step switches off.
    """

    positions_LD: Tensor

    def __init__(
        self,
        in_channels: int,
        in_length: int,
        channels: Sequence[int] = (64, 128, 256),
        kernels: Sequence[int] = (7, 3, 3),
        heads: int = 8,
        hidden: int = 512,
        layers: int = 4,
        norm: NormName = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        convolutions: list[nn.Module] = []
        width, length = in_channels, in_length
        for outer, kernel in zip(channels, kernels, strict=True):
            convolutions += [conv_norm(width, outer, kernel, norm, stride=2), nn.ReLU()]
            width, length = outer, (length + 2 * (kernel // 2) - kernel) // 2 + 1
        self.convolutions = nn.Sequential(*convolutions)
        self.encoder = encoder(width, heads, hidden, layers, dropout)
        self.register_buffer("positions_LD", sinusoid(length, width), persistent=False)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features, eight times fewer positions."""
        tokens_BLD = self.convolutions(x_BCL).transpose(1, 2)
        y_BLD: Tensor = self.encoder(torch.add(tokens_BLD, self.positions_LD))
        return y_BLD.transpose(1, 2)
