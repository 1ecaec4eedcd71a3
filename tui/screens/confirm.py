"""A question with yes and no; no is the default, and the question names the object."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.words import say


class Confirm(ModalScreen[str]):
    """Ask; `y` says yes, a key of `also` says that, everything else says no (an empty answer).

    `also` gives further answers: a key and its words.
    """

    BINDINGS = [Binding("n,escape,q,enter", "answer('')", show=False)]

    def __init__(self, question: str, also: dict[str, str] | None = None) -> None:
        super().__init__()
        self.question = question
        self.also = also or {}

    def compose(self) -> ComposeResult:
        words = "    ".join([say("confirm.says_yes"), *(f"{k} {word}" for k, word in self.also.items())])
        with Vertical(classes="dialog"):
            with VerticalScroll(id="question", can_focus=False):
                yield Static(self.question, markup=False)
            yield Static(f"{words}    {say('confirm.says_no')}", classes="hint", markup=False)

    def on_key(self, event: Key) -> None:
        if event.key == "y" or event.key in self.also:
            event.stop()
            self.dismiss(event.key)

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)
