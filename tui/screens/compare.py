"""Compare: two to two hundred runs, live and past, side by side in six views.

What each view says is in `compare_views`, what the keys do in `compare_acts`.
"""

from __future__ import annotations

import time
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.worker import get_current_worker

from engine.compare.labels import kinds
from engine.compare.tables import Table as Figures
from engine.words import say
from tui import keys
from tui.charts.cursor import place_words
from tui.charts.strips import Cell
from tui.comparing import Compared
from tui.screens import compare_views as views
from tui.screens.compare_acts import CompareActs
from tui.widgets.bars import Quiet
from tui.widgets.compare_grid import QUANTITIES, CompareGrid
from tui.widgets.compare_plots import Plot
from tui.widgets.rows import Rows, Table, cells_of

# While runs are still being read, or grow, drawing takes at most this share of the time.
_DRAWING_SHARE = 0.15
_LEAST_SECONDS = 0.3
_TITLE_SECONDS = 0.1


class CompareScreen(CompareActs):
    """The compared runs; the set itself is `app.marked`, shared with the list of runs."""

    where: ClassVar[str] = "compare"
    mode: ClassVar[str] = "compare"
    BINDINGS = keys.bindings("compare")

    def __init__(self) -> None:
        super().__init__()
        self.view_name = "curves"
        self.quantity = QUANTITIES[0]
        self.y_metric = ""
        self.x_axis = ""
        self.kind = "mae"
        self.everything = False
        self.table = Figures([])
        self._names: dict[str, str] = {}
        self._draw_at = 0.0
        self._reading = False
        self._drawn = -1
        self._told_at = 0.0

    def compose_body(self) -> ComposeResult:
        yield Quiet(id="compare-title")
        yield Quiet(id="compare-hint")
        with Horizontal(id="compare"):
            with Vertical(id="compare-main"):
                yield CompareGrid(id="overlay")
                yield Table(id="compare-table")
                yield Rows(id="compare-bars")
                yield Plot(id="compare-plot")
            yield Rows(id="compare-runs")
        yield Quiet(id="compare-told")

    def on_mount(self) -> None:
        app = self.spectui
        self.compared = Compared(app.workspace)
        saved = app.view.get("compare.view", "curves")
        self.view_name = saved if saved in views.VIEWS else "curves"
        self.quantity = app.view.get("compare.quantity", self.quantity)
        self.y_metric = app.view.get("compare.metric", "")
        self.x_axis = app.view.get("compare.x", "")
        self.kind = app.view.get("compare.kind", self.kind)
        self.everything = app.view.get("compare.all", False)
        if not app.marked:
            app.marked = set(app.view.get("compare.runs", list[str]()))
        self.compared.baseline = app.view.get("compare.baseline", "")
        self.compared.pinned = list(app.view.get("compare.pinned", list[str]()))
        self.compared.hidden = set(app.view.get("compare.hidden", list[str]()))
        self.set_interval(app.poll_seconds, self._poll)
        self.set_out()

    def _poll(self) -> None:
        if self.is_current and self.compared.live():
            self.read_runs()

    def draw_soon(self) -> None:
        self._draw_at = self._told_at = 0.0

    def catch_up(self) -> None:
        super().catch_up()
        if not self.is_mounted or not hasattr(self, "compared"):
            return
        app = self.spectui
        if not app.feed.loaded:
            return
        self.compared.retry()
        self._want()
        self.read_runs()
        if self.compared.unread():
            self.came()
        else:
            self.show_all()

    def _want(self) -> None:
        app, compared = self.spectui, self.compared
        compared.want(app.feed.rows, app.marked)
        app.view.set("compare.runs", sorted(app.marked))

    def read_runs(self) -> None:
        """Read what is new in a thread, one at a time."""
        if not self._reading:
            self._reading = True
            self._read_runs()

    @work(thread=True, group="compare", exit_on_error=True)
    def _read_runs(self) -> None:
        worker = get_current_worker()
        try:
            self.compared.read(lambda: worker.is_cancelled, partial(self._tell_from_thread, self.came))
        finally:
            self._reading = False
        self._tell_from_thread(self.all_read)

    def _tell_from_thread(self, what: object) -> None:
        if self.app.is_running and callable(what):
            self.app.call_later(what)

    def came(self) -> None:
        """Show how many runs are read, and at times what is known of them."""
        now = time.monotonic()
        if self.is_mounted and now >= self._told_at:
            self._told_at = now + _TITLE_SECONDS
            self._tell_title()
            if now >= self._draw_at:
                self.show_all()

    def all_read(self) -> None:
        """Everything that there was is read; if it is nothing new, nothing is drawn."""
        if self.is_mounted and self.is_current:
            if self._drawn != self.compared.news and (
                time.monotonic() >= self._draw_at or not self.compared.live()
            ):
                self.show_all()
            if self.compared.unread():
                # some were added meanwhile
                self.read_runs()

    def set_out(self) -> None:
        """Show the widgets of the view, and give the keys to the one that moves."""
        table = self.view_name in ("params", "metrics")
        for name, wanted in (
            ("#overlay", self.view_name == "curves"),
            ("#compare-table", table),
            ("#compare-bars", self.view_name == "labels"),
            ("#compare-plot", self.view_name in ("scatter", "parallel")),
        ):
            self.query_one(name).display = wanted
        self.set_class(self.view_name in views.TABLES, "-table")
        self.grid.close_filter()
        focus = (
            "#compare-table" if table else "#compare-bars" if self.view_name == "labels" else "#compare-runs"
        )
        self.query_one(focus).focus()

    def show_all(self) -> None:
        """Bring the view in front, the list at the side and the lines around them up to date."""
        compared, began = self.compared, time.monotonic()
        self._drawn = compared.news
        enough = len(compared.order) >= 2
        hint = self.query_one("#compare-hint", Quiet)
        hint.display = not enough
        hint.say(Text(self._hint()))
        self.query_one("#compare").display = bool(compared.order)
        self._tell_title()
        self._names = compared.names()
        self._show_runs()
        show = {"params": self._show_table, "metrics": self._show_table, "labels": self._show_bars}
        show.get(self.view_name, self._show_curves if self.view_name == "curves" else self._show_plot)()
        self._tell_told()
        now = time.monotonic()
        self._draw_at = now + max(_LEAST_SECONDS, (now - began) / _DRAWING_SHARE)

    def _hint(self) -> str:
        if not self.compared.order:
            return say("compare.empty")
        return say("compare.one", name=next(iter(self.compared.names().values()), "?"))

    def _tell_title(self) -> None:
        parts = [
            f"[reverse bold] {say(f'compare.view.{name}')} [/]" if name == self.view_name
            else f" {say(f'compare.view.{name}')} "
            for name in views.VIEWS
        ]  # fmt: skip
        total, left = len(self.compared.order), self.compared.unread()
        words = [
            say("compare.reading", done=total - left, total=total)
            if left
            else say("compare.count", count=total)
        ]
        if self.compared.hidden:
            words.append(say("compare.hidden", count=len(self.compared.hidden)))
        if self.compared.gone:
            words.append(say("compare.gone_count", count=len(self.compared.gone)))
        self.query_one("#compare-title", Quiet).say("".join(parts) + " " + "  ".join(words))

    def _show_runs(self) -> None:
        compared = self.compared
        row = compared.order.index(compared.current) if compared.current in compared.order else 0
        grid, header = self.grid, say("compare.runs_header", quantity=self.quantity)
        looked = self.view_name == "curves" and grid.cursor.x is not None
        if looked and grid.cursor.x is not None:
            place = place_words(grid.cursor.x, grid.x_kind)
            words = "compare.cursor_change" if compared.baseline else "compare.cursor_header"
            header = say(words, place=place, quantity=self.quantity)

        def line(at: int, width: int) -> list[Cell]:
            read = (grid.reading(compared.order[at]),) if looked else None
            return views.run_line(compared, self._names, self.quantity, at, width, read)

        self.query_one("#compare-runs", Rows).show(
            len(compared.order), line, lambda width: cells_of([(header, views.DIM)]), row=row
        )

    def _show_curves(self) -> None:
        self.grid.show(self.compared, self._names, self.quantity)
        self.quantity = self.grid.current

    @on(CompareGrid.Changed)
    def _looked_elsewhere(self) -> None:
        """What stands beside the charts follows their cursor and their choice."""
        self.quantity = self.grid.current
        self._show_runs()
        self._tell_told()

    def _show_table(self) -> None:
        compared, name = self.compared, self.view_name
        widget = self.query_one("#compare-table", Table)
        make = views.params_table if name == "params" else views.metrics_table
        self.table = make(compared, everything=self.everything)
        sheet = (views.params_sheet if name == "params" else views.metrics_sheet)(
            compared, self.table, self._names
        )
        ids = self.table.run_ids
        widget.show_sheet(sheet, ids.index(compared.current) if compared.current in ids else None)

    def _show_bars(self) -> None:
        compared = self.compared
        known = kinds(compared.records())
        if known and self.kind not in known:
            self.kind = known[0]
        self.bars = views.bar_rows(compared, self.kind)
        most = views.most_of(compared, self.kind)
        self.query_one("#compare-bars", Rows).show(
            len(self.bars),
            lambda row, width: views.bar_line(compared, self._names, self.bars, self.kind, most, row, width),
        )

    def _show_plot(self) -> None:
        named = views.metric_names(self.compared)
        if named and self.y_metric not in named:
            self.y_metric = named[0]
        found = views.numbers(self.compared)
        if self.x_axis not in found:
            self.x_axis = views.usual_x(found)
        draw = (
            views.scatter_of(self.compared, self.x_axis, self.y_metric)
            if self.view_name == "scatter"
            else views.parallel_of(self.compared, self.y_metric)
        )
        self.query_one("#compare-plot", Plot).show(draw)

    def _tell_told(self) -> None:
        """Say in the lowest line what is under the cursor, in full, or why a table is empty."""
        compared, told = self.compared, ""
        if self.view_name in ("params", "metrics"):
            widget = self.query_one("#compare-table", Table)
            told = views.told_cell(self.table, widget.row, widget.column, self._names)
            told = told or say(f"compare.none.{self.view_name}")
        elif self.view_name == "labels" and not self.bars:
            told = say("compare.none.labels")
        elif compared.current:
            told = self._names.get(compared.current, compared.current)
            if compared.current in compared.gone:
                told += f"   {say('compare.gone_hint')}"
        if compared.baseline:
            told += f"   {say('compare.against', name=self._names.get(compared.baseline, compared.baseline))}"
        if self.view_name == "curves":
            told = "   ".join([told, *self.grid.words()])
        self.query_one("#compare-told", Quiet).say(Text(told))

    @on(Rows.Moved)
    def _moved(self, event: Rows.Moved) -> None:
        """The run of the cursor is the same in every view."""
        compared, rows = self.compared, event.rows
        if isinstance(rows, Table):
            ids = self.table.run_ids
            run_id = ids[rows.column] if rows.column < len(ids) else compared.current
        elif rows.id == "compare-bars":
            record = self.bars[rows.row][1] if rows.row < len(self.bars) else None
            run_id = record.run_id if record is not None else compared.current
        else:
            run_id = compared.order[rows.row] if rows.row < len(compared.order) else compared.current
        if run_id != compared.current:
            compared.current = run_id
            if rows.id != "compare-runs":
                self._show_runs()
            if self.view_name in ("scatter", "parallel"):
                self._show_plot()
            elif self.view_name in ("params", "metrics") and not isinstance(rows, Table):
                self._show_table()
        self._tell_told()
