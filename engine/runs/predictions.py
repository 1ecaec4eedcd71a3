"""The predictions that a run left: read from predictions/<part>.csv, with the errors of each label.

Reads; never writes. Imports numpy inside functions only, so that asking for the names costs nothing.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import BadInput
from engine.runs.folder import RunFolder
from engine.words import say

if TYPE_CHECKING:
    import numpy as np

PARTS = ("test", "val")


@dataclass(frozen=True)
class Predictions:
    """One part of the data set: truth and prediction [N, T] of every star and label; NaN where unknown."""

    part: str
    labels: list[str]
    obsids: list[str]
    truth: np.ndarray
    predicted: np.ndarray

    def pairs(self, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows that have both, and their truth and prediction of a label."""
        import numpy as np

        truth, predicted = self.truth[:, label], self.predicted[:, label]
        rows = np.flatnonzero(np.isfinite(truth) & np.isfinite(predicted))
        return rows, truth[rows], predicted[rows]

    def worst(self, label: int, most: int) -> list[tuple[int, float]]:
        """Return the rows with the greatest errors of a label, and the errors, predicted - true."""
        import numpy as np

        rows, truth, predicted = self.pairs(label)
        error = predicted - truth
        order = np.argsort(-np.abs(error), kind="stable")[:most]
        return [(int(rows[i]), float(error[i])) for i in order]

    def errors(self, label: int) -> dict[str, float]:
        """Return n, mae, bias, sigma_mad and r2 of a label in its own unit, as metrics.csv has them."""
        import numpy as np

        _, truth, predicted = self.pairs(label)
        if not truth.size:
            return {"n": 0}
        error = predicted - truth
        middle = np.median(error)
        spread = float(((truth - truth.mean()) ** 2).sum()) if truth.max() > truth.min() else 0.0
        return {
            "n": int(truth.size),
            "mae": float(np.abs(error).mean()),
            "bias": float(error.mean()),
            "sigma_mad": float(1.4826 * np.median(np.abs(error - middle))),
            "r2": 1 - float((error**2).sum()) / spread if spread > 0 else math.nan,
        }


def parts(folder: RunFolder) -> list[str]:
    """Return the parts whose predictions are there: test before val, then others by name."""
    names = sorted(path.stem for path in folder.predictions.glob("*.csv"))
    return [*(p for p in PARTS if p in names), *(n for n in names if n not in PARTS)]


def read(folder: RunFolder, part: str) -> Predictions:
    """Return the predictions of one part.

    Raises:
        BadInput: the file cannot be read or is no table of predictions.
    """
    import numpy as np

    path = folder.predictions / f"{part}.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            head = next(rows, [])
            labels = [name.removesuffix("_true") for name in head if name.endswith("_true")]
            at = [(head.index(f"{label}_true"), head.index(f"{label}_pred")) for label in labels]
            if not labels or head[0] != "obsid":
                raise ValueError(say("run_predictions.no_table"))
            table = [row for row in rows if row]
        values = [[[_number(row[place]) for place in pair] for pair in at] for row in table]
    except (OSError, ValueError, IndexError) as error:
        raise BadInput(say("run_predictions.unreadable", path=path, error=error)) from error
    pairs = np.array(values, dtype=float).reshape(len(table), len(labels), 2)
    return Predictions(part, labels, [row[0] for row in table], pairs[:, :, 0], pairs[:, :, 1])


def _number(cell: str) -> float:
    return float(cell) if cell.strip() else math.nan
