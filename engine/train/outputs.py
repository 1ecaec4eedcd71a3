"""What a finished run leaves beside its checkpoints: predictions, errors, FeH classes and their figures.

Owns the one look at the test rows. Every file is written whole or not at all, and a figure that cannot be
drawn is said and costs nothing.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.conf.schema import Conf
from engine.figures import predictions as figures
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, write_whole
from engine.spectra.resample import CLASSES
from engine.spectra.scale import Scaler, fit
from engine.spectra.split import Split
from engine.spectra.stars import Stars
from engine.train.evaluate import Evaluation
from engine.train.metrics import ClassErrors, feh_classes, feh_column, scaled_errors
from engine.train.report import Report
from engine.train.rows import Rows
from engine.words import say

ALL = "all (scaled)"
_METRICS = ("part", "label", "n", "mae", "rmse", "bias", "sigma_mad", "r2", "mean_mae", "outlier_rate")


def write_outputs(
    conf: Conf,
    folder: RunFolder,
    parts: Mapping[str, Rows],
    stars: Stars,
    split: Split,
    events: EventLog,
    report: Report,
    look_at: Callable[[str], Evaluation],
    best_epoch: int,
    labels: Scaler,
) -> None:
    """Look at the held-out rows once with the best weights; write tables, the test event and figures.

    `look_at` evaluates the best weights on a part; `labels` is the scaler that training used.
    """
    targets = conf.data.targets
    train_NT = stars.labels[split.train].astype(np.float64)
    train_mean_T, scale_T = _means(train_NT), error_scale(labels, train_NT)
    seen = {part: look_at(part) for part in ("val", "test") if len(parts[part])}
    rows: list[dict[str, Any]] = []
    classes: dict[str, ClassErrors] = {}
    for part, found in seen.items():
        _write_predictions(folder.predictions / f"{part}.csv", parts[part].obsids, targets, found)
        missed_NT = np.abs(found.truth_NT - train_mean_T)
        for column, label in enumerate(targets):
            rows.append({"part": part, "label": label, **found.errors[label]})
            if rows[-1]["n"]:
                rows[-1]["mean_mae"] = float(_means(missed_NT[:, [column]])[0])
        pooled = scaled_errors(found.predicted_NT, found.truth_NT, scale_T)
        rows.append({"part": part, "label": ALL, **pooled})
        if pooled["n"]:
            rows[-1]["mean_mae"] = float(_means((missed_NT / scale_T).reshape(-1, 1))[0])
        # As it was read: scaled and scaled back, an FeH of -2 may come out a hair above and in another class.
        truth_NT = stars.labels[split.part(part)]
        column_of_feh = feh_column(targets)
        if column_of_feh is not None:
            sorted_out = feh_classes(found.predicted_NT[:, column_of_feh], truth_NT[:, column_of_feh])
            if sorted_out is not None:
                classes[part] = sorted_out
    write_whole(folder.metrics, _csv(_METRICS, ([_cell(row.get(name)) for name in _METRICS] for row in rows)))
    if classes:
        _write_classes(folder, classes)
    tested = [row for row in rows if row["part"] == "test"]
    if tested:
        values = _values(tested, classes.get("test")) | {"loss": seen["test"].loss}
        events.append("test", epoch=best_epoch, values=values, stars=len(parts["test"]))
        for line in test_table(tested[:-1], len(parts["test"]), best_epoch):
            report.fact(line)
        for line in _summary(values):
            report.fact(line)
    draw(folder, report, targets, seen, classes)


def error_scale(labels: Scaler, train_NT: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what errors of each label are divided by before they are pooled: the label scaler's scale.

    Where the scaler changes nothing, the standard deviation of the training labels takes its place: K and dex
    are never pooled. NaN, which leaves the label out, where the training labels do not vary.
    """
    taken = fit("standard", train_NT) if labels.kind == "none" else labels
    scale_T = np.abs(np.broadcast_to(taken.scale, train_NT.shape[1:])).astype(np.float64)
    scale_T[list(taken.flat)] = math.nan
    return scale_T


def test_table(rows: list[dict[str, Any]], stars: int, best_epoch: int) -> list[str]:
    """Return the table of test errors as lines."""
    words = {
        name: say(f"train.test_words.{name}")
        for name in ("label", "n", "mae", "mean", "ratio", "scatter", "bias")
    }
    lines = [say("train.test_title", stars=stars, epoch=best_epoch), say("train.test_head", **words)]
    for row in rows:
        shown = dict.fromkeys(words, "-") | {"label": row["label"], "n": row["n"]}
        if row["n"]:
            shown |= {
                "mae": f"{row['mae']:.4g}",
                "mean": f"{row['mean_mae']:.4g}",
                "ratio": f"{row['mae'] / row['mean_mae']:.2f}" if row["mean_mae"] else "-",
                "scatter": f"{row['sigma_mad']:.4g}",
                "bias": f"{row['bias']:+.3g}",
            }
        lines.append(say("train.test_head", **shown))
    return lines


def draw(
    folder: RunFolder,
    report: Report,
    targets: Sequence[str],
    seen: Mapping[str, Evaluation],
    classes: Mapping[str, ClassErrors],
) -> None:
    """Draw what was seen; say which figure could not be drawn, and go on."""

    def attempt(name: str, picture: Callable[..., Path], *what: Any) -> None:
        try:
            picture(folder, *what)
        except Exception as error:  # noqa: BLE001 - a figure that cannot be drawn must not cost the run; it is said
            report.line(say("train.no_figure", file=name, error=f"{type(error).__name__}: {error}"))

    for part, found in seen.items():
        what = (part, targets, found.truth_NT, found.predicted_NT, found.errors)
        attempt(f"one_to_one_{part}.pdf", figures.draw_one_to_one, *what)
        attempt(f"residuals_{part}.pdf", figures.draw_residuals, *what)
    if "test" in classes:
        confusion = classes["test"].confusion
        attempt("feh_classes_test.pdf", figures.draw_classes, "test", confusion, CLASSES)


def _values(tested: list[dict[str, Any]], classes: ClassErrors | None) -> dict[str, float]:
    """Return the values of the test event, by name."""
    values = {
        f"{row['label']}_{kind}": row[kind] for row in tested[:-1] for kind in row if kind not in _METRICS[:2]
    }
    values |= {f"scaled_{kind}": tested[-1][kind] for kind in ("mae", "rmse") if kind in tested[-1]}
    if classes is not None:
        values |= {"feh_accuracy": classes.accuracy, "feh_macro_f1": classes.macro.f1}
    return values


def _summary(values: Mapping[str, float]) -> list[str]:
    """Return what is said below the table of test errors."""
    lines = []
    if "scaled_mae" in values:
        mae, rmse = (f"{values[f'scaled_{kind}']:.4g}" for kind in ("mae", "rmse"))
        lines.append(say("train.test_scaled", mae=mae, rmse=rmse))
    if "feh_accuracy" in values:
        accuracy, f1 = (f"{values[f'feh_{kind}']:.3f}" for kind in ("accuracy", "macro_f1"))
        lines.append(say("train.test_feh", accuracy=accuracy, f1=f1))
    return [*lines, say("train.test_once")]


def _write_predictions(path: Path, obsids: list[str], targets: list[str], seen: Evaluation) -> None:
    """Write obsid, then truth, prediction and (if any) sigma of each label, in the order of the rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"true": seen.truth_NT, "pred": seen.predicted_NT}
    if seen.sigma_NT is not None:
        kinds["err"] = seen.sigma_NT
    pairs_NP = np.stack(list(kinds.values()), axis=2).reshape(len(obsids), -1).tolist()
    rows = (
        [obsid, *("" if math.isnan(value) else f"{value:.6g}" for value in values)]
        for obsid, values in zip(obsids, pairs_NP, strict=True)
    )
    write_whole(path, _csv(["obsid", *(f"{t}_{kind}" for t in targets for kind in kinds)], rows))


def _write_classes(folder: RunFolder, classes: Mapping[str, ClassErrors]) -> None:
    """Write metrics_feh.csv and confusion_feh.csv (rows = truth), val and test one below the other.

    The row `accuracy` has it in every column: counted over all stars, precision, recall and F1 are one.
    """
    scores: list[list[Any]] = []
    counts: list[list[Any]] = []
    for part, found in classes.items():
        total = found.macro.support
        scores += [[part, name, *map(_cell, vars(s).values())] for name, s in found.by_class.items()]
        scores += [[part, "accuracy", *[_cell(found.accuracy)] * 3, total]]
        for name, mean in (("macro", found.macro), ("weighted", found.weighted)):
            scores.append([part, name, *map(_cell, vars(mean).values())])
        counts += [[part, name, *row] for name, row in zip(CLASSES, found.confusion.tolist(), strict=True)]
    write_whole(folder.metrics_feh, _csv(["part", "class", "precision", "recall", "f1", "support"], scores))
    write_whole(folder.confusion_feh, _csv(["part", "true", *CLASSES], counts))


def _csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Return what stands in a table: nothing for what is undefined."""
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def _means(values_NT: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each column over what is known; NaN where nothing is."""
    known_T = np.isfinite(values_NT).sum(axis=0)
    return np.where(known_T, np.nansum(values_NT, axis=0) / np.maximum(known_T, 1), math.nan)
