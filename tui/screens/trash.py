"""Trash: runs that were removed; they come back whole, until the trash is emptied."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult

from engine.runs import trash
from engine.runs.record import Record
from engine.spectra.check_words import size_words
from engine.words import say
from tui import keys
from tui.screens.acts import named
from tui.screens.base import Place
from tui.screens.confirm import Confirm
from tui.widgets.bars import Quiet
from tui.widgets.run_list import RunList


class TrashScreen(Place):
    """The removed runs of the workspace."""

    where: ClassVar[str] = "trash"
    BINDINGS = keys.bindings("trash")

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Record] = []
        self.size_bytes = 0
        self.looked = False

    def compose_body(self) -> ComposeResult:
        yield Quiet(id="trash-title")
        yield RunList(id="trash")

    def on_mount(self) -> None:
        self.query_one(RunList).focus()
        self.look()

    @work(thread=True, exclusive=True, group="trash")
    def look(self) -> None:
        """Read what is there, and how large it is."""
        found = trash.listing(self.spectui.workspace)
        rows = []
        for one in found:
            record = Record(one.path, keep_curves=False)
            record.refresh()
            rows.append(record)
        self.app.call_from_thread(self._found, rows, sum(one.freed for one in found))

    def _found(self, rows: list[Record], size: int) -> None:
        self.rows, self.size_bytes, self.looked = rows, size, True
        self.catch_up()

    def catch_up(self) -> None:
        super().catch_up()
        if self.is_mounted:
            title = Text()
            title.append(say("trash_screen.title"), "bold")
            if self.rows:
                title.append(f"  {len(self.rows)}  {size_words(self.size_bytes)}", "dim")
            self.query_one("#trash-title", Quiet).say(title)
            self.query_one(RunList).show(
                self.rows, say("trash_screen.is_empty" if self.looked else "runs.loading")
            )

    def action_mark(self) -> None:
        self.query_one(RunList).toggle_mark()

    def action_restore(self) -> None:
        """Put runs back where they were."""
        here, runs = self.spectui.workspace, self._chosen()

        def restore() -> list[str]:
            back = trash.restore(here, [run.run_id for run in runs])
            self.app.call_from_thread(self.look)
            return [say("trash_screen.restored", run=run_id) for run_id in back]

        if runs:
            self.spectui.carry_out(restore)

    def action_empty(self) -> None:
        """Ask whether runs shall be gone for good: the marked ones, else all."""
        here = self.spectui.workspace
        marked = self.query_one(RunList).marked
        runs = [run for run in self.rows if run.run_id in marked] or self.rows

        def empty() -> list[str]:
            freed = trash.empty(here, [run.run_id for run in runs])
            self.app.call_from_thread(self.look)
            return [say("trash_screen.emptied", count=len(runs), size=size_words(freed))]

        def answered(answer: str | None) -> None:
            if answer:
                self.spectui.carry_out(empty)

        if runs:
            question = say("trash_screen.empty_question", run=named(runs))
            if len(runs) > 1:
                question += "".join(f"\n  {run.run_id}" for run in runs[:8])
            self.app.push_screen(Confirm(question), answered)

    def _chosen(self) -> list[Record]:
        runs = self.query_one(RunList)
        marked = [run for run in self.rows if run.run_id in runs.marked]
        return marked or ([] if runs.current is None else [runs.current])
