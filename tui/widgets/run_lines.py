"""From the curves and events of one run to the lines and marks of its charts, on any x axis.

Plain data for `tui.charts`. Owns no widget.
"""

from __future__ import annotations

from engine.cli.text import figure
from engine.runs.record import Record
from engine.words import say
from tui.charts import Line, Mark, Series
from tui.charts.lines import LETTERS
from tui.charts.warp import Warp, XKind
from tui.widgets.curves import Curves
from tui.widgets.panels import Panel

_LOSS_COLOURS = {"batch_loss": 6, "train_loss": 4, "val_loss": 3}
_JUMP = 0.05  # a learning rate changes by steps of more than this part of it
_SUDDEN = 8  # and of so many times what it changed by just before and after
_MOST_MARKS = 200


def can(record: Record, kind: XKind) -> bool:
    """Tell whether the x axis can count in this, for this run."""
    if kind == "epoch":
        return record.steps_per_epoch > 0
    if kind in ("relative", "wall"):
        return len(record.clock.steps) > 1 or any(curve.times for curve in record.curves.values())
    return True


def warp_of(record: Record, name: str, kind: XKind) -> Warp | None:
    """Return where the steps of one quantity lie on an x axis; None: at the steps themselves."""
    if kind == "epoch":
        return Warp(1 / record.steps_per_epoch)
    if kind == "step":
        return None
    curve = record.curves.get(name)
    if curve is not None and curve.times:
        start = record.started_at or curve.times[0]
        places = curve.times if kind == "wall" else [time - start for time in curve.times]
        return Warp(steps=curve.steps[:], places=places[:])
    clock = record.clock
    return Warp(steps=clock.steps[:], places=(clock.times if kind == "wall" else clock.work)[:])


def lines_of(panel: Panel, record: Record, curves: Curves, kind: XKind) -> list[Line]:
    """Return the lines of one chart; steps lie dim under the epochs' train and val."""
    lines = []
    letters = iter(LETTERS)
    several = sum(curves.get(name) is not None for name in panel.names) > 1
    for name, words in zip(panel.names, panel.lines, strict=True):
        series = curves.get(name)
        if series is None:
            continue
        dim = name == "batch_loss" and several
        colour = _LOSS_COLOURS.get(name, None if len(panel.names) > 1 else 3)
        lowest = panel.key not in ("learning_rate", "busy")
        warp = warp_of(record, name, kind)
        letter = "C" if dim else next(letters)
        lines.append(Line(words, series, colour=colour, dim=dim, letter=letter, lowest=lowest, warp=warp))
    return lines


def marks_of(record: Record, kind: XKind, rates: Series | None) -> list[Mark]:
    """Return what happened when: checkpoints, jumps of the learning rate, the best, what is no number."""
    warp = warp_of(record, "", kind)

    def at(step: float) -> float:
        return step if warp is None else warp.at(step)

    kept = record.checkpoints[-_MOST_MARKS:]
    marks = [Mark(at(c["step"]), "checkpoint", told=say("run.mark.checkpoint", step=c["step"])) for c in kept]
    for step, before, after in jumps(rates) if rates is not None else ():
        told = say("run.mark.rate", before=figure(before), after=figure(after))
        marks.append(Mark(at(step), "lr", told=told))
    if record.best_step is not None:
        told = say("run.mark.best_at", step=record.best_step, epoch=record.best_epoch or "-")
        marks.append(Mark(at(record.best_step), "best", say("run.mark.best"), told))
    bad = record.nonfinite
    if bad is not None:
        words = say("run.mark.nonfinite", what=bad.what, value=bad.value, step=bad.step)
        if bad.last_finite_loss is not None:
            words += say("run.mark.last_finite", value=figure(bad.last_finite_loss))
        marks.append(Mark(at(bad.step), "nonfinite", words))
    return marks


def jumps(rates: Series) -> list[tuple[float, float, float]]:
    """Return (step, before, after) of the steps at which a learning rate jumps: not those of a slope."""
    import numpy as np

    steps, values = rates.arrays()
    if len(values) < 3:
        return []
    change = np.abs(np.diff(values))
    around = np.maximum(np.append(0.0, change[:-1]), np.append(change[1:], 0.0))
    with np.errstate(all="ignore"):
        sudden = (change > _JUMP * np.abs(values[:-1])) & (change > _SUDDEN * around)
    sudden[0] = False  # the first step of a warm-up is no change
    found = np.flatnonzero(sudden)[-_MOST_MARKS:]
    return [(float(steps[i + 1]), float(values[i]), float(values[i + 1])) for i in found]
