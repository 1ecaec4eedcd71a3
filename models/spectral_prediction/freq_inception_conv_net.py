"""FreqInceptionConvNet: experts for the frequencies of the continuum, inception blocks, a choice of heads.

Legend: B batch, L points of one branch, F = L//2 + 1 frequencies, E experts, C channels, D features, T
labels. Source: the framework that the older confs come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models import register_model
from models.parts.attention import SqueezeExcite
from models.parts.blocks import PerLabel
from models.parts.dense import dense
from models.parts.experts import Experts, best, imbalance
from models.parts.sigmas import Labels

LENGTH = 128
"""Positions that both branches are pooled to before they are joined."""


@register_model("FreqInceptionConvNet")
class FreqInceptionConvNet(nn.Module):
    """Sixteen experts read the Fourier transform of the continuum; inception blocks the normalized spectrum.

    A gate gives each star its four best experts. The published code loops over stars and experts; here all of
    them are one convolution in groups, with the same result. Published, the loss that spreads the stars
    over the experts multiplies probabilities by logits, which has no lower bound; here it is the usual one,
    of at least 1.

    Takes continuum and normalized spectrum, [B, L] each; gives [B, T], with the head `probabilistic` and the
    logarithm of their sigmas. With 4 labels 4,845,292 parameters (conv_ffn), 682,988 (multi_head) or 617,840
    (probabilistic), whatever the number of points.

    Args:
        head: conv_ffn, convolutions and shared layers; multi_head, layers of its own for each label;
            probabilistic, an uncertainty with each label, for the loss gaussian_nll.
        window: what the continuum is multiplied by before the Fourier transform.
        experts: how many there are.
        top_k: how many of them a star takes.
        balance: weight of the loss that spreads the stars over the experts; 0 for none.
        batch_norm: normalise after every convolution of the experts.
        dropout: where the branches meet and after the hidden layers.
    """

    def __init__(
        self,
        points: int,
        labels: int,
        head: Literal["conv_ffn", "multi_head", "probabilistic"] = "conv_ffn",
        window: Literal["hann", "hamming", "none"] = "hann",
        experts: int = 16,
        top_k: int = 4,
        balance: float = 0.01,
        batch_norm: bool = False,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.frequency = _FrequencyExperts(points, window, experts, top_k, batch_norm)
        self.inception = nn.Sequential(
            nn.ConvTranspose1d(1, 16, 4, 2, 1), nn.ReLU(), *_block(16, 32), *_block(96, 64),
            nn.AdaptiveMaxPool1d(LENGTH),
        )  # fmt: skip
        self.fusion = nn.Dropout(dropout)
        self.balance = balance
        self.probabilistic = head == "probabilistic"
        convolutions = [
            nn.Conv1d(256, 128, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(128, 256, 3, padding=1), nn.ReLU(),
        ]  # fmt: skip
        if head == "conv_ffn":
            flat = [nn.MaxPool1d(2), nn.Flatten(), dense(256 * LENGTH // 4, (512, 256), labels, dropout)]
            self.head = nn.Sequential(*convolutions, *flat)
        else:
            last: nn.Module = PerLabel(labels, (256, 128, 64), dropout)
            if self.probabilistic:
                last = dense(256, (256, 128), 2 * labels, dropout)
            self.head = nn.Sequential(*convolutions, nn.AdaptiveAvgPool1d(1), nn.Flatten(), last)
        self.auxiliary_loss: Tensor | None = None

    def forward(self, continuum_BL: Tensor, normalized_BL: Tensor) -> Labels:
        """Return the scaled labels [B, T], or these and the logarithm of their sigmas."""
        frequency_BCL, uneven = self.frequency(continuum_BL)
        self.auxiliary_loss = self.balance * uneven if self.training and self.balance else None
        joined_BCL = torch.cat((frequency_BCL, self.inception(normalized_BL[:, None, :])), dim=1)
        y_BD: Tensor = self.head(self.fusion(joined_BCL))
        if not self.probabilistic:
            return y_BD
        mean_BT, log_variance_BT = y_BD.unflatten(1, (-1, 2)).unbind(dim=2)
        return mean_BT, log_variance_BT / 2


class _FrequencyExperts(nn.Module):
    """The Fourier transform of the windowed continuum, read by the experts that a gate chooses."""

    window_L: Tensor

    def __init__(self, points: int, window: str, experts: int, top_k: int, batch_norm: bool) -> None:
        super().__init__()
        made: dict[str, Callable[[int], Tensor]] = {
            "hann": torch.hann_window,
            "hamming": torch.hamming_window,
            "none": torch.ones,
        }
        self.register_buffer("window_L", made[window](points), persistent=False)
        self.top_k = min(top_k, experts)
        self.gate = nn.Sequential(
            nn.Conv1d(2, 8, 5, padding=2), nn.ReLU(), nn.Conv1d(8, 16, 5, padding=2), nn.ReLU(),
            nn.AdaptiveAvgPool1d(1), nn.Flatten(), dense(16, (128,), experts, 0.2),
        )  # fmt: skip
        self.experts = Experts(2, (16, 32, 64), (7, 5, 3), experts, stride=2, batch_norm=batch_norm)
        self.pool = nn.AdaptiveMaxPool1d(LENGTH)

    def forward(self, continuum_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return [B, 64, 128], and how unevenly the experts were used."""
        # Half-precision FFTs exist for powers of two only, and would lose the small frequencies.
        with torch.autocast(continuum_BL.device.type, enabled=False):
            wide_BL = continuum_BL if continuum_BL.dtype == torch.float64 else continuum_BL.float()
            spectrum_BF = torch.fft.rfft(wide_BL * self.window_L, norm="ortho")
            parts_B2F = torch.stack((spectrum_BF.real, spectrum_BF.imag), dim=1)
        logit_BE = self.gate(parts_B2F)
        weight_BE = best(logit_BE, self.top_k)
        return self.pool(self.experts(parts_B2F, weight_BE)), imbalance(logit_BE, weight_BE)


class _Paths(nn.Module):
    """Convolutions of 3, 5 and 7 points over the same input, their channels one after the other."""

    def __init__(self, in_channels: int, channels: int, kernels: Sequence[int] = (3, 5, 7)) -> None:
        super().__init__()
        self.paths = nn.ModuleList(nn.Conv1d(in_channels, channels, k, padding=k // 2) for k in kernels)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the joined channels, as many positions as came in."""
        return torch.cat([path(x_BCL) for path in self.paths], dim=1).relu()


def _block(in_channels: int, channels: int) -> list[nn.Module]:
    return [_Paths(in_channels, channels), SqueezeExcite(3 * channels, 16), nn.MaxPool1d(3)]
