"""A local branch of patches and a Transformer.

Legend: B batch, C channels, L positions, P patches, D features.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from models import register_local_branch
from models.parts.blocks import sinusoid, standardised
from models.parts.norms import NormName, norm_of


class EncoderLayer(nn.Module):
    """Attention, then two linear layers, each with a sum and a norm after it; [B, P, D] both ways."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, activation: nn.Module) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feed = nn.Sequential(
            nn.Linear(width, hidden), activation, nn.Dropout(dropout), nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(dropout)
        self.norms = nn.ModuleList((nn.LayerNorm(width), nn.LayerNorm(width)))

    def forward(self, x_BPD: Tensor) -> Tensor:
        """Return the tokens, as many as came in."""
        seen_BPD, _ = self.attention(x_BPD, x_BPD, x_BPD, need_weights=False)
        x_BPD = self.norms[0](x_BPD + self.dropout(seen_BPD))
        y_BPD: Tensor = self.norms[1](x_BPD + self.dropout(self.feed(x_BPD)))
        return y_BPD


@register_local_branch("PatchTstBranch")
class PatchTstBranch(nn.Module):
    """Patches of the spectrum as tokens of a Transformer (PatchTST, Nie et al. 2023).

    Every star is brought to mean 0 and deviation 1 first. [B, C, L] to [B, 128, about L/8]: 587 positions of
    4700 points, which is what comes out and not one fewer. 399,744 parameters over one channel.

    Args:
        patch: points of a patch.
        step: points from one patch to the next; so many are added at the end.
        width: width of the Transformer.
        heads: heads of the attention.
        hidden: units between the two linear layers of a Transformer layer.
        layers: Transformer layers.
        norm: normalisation of the features at the end.
        activation: between the two linear layers.
        dropout: share of the features that a training step switches off.
    """

    positions_PD: Tensor

    def __init__(
        self,
        in_channels: int,
        in_length: int,
        patch: int = 16,
        step: int = 8,
        width: int = 128,
        heads: int = 8,
        hidden: int = 256,
        layers: int = 3,
        norm: NormName = "batch",
        activation: Literal["gelu", "relu"] = "gelu",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if in_length + step < patch:
            raise ValueError(f"{in_length} positions are too few for patches of {patch}")
        self.patch, self.step = patch, step
        self.embedding = nn.Linear(patch * in_channels, width, bias=False)
        self.register_buffer(
            "positions_PD", sinusoid((in_length + step - patch) // step + 1, width), persistent=False
        )
        self.dropout = nn.Dropout(dropout)
        between = nn.GELU() if activation == "gelu" else nn.ReLU()
        self.layers = nn.Sequential(
            *[EncoderLayer(width, heads, hidden, dropout, between) for _ in range(layers)]
        )
        self.norm = norm_of(norm, width)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return one position per patch."""
        padded_BCL = functional.pad(standardised(x_BCL), (0, self.step), mode="replicate")
        patches_BPD = padded_BCL.unfold(2, self.patch, self.step).transpose(1, 2).flatten(2)
        tokens_BPD = self.dropout(self.embedding(patches_BPD) + self.positions_PD)
        y_BDP: Tensor = self.norm(self.layers(tokens_BPD).transpose(1, 2))
        return y_BDP
