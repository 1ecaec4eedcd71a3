"""A global branch that looks at stretches of two lengths and at how they follow each other.

Legend: B batch, C channels, L positions, S stretches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import register_global_branch
from models.parts.global_branches.frequency import moving_mean
from models.parts.norms import ChannelNorm


@register_global_branch("MicnBranch")
class MicnBranch(nn.Module):
    """Stretches of several lengths, each a token that sees the ones before it (MICN, Wang et al. 2023).

    For each length: the moving mean is taken away, a strided convolution makes one token of a stretch, a
    causal convolution joins the tokens, a transposed one brings the length back; a convolution merges them.
    [B, C, L] to [B, 64, L]; 353,408 parameters over one channel.

    Args:
        channels: channels of everything.
        stretches: points of a stretch, one entry per length.
        joins: tokens that the causal convolution sees, one entry per length.
        hidden: channels in between the last two convolutions.
        dropout: share of the features that a training step switches off.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 64,
        stretches: Sequence[int] = (12, 16),
        joins: Sequence[int] = (18, 6),
        hidden: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.embedding = nn.Sequential(nn.Conv1d(in_channels, channels, 1), nn.Dropout(dropout))
        # One norm for all lengths and both of its places, as published.
        self.scale_norm = ChannelNorm(channels)
        self.scales = nn.ModuleList(
            _Scale(channels, stretch, join, dropout) for stretch, join in zip(stretches, joins, strict=True)
        )
        self.merge = nn.Conv2d(channels, channels, (len(stretches), 1))
        self.norm = ChannelNorm(channels)
        self.feed = nn.Sequential(
            nn.Conv1d(channels, hidden, 1), nn.ReLU(), nn.Dropout(dropout), nn.Conv1d(hidden, channels, 1)
        )
        self.last_norm = ChannelNorm(channels)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features, as many positions as came in."""
        x_BCL = self.embedding(x_BCL)
        scales_BCKL = torch.stack([scale(x_BCL, self.scale_norm) for scale in self.scales], dim=2)
        merged_BCL = self.norm(self.merge(scales_BCKL).squeeze(2))
        y_BCL: Tensor = self.last_norm(merged_BCL + self.feed(merged_BCL))
        return y_BCL


class _Scale(nn.Module):
    def __init__(self, channels: int, stretch: int, join: int, dropout: float) -> None:
        super().__init__()
        self.stretch, self.join = stretch, join
        self.down = nn.Conv1d(channels, channels, stretch, stretch)
        self.isometric = nn.Conv1d(channels, channels, join)
        self.up = nn.ConvTranspose1d(channels, channels, stretch, stretch)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BCL: Tensor, norm: nn.Module) -> Tensor:
        length = x_BCL.shape[2]
        x_BCL = x_BCL - moving_mean(x_BCL, self.stretch // 2 * 2 + 1)
        padded_BCL = functional.pad(x_BCL, (0, -length % self.stretch), mode="replicate")
        tokens_BCS = self.dropout(self.down(padded_BCL).tanh())
        joined_BCS = self.dropout(self.isometric(functional.pad(tokens_BCS, (self.join - 1, 0))).tanh())
        seen_BCS = norm(joined_BCS + tokens_BCS)
        back_BCL = self.dropout(self.up(seen_BCS).tanh())[..., :length]
        y_BCL: Tensor = norm(back_BCL + x_BCL)
        return y_BCL
