"""Which training stars an epoch draws, and how often, when FeH classes are to be drawn unevenly.

    EMP  FeH <= -3    VMP  -3 < FeH <= -2    MP  -2 < FeH <= -1    Normal  above -1, and stars without FeH

A star without FeH counts as Normal: as a class of its own, a handful of unmeasured stars would be drawn as
often as all others together. An epoch's draw is a function of (seed, epoch) alone, and the number of draws of
each class is exact: every star of a class is drawn the same number of times, give or take one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import BadInput
from engine.spectra import split_units
from engine.spectra.stars import Stars
from engine.words import say

if TYPE_CHECKING:
    from engine.conf.data import Resample as ResampleConf

CLASSES = ("EMP", "VMP", "MP", "Normal")
UPPER = (-3.0, -2.0, -1.0)


@dataclass(frozen=True)
class Resampler:
    """The class of each training star [N], 0-3, and how many draws of each class make an epoch [4]."""

    classes_N: np.ndarray
    draws: tuple[int, ...]
    facts: dict[str, Any]

    @property
    def length(self) -> int:
        """Draws in an epoch."""
        return sum(self.draws)

    def repeats(self, seed: int, epoch: int) -> np.ndarray:
        """Return how often each training star is drawn in an epoch [N], int64."""
        rng = _rng(seed, epoch, 0)
        times_N = np.zeros(len(self.classes_N), np.int64)
        for number, draws in enumerate(self.draws):
            rows = np.flatnonzero(self.classes_N == number)
            if len(rows):
                whole, rest = divmod(draws, len(rows))
                times_N[rows] = whole
                times_N[rng.permutation(rows)[:rest]] += 1
        return times_N

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Return the rows of an epoch in the order in which they are drawn [length], int64."""
        drawn = np.repeat(np.arange(len(self.classes_N)), self.repeats(seed, epoch))
        return _rng(seed, epoch, 1).permutation(drawn)


def plan(conf: ResampleConf, stars: Stars, rows: np.ndarray) -> Resampler | None:
    """Return what the conf asks for over the training rows; None for strategy none.

    balanced  every class that is there gets an equal share of an epoch, which stays N draws long
    auto      no star is left out: each class is drawn as often as the largest has stars, a longer epoch
    weights   a star of a class with weight 2 is drawn twice as often as one with weight 1; N draws

    Raises:
        BadInput: the column is not there or holds no numbers, or every class that is there has weight 0.
    """
    if conf.strategy == "none":
        return None
    key = "data.resample.column"
    value_N = split_units.numbers(split_units.column(stars, conf.column, key), conf.column, key)[rows]
    classes_N = class_of(value_N)
    there = np.bincount(classes_N, minlength=len(CLASSES))
    if conf.strategy == "balanced":
        draws = _round_to(len(rows) * (there > 0) / max(1, int((there > 0).sum())), len(rows))
    elif conf.strategy == "auto":
        draws = np.where(there > 0, there.max(), 0)
    else:
        wanted = there * np.array(conf.weights)
        if not wanted.sum() > 0:
            names = ", ".join(name for name, n in zip(CLASSES, there, strict=True) if n)
            raise BadInput(say("resample.all_zero", classes=names))
        draws = _round_to(len(rows) * wanted / wanted.sum(), len(rows))
    counts = {
        name: {"stars": int(n), "drawn": int(d)} for name, n, d in zip(CLASSES, there, draws, strict=True)
    }
    facts = {
        "strategy": conf.strategy, "column": conf.column, "classes": counts,
        "unmeasured": int(np.isnan(value_N).sum()), "stars": len(rows), "drawn": int(draws.sum()),
    }  # fmt: skip
    return Resampler(classes_N, tuple(draws.tolist()), facts)


def class_of(value: np.ndarray) -> np.ndarray:
    """Return the class number of each FeH [N]; NaN is Normal."""
    return np.where(np.isnan(value), len(UPPER), np.searchsorted(UPPER, value, side="left")).astype(np.int64)


def describe(facts: dict[str, Any]) -> str:
    """Return a resampling as one sentence: stars and draws per epoch of every class."""
    classes = ", ".join(
        say("resample.class", name=name, **counts) for name, counts in facts["classes"].items()
    )
    return say("resample.used", classes=classes, **{k: v for k, v in facts.items() if k != "classes"})


def _round_to(shares: np.ndarray, total: int) -> np.ndarray:
    """Return whole numbers near `shares` that sum to `total`; what is 0 stays 0."""
    counts = np.floor(shares).astype(np.int64)
    by_rest = np.argsort(counts - shares, kind="stable")
    counts[by_rest[: total - int(counts.sum())]] += 1
    return counts


def _rng(seed: int, epoch: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed % 2**64, epoch, stream]))
