"""From the course of a run to what a chart draws: the learning rate over the epochs.

Plain data for `tui.charts`, for the launch form and the plain terminal alike. Imports no numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.course import Course
from engine.words import say
from tui.charts.axes import label
from tui.charts.lines import Line
from tui.charts.series import Series

_LOW = 20  # a linear axis shows nothing of what is this many times below its top
_COLOUR = 3  # that of the learning rate of a run


@dataclass(frozen=True)
class RateCurve:
    """A chart of the learning rate: its title, its line, and whether its axis should be logarithmic."""

    title: str
    lines: list[Line]
    log_y: bool


def rate_curve(course: Course) -> RateCurve:
    """Return the chart of a course; logarithmic where half of the run would lie on the floor of a linear one.

    A cosine ends near zero too, but its shape is what people know it by: that axis stays linear.
    """
    epochs = [step / course.per_epoch for step, _ in course.points]
    values = [rate for _, rate in course.points]
    name = course.training.schedule
    low = min(values) > 0 and sorted(values)[len(values) // 2] < course.peak[1] / _LOW
    figures = {"peak": label(course.peak[1]), "last": label(course.last), "steps": course.steps}
    line = Line(name, Series.of(name, epochs, values), colour=_COLOUR, legend=name)
    return RateCurve(say("schedule.title", **figures), [line], low)


def told(course: Course) -> str:
    """Return the course in words: where its peak is, where it ends, and how its steps were counted."""
    step, peak = course.peak
    text = say(
        "schedule.told" if course.counted else "schedule.guessed",
        peak=label(peak),
        at=1 + step // course.per_epoch,
        last=label(course.last),
        epochs=course.epochs,
        steps=course.per_epoch,
    )
    if course.finetune_at is not None:
        text += say("schedule.finetune_at", at=1 + course.finetune_at // course.per_epoch)
    if course.training.schedule == "plateau":
        text += say("schedule.plateau")
    return text
