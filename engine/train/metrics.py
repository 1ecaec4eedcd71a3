"""Errors per label in the label's own unit (K or dex); missing labels do not count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def label_errors(predicted_NT: Array, truth_NT: Array, targets: list[str]) -> dict[str, dict[str, float]]:
    """Return n, mae, rmse, bias, sigma_mad and r2 of each label.

    sigma_mad = 1.4826 * median(|e - median(e)|): the scatter that a few outliers do not move.
    r2 is NaN where the truth does not vary.
    """
    result: dict[str, dict[str, float]] = {}
    for column, name in enumerate(targets):
        truth_N, predicted_N = (
            truth_NT[:, column].astype(np.float64),
            predicted_NT[:, column].astype(np.float64),
        )
        present_N = np.isfinite(truth_N)
        error_N = predicted_N[present_N] - truth_N[present_N]
        if not error_N.size:
            result[name] = {"n": 0}
            continue
        spread = float(np.sum((truth_N[present_N] - truth_N[present_N].mean()) ** 2))
        result[name] = {
            "n": int(error_N.size),
            "mae": float(np.abs(error_N).mean()),
            "rmse": float(np.sqrt((error_N**2).mean())),
            "bias": float(error_N.mean()),
            "sigma_mad": float(1.4826 * np.median(np.abs(error_N - np.median(error_N)))),
            "r2": float(1 - (error_N**2).sum() / spread) if spread > 0 else float("nan"),
        }
    return result
