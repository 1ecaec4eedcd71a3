"""What is recorded for the advisor alone: events that tell what a curve cannot.

    reach        after an evaluation: which values the network gave, and which it should have given
    worst        after an evaluation: the stars that lead the error
    populations  once: how the training stars differ from the validation stars, and which are in both
    dead         after an epoch: parameters whose gradient was exactly 0 whenever it was looked at

Each is a few hundred bytes and costs no copy from the device that was not made anyway. Judges nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.spectra.split import Split
from engine.spectra.stars import Stars
from engine.train.evaluate import Evaluation
from engine.train.learn import Learner

_WORST = 5
_SAMPLE = 200
_TWINS = 200  # candidates whose spectra are compared
_EXAMPLES = 5
_FAR = 1e6  # scatters: farther is as bad
_AT_THE_EDGE = 0.005  # of the range of what was predicted

Signs = dict[str, dict[str, Any]]


def of_evaluation(targets: Sequence[str], obsids: Sequence[str]) -> Callable[[Evaluation], Signs]:
    """Return what makes the events of an evaluation of these stars."""
    return lambda seen: {"reach": {"labels": reach(seen, targets)}, "worst": worst(seen, obsids)}


def reach(seen: Evaluation, targets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the range and spread of each label as predicted and as it is.

    `below` and `above` are the shares of stars whose label lies beyond all predictions, `at_low` and
    `at_high` those predicted within a hair of the lowest and highest prediction.
    """
    found: dict[str, dict[str, Any]] = {}
    for column, label in enumerate(targets):
        truth, predicted = seen.truth_NT[:, column], seen.predicted_NT[:, column]
        known = np.isfinite(truth) & np.isfinite(predicted)
        if known.sum() < 2:
            continue
        truth, predicted = truth[known].astype(np.float64), predicted[known].astype(np.float64)
        low, high = float(predicted.min()), float(predicted.max())
        hair = _AT_THE_EDGE * (high - low)
        found[label] = {
            "predicted": [_short(low), _short(high)],
            "truth": [_short(truth.min()), _short(truth.max())],
            "spread": _short(predicted.std()),
            "truth_spread": _short(truth.std()),
            "below": _short((truth < low).mean()),
            "above": _short((truth > high).mean()),
            "at_low": _short((predicted <= low + hair).mean()),
            "at_high": _short((predicted >= high - hair).mean()),
        }
    return found


def worst(seen: Evaluation, obsids: Sequence[str]) -> dict[str, Any]:
    """Return the stars with the largest error, over all labels in units of each label's scatter.

    `errors` are theirs, `share` what they have of the summed squares, `typical` the middle star's error.
    """
    truth = seen.truth_NT.astype(np.float64)
    # of the middle half: a star with an absurd label must not become the measure of itself
    scale_T = np.array([_middle_half(column) for column in truth.T])
    missed = np.nan_to_num(seen.predicted_NT - truth, nan=_FAR, posinf=_FAR, neginf=_FAR)
    known = np.isfinite(truth)
    square = np.where(known, np.clip(missed / scale_T, -_FAR, _FAR), 0.0) ** 2
    error_N = np.sqrt(square.sum(axis=1) / np.maximum(known.sum(axis=1), 1))
    chosen = np.argsort(error_N)[::-1][:_WORST]
    total = float((error_N**2).sum())
    return {
        "obsids": [str(obsids[i]) for i in chosen],
        "errors": [_short(error_N[i]) for i in chosen],
        "share": [_short(error_N[i] ** 2 / total) if total else 0.0 for i in chosen],
        "typical": _short(np.median(error_N)) if len(error_N) else 0.0,
        "stars": len(error_N),
    }


def populations(stars: Stars, split: Split, group: str) -> dict[str, Any]:
    """Return means and scatters of labels and flux in train and val, and the stars that are in both."""
    parts = {"train": split.train, "val": split.val}
    if not all(len(index) for index in parts.values()):
        return {}
    labels = {
        label: {part: _spread(stars.labels[index, column]) for part, index in parts.items()}
        for column, label in enumerate(stars.targets)
    }
    flux: dict[str, dict[str, list[float]]] = {}
    for branch in stars.branches:
        for part, index in parts.items():
            rows_NL = np.asarray(getattr(stars, branch)[_some(index)], dtype=np.float64)
            for what, of_row in (("level", np.median(rows_NL, axis=1)), ("contrast", rows_NL.std(axis=1))):
                flux.setdefault(f"{branch} {what}", {})[part] = _spread(of_row)
    return {"labels": labels, "flux": flux, **_both(stars, split, group)}


def silent(learner: Learner) -> Callable[[], set[str]]:
    """Return a function that names the parameters that learn but had no gradient at the last step."""

    def now() -> set[str]:
        if learner.norms_P is None:
            return set()
        named = [(name, p) for name, p in learner.state.network.named_parameters() if p.requires_grad]
        unused = {name for name, p in named if p.grad is None}
        norms = learner.norms_P.tolist()
        used = [name for name, _ in named if name not in unused]
        if len(used) != len(norms):  # the gradients are another step's
            return set()
        return unused | {name for name, norm in zip(used, norms, strict=True) if norm == 0.0}

    return now


def scale_of(learner: Learner) -> Callable[[], dict[str, float]]:
    """Return a function that gives fp16's scale; nothing where there is none."""

    def now() -> dict[str, float]:
        scaler = learner.state.scaler
        return {} if scaler is None else {"loss_scale": float(scaler.get_scale())}

    return now


def _middle_half(values: NDArray[Any]) -> float:
    """Return the scatter of the middle half of the finite values, never 0."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 1.0
    low, high = np.percentile(finite, [25, 75])
    return float(high - low) / 1.349 or max(1.0, abs(float(low)))


def _both(stars: Stars, split: Split, group: str) -> dict[str, Any]:
    """Return how many validation stars are among the training stars too, by their id and by their twins."""
    found: dict[str, Any] = {"val_stars": len(split.val)}
    ids = stars.columns.get(group)
    if ids is not None:
        known = {str(i) for i in ids[split.train].tolist()} - {"", "nan", "None"}
        same = [int(i) for i in split.val if str(ids[i]) in known]
        found |= {"same_id": len(same), "id_column": group, "id_examples": _names(stars, same)}
    of_labels: dict[bytes, int] = {}
    for i in split.train:
        of_labels.setdefault(stars.labels[i].tobytes(), int(i))
    twins = [(int(i), of_labels[key]) for i in split.val if (key := stars.labels[i].tobytes()) in of_labels]
    twins = [pair for pair in twins if np.isfinite(stars.labels[pair[0]]).sum() > 1]
    same = [i for i, j in twins[:_TWINS] if np.array_equal(stars.normalized[i], stars.normalized[j])]
    return found | {
        "same_labels": len(twins),
        "same_spectrum": len(same),
        "twins": _names(stars, same or [i for i, _ in twins]),
    }


def _names(stars: Stars, rows: Sequence[int]) -> list[str]:
    return [str(stars.obsid[i]) for i in rows[:_EXAMPLES]]


def _some(index: NDArray[Any]) -> NDArray[Any]:
    """Return rows spread evenly over a part, at most `_SAMPLE`, ascending."""
    return np.asarray(index[:: math.ceil(len(index) / _SAMPLE)])


def _spread(values: NDArray[Any]) -> list[float]:
    """Return mean, standard deviation and number of the finite values."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if not len(finite):
        return [0.0, 0.0, 0]
    return [_short(finite.mean()), _short(finite.std()), len(finite)]


def _short(value: Any) -> float:
    return float(f"{float(value):.5g}")
