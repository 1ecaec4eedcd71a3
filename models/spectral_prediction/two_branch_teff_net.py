"""TwoBranchTeffNet: the temperature from the continuum, then the other labels by asking the lines with it.

Legend: B batch, L points of one branch, S pieces of the spectrum, D features, T labels. Source: the framework
that the older confs come from.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from models import register_model
from models.parts.blocks import encoder, sinusoid
from models.parts.dense import dense

HEADS = 4
"""Of the attention with which the temperature asks the lines."""


@register_model("TwoBranchTeffNet")
class TwoBranchTeffNet(nn.Module):
    """Two transformers: the first label from the continuum, the others from the lines, given the first.

    The first label, as a query, attends to the pieces of the normalized spectrum. As published (`layout:
    faithful`) it passes a tanh, so that no star beyond one standard deviation from the mean can be reached;
    the repaired layout, the default, has none. 1,727,876 parameters with 4 labels in both, whatever the
    number of points. With a single label the second transformer is not there.

    Takes continuum and normalized spectrum, [B, L] each; gives [B, T].

    Args:
        layout: repaired, or faithful with the tanh on the first label.
        patch: points of each piece.
        stride: points from one piece to the next.
        features: size of each piece inside the transformers.
        heads: of their attention.
        feedforward: units of their inner layers.
        layers: of each transformer.
        dropout: before and inside the transformers.
        head_dropout: after the hidden layers of the last part.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        layout: Literal["repaired", "faithful"] = "repaired",
        patch: int = 32,
        stride: int = 16,
        features: int = 128,
        heads: int = 8,
        feedforward: int = 512,
        layers: int = 4,
        dropout: float = 0.2,
        head_dropout: float = 0.3,
    ) -> None:
        super().__init__()

        def branch() -> _Encoder:
            return _Encoder(points, patch, stride, features, heads, feedforward, layers, dropout)

        self.bounded = layout == "faithful"
        self.continuum = branch()
        self.first = nn.Linear(features, 1)
        self.others = labels - 1
        if self.others:
            self.normalized = branch()
            self.question = nn.Linear(1, features)
            self.attention = nn.MultiheadAttention(features, HEADS, batch_first=True)
            self.head = dense(features, (2 * features, features), self.others, head_dropout)
        self.apply(_xavier)

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        first_B1: Tensor = self.first(self.continuum(continuum_BL).mean(dim=1))
        if self.bounded:
            first_B1 = first_B1.tanh()
        if not self.others:
            return first_B1
        lines_BSD = self.normalized(normalized_BL)
        question_B1D = self.question(first_B1)[:, None, :]
        answer_B1D, _ = self.attention(question_B1D, lines_BSD, lines_BSD, need_weights=False)
        return torch.cat((first_B1, self.head(answer_B1D[:, 0])), dim=1)


class _Encoder(nn.Module):
    """Overlapping pieces of a spectrum with their places, through a transformer."""

    place_SD: Tensor

    def __init__(
        self, points: int, patch: int, stride: int, features: int, heads: int, feedforward: int,
        layers: int, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        if points < patch:
            raise ValueError(f"{points} points are fewer than one piece of {patch}")
        pieces = (points - patch) // stride + 1
        self.patches = nn.Conv1d(1, features, patch, stride)
        self.register_buffer("place_SD", sinusoid(pieces, features), persistent=False)
        self.norm = nn.LayerNorm(features)
        self.dropout = nn.Dropout(dropout)
        self.transformer = encoder(features, heads, feedforward, layers, dropout)

    def forward(self, x_BL: Tensor) -> Tensor:
        """Return [B, S, D]."""
        tokens_BSD = self.patches(x_BL[:, None, :]).transpose(1, 2) + self.place_SD
        y_BSD: Tensor = self.transformer(self.dropout(self.norm(tokens_BSD)))
        return y_BSD


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
