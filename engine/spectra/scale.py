"""Numbers brought near one and back: fitted on the train rows, kept in the checkpoint.

Owns the four kinds of scaling. A fit sees only the rows it is given: no statistic leaks from val or test.
It reads a memory map once, block by block, and never holds more than a block and a bounded sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.words import say

if TYPE_CHECKING:
    from engine.conf.data import Data as DataConf
    from engine.spectra.stars import Stars

KINDS = ("standard", "minmax", "robust", "none")
_QUARTILES = (25, 50, 75)
BLOCK = 1 << 20  # values looked at together: 8 MB in float64, and a few temporaries of that size
SAMPLE = 1 << 25  # quartiles of more values than this are taken from a sample, 134 MB at most


@dataclass(frozen=True)
class Scaler:
    """value -> (value - centre) / scale, per column [C], or one pair [1] for a whole branch.

    `flat` are the columns whose spread is zero or unknown; they got scale 1 and deserve a warning.
    """

    kind: str
    centre: np.ndarray
    scale: np.ndarray
    flat: tuple[int, ...] = ()

    def transform(self, values: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return scaled float32 values [N, C]; NaN stays NaN. `out` may be `values` itself."""
        out = np.empty(values.shape, np.float32) if out is None else out
        for rows, block in _blocks(values):
            if self.kind == "none":
                out[rows] = block
            else:
                out[rows] = (block.astype(np.float64) - self.centre) / self.scale
        return out

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Return float32 values [N, C] in their own units again."""
        out = np.empty(values.shape, np.float32)
        for rows, block in _blocks(values):
            out[rows] = block.astype(np.float64) * self.scale + self.centre
        return out

    def to_state(self) -> dict[str, Any]:
        """Return the scaler as plain lists and numbers, for a checkpoint or JSON."""
        return {
            "kind": self.kind,
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            "flat": list(self.flat),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Scaler:
        """Return the scaler that `to_state` described.

        Raises:
            ValueError: the state is not one of ours.
        """
        kind = state["kind"]
        centre = np.asarray(state["centre"], np.float64)
        scale = np.asarray(state["scale"], np.float64)
        if kind not in KINDS or centre.shape != scale.shape or centre.ndim != 1 or not (scale != 0).all():
            raise ValueError(f"not the state of a scaler: {state!r:.200}")
        return cls(kind, centre, scale, tuple(state.get("flat", ())))


@dataclass(frozen=True)
class Scalers:
    """What turns both branches and the labels into what the network sees."""

    continuum: Scaler
    normalized: Scaler
    labels: Scaler

    @classmethod
    def fitted(
        cls, conf: DataConf, stars: Stars, rows: np.ndarray, fixed: Mapping[str, Scaler] | None = None
    ) -> Scalers:
        """Fit on `rows`, the training rows; what `fixed` names (see `stats.read`) is taken as it is.

        Fixed statistics of the continuum are not laid on normalised flux, where that is all the data has.
        """
        only_normalized = stars.report.get("copied") == "normalized" or "continuum" not in stars.branches
        given = {k: v for k, v in (fixed or {}).items() if k != "continuum" or not only_normalized}
        pooled = conf.scaler_scope == "pooled"
        return cls(
            given.get("continuum") or fit(conf.continuum_scaler, stars.continuum, rows, pooled=pooled),
            given.get("normalized") or fit(conf.normalized_scaler, stars.normalized, rows, pooled=pooled),
            given.get("labels") or fit(conf.label_scaler, stars.labels, rows),
        )

    def warnings(self, stars: Stars) -> list[str]:
        """Return a sentence for the labels and for each branch that has columns without spread."""
        lines = []
        for what, scaler in vars(self).items():
            columns, flat = len(scaler.centre), scaler.flat
            if what == "labels":
                names = [stars.targets[i] for i in flat]
            elif columns == len(stars.wavelength):
                names = [f"{stars.wavelength[i]:.2f}" for i in flat[:8]] + ["..."] * (len(flat) > 8)
            else:
                names = [say("scaling.all_pixels")]
            if flat:
                text = say("scaling.flat", what=what, flat=len(flat), columns=columns, names=", ".join(names))
                lines.append(text)
        return lines

    def to_state(self) -> dict[str, Any]:
        return {name: scaler.to_state() for name, scaler in vars(self).items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Scalers:
        """Return the scalers of a checkpoint.

        Raises:
            ValueError: the state is not one of ours.
        """
        try:
            return cls(*(Scaler.from_state(state[name]) for name in ("continuum", "normalized", "labels")))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the state of the scalers: {error!r}") from error


def fit(kind: str, values: np.ndarray, rows: np.ndarray | None = None, *, pooled: bool = False) -> Scaler:
    """Return a scaler of `values` [N, C], looking only at `rows` (all, if None) and at finite values.

    `pooled` takes the whole array as one column: every pixel of a branch gets the same two numbers, so
    the shape of a spectrum survives.

    Raises:
        ValueError: the kind is unknown (the conf's schema lets none through).
    """
    if kind not in KINDS:
        raise ValueError(f"unknown scaler {kind!r}; one of {', '.join(KINDS)}")
    columns = 1 if pooled else values.shape[1]
    if kind == "none":
        return Scaler(kind, np.zeros(columns), np.ones(columns))
    centre, scale = {"standard": _standard, "minmax": _minmax, "robust": _robust}[kind](values, rows, pooled)
    bad = ~np.isfinite(centre) | ~np.isfinite(scale) | (scale <= np.abs(centre) * 1e-12)
    centre = np.where(np.isfinite(centre), centre, 0.0)
    return Scaler(kind, centre, np.where(bad, 1.0, scale), tuple(np.flatnonzero(bad).tolist()))


def _blocks(values: np.ndarray, rows: np.ndarray | None = None) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (place, rows of `values`), about `BLOCK` values at a time."""
    count = len(values) if rows is None else len(rows)
    step = max(1, BLOCK // max(1, values.shape[1]))
    for start in range(0, count, step):
        place = slice(start, min(count, start + step))
        yield place, values[place] if rows is None else values[rows[place]]


def _standard(values: np.ndarray, rows: np.ndarray | None, pooled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation in one pass.

    Blocks are merged as in Chan, Golub & LeVeque (1983, The American Statistician 37, 242): sums of squares
    of raw fluxes would lose all their digits.
    """
    count, mean, squares = np.zeros(1), np.zeros(1), np.zeros(1)
    for _, block in _blocks(values, rows):
        wide = block.astype(np.float64).reshape(-1, 1) if pooled else block.astype(np.float64)
        number = np.full(wide.shape[1], float(len(wide)))
        total = wide.sum(axis=0)
        there = None
        if not np.isfinite(total).all():
            there = np.isfinite(wide)
            wide[~there] = 0.0
            number, total = there.sum(axis=0).astype(np.float64), wide.sum(axis=0)
        middle = total / np.maximum(number, 1)
        wide -= middle
        if there is not None:
            wide[~there] = 0.0
        shift, together = middle - mean, np.maximum(count + number, 1)
        squares = squares + np.einsum("ij,ij->j", wide, wide) + shift**2 * count * number / together
        mean = mean + shift * number / together
        count = count + number
    empty = count == 0
    return np.where(empty, np.nan, mean), np.sqrt(squares / np.maximum(count, 1))


def _minmax(values: np.ndarray, rows: np.ndarray | None, pooled: bool) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.full(1, np.inf), np.full(1, -np.inf)
    for _, block in _blocks(values, rows):
        wide = block.reshape(-1, 1) if pooled else block
        below, above = wide.min(axis=0), wide.max(axis=0)
        if not (np.isfinite(below).all() and np.isfinite(above).all()):
            there = np.isfinite(wide)
            below = np.where(there, wide, np.inf).min(axis=0)
            above = np.where(there, wide, -np.inf).max(axis=0)
        low, high = np.minimum(low, below), np.maximum(high, above)
    return low.astype(np.float64), high.astype(np.float64) - low.astype(np.float64)


def _robust(values: np.ndarray, rows: np.ndarray | None, pooled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return median and interquartile range, of every k-th pixel (pooled) or star when there are too many."""
    stars, columns = len(values) if rows is None else len(rows), values.shape[1]
    limit = SAMPLE // 4 if pooled else SAMPLE  # one column needs far fewer values than thousands do
    stride = max(1, -(-stars * columns // limit))
    if pooled:
        while math.gcd(stride, columns) > 1:
            stride += 1  # a divisor of the row's length would look at the same few pixels of every star
        # copied: a strided view would keep its whole block alive
        picked = [block.ravel()[::stride].copy() for _, block in _blocks(values, rows)]
    else:
        chosen = (np.arange(stars) if rows is None else rows)[::stride]
        picked = [block for _, block in _blocks(values, chosen)]
    sample = np.concatenate(picked)
    sample = sample.reshape(-1, 1) if pooled else sample
    quartiles = np.full((3, sample.shape[1]), np.nan)
    step = max(1, BLOCK // len(sample))
    for start in range(0, sample.shape[1], step):
        wide = sample[:, start : start + step].astype(np.float64)
        if np.isfinite(wide).all():
            quartiles[:, start : start + step] = np.percentile(wide, _QUARTILES, axis=0, overwrite_input=True)
            continue
        for column in range(wide.shape[1]):
            there = wide[np.isfinite(wide[:, column]), column]
            if len(there):
                quartiles[:, start + column] = np.percentile(there, _QUARTILES)
    return quartiles[1], quartiles[2] - quartiles[0]
