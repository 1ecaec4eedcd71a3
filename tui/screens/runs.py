"""Runs: live and past ones in one list, newest first, with the facts of the one under the cursor."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Input

from engine.cli.inspect import facts
from engine.errors import BadInput
from engine.runs.record import Record
from engine.runs.select import select, sort
from engine.words import say
from tui import keys
from tui.screens.acts import Acts
from tui.screens.base import Place
from tui.theme import BAD
from tui.widgets.bars import Quiet
from tui.widgets.entry import Entry
from tui.widgets.run_list import RunList

SORTS = ("", "best.val_loss", "state", "model", "name", "-duration")


class RunsScreen(Acts):
    """The list of runs."""

    where: ClassVar[str] = "runs"
    mode: ClassVar[str] = "runs"
    BINDINGS = keys.bindings("runs")

    def __init__(self) -> None:
        super().__init__()
        self.filter = ""
        self.sort_key = ""

    def compose_body(self) -> ComposeResult:
        yield Quiet(id="runs-title")
        with Horizontal():
            yield RunList(id="runs")
            yield Quiet(id="facts")
        yield Entry(placeholder=say("runs.filter_hint"), id="filter", compact=True)

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        self.query_one(RunList).focus()
        self.set_interval(1.0, self._tick)
        self.catch_up()

    def catch_up(self) -> None:
        super().catch_up()
        feed, runs = self.spectui.feed, self.query_one(RunList)
        problem = ""
        try:
            rows = sort(select(feed.rows, self.filter), self.sort_key)
        except BadInput as error:
            rows, problem = feed.rows, error.lines[0]
        runs.marked = self.spectui.marked
        runs.show(rows, self._empty_words(bool(self.filter)))
        title = Text()
        title.append(say("runs.title"), "bold")
        total = len(feed.rows)
        title.append(f"  {len(rows)}/{total}" if self.filter else f"  {total}", "dim")
        if self.filter:
            title.append(f"  {say('runs.filtered', filter=self.filter)}", "yellow")
        if self.sort_key:
            title.append(f"  {say('runs.sorted', key=self.sort_key)}", "dim")
        if self.spectui.marked:
            title.append(f"  {say('runs.marked', count=len(self.spectui.marked))}", "bold cyan")
        if problem or feed.error:
            title.append(f"  {problem or feed.error}", "red")
        self.query_one("#runs-title", Quiet).say(title)
        self._show_facts()

    def _empty_words(self, filtered: bool) -> str:
        if not self.spectui.feed.loaded:
            return say("runs.loading")
        return say("runs.none_match") if filtered else say("runs.empty")

    def _tick(self) -> None:
        """Ages and ETAs move on although nothing happened."""
        if self.is_current and any(row.live for row in self.spectui.feed.rows):
            runs = self.query_one(RunList)
            runs.refresh()
            # Of a run that has ended nothing moves on, and to find out how one died takes a while.
            if runs.current is not None and runs.current.live:
                self._show_facts()

    @on(RunList.RunHighlighted)
    def _show_facts(self) -> None:
        panel, record = self.query_one("#facts", Quiet), self.query_one(RunList).current
        if record is None:
            panel.say("")
            return
        text = Text()
        for name, value in facts(self.spectui.workspace, record):
            text.append(f"{name}  ", "dim")
            text.append(
                f"{value}\n",
                "bold red" if record.state in BAD and value.startswith(say(f"state.{record.state}")) else "",
            )
        panel.say(text)

    @on(RunList.RunClicked)
    def action_open(self) -> None:
        record = self.query_one(RunList).current
        if record is not None:
            self.spectui.open_run(record)

    def action_mark(self) -> None:
        self.query_one(RunList).toggle_mark()
        self.spectui.marked = self.query_one(RunList).marked
        self.catch_up()

    def action_unmark(self) -> None:
        self.spectui.marked = set()
        self.catch_up()

    async def action_compare(self) -> None:
        """Compare the marked runs; with none marked, the one under the cursor and the next."""
        if len(self.spectui.marked) < 2:
            self.notify(say("compare.mark_first"))
            return
        await self.spectui.action_mode("compare")

    async def action_new(self) -> None:
        await self.spectui.action_mode("experiments")

    def action_filter(self) -> None:
        box = self.query_one("#filter", Input)
        box.display = True
        box.value = self.filter
        box.focus()

    @on(Input.Changed, "#filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        self.filter = event.value.strip()
        self.catch_up()

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.query_one("#filter").display = False
        self.query_one(RunList).focus()

    def action_sort(self) -> None:
        self.sort_key = SORTS[(SORTS.index(self.sort_key) + 1) % len(SORTS)]
        self.catch_up()

    def action_refresh_now(self) -> None:
        self.spectui.feed.poke()

    def chosen(self) -> list[Record]:
        """Return the marked runs, or the one under the cursor."""
        marked = [row for row in self.spectui.feed.rows if row.run_id in self.spectui.marked]
        current = self.query_one(RunList).current
        return marked or ([] if current is None else [current])

    def action_trash(self) -> None:
        from tui.screens.trash import TrashScreen

        self.app.push_screen(TrashScreen())

    def action_copy(self) -> None:
        record = self.query_one(RunList).current
        if record is not None:
            copy_run_id(self, record)

    def key_escape(self) -> None:
        """Clear the filter before anything else."""
        if self.query_one("#filter").has_focus or self.filter:
            self.filter = ""
            self._filter_done()
            self.catch_up()


def copy_run_id(screen: Place, record: Record) -> None:
    """Copy a run id."""
    screen.spectui.copy(record.run_id)
