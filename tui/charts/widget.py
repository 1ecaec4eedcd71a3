"""The chart on the screen: keeps strips, builds them at most once per refresh, repaints only what changed.

`show` is cheap and may be called as often as points arrive. Nothing is built while the chart is hidden or
before numpy and plotext have been imported by `warm_up` in a thread of the app.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textual.geometry import Region, Size
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from engine.words import say
from tui.charts import axes, render
from tui.charts.legend import message_strips, title_strip
from tui.charts.lines import Line, Mark, Marker, dressed, extent, nonfinite_marks
from tui.charts.plate import ORDINARY, Frame
from tui.charts.strips import changed_spans

SMOOTHING = 0.9  # weight of the past in the moving average, as other dashboards have it
_DEEPEST = 1e-6  # the smallest part of the x axis that can be zoomed into
_WARM_POLL = 0.1


class Chart(Widget, can_focus=False):
    """Draw lines over a common x axis, with a title row that is also the legend."""

    DEFAULT_CSS = """
    Chart { height: 1fr; width: 1fr; }
    """

    def __init__(
        self,
        title: str,
        *,
        unit: str = "",
        log_y: bool = False,
        marker: Marker = "braille",
        frame: Frame = ORDINARY,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.title = title
        self.unit = unit
        self.log_y = log_y
        self.smooth = False
        self.marker: Marker = marker
        self.frame = frame
        self.view: axes.Range | None = None  # the part of the x axis zoomed into; None shows everything
        self.builds = 0  # how often the strips were built: a test and a budget watch it
        self._chart_lines: list[Line] = []
        self._chart_marks: list[Mark] = []
        self._chart_live = False
        self._chart_strips: list[Strip] = []
        self._chart_size = Size(0, 0)
        self._chart_dirty = True
        self._chart_queued = False
        self._warm_timer: Timer | None = None

    def show(self, lines: Sequence[Line], marks: Sequence[Mark] = (), *, live: bool) -> None:
        """Set what is shown; also call it when the series of the same lines have grown.

        A line's first non-finite point is marked even when `marks` does not name it.
        """
        self._chart_lines = dressed(lines)
        self._chart_marks = [*marks, *nonfinite_marks(self._chart_lines, marks)]
        self._chart_live = live
        self._mark_dirty()

    def toggle_log(self) -> None:
        """Switch between a linear and a logarithmic y axis."""
        self.log_y = not self.log_y
        self._mark_dirty()

    def toggle_smooth(self) -> None:
        """Switch the moving average on, with the points themselves dim beneath it, or off."""
        self.smooth = not self.smooth
        self._mark_dirty()

    def zoom(self, factor: float) -> None:
        """Show 1/factor of the present x range around its middle; a factor below 1 shows more."""
        whole = self._extent()
        if whole is None or factor <= 0:
            return
        low, high = self.view or whole
        half = max((high / 2 - low / 2) / factor, (whole[1] / 2 - whole[0] / 2) * _DEEPEST)
        middle = low / 2 + high / 2
        self._look_at(middle - half, middle + half, whole)

    def pan(self, fraction: float) -> None:
        """Move the view by a fraction of its width: positive towards later steps."""
        whole = self._extent()
        if whole is None or self.view is None:
            return
        low, high = self.view
        shift = (high - low) * fraction
        shift = max(whole[0] - low, min(whole[1] - high, shift))
        self._look_at(low + shift, high + shift, whole)

    def fit(self) -> None:
        """Show the whole x range again."""
        self.view = None
        self._mark_dirty()

    def refresh_chart(self) -> None:
        """Build the strips if something changed and the chart can be seen; repaint the changed spans."""
        self._chart_queued = False
        if not self._chart_dirty or not self._can_be_seen():
            return
        old, old_size = self._chart_strips, self._chart_size
        self._build()
        if old_size != self._chart_size:
            self.refresh()
            return
        regions = [Region(x, y, width, 1) for y, x, width in changed_spans(old, self._chart_strips)]
        if regions:
            self.refresh(*regions)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return the rows of a region, and catch up in a turn of its own if the chart was hidden.

        Not here: only a part may have been asked for, and the rest would stay old on the screen.
        """
        self._queue()
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """Return one cached row; after a change of size, the rows are built first."""
        if self._chart_size != self.size:
            self._build()
        if y >= len(self._chart_strips):
            return Strip.blank(self.size.width, self.rich_style)
        return self._chart_strips[y].apply_style(self.rich_style)

    def on_show(self) -> None:
        """Catch up with what came while the chart was hidden."""
        self._queue()

    def _mark_dirty(self) -> None:
        self._chart_dirty = True
        self._queue()

    def _queue(self) -> None:
        if self._chart_dirty and not self._chart_queued and self.is_mounted:
            self._chart_queued = self.call_later(self.refresh_chart)

    def _can_be_seen(self) -> bool:
        """Tell whether the chart is laid out, displayed, and not on a screen beneath another one."""
        if not self.size or not self.is_on_screen:
            return False
        stack = self.app.screen_stack
        if self.screen not in stack:
            return False
        return all(screen.is_modal for screen in stack[stack.index(self.screen) + 1 :])

    def _extent(self) -> axes.Range | None:
        return extent(self._chart_lines, self._chart_marks, live=self._chart_live)

    def _look_at(self, low: float, high: float, whole: axes.Range) -> None:
        low, high = max(low, whole[0]), min(high, whole[1])
        self.view = None if (low, high) == whole or low >= high else (low, high)
        self._mark_dirty()

    def _build(self) -> None:
        width, height = self.size
        self._chart_size = self.size
        self._chart_dirty = False
        self.builds += 1
        title = f"{self.title} ({self.unit})" if self.unit else self.title
        if height < 2:
            words, body = self._words(0), []
        elif not render.is_warm():
            words, body = self._words(0), message_strips(say("charts.loading"), width, height - 1)
            self._wait_until_warm()
        else:
            hidden, body = self._body(width, height - 1)
            words = self._words(hidden)
        self._chart_strips = [title_strip(title, self._chart_lines, words, width), *body][:height]

    def _body(self, width: int, height: int) -> tuple[int, list[Strip]]:
        """Return how many points the log axis leaves out, and the strips under the title."""
        whole = self._extent()
        sentence, hidden = "", 0
        if render.failure():
            sentence = say("charts.failed", error=render.failure())
        elif whole is None:
            sentence = say("charts.empty")
        else:
            view = self.view or whole
            hidden = render.left_out(self._chart_lines, view) if self.log_y else 0
            bad = any(mark.kind == "nonfinite" and view[0] <= mark.x <= view[1] for mark in self._chart_marks)
            if not bad and not render.has_points(self._chart_lines, view, log_y=self.log_y):
                sentence = say("charts.nothing_positive" if hidden else "charts.nothing_here")
        if sentence or whole is None:
            return hidden, message_strips(sentence, width, height)
        strips = render.render(
            self._smoothed() if self.smooth else self._chart_lines,
            self._chart_marks,
            width,
            height,
            log_y=self.log_y,
            x_range=view,
            marker=self.marker,
            frame=self.frame,
        )
        return hidden, strips

    def _smoothed(self) -> list[Line]:
        """Return the lines dim, and over them their moving averages."""
        raw = [replace(line, dim=True) for line in self._chart_lines]
        return [*raw, *(replace(line, weight=SMOOTHING) for line in self._chart_lines)]

    def _words(self, hidden: int) -> list[str]:
        return [
            say("charts.log") if self.log_y else "",
            say("charts.smooth") if self.smooth else "",
            say("charts.zoomed") if self.view else "",
            say("charts.left_out", count=hidden) if hidden else "",
        ]

    def _wait_until_warm(self) -> None:
        if self._warm_timer is None:
            self._warm_timer = self.set_interval(_WARM_POLL, self._build_once_warm)

    def _build_once_warm(self) -> None:
        if render.is_warm() and self._warm_timer is not None:
            self._warm_timer.stop()
            self._warm_timer = None
            self._mark_dirty()
