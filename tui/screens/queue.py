"""Queue: the runs that hold a slot and those that wait for one, in the order in which they will start."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult

from engine.errors import BadInput
from engine.runs import queue
from engine.runs.record import Record
from engine.words import say
from tui import keys
from tui.screens.acts import Acts
from tui.screens.ask import Ask
from tui.screens.confirm import Confirm
from tui.widgets.bars import Quiet
from tui.widgets.run_list import RunList


class QueueScreen(Acts):
    """The one queue of the workspace, whoever put something in."""

    where: ClassVar[str] = "queue"
    BINDINGS = keys.bindings("queue")

    def __init__(self) -> None:
        super().__init__()
        self.listing: queue.Listing | None = None
        self.problem = ""

    def compose_body(self) -> ComposeResult:
        yield Quiet(id="queue-title")
        yield RunList(id="queue")

    def on_mount(self) -> None:
        self.query_one(RunList).focus()
        self.set_interval(self.spectui.poll_seconds, self.look)
        self.look()

    @work(thread=True, exclusive=True, group="queue")
    def look(self) -> None:
        """Read the queue: a few small files, but they may lie on a slow disk."""
        found: queue.Listing | None
        try:
            found, problem = queue.listing(self.spectui.workspace), ""
        except (BadInput, OSError) as error:
            found, problem = self.listing, str(error)
        self.app.call_from_thread(self._found, found, problem)

    def _found(self, listing: queue.Listing | None, problem: str) -> None:
        if (listing, problem) != (self.listing, self.problem):
            self.listing, self.problem = listing, problem
            self.catch_up()

    def catch_up(self) -> None:
        super().catch_up()
        if not self.is_mounted:
            return
        listing = self.listing
        title = Text()
        title.append(say("queue_screen.title"), "bold")
        rows: list[Record] = []
        if listing is not None:
            if listing.paused:
                title.append(f"  {say('queue_screen.is_paused', by=listing.paused_by)}", "bold yellow")
            counts = {"running": len(listing.running), "waiting": len(listing.waiting)}
            title.append(f"  {say('queue_screen.counts', **counts)}", "dim")
            title.append(f"  {say('queue_screen.slots_are', slots=listing.slots)}", "dim")
            title.append(f"  {say(f'queue_screen.policy_{listing.policy}')}", "dim")
            known = {row.run_id: row for row in self.spectui.feed.rows}
            ids = [*(one.run_id for one in listing.running), *(one.run_id for one in listing.waiting)]
            rows = [known[run_id] for run_id in ids if run_id in known]
        if self.problem:
            title.append(f"  {self.problem}", "red")
        self.query_one("#queue-title", Quiet).say(title)
        self.query_one(RunList).show(
            rows, say("queue_screen.empty" if listing is not None else "runs.loading")
        )

    def chosen(self) -> list[Record]:
        current = self.query_one(RunList).current
        return [] if current is None else [current]

    @on(RunList.RunClicked)
    def action_open(self) -> None:
        for record in self.chosen():
            self.spectui.open_run(record)

    def action_shift(self, by: int) -> None:
        """Let a waiting run change places with its neighbour."""
        for record in self._waiting():
            where = "up" if by < 0 else "down"
            self._change(partial(queue.move, self.spectui.workspace, record.run_id, where))

    def action_pause(self) -> None:
        """Start nothing more, or go on starting."""
        act = queue.resume if self.listing is not None and self.listing.paused else queue.pause
        self._change(lambda: act(self.spectui.workspace))

    def action_take_out(self) -> None:
        """Ask whether a waiting run shall not run."""
        for record in self._waiting():

            def answered(answer: str | None, run: Record = record) -> None:
                if answer:
                    self._change(lambda: queue.take_out(self.spectui.workspace, run.run_id))

            self.app.push_screen(Confirm(say("queue_screen.take_out_question", run=record.run_id)), answered)

    def action_slots(self) -> None:
        """Ask for the number of runs that may be at work at once."""

        def answered(given: str | None) -> None:
            if given:
                self._change(lambda: queue.set_slots(self.spectui.workspace, given))

        self.app.push_screen(
            Ask(say("queue_screen.ask_slots"), hint=say("queue_screen.slots_hint")), answered
        )

    def action_policy(self) -> None:
        """Change what a run that failed does to those behind it."""
        if self.listing is not None:
            other = "continue" if self.listing.policy == "pause" else "pause"
            self._change(lambda: queue.set_policy(self.spectui.workspace, other))

    def _waiting(self) -> list[Record]:
        return self._those("queue_screen.not_waiting", lambda record: record.state == "queued")

    def _change(self, act: Callable[[], object]) -> None:
        def change() -> list[str]:
            act()
            self.app.call_from_thread(self.look)
            return []

        self._do(change)
