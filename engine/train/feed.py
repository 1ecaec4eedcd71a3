"""Where training reads from: memory of the device, memory beside it, or blocks of the cache's files.

Decided once, by the size of the set and what is free; the run keeps the decision and its reasons.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from engine.errors import BadInput
from engine.spectra import BRANCHES, memory
from engine.spectra.ondisk import FluxFile
from engine.spectra.resample import Resampler
from engine.spectra.scale import Scaler
from engine.spectra.stars import Stars
from engine.train.blocks import Stored, Windows, fitting_window
from engine.train.rows import Resident, Rows, Scaling, as_tensor
from engine.words import say

Reader = Literal["resident", "host", "blocks"]
_DEVICE_SHARE = 0.6  # of free device memory for the set; the rest is for the network and its gradients


@dataclass(frozen=True)
class Feed:
    """How the rows of a set come to the device, and why so.

    `stars` are those given; for the blocks reader their branches are files that read rows on demand.
    `size` and `limit` in bytes; `limited_by` machine, cgroup or ulimit; `free` of the device, None on a CPU.
    """

    reader: Reader
    stars: Stars
    device: torch.device
    size: int
    limit: int
    limited_by: str
    share: float
    free: int | None
    held: tuple[Tensor, Tensor] | None
    prescaled: bool = False

    def scaled(self, continuum: Scaler | None, normalized: Scaler | None) -> Feed:
        """Return the feed with its branches scaled now, once, where there is room for the scaled copy.

        Scaling batch by batch costs a third of gathering. Not for spectra that are augmented: that works on
        raw flux. Elsewhere (blocks, a set beside its device, no room) the feed comes back as it is.
        """
        if self.reader != "resident" or self.held is None or 2 * self.size > self.share * self.limit:
            return self
        # what a CPU holds is the map of the cache's file, which is nobody's to write to
        own = self.device.type != "cpu" and self.held[0] is not self.held[1]
        held = []
        for spectra_SL, scaler in zip(self.held, (continuum, normalized), strict=True):
            scaling = None if scaler is None else Scaling.of(scaler, self.device)
            held.append(spectra_SL if scaling is None else scaling(spectra_SL, in_place=own))
        return dataclasses.replace(self, held=(held[0], held[1]), prescaled=True)

    def part(
        self, index_N: np.ndarray, *, continuum: Scaler | None, normalized: Scaler | None, labels: Scaler
    ) -> Rows:
        """Return the rows of one part of the split; `index_N` ascending row numbers of the set."""
        return Rows(
            self._source(index_N),
            torch.from_numpy(labels.transform(self.stars.labels[index_N])).to(self.device),
            [str(obsid) for obsid in self.stars.obsid[index_N].tolist()],
            None if continuum is None or self.prescaled else Scaling.of(continuum, self.device),
            None if normalized is None or self.prescaled else Scaling.of(normalized, self.device),
        )

    def windows(self, rows: Rows, resampler: Resampler | None = None) -> Windows | None:
        """Return the reader ahead of training rows, None where the set is in memory."""
        if not isinstance(rows.source, Stored):
            return None
        row_bytes = self.size // max(1, len(self.stars))
        return Windows(rows.source, fitting_window(row_bytes, int(self.limit * self.share)), resampler)

    def facts(self) -> dict[str, Any]:
        """Return the decision and its reasons, for the run's events."""
        return {
            "reader": self.reader, "bytes": self.size, "limit": self.limit, "limited_by": self.limited_by,
            "share": self.share, "device_free": self.free, "prescaled": self.prescaled,
        }  # fmt: skip

    def line(self) -> str | None:
        """Return what a person should know about it, None when the set is simply in memory."""
        words = {
            "size": megabytes(self.size), "limit": megabytes(self.limit), "share": f"{self.share:g}",
            "limited_by": say(f"feed.limits.{self.limited_by}"),
        }  # fmt: skip
        if self.reader == "blocks":
            return say("feed.blocks", **words)
        if self.reader == "host":
            return say("feed.host", size=words["size"], free=megabytes(self.free or 0))
        return None

    def _source(self, index_N: np.ndarray) -> Resident | Stored:
        if self.held is None:
            files = [cast(FluxFile, getattr(self.stars, name)) for name in _branches(self.stars)]
            return Stored(tuple(files), np.asarray(index_N, np.int64), self.device)
        rows_N = torch.from_numpy(np.asarray(index_N, np.int64)).to(self.held[0].device)
        return Resident(*self.held, rows_N, self.device)


def choose(stars: Stars, share: float, device: torch.device, *, limit: tuple[int, str] | None = None) -> Feed:
    """Decide where training reads from; `limit` is what the process may use, asked from the system if None.

    The branches of `stars` may be arrays, maps, or files that read rows on demand (a map of a large file may
    itself break an address space limit).

    Raises:
        BadInput: the set is beyond `share` of the limit and in no cache, or its cache files do not fit it.
    """
    most, limited_by = limit or memory.limit()
    size = len(_branches(stars)) * len(stars) * stars.continuum.shape[1] * 4
    free = _free(device)
    if size > share * most:
        stars, reader, held = _from_files(stars, size, most, limited_by, share), "blocks", None
    elif free is not None and size > _DEVICE_SHARE * free:
        reader, held = "host", _tensors(stars, torch.device("cpu"))
    else:
        reader, held = "resident", _tensors(stars, device)
    return Feed(cast(Reader, reader), stars, device, size, most, limited_by, share, free, held)


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _branches(stars: Stars) -> tuple[str, ...]:
    """Return the branches that are arrays of their own: a missing one is a view of the other."""
    return BRANCHES if len(stars.branches) == len(BRANCHES) else tuple(stars.branches[:1])


def _tensors(stars: Stars, device: torch.device) -> tuple[Tensor, Tensor]:
    arrays = [getattr(stars, name) for name in _branches(stars)]
    arrays = [np.load(a.path, mmap_mode="r") if isinstance(a, FluxFile) else a for a in arrays]
    held = [as_tensor(array).to(device) for array in arrays]
    return held[0], held[-1]


def _from_files(stars: Stars, size: int, most: int, limited_by: str, share: float) -> Stars:
    """Return the stars with their branches as files of the cache."""
    if stars.home is None:
        raise BadInput(
            say(
                "feed.too_large", size=megabytes(size), share=f"{share:g}", limit=megabytes(most),
                limited_by=say(f"feed.limits.{limited_by}"),
            )
        )  # fmt: skip
    wanted = (len(stars), stars.continuum.shape[1])
    files = [FluxFile(stars.home / f"{name}.npy") for name in _branches(stars)]
    for file in files:
        if file.shape != wanted:
            raise BadInput(
                say("feed.other_npy", file=file.path, kind=f"{list(file.shape)} != {list(wanted)}")
            )
    branches = {"continuum": files[0], "normalized": files[-1]}
    return dataclasses.replace(stars, **cast(dict[str, Any], branches))


def _free(device: torch.device) -> int | None:
    """Return the free memory of a device in bytes, None where it is the process's own."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return None
