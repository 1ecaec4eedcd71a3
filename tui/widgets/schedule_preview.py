"""The learning rate that the launch form asks for, drawn while it is typed.

Follows the form a moment behind it. Checking and counting are done in a thread, since the rows of a label
table may be many; what cannot be drawn is said in the words of the form itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static
from textual.worker import get_current_worker

from engine.conf.data import Data
from engine.conf.load import from_plain
from engine.conf.schema import Finetune, Training
from engine.course import Course, course_of, training_stars
from engine.errors import BadInput
from engine.words import say
from engine.workspace import Workspace
from tui.charts import Chart
from tui.widgets.plain import plain
from tui.widgets.rate_curve import rate_curve, told

_PAUSE = 0.15  # seconds without a key before the curve is drawn
_POINTS = 2000
_NAMES = ("epochs", "batch_size", "accumulate", "learning_rate", "schedule", "warmup")


def moves_the_rate(key: str) -> bool:
    """Tell whether a field of the form changes the curve, by what it is called."""
    section, _, name = key.partition(".")
    return section in ("training", "finetune") and any(word in name for word in _NAMES)


class SchedulePreview(Vertical):
    """A chart of the learning rate over the run, and a line that says the same."""

    class Drawn(Message):
        """The course of what was typed is known, or why there is none."""

        def __init__(self, course: Course | None, problem: list[str]) -> None:
            self.course = course
            self.problem = problem
            super().__init__()

    def __init__(self, workspace: Workspace, id: str | None = None) -> None:
        super().__init__(id=id)
        self.workspace = workspace
        self.course: Course | None = None
        self._stars: tuple[str, int | None] | None = None
        self._waiting: Timer | None = None
        self._last_key = 0.0

    def compose(self) -> ComposeResult:
        yield Chart(say("run.chart.rate"))
        yield Static(say("schedule.counting"), markup=False)

    def follow(self, typed: Callable[[], dict[str, Any]]) -> None:
        """Draw what the form holds once no key has come for a moment; `typed` is asked then."""
        self._last_key = time.monotonic()
        if self._waiting is None:
            self._waiting = self.set_timer(_PAUSE, lambda: self._draw_after_a_pause(typed))

    def _draw_after_a_pause(self, typed: Callable[[], dict[str, Any]]) -> None:
        # One timer for a whole burst of keys: a form that opens reports every field it has.
        self._waiting = None
        left = self._last_key + _PAUSE - time.monotonic()
        if left > 0:
            self._waiting = self.set_timer(left, lambda: self._draw_after_a_pause(typed))
        else:
            self.draw(typed())

    @work(thread=True, exclusive=True, group="preview")
    def draw(self, typed: dict[str, Any]) -> None:
        """Find the course of plain, unchecked data of a conf."""
        worker = get_current_worker()
        course, problem = None, []
        try:
            training = _training(self.workspace, typed)
            stars = self._count(typed.get("data"))
            course = course_of(training, stars, _POINTS, _finetune(typed.get("finetune")))
        except BadInput as error:
            problem = error.lines
        if not worker.is_cancelled:
            self.post_message(self.Drawn(course, problem))

    def _count(self, typed: Any) -> int | None:
        """Return the training stars; counted once for the same data section."""
        try:
            data = Data.model_validate(typed)
        except ValidationError:
            return None
        known, key = self._stars, data.model_dump_json()
        if known is None or known[0] != key:
            known = self._stars = (key, training_stars(self.workspace, data))
        return known[1]

    def on_schedule_preview_drawn(self, event: Drawn) -> None:
        event.stop()
        chart, line = self.query_one(Chart), self.query_one(Static)
        self.course = event.course
        chart.display = event.course is not None
        line.set_class(event.course is None, "-problem")
        if event.course is None:
            words = "\n".join(event.problem)
            line.update(plain(f"✗ {say('schedule.none')}\n{words}"))
            return
        curve = rate_curve(event.course)
        chart.title, chart.log_y = curve.title, curve.log_y
        chart.show(curve.lines, live=False)
        line.update(plain(told(event.course)))


def _finetune(section: Any) -> Finetune | None:
    """Return the fine-tuning stage; what is wrong with it is said beside its own fields."""
    try:
        return Finetune.model_validate(section or {})
    except ValidationError:
        return None


def _training(workspace: Workspace, typed: dict[str, Any]) -> Training:
    """Check the training section alone: what is wrong elsewhere does not move the learning rate.

    Raises:
        BadInput: the mistakes, as the form says them.
    """
    section = typed.get("training")
    try:
        return Training.model_validate(section)
    except ValidationError:
        return from_plain(workspace, {"training": section}, say("launch.form")).training
