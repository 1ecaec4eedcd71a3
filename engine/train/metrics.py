"""How far predictions are from the truth; missing labels do not count.

Errors per label are in the label's own unit (K or dex). Errors of different labels are pooled only after each
was divided by the label's scale: pooled as they are, Kelvins would drown everything else. The FeH classes and
their edges are those that training draws by (`engine.spectra.resample`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.spectra import label_units
from engine.spectra.resample import CLASSES, class_of

Array = NDArray[np.floating]
OUTLIER_SIGMAS = 3.0


def label_errors(predicted_NT: Array, truth_NT: Array, targets: list[str]) -> dict[str, dict[str, float]]:
    """Return n, mae, rmse, bias, sigma_mad, r2 and outlier_rate of each label; only n = 0 if none is known.

    bias = mean(e) and e = predicted - true.
    sigma_mad = 1.4826 * median(|e - median(e)|): the scatter that a few outliers do not move.
    r2 is NaN where the truth does not vary.
    outlier_rate is the share of stars with |e - median(e)| > 3 sigma_mad: 0.0027 for normal errors.
    """
    result: dict[str, dict[str, float]] = {}
    for column, name in enumerate(targets):
        truth_N = truth_NT[:, column].astype(np.float64)
        present_N = np.isfinite(truth_N)
        truth_N = truth_N[present_N]
        error_N = predicted_NT[present_N, column].astype(np.float64) - truth_N
        result[name] = _summary(error_N, _spread(truth_N))
    return result


def scaled_errors(predicted_NT: Array, truth_NT: Array, scale_T: Array) -> dict[str, float]:
    """Return the same over all labels at once, each error in units of its label's scale; NaN: left out.

    n counts pairs of star and label. r2 compares with the best constant of each label (its mean over these
    stars), summed in scaled units.
    """
    errors, spread = [np.empty(0)], 0.0
    for column in np.flatnonzero(np.isfinite(scale_T)):
        truth_N = truth_NT[:, column].astype(np.float64) / scale_T[column]
        present_N = np.isfinite(truth_N)
        errors.append(predicted_NT[present_N, column] / scale_T[column] - truth_N[present_N])
        spread += _spread(truth_N[present_N])
    return _summary(np.concatenate(errors), spread)


def _summary(error_N: Array, spread: float) -> dict[str, float]:
    if not error_N.size:
        return {"n": 0}
    with np.errstate(invalid="ignore"):  # infinite predictions: inf - inf
        from_middle_N = np.abs(error_N - np.median(error_N))
    sigma_mad = float(1.4826 * np.median(from_middle_N))
    outliers_N = from_middle_N > OUTLIER_SIGMAS * sigma_mad
    return {
        "n": int(error_N.size),
        "mae": float(np.abs(error_N).mean()),
        "rmse": float(np.sqrt((error_N**2).mean())),
        "bias": float(error_N.mean()),
        "sigma_mad": sigma_mad,
        "r2": float(1 - (error_N**2).sum() / spread) if spread > 0 else float("nan"),
        "outlier_rate": float(outliers_N.mean()) if np.isfinite(sigma_mad) else float("nan"),
    }


def _spread(truth_N: Array) -> float:
    """Return the sum of squares about the mean; 0 when all are equal, whatever the mean is rounded to."""
    if not truth_N.size or truth_N.max() == truth_N.min():
        return 0.0
    return float(np.sum((truth_N - truth_N.mean()) ** 2))


# -- FeH classes --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scores:
    """Precision, recall and F1 of a class, or a mean of them, and the stars that are truly in it."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class ClassErrors:
    """Classes by the predicted FeH against classes by the true one.

    `confusion` [C, C] counts stars, rows = truth; a star whose prediction is not a number is in no column and
    counts as wrong. A class that no star is truly in scores 0 and takes no part in the macro means; the
    weighted means weigh each class by its stars.
    """

    confusion: NDArray[np.int64]
    by_class: dict[str, Scores]
    accuracy: float
    macro: Scores
    weighted: Scores


def feh_column(targets: list[str]) -> int | None:
    """Return which target is FeH, by its name; None when none is."""
    return next((place for place, name in enumerate(targets) if label_units.plain(name) == "feh"), None)


def feh_classes(predicted_N: Array, truth_N: Array) -> ClassErrors | None:
    """Return how well FeH classes are told apart; None when no star's FeH is known."""
    known_N = np.isfinite(truth_N)
    if not known_N.any():
        return None
    true_N, predicted_N = class_of(truth_N[known_N]), predicted_N[known_N]
    support_C = np.bincount(true_N, minlength=len(CLASSES))
    number_N = ~np.isnan(predicted_N)
    confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(confusion, (true_N[number_N], class_of(predicted_N[number_N])), 1)

    hits_C, called_C = np.diag(confusion), confusion.sum(axis=0)
    precision_C, recall_C = _ratio(hits_C, called_C), _ratio(hits_C, support_C)
    f1_C = _ratio(2 * hits_C, called_C + support_C) * (support_C > 0)
    table_CS = np.stack((precision_C, recall_C, f1_C), axis=1)
    total = int(support_C.sum())
    return ClassErrors(
        confusion,
        {name: _scores(table_CS[c], support_C[c]) for c, name in enumerate(CLASSES)},
        float(hits_C.sum() / total),
        _scores(table_CS[support_C > 0].mean(axis=0), total),
        _scores(support_C @ table_CS / total, total),
    )


def _scores(of_S: Array, support: int) -> Scores:
    precision, recall, f1 = map(float, of_S)
    return Scores(precision, recall, f1, int(support))


def _ratio(part_C: NDArray[np.int64], whole_C: NDArray[np.int64]) -> Array:
    """Return part / whole, 0 where there is nothing."""
    return part_C / np.maximum(whole_C, 1)
