"""Predictions of held-out stars against the truth: one-to-one, residuals, FeH classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.figures import page
from engine.runs.folder import RunFolder
from engine.spectra import label_units
from engine.words import say

Array = NDArray[np.floating]
Errors = Mapping[str, Mapping[str, float]]

_PANEL_INCHES = 3.4
_COLUMNS = 3
# A PDF keeps every point; beyond so many a picture of them is smaller, and looks the same.
_MOST_POINTS = 5000


def draw_one_to_one(
    folder: RunFolder, part: str, targets: Sequence[str], truth_NT: Array, predicted_NT: Array, errors: Errors
) -> Path:
    """Draw predicted against true, a panel for each label, into one_to_one_<part>.pdf."""
    figure = _page(folder, part, len(targets))
    for axes, label, truth_N, predicted_N in _panels(figure, targets, truth_NT, predicted_NT):
        axes.set_ylabel(_axis("figure.predicted", label), parse_math=False)
        if not truth_N.size:
            continue
        _scatter(axes, truth_N, predicted_N)
        axes.axline((truth_N[0], truth_N[0]), slope=1, color="black", lw=0.8)
        low, high = min(truth_N.min(), predicted_N.min()), max(truth_N.max(), predicted_N.max())
        margin = 0.04 * (high - low) or 1.0
        axes.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
        axes.set_aspect("equal")
        _box(axes, errors[label])
    return page.save(folder, f"one_to_one_{part}.pdf", figure)


def draw_residuals(
    folder: RunFolder, part: str, targets: Sequence[str], truth_NT: Array, predicted_NT: Array, errors: Errors
) -> Path:
    """Draw predicted - true against true into residuals_<part>.pdf.

    The dashed lines are 3 sigma_MAD about the median: what lies outside is what counts as an outlier.
    """
    figure = _page(folder, part, len(targets))
    for axes, label, truth_N, predicted_N in _panels(figure, targets, truth_NT, predicted_NT):
        axes.set_ylabel(_axis("figure.residual", label), parse_math=False)
        if not truth_N.size:
            continue
        error_N = predicted_N - truth_N
        _scatter(axes, truth_N, error_N)
        axes.axhline(0, color="black", lw=0.8)
        middle, width = float(np.median(error_N)), 3 * errors[label]["sigma_mad"]
        for height in (middle - width, middle + width):
            if math.isfinite(height):
                axes.axhline(height, color="tab:red", ls="--", lw=0.8)
        axes.margins(y=0.25)  # room for the box
        _box(axes, errors[label])
    return page.save(folder, f"residuals_{part}.pdf", figure)


def draw_classes(folder: RunFolder, part: str, confusion: NDArray[np.int64], classes: Sequence[str]) -> Path:
    """Draw the confusion matrix with its counts into feh_classes_<part>.pdf; rows = truth."""
    figure = page.blank(4.4, 4.0)
    axes = figure.add_subplot()
    # Shaded by the share of each row: else the common class would be the only one that is not white.
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*confusion.shape):
        colour = "white" if share[row, column] > 0.6 else "black"
        axes.text(column, row, str(confusion[row, column]), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel(say("figure.class_predicted"))
    axes.set_ylabel(say("figure.class_true"))
    axes.set_title(f"{folder.run_id}  {part}", fontsize=9)
    return page.save(folder, f"feh_classes_{part}.pdf", figure)


def _page(folder: RunFolder, part: str, panels: int) -> Any:
    columns = _columns(panels)
    figure = page.blank(_PANEL_INCHES * columns, _PANEL_INCHES * math.ceil(panels / columns) + 0.3)
    figure.suptitle(f"{folder.run_id}  {part}", fontsize=9)
    return figure


def _columns(panels: int) -> int:
    return 2 if panels == 4 else min(panels, _COLUMNS)


def _panels(
    figure: Any, targets: Sequence[str], truth_NT: Array, predicted_NT: Array
) -> Iterator[tuple[Any, str, Array, Array]]:
    """Yield the axes of each label with the pairs that can be drawn; where there are none it says so."""
    columns = _columns(len(targets))
    for place, label in enumerate(targets):
        axes = figure.add_subplot(math.ceil(len(targets) / columns), columns, place + 1)
        axes.set_xlabel(_axis("figure.truth", label), parse_math=False)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        truth_N, predicted_N = (x[:, place].astype(np.float64) for x in (truth_NT, predicted_NT))
        drawable_N = np.isfinite(truth_N) & np.isfinite(predicted_N)
        if not drawable_N.any():
            axes.text(0.5, 0.5, say("figure.empty"), ha="center", va="center", transform=axes.transAxes)
        yield axes, label, truth_N[drawable_N], predicted_N[drawable_N]


def _scatter(axes: Any, x_N: Array, y_N: Array) -> None:
    many = x_N.size > _MOST_POINTS
    size, alpha = (2.5, 0.25) if many else (3.5, 0.6)
    axes.plot(x_N, y_N, "o", ms=size, mew=0, alpha=alpha, color="tab:blue", rasterized=many)


def _box(axes: Any, errors: Mapping[str, float]) -> None:
    """Write N and the errors into the upper left corner."""
    lines = [f"N {errors['n']:.0f}"]
    names = {"mae": "MAE", "rmse": "RMSE", "sigma_mad": "sigma_MAD", "r2": "R2"}
    lines += [f"{name} {errors[kind]:.4g}" for kind, name in names.items() if not math.isnan(errors[kind])]
    frame = {"boxstyle": "round", "facecolor": "white", "edgecolor": "0.8", "alpha": 0.8}
    text = "\n".join(lines)
    axes.text(0.03, 0.97, text, transform=axes.transAxes, ha="left", va="top", fontsize=7, bbox=frame)


def _axis(key: str, label: str) -> str:
    unit = label_units.unit(label)
    return say(key, label=label) + (f" [{unit}]" if unit else "")
