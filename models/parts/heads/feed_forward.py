"""Heads of linear layers over means, over attention, or over what convolutions left.

Legend: B batch, C channels, L positions, D features, T labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models import register_head
from models.parts.blocks import Adjuster, PerLabel, conv_norm
from models.parts.norms import NormName, norm_of
from models.parts.sigmas import Labels, LabelsAndSigmas


@register_head("MultiTaskHead")
class MultiTaskHead(nn.Module):
    """Attention over the positions, two convolutions, then layers of its own for each label.

    5,225,300 parameters over [B, 64, 600] and 4 labels, 1,426,708 over [B, 128, 128].

    Args:
        channels: channels that the input is brought to by a 1x1 convolution; those of the input when null.
        length: positions that the input is brought to; those of the input when null.
        convolutions: channels of the convolutions, each followed by a max pooling of two.
        heads: heads of the attention.
        hidden: units of the hidden layers of each label.
        norm: normalisation after the convolutions.
        dropout: share of the units that a training step switches off.
    """

    def __init__(
        self,
        in_channels: int,
        in_length: int,
        labels: int,
        channels: int | None = None,
        length: int | None = None,
        convolutions: Sequence[int] = (32, 16),
        heads: int = 4,
        hidden: Sequence[int] = (512, 128, 32),
        norm: NormName = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        width, left = channels or in_channels, length or in_length
        if left >> len(convolutions) == 0:
            poolings = len(convolutions)
            raise ValueError(f"{left} positions are too few for {poolings} poolings; set length to more")
        self.adjuster = Adjuster(in_channels, width, left)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        layers: list[nn.Module] = []
        for outer in convolutions:
            layers += [conv_norm(width, outer, 3, norm), nn.ReLU(), nn.MaxPool1d(2)]
            width, left = outer, left // 2
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.labels = PerLabel(labels, [width * left, *hidden], dropout)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        x_BLC = self.adjuster(x_BCL).transpose(1, 2)
        normed_BLC = self.norm(x_BLC)
        seen_BLC, _ = self.attention(normed_BLC, normed_BLC, normed_BLC, need_weights=False)
        y_BT: Tensor = self.labels(self.convolutions((x_BLC + seen_BLC).transpose(1, 2)))
        return y_BT


@register_head("SimpleFFNMultiTaskHead")
class SimpleFFNMultiTaskHead(nn.Module):
    """The mean over the positions, then layers of its own for each label; 33,796 over 64 channels.

    Args:
        hidden: units of the hidden layers of each label.
        dropout: share of the units that a training step switches off.
    """

    def __init__(
        self, in_channels: int, labels: int, hidden: Sequence[int] = (128,), dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.labels = PerLabel(labels, [in_channels, *hidden], dropout)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        y_BT: Tensor = self.labels(x_BCL.mean(dim=2))
        return y_BT


@register_head("GlobalProjectionHead")
class GlobalProjectionHead(nn.Module):
    """The mean over the positions, then layers for all labels; 50,052 over 64 channels, 66,436 over 128.

    Args:
        hidden: units of the hidden layers.
        dropout: share of the units that a training step switches off.
        sigmas: give an uncertainty with each label, for the loss gaussian_nll.
    """

    def __init__(
        self,
        in_channels: int,
        labels: int,
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.2,
        sigmas: bool = False,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = in_channels
        for units in hidden:
            layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(dropout)]
            width = units
        self.layers = nn.Sequential(
            *layers, LabelsAndSigmas(width, labels) if sigmas else nn.Linear(width, labels)
        )

    def forward(self, x_BCL: Tensor) -> Labels:
        """Return the scaled labels [B, T], with `sigmas` and the logarithm of their sigmas [B, T]."""
        y_BT: Labels = self.layers(x_BCL.mean(dim=2))
        return y_BT


@register_head("FFNHead")
class FFNHead(nn.Module):
    """The mean over the positions, then normalised layers, for all labels together or for each its own.

    363,652 parameters over 384 channels, 1,453,060 with separate ones.

    Args:
        hidden: units of the hidden layers.
        separate: give every label its own layers.
        norm: normalisation after every hidden layer; it needs batches of two or more while training.
        dropout: share of the units that a training step switches off.
    """

    def __init__(
        self,
        in_channels: int,
        labels: int,
        hidden: Sequence[int] = (512, 256, 128),
        separate: bool = False,
        norm: NormName = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        count, outputs = (labels, 1) if separate else (1, labels)
        self.stacks = nn.ModuleList(
            _normed(in_channels, hidden, outputs, norm, dropout) for _ in range(count)
        )

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        x_BD1 = x_BCL.mean(dim=2, keepdim=True)
        return torch.cat([stack(x_BD1) for stack in self.stacks], dim=1)


@register_head("AttentionExpertHead")
class AttentionExpertHead(nn.Module):
    """A learned mean over the positions, then layers of its own for each label; 49,797 over 128 channels.

    Args:
        dropout: share of the units that a training step switches off.
    """

    def __init__(self, in_channels: int, labels: int, dropout: float = 0.1) -> None:
        super().__init__()
        half, quarter = max(1, in_channels // 2), max(1, in_channels // 4)
        self.score = nn.Sequential(nn.Conv1d(in_channels, half, 1), nn.Tanh(), nn.Conv1d(half, 1, 1))
        self.labels = PerLabel(labels, [in_channels, half, quarter], dropout)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        weight_B1L = self.score(x_BCL).softmax(dim=2)
        y_BT: Tensor = self.labels((x_BCL * weight_B1L).sum(dim=2))
        return y_BT


def _normed(width: int, hidden: Sequence[int], outputs: int, norm: NormName, dropout: float) -> nn.Sequential:
    """Return the layers as 1x1 convolutions over one position, so that any norm over channels fits."""
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Conv1d(width, units, 1), norm_of(norm, units), nn.ReLU(), nn.Dropout(dropout)]
        width = units
    return nn.Sequential(*layers, nn.Conv1d(width, outputs, 1), nn.Flatten())
