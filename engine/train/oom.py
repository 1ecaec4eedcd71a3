"""What can be said when memory runs out: what was asked for, the peak, and the largest batch that fits.

One probe, after the fact; the batch of a run is never changed silently. Owns no decision.
"""

from __future__ import annotations

import gc
import re
from dataclasses import dataclass

import torch

from engine.train import recorder
from engine.train.learn import Learner
from engine.train.rows import Rows

_ASKED = re.compile(r"(?:allocate|allocate:? you tried to allocate) ([\d.]+) ?(bytes|KiB|MiB|GiB)?")
_UNITS = {"bytes": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}


class OutOfMemory(Exception):  # noqa: N818 - named as the thing that happened
    """Memory ran out while training; `facts` say how."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self.facts = facts


@dataclass(frozen=True)
class Facts:
    """Bytes asked for (None if not known), the most bytes held, and the largest batch that fits."""

    asked: int | None
    peak: int
    batch: int
    fits: int | None


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out: torch raises a bare RuntimeError for that of a CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def look_into(text: str, learner: Learner, rows: Rows, batch: int) -> Facts:
    """Return the facts of an error with this text; the frames that held its tensors must be gone."""
    peak = recorder.peak(learner.device)
    learner.clear()
    return Facts(asked_of(text), peak, batch, largest_batch(learner, rows, batch))


def largest_batch(learner: Learner, rows: Rows, batch: int) -> int | None:
    """Return a batch below `batch` that fits, with an eighth to spare; None if not even 2 stars do.

    To spare, because the next start finds its memory divided otherwise: once 12 stars fitted here, 11 then.
    """
    fits, fails = 0, batch
    size = batch // 2
    while size >= 2 and fails - fits > max(1, fails // 8):
        if _fits(learner, rows, size):
            fits = size
        else:
            fails = size
        size = (fits + fails) // 2 if fits else fails // 2
    return max(2, fits - fits // 8) if fits else None


def asked_of(text: str) -> int | None:
    """Return the bytes that an error says were asked for."""
    found = _ASKED.search(text)
    return round(float(found[1]) * _UNITS[found[2] or "bytes"]) if found else None


def _fits(learner: Learner, rows: Rows, size: int) -> bool:
    try:
        index_B = torch.arange(size, device=rows.index_device) % len(rows)
        loss, _ = learner.look(rows.take(index_B), learner.alone)
        loss.backward()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        fine = False
    else:
        fine = True
    # outside the except: its frames hold what did not fit
    learner.clear()
    gc.collect()
    if learner.device.type == "cuda":
        torch.cuda.empty_cache()
    return fine
