"""Numbers brought near one and back: fitted on the train rows, kept in the checkpoint.

Owns the four kinds of scaling. A fit sees only the rows it is given: no statistic leaks from val or test.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = ("standard", "minmax", "robust", "none")
BLOCK = 1024
SAMPLE = 1 << 25  # quartiles of more values than this are taken from every k-th: 134 MB at most


@dataclass(frozen=True)
class Scaler:
    """value -> (value - centre) / scale, per column [C], or one pair [1] for a whole branch.

    `flat` counts columns whose spread is zero or unknown; they got scale 1 and deserve a warning.
    """

    kind: str
    centre: np.ndarray
    scale: np.ndarray
    flat: int = 0

    def transform(self, values: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return scaled float32 values [N, C]; NaN stays NaN. `out` may be `values` itself."""
        out = np.empty(values.shape, np.float32) if out is None else out
        for rows, block in _blocks(values):
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
            "flat": self.flat,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Scaler:
        """Return the scaler that `to_state` described.

        Raises:
            ValueError: the state is not one of ours.
        """
        kind = state["kind"]
        centre = np.asarray(state["centre"], np.float64)
        scale = np.asarray(state["scale"], np.float64)
        if kind not in KINDS or centre.shape != scale.shape or centre.ndim != 1 or not (scale != 0).all():
            raise ValueError(f"not the state of a scaler: {state!r:.200}")
        return cls(kind, centre, scale, int(state.get("flat", 0)))


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
    return Scaler(kind, centre, np.where(bad, 1.0, scale), int(bad.sum()))


def _blocks(values: np.ndarray, rows: np.ndarray | None = None) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (place, rows of `values`) a thousand at a time."""
    count = len(values) if rows is None else len(rows)
    for start in range(0, count, BLOCK):
        place = slice(start, min(count, start + BLOCK))
        yield place, values[place] if rows is None else values[rows[place]]


def _columns(values: np.ndarray, rows: np.ndarray | None, pooled: bool) -> Iterator[np.ndarray]:
    """Yield float64 blocks [n, C] with NaN for whatever is not finite; C is 1 when pooled."""
    for _, block in _blocks(values, rows):
        wide = block.astype(np.float64)
        wide[~np.isfinite(wide)] = np.nan
        yield wide.reshape(-1, 1) if pooled else wide


def _standard(values: np.ndarray, rows: np.ndarray | None, pooled: bool) -> tuple[np.ndarray, np.ndarray]:
    count = total = squares = np.zeros(1)
    for block in _columns(values, rows, pooled):
        count = count + np.isfinite(block).sum(axis=0)
        total = total + np.nansum(block, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        # a second pass around the mean: sums of squares of raw fluxes would lose all their digits
        for block in _columns(values, rows, pooled):
            squares = squares + np.nansum((block - mean) ** 2, axis=0)
        return mean, np.sqrt(squares / count)


def _minmax(values: np.ndarray, rows: np.ndarray | None, pooled: bool) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.full(1, np.inf), np.full(1, -np.inf)
    for block in _columns(values, rows, pooled):
        low = np.fmin(low, np.fmin.reduce(block, axis=0, initial=np.inf))
        high = np.fmax(high, np.fmax.reduce(block, axis=0, initial=-np.inf))
    return low, high - low


def _robust(values: np.ndarray, rows: np.ndarray | None, pooled: bool) -> tuple[np.ndarray, np.ndarray]:
    count = (len(values) if rows is None else len(rows)) * values.shape[1]
    stride = max(1, -(-count // SAMPLE)) if pooled else 1
    while math.gcd(stride, values.shape[1]) > 1 and stride > 1:
        stride += 1  # a divisor of the row's length would look at the same few pixels of every star
    sample = np.concatenate([block[::stride].astype(np.float32) for block in _columns(values, rows, pooled)])
    quartiles = np.full((3, sample.shape[1]), np.nan)
    for c in range(sample.shape[1]):
        there = sample[:, c][~np.isnan(sample[:, c])]
        if len(there):
            quartiles[:, c] = np.percentile(there, [25, 50, 75])
    return quartiles[1], quartiles[2] - quartiles[0]
