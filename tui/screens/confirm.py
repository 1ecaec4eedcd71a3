"""A question with yes and no; no is the default, and the question names the object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.runs.launch import ask_to_stop as send_stop
from engine.runs.record import Record
from engine.words import say

if TYPE_CHECKING:
    from tui.app import SpectuiApp


class Confirm(ModalScreen[bool]):
    """Ask; `y` says yes, everything else says no."""

    BINDINGS = [
        Binding("y", "answer(True)", show=False),
        Binding("n,escape,q,enter", "answer(False)", show=False),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self.question, markup=False)
            yield Static(say("confirm.yes_no"), classes="hint")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


def ask_to_stop(app: SpectuiApp, record: Record) -> None:
    """Ask whether to stop a run, and send it the wish to save and stop."""
    if record.stored is not None or not record.live:
        app.notify(say("runs.not_live", run=record.run_id), severity="warning")
        return

    def answered(yes: bool | None) -> None:
        if yes:
            sent = send_stop(record.folder)
            words = say("runs.stopping" if sent else "runs.not_live", run=record.run_id)
            app.notify(words, severity="information" if sent else "warning")

    app.push_screen(Confirm(say("runs.stop_question", run=record.run_id)), answered)
