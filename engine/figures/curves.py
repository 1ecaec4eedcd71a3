"""The curves of a run, drawn from its events: `loss_curve.pdf`, `lr_curve.pdf`."""

from __future__ import annotations

import math
from pathlib import Path

from engine.figures import page
from engine.runs.record import Record
from engine.words import say


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
        for key, curve in lines.items():
            axes.plot(
                curve.steps, [v if math.isfinite(v) else math.nan for v in curve.values], label=key, lw=1.2
            )
        positive = [v for c in lines.values() for v in c.values if math.isfinite(v) and v > 0]
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
