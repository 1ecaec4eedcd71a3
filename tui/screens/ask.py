"""A question that is answered with a line of text; escape leaves everything as it is."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from engine.words import say
from tui.widgets.entry import Entry


class Ask(ModalScreen[str | None]):
    """Ask for one line; enter gives it, escape gives None."""

    BINDINGS = [Binding("escape", "cancel", show=False)]

    def __init__(self, question: str, text: str = "", hint: str = "") -> None:
        super().__init__()
        self.question, self.text, self.hint = question, text, hint

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self.question, markup=False)
            yield Entry(self.text, id="answer", compact=True, select_on_focus=False)
            yield Static(self.hint or say("ask.hint"), classes="hint", markup=False)

    @on(Input.Submitted, "#answer")
    def _given(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())

    def action_cancel(self) -> None:
        self.dismiss(None)
