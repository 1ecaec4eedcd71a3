"""DualBranchMoENet: experts over a time-frequency picture of the continuum, convolutions over the lines.

Legend: B batch, L points of one branch, F = 257 frequencies, W windows, E experts, C channels, S steps, T
labels. Source: the framework that the older confs come from.
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
from models.parts.experts import Experts, best, imbalance
from models.parts.recurrent import Reader

WINDOW = 512
"""Points of one window of the short-time Fourier transform."""


@register_model("DualBranchMoENet")
class DualBranchMoENet(nn.Module):
    """Eight experts over windows of the continuum, gated convolutions over the lines, an LSTM over both.

    As published (`layout: faithful`, 1,067,404 parameters) the LSTM is read at its last step, where the
    backward direction has seen one step only and its last recurrent matrix gets no gradient; nor do biases
    before BatchNorm. The repaired layout, the default, reads each direction at its end and leaves these
    biases out: 1,066,412. The published loop over stars and experts is one convolution in groups here, with
    the same result. With 4 labels, whatever the number of points.

    Takes continuum and normalized spectrum, [B, L] each; gives [B, T].

    Args:
        layout: repaired, or faithful, as published.
        experts: how many there are.
        top_k: how many of them a star takes.
        balance: weight of the loss that spreads the stars over the experts; 0, as published, for none.
        hop: points from one window of the continuum to the next; fewer where that would not give 16 windows.
        lstm_hidden: units per direction.
        lstm_layers: LSTMs on top of each other.
        hidden: units of the last hidden layers, first to last.
        dropout: between the LSTMs and after the hidden layers.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        layout: Literal["repaired", "faithful"] = "repaired",
        experts: int = 8,
        top_k: int = 2,
        balance: float = 0.0,
        hop: int = 128,
        lstm_hidden: int = 128,
        lstm_layers: int = 2,
        hidden: Sequence[int] = (128, 64),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        faithful = layout == "faithful"
        self.balance = balance
        self.continuum = _WindowExperts(points, experts, top_k, hop, bias=faithful)
        self.lines = nn.Sequential(
            *_block(1, 32, 5, 4, faithful), *_block(32, 64, 3, 8, faithful), *_block(64, 128, 3, 16, faithful)
        )
        read: Literal["last", "ends"] = "last" if faithful else "ends"
        self.reader = Reader(64 + 128, lstm_hidden, lstm_layers, dropout, read)
        self.head = dense(2 * lstm_hidden, hidden, labels, dropout)
        self.dead = biases_before_norm(self) + ((f"reader.{self.reader.dead}",) if faithful else ())
        self.auxiliary_loss: Tensor | None = None

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor:
        """Return the scaled labels [B, T]."""
        continuum_BCS, uneven = self.continuum(continuum_BL)
        self.auxiliary_loss = self.balance * uneven if self.training and self.balance else None
        lines_BCS = self.lines(normalized_BL[:, None, :])
        steps = min(continuum_BCS.shape[2], lines_BCS.shape[2])
        both = [
            one if one.shape[2] == steps else nn.functional.interpolate(one, steps, mode="linear")
            for one in (continuum_BCS, lines_BCS)
        ]
        y_BT: Tensor = self.head(self.reader(torch.cat(both, dim=1).transpose(1, 2)))
        return y_BT


class _WindowExperts(nn.Module):
    """The strengths of frequencies, window by window, read by the experts that a gate chooses."""

    window_W: Tensor

    def __init__(self, points: int, experts: int, top_k: int, hop: int, bias: bool) -> None:
        super().__init__()
        frequencies = WINDOW // 2 + 1
        # Fewer windows would leave the LSTM a single step, and its recurrent matrices nothing to learn.
        self.hop = max(1, min(hop, points // 16))
        self.top_k = min(top_k, experts)
        # Ends are mirrored, which half a window must leave something to do with.
        self.padding = "reflect" if points > WINDOW // 2 else "constant"
        self.register_buffer("window_W", torch.hann_window(WINDOW), persistent=False)
        self.gate = nn.Sequential(nn.Linear(frequencies, 64), nn.ReLU(), nn.Linear(64, experts))
        self.experts = Experts(frequencies, (32, 64), (3, 3), experts, batch_norm=True, pool=2, bias=bias)

    def forward(self, continuum_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return [B, C, S], and how unevenly the experts were used."""
        # Half-precision FFTs exist for powers of two only, and would lose the small frequencies.
        with torch.autocast(continuum_BL.device.type, enabled=False):
            wide_BL = continuum_BL if continuum_BL.dtype == torch.float64 else continuum_BL.float()
            strength_BFW = torch.stft(
                wide_BL, WINDOW, self.hop, window=self.window_W, pad_mode=self.padding, return_complex=True
            ).abs()
        logit_BE = self.gate(strength_BFW.mean(dim=2))
        weight_BE = best(logit_BE, self.top_k)
        return self.experts(strength_BFW, weight_BE), imbalance(logit_BE, weight_BE)


def _block(width: int, channels: int, kernel: int, reduction: int, bias: bool) -> list[nn.Module]:
    convolution = nn.Conv1d(width, channels, kernel, padding=kernel // 2, bias=bias)
    normed = nn.Sequential(convolution, nn.BatchNorm1d(channels))
    return [normed, nn.ReLU(), SqueezeExcite(channels, reduction), nn.MaxPool1d(2)]
