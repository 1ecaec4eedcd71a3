"""The help: the keys that work where you are, from the one table, and how to read the screen."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.runs.record import STATES
from engine.words import say
from tui import keys
from tui.theme import state_words


class HelpScreen(ModalScreen[None]):
    """Keys of this place and of everywhere, and the glyphs of states."""

    BINDINGS = [Binding("escape,q,question_mark,f1,enter", "dismiss", show=False)]

    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog big"):
            yield Static(self._text())

    def _text(self) -> Text:
        text = Text()
        text.append(f"{say('help.title')}\n", "bold")
        text.append(f"{say(f'help.about.{self.place}')}\n\n")
        for where in dict.fromkeys((self.place, "app")):
            text.append(f"{say(f'help.place.{where}')}\n", "bold cyan")
            for key in keys.of(where):
                shown = " ".join(keys.pretty(k) for k in key.keys.split(","))
                text.append(f"  {shown}{' ' * max(1, 18 - cell_len(shown))}", "bold")
                text.append(f"{say(f'help.{key.id}')}\n")
            text.append("\n")
        text.append(f"{say('help.lists')}\n\n")
        text.append(f"{say('help.states')}\n", "bold cyan")
        text.append("  " + "   ".join(state_words(state) for state in STATES) + "\n\n")
        text.append(say("help.mouse"))
        return text
