"""Spectra beyond memory: rows of a part read from disk, in shuffled blocks while training.

Random rows cost a disk access each. Here an epoch permutes blocks of 64 consecutive rows of the part, a
window of 64 blocks is read at a time, and its rows are permuted: near-random batches at nearly the speed of
reading straight through. The order is a function of (seed, epoch), so a position is still two integers.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.spectra.ondisk import FluxFile
from engine.spectra.resample import Resampler
from engine.train.device import generator
from engine.train.rows import gather

BLOCK = 64  # consecutive rows of the part that are read together
WINDOW = 64  # blocks in memory at a time (twice: one is used while the next is read)


@dataclass(frozen=True)
class Stored:
    """Spectra of a part in the files of a cache: one file a branch, and the part's row numbers [N]."""

    files: tuple[FluxFile, ...]
    rows_N: np.ndarray
    device: torch.device

    @property
    def index_device(self) -> torch.device:
        return torch.device("cpu")

    def raw(self, index_B: Tensor) -> tuple[Tensor, Tensor]:
        """Read rows by index; rows that follow each other come in one read (evaluation goes straight on)."""
        distinct, place_B = np.unique(index_B.numpy(), return_inverse=True)
        held = self.buffers(len(distinct))
        self.read(distinct, held)
        return self.pick(held, torch.from_numpy(place_B))

    def buffers(self, rows: int) -> list[np.ndarray]:
        """Return room for so many rows, one array [rows, L] a file."""
        return [np.empty((rows, file.shape[1]), np.float32) for file in self.files]

    def read(
        self, index: np.ndarray, held: list[np.ndarray], wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """Read the part's rows at `index`, ascending and distinct, into the first rows of `held`."""
        rows = self.rows_N[index]
        for file, array in zip(self.files, held, strict=True):
            file.read(rows, array[: len(rows)], wanted)

    def pick(self, held: list[np.ndarray], place_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows of `held` by place, on the device and the caller's own."""
        picked = [gather(torch.from_numpy(array), place_B, self.device) for array in held]
        return picked[0], picked[-1]


@dataclass(frozen=True)
class Order:
    """The order of one epoch [N], and where its windows begin and end [W + 1]."""

    index_N: Tensor
    edges: list[int]


def block_order(
    rows: int, seed: int, epoch: int, *, window: int = WINDOW, block: int = BLOCK,
    resampler: Resampler | None = None,
) -> Order:  # fmt: skip
    """Return an epoch's order: blocks permuted, `window` of them taken at a time, their rows permuted.

    With a `resampler` a row stands in its window as often as it is drawn, and not at all if it is not.
    """
    count = -(-rows // block)
    blocks = torch.randperm(count, generator=generator("cpu", seed, epoch))
    times_N = None if resampler is None else torch.from_numpy(resampler.repeats(seed, epoch))
    pieces = []
    for number, first in enumerate(range(0, count, window)):
        index = (blocks[first : first + window, None] * block + torch.arange(block)).flatten()
        index = index[index < rows]  # the last block may be short
        if times_N is not None:
            index = index.repeat_interleave(times_N[index])
            if not len(index):
                continue  # a window of which nothing is drawn is not read
        pieces.append(index[torch.randperm(len(index), generator=generator("cpu", seed, epoch, number))])
    edges = np.cumsum([0, *(len(piece) for piece in pieces)]).tolist()
    return Order(torch.cat(pieces), edges)


def fitting_window(row_bytes: int, room: int) -> int:
    """Return how many blocks a window may have so that two windows take a quarter of `room` at most."""
    window = WINDOW
    while window > 1 and 2 * window * BLOCK * row_bytes > room // 4:
        window //= 2
    return window


@dataclass(frozen=True)
class _Key:
    seed: int
    epoch: int
    window: int


@dataclass(frozen=True)
class _Held:
    """A window in memory: its rows ascending, and the place of each of its draws among them."""

    key: _Key
    arrays: list[np.ndarray]
    places: Tensor


class Windows:
    """Gives the rows of an epoch in block order, with one window held and the next being read by a thread.

    What is given depends on (seed, epoch, start) alone; the thread only decides how soon.
    """

    def __init__(self, stored: Stored, blocks: int = WINDOW, resampler: Resampler | None = None) -> None:
        self.stored = stored
        self.resampler = resampler
        self.blocks = blocks
        self._orders: dict[tuple[int, int], Order] = {}
        self._spare: list[list[np.ndarray]] = []
        self._held: _Held | None = None
        self._coming: tuple[_Key, Future[_Held | None]] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._unwanted = threading.Event()

    def order(self, seed: int, epoch: int) -> Tensor:
        """Return the part's indices [N] in the order of this epoch."""
        return self._order(seed, epoch).index_N

    def raw(self, seed: int, epoch: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return both raw branches of the epoch's draws from `start` to `stop`, on the device."""
        edges = self._order(seed, epoch).edges
        pieces: list[tuple[Tensor, Tensor]] = []
        while start < stop:
            number = bisect_right(edges, start) - 1
            upto = min(stop, edges[number + 1])
            held = self._window(_Key(seed, epoch, number))
            places = held.places[start - edges[number] : upto - edges[number]]
            pieces.append(self.stored.pick(held.arrays, places))
            start = upto
        if len(pieces) == 1:
            return pieces[0]
        continuum_BL = torch.cat([piece[0] for piece in pieces])
        if pieces[0][0] is pieces[0][1]:
            return continuum_BL, continuum_BL
        return continuum_BL, torch.cat([piece[1] for piece in pieces])

    def resize(self, blocks: int) -> None:
        """Take windows of so many blocks: the order of a run that goes on is the order it began with."""
        if blocks != self.blocks:
            self.close()
            self.blocks = blocks
            self._orders.clear()

    def close(self) -> None:
        """Stop the reading thread and give the memory back."""
        self._drop_coming()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._held, self._spare = None, []

    def _order(self, seed: int, epoch: int) -> Order:
        key = (seed, epoch)
        if key not in self._orders:
            while len(self._orders) > 1:  # this epoch's and the next one's
                del self._orders[next(iter(self._orders))]
            rows = len(self.stored.rows_N)
            self._orders[key] = block_order(rows, seed, epoch, window=self.blocks, resampler=self.resampler)
        return self._orders[key]

    def _window(self, key: _Key) -> _Held:
        """Return a window, waiting for it or reading it here, and let the one after it be read."""
        if self._held is not None and self._held.key == key:
            return self._held
        coming: _Held | None = None
        if self._coming is not None and self._coming[0] == key:
            coming = self._coming[1].result()
            self._coming = None
        else:
            self._drop_coming()
        if coming is None:
            coming = self._read(key, self._order(key.seed, key.epoch), self._room(), lambda: True)
        if coming is None:
            raise AssertionError("a window that is wanted is read to its end")
        if self._held is not None:
            self._spare.append(self._held.arrays)
        self._held = coming
        self._read_ahead(self._after(key))
        return coming

    def _after(self, key: _Key) -> _Key:
        windows = len(self._order(key.seed, key.epoch).edges) - 1
        if key.window + 1 < windows:
            return _Key(key.seed, key.epoch, key.window + 1)
        return _Key(key.seed, key.epoch + 1, 0)

    def _read_ahead(self, key: _Key) -> None:
        order = self._order(key.seed, key.epoch)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="spectui-blocks")
        self._unwanted = unwanted = threading.Event()
        room = self._room()
        self._coming = key, self._pool.submit(self._read, key, order, room, lambda: not unwanted.is_set())

    def _drop_coming(self) -> None:
        if self._coming is None:
            return
        self._unwanted.set()
        future = self._coming[1]
        self._coming = None
        if not future.cancel():
            future.exception()  # what went wrong with a window that nobody wants does not matter

    def _read(
        self, key: _Key, order: Order, arrays: list[np.ndarray], wanted: Callable[[], bool]
    ) -> _Held | None:
        draws = order.index_N[order.edges[key.window] : order.edges[key.window + 1]].numpy()
        distinct, places = np.unique(draws, return_inverse=True)
        self.stored.read(distinct, arrays, wanted)
        return _Held(key, arrays, torch.from_numpy(places)) if wanted() else None

    def _room(self) -> list[np.ndarray]:
        rows = min(self.blocks * BLOCK, len(self.stored.rows_N))
        return self._spare.pop() if self._spare else self.stored.buffers(rows)
