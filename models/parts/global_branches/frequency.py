"""Global branches over wavelets, trends and frequencies of a spectrum.

Legend: B batch, C channels, L positions, F frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import register_global_branch
from models.parts.attention import SqueezeExcite
from models.parts.blocks import Parallel, conv_norm
from models.parts.norms import NormName, norm_of

_DB4 = (
    0.23037781330885523, 0.7148465705525415, 0.6308807679295904, -0.02798376941698385,
    -0.18703481171888114, 0.030841381835986965, 0.032883011666982945, -0.010597401784997278,
)  # fmt: skip
"""The low-pass filter of Daubechies' wavelet with four vanishing moments."""


@register_global_branch("ContinuumWaveletBranch")
class ContinuumWaveletBranch(nn.Module):
    """The smooth part of a wavelet transform (db4), through two layers of parallel convolutions.

    [B, C, L] to [B, 48, L/16]; 7,344 parameters over one channel.

    Args:
        levels: how often the spectrum is smoothed and halved.
        channels: channels of each convolution; a layer gives three times as many.
        layers: how many layers there are, each followed by a max pooling of two.
        kernels: points of the convolutions.
        norm: normalisation after each layer.
    """

    low_11K: Tensor

    def __init__(
        self,
        in_channels: int,
        levels: int = 2,
        channels: int = 16,
        layers: int = 2,
        kernels: Sequence[int] = (1, 3, 5),
        norm: NormName = "batch",
    ) -> None:
        super().__init__()
        self.levels = levels
        self.register_buffer("low_11K", torch.tensor(_DB4).reshape(1, 1, -1), persistent=False)
        parts: list[nn.Module] = []
        width = in_channels
        for _ in range(layers):
            paths = [nn.Conv1d(width, channels, kernel, padding="same") for kernel in kernels]
            width = channels * len(kernels)
            parts += [Parallel(paths), nn.ReLU(), norm_of(norm, width), nn.MaxPool1d(2)]
        self.layers = nn.Sequential(*parts)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the features."""
        for _ in range(self.levels):
            x_BCL = self._smoothed(x_BCL)
        y_BCL: Tensor = self.layers(x_BCL)
        return y_BCL

    def _smoothed(self, x_BCL: Tensor) -> Tensor:
        """Return half the positions, (L + 7) // 2: the spectrum mirrored at its ends, filtered, halved."""
        channels, taps = x_BCL.shape[1], self.low_11K.shape[2]
        # Mirrored with the first and the last point doubled, as the 'symmetric' mode of wavelet libraries.
        left_BCL, right_BCL = x_BCL[..., : taps - 1].flip(2), x_BCL[..., 1 - taps :].flip(2)
        wide_BCL = torch.cat((left_BCL, x_BCL, right_BCL), dim=2)[..., 1:]
        return functional.conv1d(wide_BCL, self.low_11K.expand(channels, 1, taps), stride=2, groups=channels)


@register_global_branch("DlinearBranch")
class DlinearBranch(nn.Module):
    """The moving mean of a spectrum and what is left of it, each through one linear layer (Zeng et al. 2023).

    [B, C, L] to [B, C, 128]; 1,203,456 parameters over 4700 points.

    Args:
        window: points of the moving mean, an odd number.
        features: positions that come out.
    """

    def __init__(self, in_length: int, window: int = 25, features: int = 128) -> None:
        super().__init__()
        if window % 2 == 0:
            raise ValueError(f"window must be odd, got {window}")
        self.window = window
        self.trend = nn.Linear(in_length, features)
        self.rest = nn.Linear(in_length, features)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return [B, C, features]."""
        trend_BCL = moving_mean(x_BCL, self.window)
        y_BCL: Tensor = self.trend(trend_BCL) + self.rest(x_BCL - trend_BCL)
        return y_BCL


@register_global_branch("LargeKernelBranch")
class LargeKernelBranch(nn.Module):
    """One convolution with a very wide kernel, averaged over the spectrum.

    [B, C, L] to [B, 64, 1]; 12,416 parameters over one channel.

    Args:
        channels: channels of the convolution.
        kernel: its points.
        stride: points from one place of the kernel to the next.
    """

    def __init__(self, in_channels: int, channels: int = 64, kernel: int = 128, stride: int = 16) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(in_channels, channels, kernel, stride, (kernel - 1) // 2)
        self.linear = nn.Linear(channels, channels)

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return one position."""
        y_BD: Tensor = self.linear(self.convolution(x_BCL).relu().mean(dim=2))
        return y_BD[:, :, None]


@register_global_branch("CustomAttentiveBranch")
class CustomAttentiveBranch(nn.Module):
    """A pyramid of convolutions, its channels weighed by the spectrum's frequencies.

    [B, C, L] to [B, 16, L/16]; 296,224 parameters over one channel. As published the frequencies were those
    of the first 128 points only; here they are those of the whole spectrum, averaged to as many values.

    Args:
        channels: channels of the layers of the pyramid.
        kernels: points of the convolutions of a layer.
        norm: normalisation after every layer.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int] = (128, 64, 32, 16),
        kernels: Sequence[int] = (3, 5, 7),
        norm: NormName = "batch",
    ) -> None:
        super().__init__()
        self.pyramid = pyramid(in_channels, channels, kernels, norm)
        self.frequencies = nn.Sequential(
            conv_norm(2, 64, 5, norm), nn.ReLU(), nn.MaxPool1d(2),
            conv_norm(64, 16, 3, norm), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(),
        )  # fmt: skip
        self.weights = nn.Sequential(
            nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, channels[-1]),
            nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the weighted features."""
        parts_B2F = spectrum(x_BCL.mean(dim=1))
        few_B2F = functional.adaptive_avg_pool1d(parts_B2F, 65)
        weight_BC: Tensor = self.weights(self.frequencies(few_B2F.to(x_BCL.dtype)))
        y_BCL: Tensor = self.pyramid(x_BCL)
        return y_BCL * weight_BC[:, :, None]


def pyramid(
    in_channels: int, channels: Sequence[int], kernels: Sequence[int], norm: NormName
) -> nn.Sequential:
    """Return layers of parallel convolutions with channel attention, each half as long as the one before."""
    layers: list[nn.Module] = []
    width = in_channels
    for outer in channels:
        wide = Parallel([nn.Conv1d(width, outer, kernel, padding="same") for kernel in kernels])
        narrow = conv_norm(outer * len(kernels), outer, 1, norm)
        layers += [wide, narrow, SqueezeExcite(outer, 4), nn.ReLU(), nn.MaxPool1d(2)]
        width = outer
    return nn.Sequential(*layers)


def moving_mean(x_BCL: Tensor, window: int) -> Tensor:
    """Return the mean over an odd number of points around each point; the ends are repeated."""
    half = window // 2
    return functional.avg_pool1d(functional.pad(x_BCL, (half, half), mode="replicate"), window, 1)


def spectrum(x_BL: Tensor) -> Tensor:
    """Return real and imaginary part of the Fourier transform [B, 2, L//2 + 1]."""
    # Half-precision FFTs exist for powers of two only, and would lose the small frequencies.
    with torch.autocast(x_BL.device.type, enabled=False):
        spectrum_BF = torch.fft.rfft(x_BL if x_BL.dtype == torch.float64 else x_BL.float(), norm="ortho")
        return torch.stack((spectrum_BF.real, spectrum_BF.imag), dim=1)
