"""The help: the keys that work where you are, from the one table, and how to read the screen."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
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
        with VerticalScroll(classes="dialog big") as box:
            box.border_title = say("help.title")
            yield Static(self._page())

    def _page(self) -> Group:
        page: list[RenderableType] = [Text(f"{say(f'help.about.{self.place}')}\n")]
        for where in dict.fromkeys((self.place, "app")):
            page.append(Text(say(f"help.place.{where}"), "bold cyan"))
            # A grid, so that a long sentence goes on under itself and not under the keys.
            grid = Table.grid(padding=(0, 2, 0, 0))
            grid.add_column(width=18, no_wrap=True)
            grid.add_column()
            for key in keys.of(where):
                shown = " ".join(keys.pretty(k) for k in key.keys.split(","))
                grid.add_row(Text(f" {shown}", "bold"), say(f"help.{key.id}"))
            page += [grid, Text()]
        page += [Text(f"{say('help.lists')}\n"), Text(say("help.states"), "bold cyan")]
        page += [Text(f" {'   '.join(state_words(state) for state in STATES)}\n"), Text(say("help.mouse"))]
        return Group(*page)
