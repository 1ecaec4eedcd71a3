"""The chart on the screen: keeps strips, builds them at most once per refresh, repaints only what changed.

`show` is cheap and may be called as often as points arrive. Nothing is built while the chart is hidden or
before numpy and plotext have been imported by `warm_up` in a thread of the app.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.style import Style
from textual import events, work
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget
from textual.worker import get_current_worker

from engine.words import say
from tui.charts import axes, render
from tui.charts.charset import marker_of
from tui.charts.cursor import Reading, marked_words, next_point, place_words, readings, with_cursor
from tui.charts.legend import message_strips, title_strip
from tui.charts.lines import Line, Mark, Marker, dressed, extent, nonfinite_marks
from tui.charts.plate import ORDINARY, Frame
from tui.charts.strips import changed_spans
from tui.charts.warp import XKind
from tui.charts.window import holding, panned, zoomed

SMOOTHING = 0.9  # weight of the past in the moving average, as other dashboards have it
_WARM_POLL = 0.1
_DENSE = 1.5  # from so many points a column on it is said that a column stands for more than one
_MANY = 20  # more lines than this are drawn in a thread, so that keys are answered meanwhile
# One chart after the other: threads that draw beside each other keep the interpreter from the keys.
_one_at_a_time = threading.Lock()


class Chart(Widget, can_focus=False):
    """Draw lines over a common x axis, with a title row that is also the legend."""

    DEFAULT_CSS = """
    Chart { height: 1fr; width: 1fr; }
    """

    @dataclass
    class Pointed(Message):
        """Somebody clicked on a chart, at a place of its x axis or beside it."""

        chart: Chart
        x: float | None

        @property
        def control(self) -> Chart:
            return self.chart

    def __init__(
        self,
        title: str,
        *,
        unit: str = "",
        log_y: bool = False,
        marker: Marker | None = None,
        frame: Frame = ORDINARY,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.title = title
        self.unit = unit
        self.log_y = log_y
        self.smooth = False
        self.clip = False
        self.baseline = False  # the cursor also tells differences to the first line
        self.focused = False  # its title stands out: keys that act on one chart act on this one
        self.marker: Marker = marker or marker_of("")
        self.frame = frame
        self.cursor: float | None = None
        self.view: axes.Range | None = None  # the part of the x axis zoomed into; None shows everything
        self.builds = 0  # how often the strips were built: a test and a budget watch it
        self._chart_lines: list[Line] = []
        self._chart_marks: list[Mark] = []
        self._chart_live = False
        self._chart_also: axes.Range | None = None
        self._chart_strips: list[Strip] = []
        self._chart_body: list[Strip] = []
        self._chart_picture: render.Picture | None = None
        self._chart_hidden = 0
        self._chart_y: axes.Range | None = None  # what stands on the y axis, in its own units
        self._chart_looked = False  # only the cursor or the title changed
        self._chart_busy = False  # a thread is drawing
        self._chart_size = Size(0, 0)
        self._chart_dirty = True
        self._chart_queued = False
        self._chart_style = Style()
        self._warm_timer: Timer | None = None

    def show(
        self,
        lines: Sequence[Line],
        marks: Sequence[Mark] = (),
        *,
        live: bool,
        also: axes.Range | None = None,
    ) -> None:
        """Set what is shown; also call it when the series of the same lines have grown.

        A line's first non-finite point is marked even when `marks` does not name it. The x axis reaches at
        least over `also`, so that charts beside each other have the same one.
        """
        self._chart_lines = dressed(lines)
        self._chart_marks = [*marks, *nonfinite_marks(self._chart_lines, marks)]
        self._chart_live = live
        self._chart_also = also
        self._mark_dirty()

    def toggle_log(self) -> None:
        """Switch between a linear and a logarithmic y axis."""
        self.log_y = not self.log_y
        self._chart_y = None
        self._mark_dirty()

    def toggle_smooth(self) -> None:
        """Switch the moving average on, with the points themselves dim beneath it, or off."""
        self.smooth = not self.smooth
        self._mark_dirty()

    def toggle_clip(self) -> None:
        """Let the y axis leave out the wildest points, or show them all."""
        self.clip = not self.clip
        self._mark_dirty()

    def draw_with(self, marker: Marker) -> None:
        """Draw with another kind of dots."""
        self.marker = marker
        self._mark_dirty()

    def count_in(self, kind: XKind) -> None:
        """Say in what x counts; the part that was looked at means nothing on another axis."""
        if kind != self.frame.x_kind:
            self.frame = replace(self.frame, x_kind=kind)
            self.view = self.cursor = None
            self._mark_dirty()

    def look(self, x: float | None) -> None:
        """Put the cursor at a place on the x axis, or take it away; no curve is drawn again."""
        if x != self.cursor:
            self.cursor = x
            self._retitle()

    def focus_title(self, focused: bool) -> None:
        """Let the title stand out, or not."""
        if focused != self.focused:
            self.focused = focused
            self._retitle()

    def readout(self, most: int | None = None) -> list[Reading]:
        """Return what each line (or the first `most`) says at the cursor; nothing without one."""
        if self.cursor is None or not render.is_warm() or render.failure():
            return []
        return readings(self._chart_lines[:most], self.cursor, baseline=self.baseline)

    def next_point(self, x: float | None, columns: int) -> float | None:
        """Return the recorded x that lies about so many columns from x, in view; from None, the last one."""
        whole = self._extent()
        if whole is None or not render.is_warm() or render.failure():
            return None
        low, high = self.view or whole
        lines = self._chart_lines[:_MANY]  # a key is answered at once, however many lines there are
        width = (high / 2 - low / 2) / max(1, self._plot_width()) * 2
        if x is None:
            return next_point(lines, high + width, -1, width)
        found = next_point(lines, x, columns, width)
        if self.view is not None and found is not None and not low <= found <= high:
            self._look_at(holding(self.view, whole, found))
        return found

    def on_click(self, event: events.Click) -> None:
        """Tell where it was clicked."""
        column = event.x - (self._chart_picture.plate.gutter if self._chart_picture else 0)
        x = None
        if self._chart_picture is not None and event.y > 0 and 0 <= column < self._plot_width():
            low, high = self._chart_picture.plate.x_range
            x = low + (high - low) * column / max(1, self._plot_width() - 1)
        self.post_message(self.Pointed(self, x))

    def zoom(self, factor: float) -> None:
        """Show 1/factor of the present x range around its middle; a factor below 1 shows more."""
        whole = self._extent()
        if whole is not None and factor > 0:
            self._look_at(zoomed(self.view or whole, whole, factor))

    def pan(self, fraction: float) -> None:
        """Move the view by a fraction of its width: positive towards later steps."""
        whole = self._extent()
        if whole is not None and self.view is not None:
            self._look_at(panned(self.view, whole, fraction))

    def fit(self) -> None:
        """Show the whole x range again."""
        self.view = None
        self._mark_dirty()

    def refresh_chart(self) -> None:
        """Build the strips if something changed and the chart can be seen; repaint the changed spans."""
        self._chart_queued = False
        if not (self._chart_dirty or self._chart_looked) or not self._can_be_seen():
            return
        if self._chart_dirty and len(self._chart_lines) > _MANY and render.is_warm() and not render.failure():
            if not self._chart_busy:  # else again when that is done
                self._chart_busy, self._chart_dirty = True, False
                self._build_many(self._drawn(snapshot=True), self.size)
            return
        self._repaint()

    def _repaint(self) -> None:
        old, old_size = self._chart_strips, self._chart_size
        if self._chart_dirty or self._chart_size != self.size:
            self._build()
        else:
            self._compose_strips()
        self._refresh_changed(old, old_size)

    def _refresh_changed(self, old: Sequence[Strip], old_size: Size) -> None:
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
        self._chart_style = self.rich_style  # once: it is looked for through all that is around
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """Return one cached row; after a change of size, the rows are built first."""
        if self._chart_size != self.size:
            self._build()
        if y >= len(self._chart_strips):
            return Strip.blank(self.size.width, self._chart_style)
        return self._chart_strips[y].apply_style(self._chart_style)

    def on_show(self) -> None:
        """Catch up with what came while the chart was hidden."""
        self._queue()

    def _mark_dirty(self) -> None:
        self._chart_dirty = True
        self._queue()

    def _retitle(self) -> None:
        self._chart_looked = True
        self._queue()

    def _plot_width(self) -> int:
        return self._chart_picture.plate.width if self._chart_picture else self.size.width

    def _queue(self) -> None:
        if (self._chart_dirty or self._chart_looked) and not self._chart_queued and self.is_mounted:
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
        return extent(self._chart_lines, self._chart_marks, live=self._chart_live, also=self._chart_also)

    def _look_at(self, view: axes.Range | None) -> None:
        self.view = view
        self._mark_dirty()

    def _build(self) -> None:
        width, height = self.size
        self._chart_size = self.size
        self._chart_dirty = False
        self.builds += 1
        self._chart_picture, self._chart_body, self._chart_hidden = None, [], 0
        if height < 2:
            pass
        elif not render.is_warm():
            self._chart_body = message_strips(say("charts.loading"), width, height - 1)
            self._wait_until_warm()
        else:
            self._build_body(width, height - 1)
        self._compose_strips()

    def _compose_strips(self) -> None:
        """Put the title over the body that was built, and the cursor into it."""
        self._chart_looked = False
        width, height = self._chart_size
        title = f"{self.title} ({self.unit})" if self.unit else self.title
        told, after = None, []
        dense = self._chart_picture.per_column if self._chart_picture is not None else 0.0
        if self.cursor is not None:
            told = sorted(self.readout(width // 10), key=lambda one: one.dim)
            low, high = self.view or self._extent() or (0.0, 0.0)
            near = (high / 2 - low / 2) / max(1, self._plot_width())
            after = marked_words(self._chart_marks, self.cursor, near)
        head = title_strip(
            title,
            self._chart_lines,
            self._words(),
            width,
            readings=told or None,
            after=after,
            spare=say("charts.dense", count=f"{dense:.0f}") if dense >= _DENSE else "",
            focused=self.focused,
        )
        picture = self._chart_picture
        body = with_cursor(picture, self.cursor) if picture is not None else self._chart_body
        self._chart_strips = [head, *body][:height]

    def _build_body(self, width: int, height: int) -> None:
        """Draw what is under the title, or say why there is nothing to draw."""
        whole = self._extent()
        sentence = ""
        if render.failure():
            sentence = say("charts.failed", error=render.failure())
        elif whole is None:
            sentence = say("charts.empty")
        else:
            view = self.view or whole
            hidden = self._chart_hidden = render.left_out(self._chart_lines, view) if self.log_y else 0
            bad = any(mark.kind == "nonfinite" and view[0] <= mark.x <= view[1] for mark in self._chart_marks)
            if not bad and not render.has_points(self._chart_lines, view, log_y=self.log_y):
                sentence = say("charts.nothing_positive" if hidden else "charts.nothing_here")
        if sentence or whole is None:
            self._chart_body = message_strips(sentence, width, height)
        elif len(self._chart_lines) > _MANY:
            self._chart_body = message_strips(say("charts.drawing"), width, height)
            self._mark_dirty()
        else:
            self._chart_picture = self._draw(self._drawn(), width, height)
            self._chart_y = self._chart_picture.plate.y_range if self._chart_picture is not None else None

    def _draw(self, lines: Sequence[Line], width: int, height: int) -> render.Picture | None:
        return render.draw(
            lines,
            self._chart_marks,
            width,
            height,
            log_y=self.log_y,
            clip=self.clip,
            x_range=self.view or self._extent(),
            marker=self.marker,
            frame=self.frame,
            passing=self._chart_live,
            before=self._chart_y,
        )

    @work(thread=True, group="chart")
    def _build_many(self, lines: Sequence[Line], size: Size) -> None:
        """Draw many lines off the UI thread; what was built before stays on the screen meanwhile."""
        with _one_at_a_time:
            hidden = render.left_out(lines, self.view or self._extent()) if self.log_y else 0
            picture = self._draw(lines, size.width, size.height - 1)
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self._take_picture, picture, hidden, size)

    def _take_picture(self, picture: render.Picture | None, hidden: int, size: Size) -> None:
        self._chart_busy = False
        if not self.is_mounted:
            return
        if size != self.size or picture is None:
            self._mark_dirty()
            return
        self.builds += 1
        self._chart_picture, self._chart_hidden = picture, hidden
        old, old_size = self._chart_strips, self._chart_size
        self._chart_size = size
        self._compose_strips()
        self._refresh_changed(old, old_size)
        self._queue()

    def _drawn(self, *, snapshot: bool = False) -> list[Line]:
        lines = self._chart_lines
        if snapshot:
            lines = [replace(line, series=line.series.snapshot()) for line in lines]
        return self._smoothed(lines) if self.smooth else lines

    @staticmethod
    def _smoothed(lines: Sequence[Line]) -> list[Line]:
        """Return the lines dim, and over them their moving averages."""
        raw = [replace(line, dim=True) for line in lines]
        return [*raw, *(replace(line, weight=SMOOTHING) for line in lines)]

    def _words(self) -> list[str]:
        picture, hidden = self._chart_picture, self._chart_hidden
        here: list[str] = []
        if self.cursor is not None:
            here = [place_words(self.cursor, self.frame.x_kind)]
        return [
            *here,
            say("charts.log") if self.log_y else "",
            say("charts.smooth") if self.smooth else "",
            say("charts.zoomed") if self.view else "",
            say("charts.clipped", count=picture.clipped) if picture is not None and self.clip else "",
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
