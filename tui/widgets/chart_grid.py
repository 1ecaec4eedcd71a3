"""All charts of one run in a grid that fits the window, in pages; the choices that they share.

Owns which charts there are, which page is shown and which chart the keys act on. Draws nothing itself: a
chart off the page is neither built nor, before it is first shown, made.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.widgets import Input
from textual.worker import get_current_worker

from engine.runs.record import Record
from engine.track import listing
from engine.words import say
from tui.charts import Chart, Frame
from tui.charts.axes import union
from tui.charts.charset import CHARSETS, marker_of
from tui.charts.cursor import SharedCursor
from tui.charts.warp import X_KINDS, XKind
from tui.widgets.bars import Quiet
from tui.widgets.curves import Curves
from tui.widgets.entry import Entry
from tui.widgets.panels import Panel, matching, page_words, panels
from tui.widgets.plain import plain
from tui.widgets.run_lines import can, lines_of, marks_of, warp_of

if TYPE_CHECKING:
    from tui.app import SpectuiApp

_LEAST_ROWS = 8
_LEAST_ROWS_LOW = 6  # in a window so low that only one chart would be there
_COLUMNS = ((180, 3), (120, 2), (0, 1))
_FRAME = Frame(gutter=7)  # the same for all, so that a step lies in the same column on each
# Errors of labels of different units, kelvin and dex, on one axis.
_LOGS = ["errors/mae", "errors/rmse", "errors/sigma_mad"]
_IDS = {"learning_rate": "rate"}


class ChartGrid(Vertical, can_focus=False):
    """The charts of a run; `show` as often as points arrive."""

    DEFAULT_CSS = """
    ChartGrid { height: 1fr; }
    ChartGrid #cells { layout: grid; height: 1fr; grid-gutter: 0 1; }
    ChartGrid #cells Chart { height: 1fr; }
    ChartGrid #charts-told { height: 1; padding: 0 1; color: $text-muted; }
    ChartGrid #charts-filter { height: 1; background: $surface; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Panel] = []
        self.shown: list[Panel] = []
        self.current = "loss"
        self.full = False
        self.x_kind: XKind = "step"
        self.cursor = SharedCursor(lambda: self.charts.values())
        self.charts: dict[str, Chart] = {}
        self._page: list[Panel] = []
        self._timed = False
        self._seen: tuple[Record, Curves] | None = None

    @property
    def spectui(self) -> SpectuiApp:
        return self.app  # type: ignore[return-value]

    def compose(self) -> ComposeResult:
        yield Container(id="cells")
        yield Quiet(id="charts-told")
        yield Entry(placeholder=say("charts.filter_hint"), id="charts-filter", compact=True)

    def on_mount(self) -> None:
        self.query_one("#charts-filter").display = False
        kind = self.spectui.view.get("charts.x", "step")
        self.x_kind = next((one for one in X_KINDS if one == kind), "step")
        self._arrange()

    def on_resize(self) -> None:
        self._arrange()

    def show(self, record: Record, curves: Curves) -> None:
        """Show what there is now."""
        self._seen = (record, curves)
        self.found = panels(curves.names(), record.data.get("targets", ()))
        self._arrange()

    @property
    def lead(self) -> Chart | None:
        """The chart that the keys act on."""
        return self.charts.get(self.current)

    def _filter(self) -> str:
        return self.spectui.view.get("charts.filter", "")

    def _arrange(self) -> None:
        """Choose the page that holds the current chart, lay its charts out, and give them their lines."""
        if not self.is_mounted or not self.size:
            return
        self.found = self.found or panels(())
        self.shown = matching(self.found, self._filter())
        keys = [panel.key for panel in self.shown]
        if keys and self.current not in keys:
            self.current = keys[0]
        room = self.size.height - 1
        across = 1 if self.full else next(count for least, count in _COLUMNS if self.size.width >= least)
        least = _LEAST_ROWS if room >= 2 * _LEAST_ROWS else _LEAST_ROWS_LOW
        down = 1 if self.full else max(1, room // least)
        at = keys.index(self.current) if keys else 0
        first = at - at % (across * down)
        self._page = self.shown[first : first + across * down]
        across = min(across, max(1, len(self._page)))
        cells = self.query_one("#cells", Container)
        if cells.styles.grid_size_columns != across:
            cells.styles.grid_size_columns = across
        for panel in self._page:
            if panel.key not in self.charts:
                self._make(panel, cells)
        page = {panel.key for panel in self._page}
        order = [panel.key for panel in self.found]
        for key, chart in self.charts.items():
            chart.display = key in page
            chart.focus_title(key == self.current and len(self._page) > 1)
        place = {chart.id: order.index(key) for key, chart in self.charts.items() if key in order}
        if list(place.values()) != sorted(place.values()):
            cells.sort_children(key=lambda child: place.get(child.id, len(order)))
        self._fill()
        self._tell(first)

    def _make(self, panel: Panel, cells: Container) -> None:
        view = self.spectui.view
        name = _IDS.get(panel.key) or re.sub(r"[^A-Za-z0-9_-]", "-", panel.key)
        taken = {chart.id for chart in self.charts.values()}
        name = name if name not in taken and not name[:1].isdigit() else f"chart-{len(self.charts)}"
        marker = marker_of(view.get("charts.charset", ""))
        log_y = panel.key in view.get("charts.log", _LOGS)
        chart = Chart(plain(panel.title), log_y=log_y, marker=marker, frame=_FRAME, id=name)
        chart.smooth = view.get("charts.smooth", False) and panel.key != "learning_rate"
        chart.clip = view.get("charts.clip", False)
        other = next(iter(self.charts.values()), None)
        if other is not None:
            chart.view, chart.cursor = other.view, other.cursor
        self.charts[panel.key] = chart
        cells.mount(chart)

    def _fill(self) -> None:
        if self._seen is None:
            return
        record, curves = self._seen
        kind: XKind = self.x_kind if can(record, self.x_kind) else "step"
        marks = marks_of(record, kind, curves.get("learning_rate") if self._warm() else None)
        drawn = {panel.key: lines_of(panel, record, curves, kind) for panel in self._page}
        also = None
        if record.stored is None:  # a store has some metrics by step and some by epoch
            first = [line for panel in self.found[:3] for line in lines_of(panel, record, curves, kind)]
            also = union(line.x_bounds() for line in first)
        for panel in self._page:
            chart = self.charts[panel.key]
            chart.count_in(kind)
            # Of the marks only those that explain the curve: a label on every chart would be noise.
            own = [m for m in marks if panel.key == "loss" or m.kind in ("nonfinite", "lr")]
            chart.show(drawn[panel.key], own, live=record.live, also=also)

    def _warm(self) -> bool:
        from tui.charts import is_warm, render

        return is_warm() and not render.failure()

    def _tell(self, first: int) -> None:
        """Say what does not go without saying: the page, the filter, the x axis."""
        total, parts = len(self.shown), []
        if total > len(self._page):
            parts.append(page_words(first, len(self._page), total))
        if not total:
            parts.append(say("charts.none_match"))
        if self._filter():
            parts.append(say("charts.filtered", filter=plain(self._filter())))
        if self.x_kind != "step":
            known = self._seen is None or can(self._seen[0], self.x_kind)
            words = say(f"charts.x.{self.x_kind}")
            parts.append(words if known else say("charts.no_x", kind=words))
        told = self.query_one("#charts-told", Quiet)
        told.display = bool(parts)
        told.say("  ".join(parts).replace("[", "\\["))

    # -- what the keys do -------------------------------------------------------------------------------

    def go(self, by: int) -> None:
        """Make another chart the current one; round the ends."""
        keys = [panel.key for panel in self.shown]
        if keys:
            self.current = keys[(keys.index(self.current) + by) % len(keys)]
            self._arrange()

    def turn(self, by: int) -> None:
        """Go to another page; the last and the first stay."""
        keys = [panel.key for panel in self.shown]
        if keys and self._page:
            first = keys.index(self._page[0].key)
            last = (len(keys) - 1) // len(self._page) * len(self._page) if len(self._page) else 0
            self.current = keys[max(0, min(last, first + by * len(self._page)))]
            self._arrange()

    def toggle_full(self) -> None:
        """Show the current chart alone, or all again."""
        self.full = not self.full
        self._arrange()

    def next_x(self) -> None:
        """Let the x axis count in the next thing that this run knows."""
        record = self._seen[0] if self._seen is not None else None
        if record is not None and record.stored is not None and not self._timed:
            self._timed = True
            self._ask_times(record)
            return
        at = X_KINDS.index(self.x_kind)
        turn = [X_KINDS[(at + step) % len(X_KINDS)] for step in range(1, len(X_KINDS) + 1)]
        self.x_kind = next(kind for kind in turn if self._seen is None or can(self._seen[0], kind))
        self.spectui.view.set("charts.x", self.x_kind)
        self.cursor.put(None)
        self._arrange()

    @work(thread=True)
    def _ask_times(self, record: Record) -> None:
        """Read when the points of a stored run were logged; only an axis of time needs it."""
        listing.fill_times(record)
        if not get_current_worker().is_cancelled:
            self.app.call_from_thread(self.next_x)

    def toggle_log(self) -> None:
        """Switch the y axis of the current chart."""
        if self.lead is not None:
            self.lead.toggle_log()
            others = [k for k in self.spectui.view.get("charts.log", _LOGS) if k not in self.charts]
            logs = [*others, *(key for key, chart in self.charts.items() if chart.log_y)]
            self.spectui.view.set("charts.log", logs)

    def toggle_smooth(self) -> None:
        """Smooth every chart but that of the learning rate, or none."""
        smooth = not self.spectui.view.get("charts.smooth", False)
        self.spectui.view.set("charts.smooth", smooth)
        for key, chart in self.charts.items():
            if chart.smooth != smooth and key != "learning_rate":
                chart.toggle_smooth()

    def toggle_clip(self) -> None:
        """Leave wild points out of the y range of every chart, or of none."""
        clip = not self.spectui.view.get("charts.clip", False)
        self.spectui.view.set("charts.clip", clip)
        for chart in self.charts.values():
            if chart.clip != clip:
                chart.toggle_clip()

    def next_charset(self) -> None:
        """Draw with the next kind of dots."""
        now = marker_of(self.spectui.view.get("charts.charset", ""))
        wanted = CHARSETS[(CHARSETS.index(now) + 1) % len(CHARSETS)]
        self.spectui.view.set("charts.charset", wanted)
        for chart in self.charts.values():
            chart.draw_with(wanted)

    def move_cursor(self, columns: int) -> None:
        """Move the cursor of all charts by columns of the current one."""
        if self.lead is not None:
            self.cursor.move(self.lead, columns)

    def step(self) -> float | None:
        """Return the step under the cursor, whatever the x axis counts in; None without a cursor."""
        read = [] if self.lead is None or self.cursor.x is None else self.lead.readout()
        return read[0].step if read else None

    def show_step(self, step: float) -> None:
        """Put the cursor at a step."""
        known = self._seen is not None and can(self._seen[0], self.x_kind)
        warp = warp_of(self._seen[0], "batch_loss", self.x_kind) if self._seen and known else None
        self.cursor.put(step if warp is None else warp.at(step))

    def step_out(self) -> bool:
        """Take away one layer: the cursor, the single chart, the filter; tell whether there was any."""
        if self.query_one("#charts-filter").display:
            self._filter_done()
        elif self.cursor.x is not None:
            self.cursor.put(None)
        elif self.full:
            self.toggle_full()
        elif self._filter():
            self._set_filter("")
        else:
            return False
        return True

    def ask_filter(self) -> None:
        """Ask which quantities to show."""
        box = self.query_one("#charts-filter", Input)
        box.display = True
        box.value = self._filter()
        box.focus()

    @on(Input.Changed, "#charts-filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        event.stop()
        if event.input.display:
            self._set_filter(event.value.strip())

    @on(Input.Submitted, "#charts-filter")
    def _filter_done(self) -> None:
        self.query_one("#charts-filter").display = False
        self.screen.set_focus(None)

    def _set_filter(self, wanted: str) -> None:
        self.spectui.view.set("charts.filter", wanted)
        self._arrange()

    @on(Chart.Pointed)
    def _pointed(self, event: Chart.Pointed) -> None:
        event.stop()
        key = next((key for key, chart in self.charts.items() if chart is event.chart), self.current)
        if key != self.current:
            self.current = key
            self._arrange()
        if event.x is not None:
            self.cursor.put(event.chart.next_point(event.x, 0))
