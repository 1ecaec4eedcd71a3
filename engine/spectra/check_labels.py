"""Label columns described: range, holes, outliers, a histogram with well-chosen bins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

OUTLYING = 3.0  # interquartile ranges beyond the quartiles: 4.7 sigma of a normal label
FIRST = 5
_MOST_BINS = 24
# beyond these no star of the surveys is; a value there is a code for "missing" or another unit
POSSIBLE = {"teff": (2000.0, 60_000.0), "logg": (-1.5, 9.5), "feh": (-8.0, 2.0), "cfe": (-3.0, 5.0)}


def describe(name: str, values: np.ndarray, obsid: np.ndarray) -> dict[str, Any]:
    """Return number, missing, and for a label with values: range, quartiles, outliers, histogram.

    An outlier is further than 3 interquartile ranges from the quartiles (the outer fences of Tukey 1977),
    which holds for a label of two humps, dwarfs and giants, where a deviation from the median does not.
    `impossible` counts values that no star has.
    """
    there = np.isfinite(values)
    x = values[there]
    told: dict[str, Any] = {"number": int(there.sum()), "missing": int((~there).sum())}
    if not len(x):
        return told
    numbers = {"min": x.min(), "max": x.max(), "mean": x.mean(), "sd": x.std()}
    numbers |= dict(zip(("q25", "median", "q75"), np.percentile(x, [25, 50, 75]), strict=True))
    told |= {key: round(float(value), 4) for key, value in numbers.items()}
    median = float(np.median(x))
    fences = _fences(x)
    with np.errstate(invalid="ignore"):
        far = (values < fences[0]) | (values > fences[1])
    low, high = POSSIBLE.get(name.replace("/", "").strip("[]").lower(), (-math.inf, math.inf))
    with np.errstate(invalid="ignore"):
        wrong = (values < low) | (values > high)
    worst = np.argsort(-np.abs(np.where(there, values - median, 0.0)), kind="stable")
    told["outliers"] = _few(far, worst, values, obsid)
    told["impossible"] = _few(wrong, worst, values, obsid)
    told["histogram"] = histogram(x, fences)
    return told


def histogram(x: np.ndarray, fences: tuple[float, float]) -> dict[str, Any]:
    """Return edges, counts, and how many values lie below and above them.

    Bins are of Freedman and Diaconis's (1981) width, rounded to 1, 2 or 5 times a power of ten; the range
    is that of the values without outliers.
    """
    low, high = max(float(x.min()), fences[0]), min(float(x.max()), fences[1])
    if not high > low:
        return {"edges": [low, high], "counts": [len(x)], "below": 0, "above": 0}
    q25, q75 = np.percentile(x, [25, 75])
    wanted = 2.0 * float(q75 - q25) / len(x) ** (1 / 3)
    step = _nice(max(wanted, (high - low) / _MOST_BINS))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    edges = np.arange(first, last + 1) * step
    counts, _ = np.histogram(x, edges)
    return {
        "edges": [round(float(edge), 10) for edge in edges],
        "counts": counts.tolist(),
        "below": int((x < edges[0]).sum()),
        "above": int((x > edges[-1]).sum()),
    }


def quartiles(values: np.ndarray) -> dict[str, Any] | None:
    """Return number, min, quartiles and max of the finite values, None when there is none."""
    x = values[np.isfinite(values)]
    if not len(x):
        return None
    names = ("min", "q25", "median", "q75", "max")
    told: dict[str, Any] = {"number": len(x)}
    return told | {
        k: round(float(v), 2) for k, v in zip(names, np.percentile(x, [0, 25, 50, 75, 100]), strict=True)
    }


def _fences(x: np.ndarray) -> tuple[float, float]:
    q25, q75 = (float(q) for q in np.percentile(x, [25, 75]))
    reach = OUTLYING * (q75 - q25) if q75 > q25 else math.inf
    return q25 - reach, q75 + reach


def _few(mask: np.ndarray, order: np.ndarray, values: np.ndarray, obsid: np.ndarray) -> dict[str, Any]:
    """Return how many, and the furthest few with their obsids."""
    chosen = order[mask[order]][:FIRST]
    first = [{"obsid": obsid[i].item(), "value": round(float(values[i]), 4)} for i in chosen]
    return {"number": int(mask.sum()), "first": first}


def _nice(width: float) -> float:
    power = 10.0 ** math.floor(math.log10(width))
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= width * (1 - 1e-9))
