"""The curves of the compared runs: a chart per quantity, as many as there is room for, all on one x axis.

Owns which quantities are on the page, the cursor and the choices that the charts share. Never reads a run:
the points come from `Compared`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input
from textual.worker import get_current_worker

from engine.runs.record import Record
from engine.track import listing
from engine.words import say
from tui.charts import Chart, Frame, Line, Mark, is_warm
from tui.charts.axes import union
from tui.charts.charset import marker_of
from tui.charts.cursor import Reading, SharedCursor, readings
from tui.charts.warp import X_KINDS, XKind
from tui.comparing import Compared
from tui.widgets.entry import Entry
from tui.widgets.panels import Panel, matching, page_words
from tui.widgets.plain import plain
from tui.widgets.run_lines import can, warp_of

if TYPE_CHECKING:
    from tui.app import SpectuiApp

QUANTITIES = ("val_loss", "train_loss", "batch_loss", "learning_rate", "gradient_norm")
_MOST = 4
_LEAST_ROWS, _LEAST_COLUMNS = 8, 48
_FRAME = Frame(
    gutter=7
)  # the same for all, so that a step lies in the same column of charts above each other
_NAMED_MARKS = 8


class CompareGrid(Vertical, can_focus=False):
    """The charts of a comparison; `show` as often as points arrive."""

    DEFAULT_CSS = """
    CompareGrid { height: 1fr; min-height: 6; }
    CompareGrid #compare-cells { layout: grid; height: 1fr; grid-gutter: 0 1; }
    CompareGrid #compare-filter { height: 1; background: $surface; }
    """

    class Changed(Message):
        """Another chart, another cursor, another filter: what is told beside the charts is old."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.current = QUANTITIES[0]
        self.shown: list[str] = []
        self.page: list[str] = []
        self.full = False
        self.x_kind: XKind = "step"
        self.cursor = SharedCursor(self._charts)
        self._compared: Compared | None = None
        self._names: dict[str, str] = {}
        self._lines: dict[str, dict[str, Line]] = {}
        self._without = 0
        self._timed: dict[str, Record] = {}
        self._before: Widget | None = None

    @property
    def spectui(self) -> SpectuiApp:
        return self.app  # type: ignore[return-value]

    def compose(self) -> ComposeResult:
        with Container(id="compare-cells"):
            for slot in range(_MOST):
                yield Chart("", frame=_FRAME, id=f"overlay-{slot}")
        yield Entry(placeholder=say("charts.filter_hint"), id="compare-filter", compact=True)

    def on_mount(self) -> None:
        self.query_one("#compare-filter").display = False
        kind = self.spectui.view.get("compare.x_axis", "step")
        self.x_kind = next((one for one in X_KINDS if one == kind), "step")
        for chart in self._charts():
            chart.smooth = self.spectui.view.get("compare.smooth", False)
            chart.clip = self.spectui.view.get("compare.clip", False)

    def on_resize(self) -> None:
        before = self.page
        self._arrange()
        if self.page != before:
            self.post_message(self.Changed())

    def show(self, compared: Compared, names: dict[str, str], quantity: str) -> None:
        """Show what there is now of the compared runs, and make one quantity the current one."""
        self._compared, self._names, self.current = compared, names, quantity
        self._arrange()

    def _charts(self) -> list[Chart]:
        return list(self.query(Chart))

    @property
    def lead(self) -> Chart:
        """The chart that the keys act on."""
        return self._charts()[self.page.index(self.current) if self.current in self.page else 0]

    def _filter(self) -> str:
        return self.spectui.view.get("compare.filter", "")

    def _arrange(self) -> None:
        """Choose the page that holds the current quantity, lay the charts out, and give them their lines."""
        compared = self._compared
        if compared is None or not self.is_mounted or not self.size:
            return
        there = ordered(compared.quantities())
        found = [panel.key for panel in matching([Panel(n, n, (n,), ()) for n in there], self._filter())]
        if self.current not in found:
            if found and (self._filter() or not compared.unread()):
                self.current = found[0]
            else:
                found.insert(0, self.current)  # its runs may only not have been read yet
        self.shown = found
        across, down = (1, 1) if self.full else layout(self.size.width, self.size.height)
        room = across * down
        at = found.index(self.current)
        first = min(at - at % room, max(0, len(found) - room))
        self.page = found[first : first + room]
        cells = self.query_one("#compare-cells", Container)
        across = min(across, len(self.page))
        if cells.styles.grid_size_columns != across:
            cells.styles.grid_size_columns = across
        for slot, chart in enumerate(self._charts()):
            chart.display = slot < len(self.page)
            if not chart.display:
                chart.show((), live=False)
        self._fill(compared)

    def _fill(self, compared: Compared) -> None:
        records = sorted(compared.records(shown=True), key=lambda one: one.run_id != compared.baseline)
        kind = self.x_kind
        if kind in ("relative", "wall") and self._untimed(records):
            self._ask_times(self._untimed(records))
        able = [record for record in records if can(record, kind)]
        self._without = len(records) - len(able)
        compared.forget_series(self.page)
        self._lines = {name: self._lines_of(compared, able, name) for name in self.page}
        marks = self._marks(compared, able)
        also = union(line.x_bounds() for lines in self._lines.values() for line in lines.values())
        live = any(record.live for record in able)
        marker, logs = marker_of(self.spectui.view.get("charts.charset", "")), self._logs()
        for chart, name in zip(self._charts(), self.page, strict=False):
            chart.title, chart.log_y, chart.marker = plain(name), name in logs, marker
            chart.baseline = bool(able) and able[0].run_id == compared.baseline
            chart.count_in(kind)
            chart.look(self.cursor.x)
            chart.focus_title(name == self.current and len(self.page) > 1)
            chart.show(list(self._lines[name].values()), marks, live=live, also=also)
            chart.refresh_chart()

    def _lines_of(self, compared: Compared, records: Sequence[Record], quantity: str) -> dict[str, Line]:
        found = {}
        for record in records:
            series = compared.series(record, quantity)
            if series is not None:
                look = compared.looks[record.run_id]
                warp = warp_of(record, quantity, self.x_kind)
                name = self._names[record.run_id]
                found[record.run_id] = Line(name, series, colour=look.colour, letter=look.letter, warp=warp)
        return found

    def _marks(self, compared: Compared, records: Sequence[Record]) -> list[Mark]:
        """Return where runs became not-a-number; of many only the letters, or words would hide the curves."""
        bad = [(record, record.nonfinite) for record in records if record.nonfinite is not None]
        marks = []
        for record, what in bad:
            if what is None:
                continue
            letter = compared.looks[record.run_id].letter
            told = say("run.mark.nonfinite", what=what.what, value=what.value, step=what.step)
            words = f"{letter} {told}"
            warp = warp_of(record, "batch_loss", self.x_kind)
            place = what.step if warp is None else warp.at(what.step)
            marks.append(Mark(place, "nonfinite", letter if len(bad) > _NAMED_MARKS else words, words))
        return marks

    def reading(self, run_id: str) -> Reading | None:
        """Return what a run says at the cursor on the current chart; None without a cursor or a curve."""
        lines, compared = self._lines.get(self.current, {}), self._compared
        line = lines.get(run_id)
        if self.cursor.x is None or line is None or compared is None or not is_warm():
            return None
        base = lines.get(compared.baseline)
        asked = [line] if base is None or base is line else [base, line]
        found = readings(asked, self.cursor.x, baseline=base is not None)
        return next((one for one in found if one.letter == line.letter), None)

    def words(self) -> list[str]:
        """Return what does not go without saying: which charts of how many, the filter, the x axis."""
        parts = []
        if len(self.shown) > len(self.page) and self.page:
            parts.append(page_words(self.shown.index(self.page[0]), len(self.page), len(self.shown)))
        if self._filter():
            parts.append(say("charts.filtered", filter=plain(self._filter())))
        if self.x_kind != "step":
            parts.append(say(f"charts.x.{self.x_kind}"))
        if self._without:
            parts.append(say("compare.without_axis", count=self._without))
        return parts

    def _untimed(self, records: Sequence[Record]) -> list[Record]:
        return [one for one in records if one.stored is not None and self._timed.get(one.run_id) is not one]

    @work(thread=True, exclusive=True, group="compare-times")
    def _ask_times(self, records: Sequence[Record]) -> None:
        """Read when the points of stored runs were logged; only an axis of time needs it."""
        for record in records:
            if get_current_worker().is_cancelled:
                return
            listing.fill_times(record)
        self.app.call_from_thread(self._have_times, records)

    def _have_times(self, records: Sequence[Record]) -> None:
        self._timed.update({record.run_id: record for record in records})
        if self.is_mounted:
            self._arrange()
            self.post_message(self.Changed())

    # -- what the keys do -------------------------------------------------------------------------------

    def toggle_full(self) -> None:
        """Show the current chart alone, or as many as there is room for."""
        self.full = not self.full
        self._arrange()
        self.post_message(self.Changed())

    def next_x(self) -> None:
        """Let the x axis count in the next thing that any of the runs knows, or may know."""
        records = self._compared.records(shown=True) if self._compared is not None else []
        at = X_KINDS.index(self.x_kind)
        for step in range(1, len(X_KINDS) + 1):
            kind = X_KINDS[(at + step) % len(X_KINDS)]
            timed = kind in ("relative", "wall") and self._untimed(records)
            if timed or kind == "step" or any(can(record, kind) for record in records):
                break
        self.x_kind = kind
        self.spectui.view.set("compare.x_axis", kind)
        self.cursor.put(None)
        self._arrange()
        self.post_message(self.Changed())

    def _logs(self) -> list[str]:
        return self.spectui.view.get("compare.logs", list[str]())

    def is_log(self, quantity: str) -> bool:
        """Tell whether the y axis of a quantity is logarithmic, shown or not."""
        return quantity in self._logs()

    def toggle_log(self) -> None:
        """Switch the y axis of the current chart."""
        chart, others = self.lead, [name for name in self._logs() if name != self.current]
        chart.toggle_log()
        self.spectui.view.set("compare.logs", [*others, self.current] if chart.log_y else others)

    def toggle_smooth(self) -> None:
        """Smooth every chart, or none."""
        for chart in self._charts():
            chart.toggle_smooth()
        self.spectui.view.set("compare.smooth", self.lead.smooth)

    def toggle_clip(self) -> None:
        """Leave wild points out of the y range of every chart, or of none."""
        for chart in self._charts():
            chart.toggle_clip()
        self.spectui.view.set("compare.clip", self.lead.clip)

    def move_cursor(self, columns: int) -> None:
        """Move the cursor of all charts by columns of the current one."""
        self.cursor.move(self.lead, columns)
        self.post_message(self.Changed())

    def step_out(self) -> bool:
        """Take away one layer: the filter's field, the cursor, the single chart, the filter; tell whether."""
        if self.query_one("#compare-filter").display:
            self.close_filter()
        elif self.cursor.x is not None:
            self.cursor.put(None)
        elif self.full:
            self.toggle_full()
        elif self._filter():
            self._set_filter("")
        else:
            return False
        self.post_message(self.Changed())
        return True

    def ask_filter(self) -> None:
        """Ask which quantities to show."""
        box = self.query_one("#compare-filter", Input)
        self._before = self.screen.focused
        box.display = True
        box.value = self._filter()
        box.focus()

    @on(Input.Changed, "#compare-filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        event.stop()
        if event.input.display:
            self._set_filter(event.value.strip())

    @on(Input.Submitted, "#compare-filter")
    def close_filter(self) -> None:
        """Take the field away and give the keys back to the list of runs."""
        box = self.query_one("#compare-filter")
        if box.display:
            box.display = False
            self.screen.set_focus(self._before)

    def _set_filter(self, wanted: str) -> None:
        self.spectui.view.set("compare.filter", wanted)
        self._arrange()
        self.post_message(self.Changed())

    @on(Chart.Pointed)
    def _pointed(self, event: Chart.Pointed) -> None:
        event.stop()
        slot = self._charts().index(event.chart)
        if slot < len(self.page) and self.page[slot] != self.current:
            self.current = self.page[slot]
            self._arrange()
        if event.x is not None:
            self.cursor.put(event.chart.next_point(event.x, 0))
        self.post_message(self.Changed())


def ordered(names: Sequence[str]) -> list[str]:
    """Return quantities with the usual ones first."""
    usual = [name for name in QUANTITIES if name in names]
    return [*usual, *sorted(set(names) - set(usual))]


def layout(width: int, height: int) -> tuple[int, int]:
    """Return how many charts stand beside each other and how many above, at most four in all."""
    across = 2 if width >= 2 * _LEAST_COLUMNS else 1
    return across, min(_MOST // across, max(1, height // _LEAST_ROWS))
