"""The curves of a run, drawn from its events: `loss_curve.pdf`, `lr_curve.pdf`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from engine.figures import page
from engine.runs.record import Curve, Record
from engine.words import say

_COLUMNS = 2000


def draw_curves(record: Record) -> list[Path]:
    """Draw loss and learning rate of a run into its figures/ folder; return the files, if any."""
    if not record.curves:
        return []
    drawn: list[Path] = []
    plots = {
        "loss_curve.pdf": ("train_loss", "val_loss"),
        "lr_curve.pdf": ("learning_rate",),
    }
    for name, keys in plots.items():
        lines = {key: record.curves[key] for key in keys if key in record.curves}
        if not lines:
            continue
        figure = page.blank(6.4, 4.0)
        axes = figure.add_subplot()
        positive: list[float] = []
        for key, curve in lines.items():
            steps, values = thinned(curve)
            axes.plot(steps, values, label=key, lw=1.2)
            positive += [value for value in values.tolist() if value > 0]
        if positive and max(positive) > 10 * min(positive):
            axes.set_yscale("log")
        if record.nonfinite is not None:
            axes.axvline(record.nonfinite.step, color="tab:red", ls="--", lw=1, label="non-finite")
        axes.set_xlabel(say("figure.step"))
        axes.set_title(record.run_id, fontsize=9)
        axes.legend(frameon=False)
        axes.grid(alpha=0.25)
        drawn.append(page.save(record.folder, name, figure))
    return drawn


def thinned(curve: Curve, columns: int = _COLUMNS) -> tuple[Any, Any]:
    """Return steps and values of a curve as arrays, NaN where a value is no finite number.

    A long curve keeps of each column the lowest value, the highest and a gap, so spikes survive: a million
    points drawn whole take more than a hundred megabytes.
    """
    import numpy as np

    steps_N, values_N = np.array(curve.steps), np.array(curve.values)
    values_N[~np.isfinite(values_N)] = np.nan
    count = len(values_N)
    if count <= 4 * columns:
        return steps_N, values_N
    kept = {0, count - 1}
    for start, stop in pairwise((np.arange(columns + 1) * count // columns).tolist()):
        finite_at = start + np.flatnonzero(np.isfinite(values_N[start:stop]))
        if len(finite_at):
            finite = values_N[finite_at]
            kept |= {int(finite_at[finite.argmin()]), int(finite_at[finite.argmax()])}
        if len(finite_at) < stop - start:
            kept.add(start + int(np.isnan(values_N[start:stop]).argmax()))
    kept_N = np.array(sorted(kept))
    return steps_N[kept_N], values_N[kept_N]
