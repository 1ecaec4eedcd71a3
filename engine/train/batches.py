"""Batches by index, in an order that is a function of (seed, epoch).

No DataLoader and no workers: gathering rows is hundreds of times faster than a training step here. The
position is two integers, so a run can go on exactly where it stopped.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from engine.spectra.resample import Resampler
from engine.train.augment import Augmentation
from engine.train.blocks import Windows
from engine.train.ranks import Ranks
from engine.train.rows import Batch, Rows


class Batches:
    """Endless training batches; `epoch` (1-based) and `position` say where it stands.

    Without a `resampler` an epoch is every row once; with one it is the draw of its (seed, epoch).
    `augmentation` changes the raw spectra of each batch; `windows` gives them where the set is beyond memory,
    and then also says in which order (they were given the same resampler). `accumulate` batches make a step.
    With several `ranks` a batch is that of all of them, and each is given its share of it.
    """

    def __init__(
        self,
        rows: Rows,
        batch_size: int,
        seed: int,
        resampler: Resampler | None = None,
        *,
        augmentation: Augmentation | None = None,
        windows: Windows | None = None,
        accumulate: int = 1,
        ranks: Ranks | None = None,
    ) -> None:
        self.rows = rows
        self.resampler = resampler
        self.batch_size = min(batch_size, len(rows))
        self.seed = seed
        self.augmentation = augmentation
        self.windows = windows
        self.accumulate = accumulate
        self.ranks = ranks or Ranks()
        self.epoch = 1
        self.position = 0
        self._ordered_epoch = 0
        self._order_N = torch.empty(0, dtype=torch.int64)

    @property
    def length(self) -> int:
        """Rows drawn in an epoch."""
        return len(self.rows) if self.resampler is None else self.resampler.length

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch. A last batch of one star is never given: batch statistics need two."""
        whole, rest = divmod(self.length, self.batch_size)
        return max(1, whole + (rest > 1))

    @property
    def epoch_ended(self) -> bool:
        """Whether the batch just given was the last of its epoch."""
        return self.position >= self.per_epoch

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch; the last of them may have fewer batches."""
        return math.ceil(self.per_epoch / self.accumulate)

    @property
    def step_ended(self) -> bool:
        """Whether the batch just given was the last of its step."""
        return self.position % self.accumulate == 0 or self.epoch_ended

    def __iter__(self) -> Iterator[Batch]:
        while True:
            if self.epoch_ended:
                self.epoch, self.position = self.epoch + 1, 0
            self.position += 1
            yield self._at(self.position - 1)

    def again(self) -> list[Batch]:
        """Return the batches of the step that was just given, once more."""
        first = (self.position - 1) // self.accumulate * self.accumulate
        return [self._at(position) for position in range(first, self.position)]

    def back(self) -> None:
        """Go back to before the step that was just given."""
        self.position = (self.position - 1) // self.accumulate * self.accumulate

    def seek(self, step: int) -> None:
        """Go to before a step, counted from 1 since the first epoch."""
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        self.epoch, self.position = epoch + 1, place * self.accumulate

    def _at(self, position: int) -> Batch:
        """Return a batch of this epoch, or this rank's share of it."""
        start = position * self.batch_size
        order_N = self._order()
        count = min(self.batch_size, len(order_N) - start)
        mine = self.ranks.share(count)
        low, high = mine.start, mine.stop
        if high - low < 2 and not self.ranks.alone:
            # Batch statistics need two stars: a rank with fewer sees others, whose labels it does not learn.
            low = max(0, min(low, count - 2))
            high = min(count, low + 2)
        index_B = order_N[start + low : start + high]
        if self.windows is None:
            raw = self.rows.source.raw(index_B)
        else:
            raw = self.windows.raw(self.seed, self.epoch, start + low, start + high)
        if self.augmentation is not None:
            share = slice(low, high)
            raw = self.augmentation(*raw, index_B, epoch=self.epoch, position=position, share=share, of=count)
        batch = self.rows.batch(*raw, index_B)
        if self.ranks.alone or (low, high) == (mine.start, mine.stop):
            return batch
        labels_BT = batch.labels_BT.clone()
        labels_BT[: mine.start - low] = math.nan
        labels_BT[mine.stop - low :] = math.nan
        return dataclasses.replace(batch, labels_BT=labels_BT)

    def _order(self) -> Tensor:
        if self._ordered_epoch != self.epoch:
            if self.windows is not None:
                order_N = self.windows.order(self.seed, self.epoch)
            elif self.resampler is not None:
                order_N = torch.from_numpy(self.resampler.order(self.seed, self.epoch))
            else:
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
                order_N = torch.randperm(len(self.rows), generator=generator)
            self._order_N = order_N.to(self.rows.index_device)
            self._ordered_epoch = self.epoch
        return self._order_N

    def state_dict(self) -> dict[str, Any]:
        state = {"epoch": self.epoch, "position": self.position, "seed": self.seed, "rows": self.length}
        return state if self.windows is None else state | {"window": self.windows.blocks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self.position, self.seed = state["epoch"], state["position"], state["seed"]
        self._ordered_epoch = 0
        if self.windows is not None and "window" in state:
            self.windows.resize(state["window"])

    def close(self) -> None:
        """End what reads ahead; batches can still be taken after it."""
        if self.windows is not None:
            self.windows.close()
