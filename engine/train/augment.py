"""Training spectra changed anew for each star and epoch: raw flux, on the device, one draw for both branches.

What happens to a batch is a function of (seed, epoch, position) alone, so a run that goes on sees what it
would have seen. Owns the changes and their draws; validation and test rows never come here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.conf.data import Augment
from engine.errors import BadInput
from engine.train.device import generator
from engine.words import say

LIGHT_KMS = 299_792.458
SNR = "snr"
_GAP = 1.9  # a step this many times its neighbours is a gap of the grid (as `data check` counts them)


@dataclass(frozen=True)
class Augmentation:
    """The changes that a conf asks for, with the grid they happen on and the stars' S/N.

    wavelength_L in Å, 64 bits where the device has them; first_L and last_L the first and last pixel of the
    stretch between gaps that a pixel lies in; ramp_L from -1/2 to 1/2 along the grid; snr_N per row of the
    training part, NaN where unknown.
    """

    conf: Augment
    seed: int
    wavelength_L: Tensor
    first_L: Tensor
    last_L: Tensor
    ramp_L: Tensor
    snr_N: Tensor | None

    def __call__(
        self, continuum_BL: Tensor, normalized_BL: Tensor, index_B: Tensor, *, epoch: int, position: int,
        share: slice | None = None, of: int | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Return both branches [B, L] changed; what is given stays as it is.

        Where they are the `share` of one process of a batch of `of` stars, they change as in the whole batch.
        """
        conf, device = self.conf, continuum_BL.device
        stars, points = of or len(continuum_BL), continuum_BL.shape[1]
        mine = share or slice(None)
        draws = generator(device, self.seed, epoch, position)

        def uniform(low: float, high: float, *more: int) -> Tensor:
            return torch.rand((stars, *more), generator=draws, device=device)[mine] * (high - low) + low

        chosen_B = uniform(0, 1) < conf.probability
        if conf.shift_pixels or conf.shift_kms:
            pixels_B = uniform(-conf.shift_pixels, conf.shift_pixels) * chosen_B
            kms_B = uniform(-conf.shift_kms, conf.shift_kms) * chosen_B
            continuum_BL, normalized_BL = self._shift(continuum_BL, normalized_BL, pixels_B, kms_B)
        if conf.scale or conf.tilt:
            scale_B = 1 + uniform(-conf.scale, conf.scale) * chosen_B
            tilt_B = uniform(-conf.tilt, conf.tilt) * chosen_B
            continuum_BL = continuum_BL * (scale_B[:, None] * (1 + tilt_B[:, None] * self.ramp_L))
        masks = conf.mask_windows and conf.mask_width
        if not (conf.noise or conf.noise_to_snr or masks):
            return continuum_BL, normalized_BL

        branches = [continuum_BL, normalized_BL]
        medians = [branch_BL.median(dim=1).values for branch_BL in branches]
        if conf.noise or conf.noise_to_snr:
            share_B = self._noise_share(index_B, medians[0]) * chosen_B
            noise_BL = torch.randn((stars, points), generator=draws, device=device)[mine]
            branches = [
                x_BL + (share_B * median_B.abs())[:, None] * noise_BL
                for x_BL, median_B in zip(branches, medians, strict=True)
            ]
        if masks:
            masked_BL = self._windows(uniform(0, 1, conf.mask_windows), chosen_B, points)
            branches = [
                torch.where(masked_BL, median_B[:, None], x_BL)
                for x_BL, median_B in zip(branches, medians, strict=True)
            ]
        return branches[0], branches[1]

    def _shift(
        self, continuum_BL: Tensor, normalized_BL: Tensor, pixels_B: Tensor, kms_B: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Move flux to higher pixels and redder wavelengths: new(wavelength) = old(wavelength / (1 + v/c)).

        Both are one look-up at fractional pixels, so flux is interpolated once. Pixels that would come from
        beyond an edge, of the spectrum or of a gap in the grid, repeat the edge.
        """
        points = len(self.first_L)
        if self.conf.shift_kms:
            grid_L = self.wavelength_L
            rest_BL = grid_L / (1 + kms_B[:, None].to(grid_L.dtype) / LIGHT_KMS)
            left_BL = torch.searchsorted(grid_L, rest_BL, right=True).sub_(1).clamp_(0, points - 2)
            step_BL = grid_L[left_BL + 1] - grid_L[left_BL]
            at_BL = left_BL + (rest_BL - grid_L[left_BL]) / step_BL
        else:
            at_BL = torch.arange(points, device=pixels_B.device, dtype=self.wavelength_L.dtype)[None]
        at_BL = at_BL - pixels_B[:, None]
        at_BL = torch.minimum(torch.maximum(at_BL, self.first_L), self.last_L)
        below_BL = at_BL.floor()
        weight_BL = (at_BL - below_BL).to(continuum_BL.dtype)
        left_BL = below_BL.long()
        right_BL = (left_BL + 1).clamp_(max=points - 1)

        def moved(x_BL: Tensor) -> Tensor:
            return torch.lerp(x_BL.gather(1, left_BL), x_BL.gather(1, right_BL), weight_BL)

        shifted_BL = moved(continuum_BL)
        return shifted_BL, shifted_BL if normalized_BL is continuum_BL else moved(normalized_BL)

    def _noise_share(self, index_B: Tensor, like_B: Tensor) -> Tensor:
        """Return the sigma to add, as a share of the median flux; variances of two kinds of noise add up."""
        variance_B = torch.full_like(like_B, self.conf.noise**2)
        if self.conf.noise_to_snr and self.snr_N is not None:
            snr_B = self.snr_N.index_select(0, index_B.to(self.snr_N.device))
            lacking_B = self.conf.noise_to_snr**-2 - snr_B**-2
            variance_B += lacking_B.nan_to_num(nan=0.0).clamp(min=0)  # NaN: how noisy it is nobody knows
        return variance_B.sqrt()

    def _windows(self, where_BW: Tensor, chosen_B: Tensor, points: int) -> Tensor:
        """Return which pixels [B, L] lie in windows that begin at these shares of the places they may."""
        width = min(points, max(1, round(self.conf.mask_width * points)))
        start_BW = (where_BW * (points - width + 1)).long().clamp_(max=points - width)
        pixel_L = torch.arange(points, device=where_BW.device)
        masked_BL = torch.zeros((len(chosen_B), points), dtype=torch.bool, device=where_BW.device)
        for start_B in start_BW.unbind(dim=1):
            masked_BL |= (pixel_L >= start_B[:, None]) & (pixel_L < start_B[:, None] + width)
        return masked_BL & chosen_B[:, None]


def in_force(conf: Augment) -> dict[str, Any]:
    """Return the settings that change anything, {} when none does."""
    settings = {name: value for name, value in conf.model_dump().items() if value}
    probability = settings.pop("probability", 0.0)
    if not settings.get("mask_windows") or not settings.get("mask_width"):
        settings.pop("mask_windows", None)
        settings.pop("mask_width", None)
    return {"probability": probability, **settings} if settings and probability else {}


def build(
    conf: Augment, seed: int, wavelength: np.ndarray, snr: np.ndarray | None, device: torch.device
) -> Augmentation | None:
    """Return what changes training spectra, None when nothing does.

    `wavelength` [L] in Å; `snr` [N] of the training rows, None when the label table has no such column.

    Raises:
        BadInput: noise to an S/N is asked for, and no training star's S/N is known.
    """
    if not in_force(conf):
        return None
    snr_N = None
    if conf.noise_to_snr:
        known = _numbers(snr)
        if known is None or not (known > 0).any():
            raise BadInput(say("augment.no_snr", column=SNR))
        snr_N = torch.from_numpy(np.where(known > 0, known, np.nan).astype(np.float32)).to(device)
    first, last = _stretches(wavelength)
    # MPS has no 64-bit floats: a shift is then good to a thousandth of a pixel
    dtype = torch.float32 if device.type == "mps" else torch.float64
    ramp = (wavelength - wavelength[0]) / (wavelength[-1] - wavelength[0]) - 0.5

    def tensor(values: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    return Augmentation(
        conf, seed, tensor(wavelength, dtype), tensor(first, dtype), tensor(last, dtype),
        tensor(ramp, torch.float32), snr_N,
    )  # fmt: skip


def facts(augmentation: Augmentation) -> dict[str, Any]:
    """Return what a run keeps about it: the settings in force, and how many stars' S/N is unknown."""
    settings = in_force(augmentation.conf)
    if augmentation.snr_N is not None:
        settings["snr_unknown"] = int(augmentation.snr_N.isnan().sum())
    return settings


def _numbers(column: np.ndarray | None) -> np.ndarray | None:
    """Return a column as float64, text that is no number as NaN."""
    if column is None:
        return None
    try:
        return np.asarray(column, np.float64)
    except ValueError:
        import pandas

        return np.asarray(pandas.to_numeric(pandas.Series(column), errors="coerce"), np.float64)


def _stretches(wavelength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each pixel the first and the last pixel of the stretch without gaps that it lies in."""
    steps = np.diff(wavelength)
    near = np.minimum(np.append(steps[1:], steps[-1]), np.append(steps[:1], steps[:-1]))
    starts = np.concatenate(([0], np.flatnonzero(steps > _GAP * near) + 1))
    lengths = np.diff(np.append(starts, len(wavelength)))
    return np.repeat(starts, lengths), np.repeat(starts + lengths - 1, lengths)
