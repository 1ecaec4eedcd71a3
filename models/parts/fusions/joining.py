"""Fusions: what joins the branches.

Legend: B batch, C channels, L positions, D features. Parameters are told for a local branch of 128 channels
and a global one of 64.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import register_fusion
from models.parts.blocks import Adjuster, perceptron


@register_fusion("add")
class AddFusion(nn.Module):
    """Bring both branches to one shape and add them; 12,416 parameters.

    Args:
        channels: channels of the shape.
        length: positions of the shape.
    """

    def __init__(
        self, local_channels: int, global_channels: int, channels: int = 64, length: int = 600
    ) -> None:
        super().__init__()
        self.local = Adjuster(local_channels, channels, length)
        self.wide = Adjuster(global_channels, channels, length)

    def forward(self, local_BCL: Tensor, global_BCL: Tensor) -> Tensor:
        """Return [B, channels, length]."""
        y_BCL: Tensor = self.local(local_BCL) + self.wide(global_BCL)
        return y_BCL


@register_fusion("concat_channels")
class ConcatChannelsFusion(nn.Module):
    """Lay the branches side by side at the length of the shorter one; no parameters.

    A branch of one position is repeated along the other; of two longer ones the longer is averaged.
    """

    def __init__(self, local_length: int, global_length: int) -> None:
        super().__init__()
        lengths = (local_length, global_length)
        self.length = max(lengths) if 1 in lengths else min(lengths)

    def forward(self, local_BCL: Tensor, global_BCL: Tensor) -> Tensor:
        """Return the channels of both."""
        both = [functional.adaptive_avg_pool1d(one, self.length) for one in (local_BCL, global_BCL)]
        return torch.cat(both, dim=1)


@register_fusion("concat")
class ConcatFusion(nn.Module):
    """Bring both branches to one shape, lay them side by side, mix them by a 1x1 convolution; 20,672.

    Args:
        channels: channels of the shape.
        length: positions of the shape.
    """

    def __init__(
        self, local_channels: int, global_channels: int, channels: int = 64, length: int = 128
    ) -> None:
        super().__init__()
        self.local = Adjuster(local_channels, channels, length)
        self.wide = Adjuster(global_channels, channels, length)
        self.mix = nn.Conv1d(2 * channels, channels, 1)

    def forward(self, local_BCL: Tensor, global_BCL: Tensor) -> Tensor:
        """Return [B, channels, length]."""
        y_BCL: Tensor = self.mix(torch.cat((self.local(local_BCL), self.wide(global_BCL)), dim=1))
        return y_BCL


@register_fusion("cross_attention")
class CrossAttentionFusion(nn.Module):
    """Bring both branches to one shape; the local one looks at the global one; 29,056 parameters.

    Args:
        channels: channels of the shape.
        length: positions of the shape.
        heads: heads of the attention.
        around: add the local branch to what it saw.
    """

    def __init__(
        self,
        local_channels: int,
        global_channels: int,
        channels: int = 64,
        length: int = 128,
        heads: int = 4,
        around: bool = True,
    ) -> None:
        super().__init__()
        self.local = Adjuster(local_channels, channels, length)
        self.wide = Adjuster(global_channels, channels, length)
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.around = around

    def forward(self, local_BCL: Tensor, global_BCL: Tensor) -> Tensor:
        """Return [B, channels, length]."""
        local_BLC = self.local(local_BCL).transpose(1, 2)
        global_BLC = self.wide(global_BCL).transpose(1, 2)
        seen_BLC, _ = self.attention(local_BLC, global_BLC, global_BLC, need_weights=False)
        y_BLC: Tensor = seen_BLC + local_BLC if self.around else seen_BLC
        return y_BLC.transpose(1, 2)


@register_fusion("FilmFusion")
class FilmFusion(nn.Module):
    """One branch says by how much the channels of the other are scaled and shifted (FiLM, Perez et al. 2018).

    320,384 parameters. As published the controlling branch is laid out flat, 16,384 numbers into 128 units;
    here it is averaged to 12 stretches before. layout: faithful brings the published one back (2,220,928).

    Args:
        channels: channels that both branches are brought to.
        length: positions that both branches are brought to.
        hidden: units of the two layers between the controlling branch and the scales.
        controller: which branch says it.
        layout: repaired, or faithful to the published one.
    """

    def __init__(
        self,
        local_channels: int,
        global_channels: int,
        channels: int = 128,
        length: int = 128,
        hidden: tuple[int, int] = (128, 256),
        controller: Literal["global", "local"] = "global",
        layout: Literal["repaired", "faithful"] = "repaired",
    ) -> None:
        super().__init__()
        self.local = Adjuster(local_channels, channels, length)
        self.wide = Adjuster(global_channels, channels, length)
        self.by_global = controller == "global"
        self.stretches = length if layout == "faithful" else min(12, length)
        self.film = perceptron([channels * self.stretches, *hidden, 2 * channels], 0.0)

    def forward(self, local_BCL: Tensor, global_BCL: Tensor) -> Tensor:
        """Return [B, channels, length]."""
        x_BCL, by_BCL = self.local(local_BCL), self.wide(global_BCL)
        if not self.by_global:
            x_BCL, by_BCL = by_BCL, x_BCL
        if by_BCL.shape[2] != self.stretches:
            by_BCL = functional.adaptive_avg_pool1d(by_BCL, self.stretches)
        scale_BC, shift_BC = self.film(by_BCL.flatten(1)).chunk(2, dim=1)
        y_BCL: Tensor = torch.addcmul(shift_BC[:, :, None], x_BCL, scale_BC[:, :, None])
        return y_BCL


@register_fusion("GruFusion")
class GruFusion(nn.Module):
    """Bring both branches to one shape and read them side by side, both ways, with a GRU; 354,176.

    Args:
        channels: channels that both branches are brought to, and that come out.
        length: positions that both branches are brought to.
        hidden: units per direction.
        layers: layers of the GRU.
    """

    def __init__(
        self,
        local_channels: int,
        global_channels: int,
        channels: int = 128,
        length: int = 128,
        hidden: int = 128,
        layers: int = 1,
    ) -> None:
        super().__init__()
        self.local = Adjuster(local_channels, channels, length)
        self.wide = Adjuster(global_channels, channels, length)
        self.gru = nn.GRU(2 * channels, hidden, layers, batch_first=True, bidirectional=True)
        self.out = nn.Conv1d(2 * hidden, channels, 1)

    def forward(self, local_BCL: Tensor, global_BCL: Tensor) -> Tensor:
        """Return [B, channels, length]."""
        both_BCL = torch.cat((self.local(local_BCL), self.wide(global_BCL)), dim=1)
        read_BLD, _ = self.gru(both_BCL.transpose(1, 2))
        y_BCL: Tensor = self.out(read_BLD.transpose(1, 2))
        return y_BCL


@register_fusion("GeneralFusion")
class GeneralFusion(nn.Module):
    """Join the branches at the length of the shorter one, in the channels of the local one.

    A branch of one position is repeated along the other; of two longer ones the longer is averaged.

    Args:
        mode: add them, or let the local branch look at the global one.
        heads: heads of the attention.
    """

    def __init__(
        self,
        local_channels: int,
        local_length: int,
        global_channels: int,
        global_length: int,
        mode: Literal["add", "attention"] = "add",
        heads: int = 4,
    ) -> None:
        super().__init__()
        lengths = (local_length, global_length)
        self.length = max(lengths) if 1 in lengths else min(lengths)
        self.wide = nn.Conv1d(global_channels, local_channels, 1)
        self.attention = (
            nn.MultiheadAttention(local_channels, heads, batch_first=True) if mode == "attention" else None
        )

    def forward(self, local_BCL: Tensor, global_BCL: Tensor) -> Tensor:
        """Return [B, C, L]."""
        local_BCL = functional.adaptive_avg_pool1d(local_BCL, self.length)
        wide_BCL: Tensor = self.wide(functional.adaptive_avg_pool1d(global_BCL, self.length))
        if self.attention is None:
            return local_BCL + wide_BCL
        local_BLC, wide_BLC = local_BCL.transpose(1, 2), wide_BCL.transpose(1, 2)
        seen_BLC, _ = self.attention(local_BLC, wide_BLC, wide_BLC, need_weights=False)
        return (local_BLC + seen_BLC).transpose(1, 2)


@register_fusion("TokenFusion")
class TokenFusion(nn.Module):
    """Each branch looks at the other, with one attention for both ways (as in DualSpectralNet).

    As published both branches are single vectors: an attention over one token has nothing to choose from, and
    its queries and keys never learn. Here each branch keeps `tokens` stretches; tokens: 1 is the published
    form. [B, C, L] of both to [B, width, 1].

    Args:
        width: width of the attention and of what comes out.
        tokens: stretches that each branch is averaged to.
        heads: heads of the attention.
        dropout: share of the features that a training step switches off.
    """

    def __init__(
        self,
        local_channels: int,
        global_channels: int,
        width: int = 256,
        tokens: int = 16,
        heads: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.local = nn.Sequential(nn.Linear(local_channels, width), nn.LayerNorm(width))
        self.wide = nn.Sequential(nn.Linear(global_channels, width), nn.LayerNorm(width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.out = nn.Sequential(
            nn.Linear(2 * width, width), nn.LayerNorm(width), nn.ReLU(), nn.Dropout(dropout)
        )

    def forward(self, local_BCL: Tensor, global_BCL: Tensor) -> Tensor:
        """Return [B, width, 1]."""
        local_BLD = self.local(functional.adaptive_avg_pool1d(local_BCL, self.tokens).transpose(1, 2))
        wide_BLD = self.wide(functional.adaptive_avg_pool1d(global_BCL, self.tokens).transpose(1, 2))
        near_BLD, _ = self.attention(local_BLD, wide_BLD, wide_BLD, need_weights=False)
        far_BLD, _ = self.attention(wide_BLD, local_BLD, local_BLD, need_weights=False)
        y_BD: Tensor = self.out(torch.cat((near_BLD.mean(dim=1), far_BLD.mean(dim=1)), dim=1))
        return y_BD[:, :, None]
