"""Runs: live and past ones in one list, with the facts of the one under the cursor."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input

from engine.cli.text import duration
from engine.runs.arrange import FLAT, Arranged, Order
from engine.runs.record import Record
from engine.words import say
from tui import keys
from tui.arranger import Arranger
from tui.late import Late
from tui.screens.arranging import Arranging, texts
from tui.screens.base import Place
from tui.theme import BAD
from tui.widgets.bars import Quiet
from tui.widgets.filter_box import FilterBar
from tui.widgets.run_cells import read_cells
from tui.widgets.run_columns import DEFAULT
from tui.widgets.run_list import RunList

if TYPE_CHECKING:
    from engine.cli import inspect
else:
    inspect = Late("engine.cli.inspect")

# What is folded and marked is kept; of more than this only the newest.
_MOST_KEPT = 500
# Cells that are read at once: those on the screen, and some that were a moment ago.
_MOST_CELLS = 120
# The facts of a run are shown when the cursor has stood on it so long.
_REST_SECONDS = 0.06
# Where no run is at work only ages move on, by the minute.
_AGES_SECONDS = 15
# Rows that take longer than this are said to be on their way.
_PATIENCE_SECONDS = 0.3


class ListArranged(Message):
    """The rows are ready, off the thread that they were arranged in."""

    def __init__(self, arranged: Arranged) -> None:
        self.arranged = arranged
        super().__init__()


class CellsRead(Message):
    """What cells say that had to be read."""

    def __init__(self, cells: dict[tuple[Record, str], str]) -> None:
        self.cells = cells
        super().__init__()


class RunsScreen(Arranging):
    """The list of runs."""

    where: ClassVar[str] = "runs"
    mode: ClassVar[str] = "runs"
    BINDINGS = keys.bindings("runs")

    def __init__(self) -> None:
        super().__init__()
        self.filter = self.sort_key = self.group = self.baseline = ""
        self.folded: dict[str, None] = {}
        self.arranged = Arranged([])
        self.range_from = ""
        """Where a range of marks begins, while one is being chosen."""
        self._arranger = Arranger(self._start, self._give)
        self._reading: list[tuple[Record, str]] = []
        self._cursor = ""
        self._filling = True
        self._ticks = 0
        self._facts_timer: Timer | None = None

    def compose_body(self) -> ComposeResult:
        yield Quiet(id="runs-title")
        with Horizontal():
            yield RunList(id="runs")
            yield Quiet(id="facts")
        yield FilterBar(lambda: self.spectui.feed.rows)

    def on_mount(self) -> None:
        view, runs = self.spectui.view, self.query_one(RunList)
        self.filter, self.sort_key = view.get("runs.filter", ""), view.get("runs.sort", "")
        self.group, self.baseline = view.get("runs.group", ""), view.get("runs.baseline", "")
        self.folded = dict.fromkeys(texts(view.get("runs.folded", [])))
        self.spectui.marked |= set(texts(view.get("runs.marked", [])))
        self.query_one(FilterBar).box.past = texts(view.get("runs.filters", []))
        runs.choose(texts(view.get("runs.columns", list(DEFAULT))))
        runs.focus()
        self._cursor = view.get("runs.cursor", "")
        self.set_interval(1.0, self._tick)
        self.catch_up()

    # -- what is shown ------------------------------------------------------------------------------------

    def _order(self) -> Order:
        return Order(self.filter, self.sort_key, self.group, frozenset(self.folded))

    def catch_up(self) -> None:
        super().catch_up()
        arranged = self._arranger.want(self.spectui.feed.rows, self._order())
        if arranged is not None:
            self._show(arranged)
        else:
            self._come_again()
            self._say_title()

    def _come_again(self) -> None:
        wait = self._arranger.go_on()
        if wait:
            self.set_timer(wait, self._come_again)

    def _start(self, act: Callable[[], None]) -> None:
        self.run_worker(act, thread=True, group="list")

    def _give(self, arranged: Arranged) -> None:
        self.post_message(ListArranged(arranged))

    @on(ListArranged)
    def _list_arranged(self, message: ListArranged) -> None:
        self._arranger.busy = False
        self._show(message.arranged)
        self._come_again()

    def _show(self, arranged: Arranged) -> None:
        self.arranged, runs = arranged, self.query_one(RunList)
        runs.marked, runs.sort = self.spectui.marked, arranged.order.sort
        runs.baseline = self.baseline
        runs.filling = self._filling
        if self.spectui.feed.loaded and arranged.total == len(self.spectui.feed.rows):
            self._filling = False
        runs.show(arranged.lines, self._empty_words(bool(arranged.order.filter)), arranged.place)
        if self._cursor and self.spectui.feed.loaded:
            # Where the cursor stood when the app was left.
            runs.point_at(self._cursor)
            self._cursor = ""
        self._keep()
        self._say_title()
        self.call_after_refresh(self._show_facts)  # the rows first

    def _keep(self) -> None:
        view = self.spectui.view
        view.set("runs.filter", self.filter)
        view.set("runs.sort", self.sort_key)
        view.set("runs.group", self.group)
        view.set("runs.baseline", self.baseline)
        view.set("runs.folded", list(self.folded)[-_MOST_KEPT:])
        view.set("runs.marked", sorted(self.spectui.marked)[-_MOST_KEPT:])

    def _say_title(self) -> None:
        feed, arranged = self.spectui.feed, self.arranged
        text = Text()
        text.append(say("runs.title"), "bold")
        filtered = bool(arranged.order.filter)
        text.append(f"  {arranged.matched}/{arranged.total}" if filtered else f"  {len(feed.rows)}", "dim")
        if feed.error:
            text.append(f"  {feed.error}", "red")
            text.append(f" · {say('runs.rows_old', age=duration(time.time() - feed.error_since))}", "red")
        if arranged.problem:
            text.append(f"  {arranged.problem}", "red")
        # A key is answered at once, be it only by these words.
        asked = self._arranger.busy and self._order() != arranged.order
        late = self._arranger.busy and time.monotonic() - self._arranger.began > _PATIENCE_SECONDS
        if asked or late:
            text.append(f"  {say('runs.arranging')}", "yellow")
        if self.filter:
            text.append(f"  {say('runs.filtered', filter=self.filter)}", "yellow")
        if self.group:
            said = say("runs.flat") if self.group == FLAT else say("runs.grouped", key=self.group)
            text.append(f"  {said}", "dim")
        if self.sort_key:
            text.append(f"  {say('runs.sorted', key=self.sort_key)}", "dim")
        if self.baseline:
            text.append(f"  {say('runs.against', run=self.baseline)}", "dim")
        if self.spectui.marked:
            text.append(f"  {say('runs.marked', count=len(self.spectui.marked))}", "bold cyan")
        if self.range_from:
            text.append(f"  {say('runs.range_begun')}", "bold cyan")
        self.query_one("#runs-title", Quiet).say(text)

    def _empty_words(self, filtered: bool) -> str:
        if not self.spectui.feed.loaded:
            return say("runs.loading")
        return say("runs.none_match") if filtered else say("runs.empty")

    def _tick(self) -> None:
        """Ages and ETAs move on although nothing happened."""
        if self.app.screen is not self:
            return
        runs = self.query_one(RunList)
        self._ticks += 1
        if runs.moves_on() or self._ticks % _AGES_SECONDS == 0:
            runs.freshen()
        if self.spectui.feed.error or self._arranger.busy:
            self._say_title()
        # Of a run that has ended nothing moves on, and to find out how one died takes a while.
        if runs.current is not None and runs.current.live:
            self._show_facts()

    @on(RunList.RunHighlighted)
    def _highlighted(self) -> None:
        # The row first; the facts when the cursor rests, so that a key held down costs what is on its way.
        if self._facts_timer is None:
            self._facts_timer = self.set_timer(_REST_SECONDS, self._show_facts)
        else:
            self._facts_timer.reset()

    def _show_facts(self) -> None:
        if self._facts_timer is not None:
            self._facts_timer.stop()
            self._facts_timer = None
        if not self.query("#facts"):
            return  # the app is going
        panel, line = self.query_one("#facts", Quiet), self.query_one(RunList).line
        if line is not None and not self._cursor:
            self.spectui.view.set("runs.cursor", line.id)
        record = self.query_one(RunList).current
        if record is None or not panel.display:
            panel.say("")
            return
        text = Text()
        for name, value in inspect.facts(self.spectui.workspace, record):
            text.append(f"{name}  ", "dim")
            text.append(
                f"{value}\n",
                "bold red" if record.state in BAD and value.startswith(say(f"state.{record.state}")) else "",
            )
        panel.say(text)

    @on(RunList.CellsLacking)
    def _read_lacking(self) -> None:
        runs = self.query_one(RunList)
        if self._reading or not runs.lacking:
            return
        self._reading = list(runs.lacking)[-_MOST_CELLS:]
        runs.lacking = dict.fromkeys(self._reading)
        wanted, baseline = self._reading, self.spectui.record(self.baseline) if self.baseline else None

        def read() -> None:
            self.post_message(CellsRead(read_cells(wanted, baseline)))

        self._start(read)

    @on(CellsRead)
    def _cells_read(self, message: CellsRead) -> None:
        runs = self.query_one(RunList)
        for (record, key), text in message.cells.items():
            runs.known.setdefault(record, {})[key] = text
            runs.lacking.pop((record, key), None)
        self._reading = []
        runs.freshen({record for record, _ in message.cells})
        self._read_lacking()

    # -- what can be done ---------------------------------------------------------------------------------

    @on(RunList.RunClicked)
    def action_open(self) -> None:
        runs = self.query_one(RunList)
        if runs.current is not None:
            self.spectui.open_run(runs.current)
        elif runs.line is not None:
            self._fold(runs.line.id, not runs.line.folded)

    def action_mark(self) -> None:
        self.query_one(RunList).toggle_mark()
        self.spectui.marked = self.query_one(RunList).marked
        self._show(self.arranged)

    def action_range(self) -> None:
        """Begin a range at the cursor, or mark what lies between its beginning and the cursor."""
        runs = self.query_one(RunList)
        if runs.line is None:
            return
        begin, end = self.arranged.place.get(self.range_from), runs.cursor
        if begin is None:
            self.range_from = runs.line.id
        else:
            between = runs.lines[min(begin, end) : max(begin, end) + 1]
            self.spectui.marked |= {line.id for line in between if line.record is not None}
            self.range_from = ""
        self._show(self.arranged)

    def action_unmark(self) -> None:
        self.spectui.marked, self.range_from = set(), ""
        self._show(self.arranged)

    async def action_compare(self) -> None:
        """Compare the marked runs."""
        if len(self.spectui.marked) < 2:
            self.notify(say("compare.mark_first"))
            return
        await self.spectui.action_mode("compare")

    async def action_new(self) -> None:
        await self.spectui.action_mode("experiments")

    def action_refresh_now(self) -> None:
        self.spectui.feed.poke()

    def chosen(self) -> list[Record]:
        """Return the marked runs, or the one under the cursor."""
        ids = self.spectui.marked  # the key bar asks after each key: not for ten thousand rows when none is
        marked = [row for row in self.spectui.feed.rows if row.run_id in ids] if ids else []
        current = self.query_one(RunList).current
        return marked or ([] if current is None else [current])

    def action_trash(self) -> None:
        from tui.screens.trash import TrashScreen

        self.app.push_screen(TrashScreen())

    def action_copy(self) -> None:
        record = self.query_one(RunList).current
        if record is not None:
            copy_run_id(self, record)

    # -- the filter ---------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A slash begins a filter; within one it is a letter."""
        return not (action == "filter" and isinstance(self.focused, Input))

    def action_filter(self) -> None:
        self.query_one(FilterBar).open(self.filter)

    @on(FilterBar.Typed)
    def _filter_typed(self, message: FilterBar.Typed) -> None:
        self.filter = message.text
        self.catch_up()

    @on(FilterBar.Done)
    def _filter_done(self) -> None:
        box = self.query_one(FilterBar).box
        box.remember(self.filter)
        self.spectui.view.set("runs.filters", list(box.past))
        self._leave_box()

    def _leave_box(self) -> None:
        self.query_one(FilterBar).close()
        self.set_focus(self.query_one(RunList))

    def key_escape(self) -> None:
        """Clear the filter before anything else."""
        if self.query_one(FilterBar).display or self.filter:
            self.filter = ""
            self._leave_box()
            self.catch_up()
        elif self.range_from:
            self.range_from = ""
            self._say_title()


def copy_run_id(screen: Place, record: Record) -> None:
    """Copy a run id."""
    screen.spectui.copy(record.run_id)
