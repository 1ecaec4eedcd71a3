"""Rows of one part of the split, gathered by index and scaled on the device, batch by batch.

The set stays raw, as it was read: a part is a list of row numbers, never a copy, and a memory map is used
as it is. Owns gathering from memory and scaling; `blocks` gathers from disk.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from engine.spectra.scale import Scaler


@dataclass(frozen=True)
class Batch:
    """Some rows as the network sees them, and where they stand among all of their part."""

    continuum_BL: Tensor
    normalized_BL: Tensor
    labels_BT: Tensor
    index_B: Tensor


class Source(Protocol):
    """Where raw spectra of a part come from."""

    @property
    def index_device(self) -> torch.device:
        """Where an index has to be."""

    def raw(self, index_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return both branches [B, L] on the device of training; one tensor twice if there is only one."""


@dataclass(frozen=True)
class Scaling:
    """(x - centre) / scale on a device, as bias + x * factor: one pass over the batch."""

    bias: Tensor
    factor: Tensor
    pooled: float | None

    @classmethod
    def of(cls, scaler: Scaler, device: torch.device) -> Scaling | None:
        """Return the scaling of a fitted scaler (pooled [1] or per pixel [L]), None if it changes nothing."""
        if not scaler.centre.any() and (scaler.scale == 1).all():
            return None
        factor = 1.0 / scaler.scale
        bias = torch.from_numpy((-scaler.centre * factor).astype(np.float32)).to(device)
        pooled = float(factor[0]) if len(factor) == 1 else None
        return cls(bias, torch.from_numpy(factor.astype(np.float32)).to(device), pooled)

    def __call__(self, x_BL: Tensor, *, in_place: bool) -> Tensor:
        out = x_BL if in_place else torch.empty_like(x_BL)
        if self.pooled is None:
            return torch.addcmul(self.bias, x_BL, self.factor, out=out)
        return torch.add(self.bias, x_BL, alpha=self.pooled, out=out)


@dataclass(frozen=True)
class Rows:
    """One part of the split: its source, scaled labels [N, T] with NaN where missing, and its obsids."""

    source: Source
    labels_NT: Tensor
    obsids: list[str]
    continuum: Scaling | None = None
    normalized: Scaling | None = None

    def __len__(self) -> int:
        return len(self.obsids)

    @property
    def index_device(self) -> torch.device:
        return self.source.index_device

    def take(self, index_B: Tensor) -> Batch:
        """Gather and scale rows by index."""
        return self.batch(*self.source.raw(index_B), index_B)

    def batch(self, continuum_BL: Tensor, normalized_BL: Tensor, index_B: Tensor) -> Batch:
        """Scale raw spectra, which are this batch's own and may be overwritten, and add the labels."""
        own = continuum_BL is not normalized_BL
        if self.continuum is not None:
            continuum_BL = self.continuum(continuum_BL, in_place=own)
        if self.normalized is not None:
            normalized_BL = self.normalized(normalized_BL, in_place=own)
        labels_BT = self.labels_NT.index_select(0, index_B.to(self.labels_NT.device))
        return Batch(continuum_BL, normalized_BL, labels_BT, index_B)


@dataclass(frozen=True)
class Resident:
    """Spectra of the whole set [S, L], on the device or in memory beside it, and the part's rows [N]."""

    continuum_SL: Tensor
    normalized_SL: Tensor
    rows_N: Tensor
    device: torch.device

    @property
    def index_device(self) -> torch.device:
        return self.continuum_SL.device

    def raw(self, index_B: Tensor) -> tuple[Tensor, Tensor]:
        rows_B = self.rows_N.index_select(0, index_B)
        continuum_BL = gather(self.continuum_SL, rows_B, self.device)
        if self.normalized_SL is self.continuum_SL:
            return continuum_BL, continuum_BL
        return continuum_BL, gather(self.normalized_SL, rows_B, self.device)


def gather(spectra_SL: Tensor, rows_B: Tensor, device: torch.device) -> Tensor:
    """Return these rows on the device; they are the caller's own."""
    if spectra_SL.device.type == device.type:
        return spectra_SL.index_select(0, rows_B)
    # Pinned memory lets the copy run beside the step; torch keeps it until the copy is done.
    pinned = device.type == "cuda"
    out_BL = torch.empty((len(rows_B), spectra_SL.shape[1]), dtype=spectra_SL.dtype, pin_memory=pinned)
    return torch.index_select(spectra_SL, 0, rows_B, out=out_BL).to(device, non_blocking=pinned)


def as_tensor(values: np.ndarray) -> Tensor:
    """Return float32 values as a tensor that shares their memory, also where that can only be read."""
    values = np.ascontiguousarray(values, np.float32)
    with warnings.catch_warnings():
        # A map that cannot be written is what we want: nothing here writes to the set.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
        return torch.from_numpy(values)
