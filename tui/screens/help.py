"""The help: what has the focus, the keys that work where you are, and how to read the screen.

The keys come from the one table, as they are in force; `/` keeps the lines that hold what is typed.
"""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.runs.record import STATES
from engine.words import has, say
from tui import config, keys
from tui.theme import state_words
from tui.widgets.entry import Entry
from tui.widgets.moves import MOVES


class HelpScreen(ModalScreen[None]):
    """What the focused widget is for, keys of this place and of everywhere, and the glyphs of states."""

    # The search takes letters: it has the focus only when asked for.
    AUTO_FOCUS = ""
    BINDINGS = [
        Binding("escape,q,question_mark,f1", "close", show=False),
        Binding("slash", "search", show=False),
        Binding("space", "page(1)", show=False),
        *MOVES,
    ]

    def __init__(self, place: str, focused: Widget | None = None) -> None:
        super().__init__()
        self.place = place
        self.about = about_focus(focused)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog big", can_focus=False) as box:
            box.border_title = say("help.title")
            box.border_subtitle = say("help.subtitle")
            yield Static(self._page(""), id="help-page")
        yield Entry(placeholder=say("help.search"), id="help-search", compact=True)

    def on_mount(self) -> None:
        self.query_one("#help-search").display = False

    def _page(self, wanted: str) -> Group:
        page: list[RenderableType] = []
        if not wanted:
            page.append(Text(f"{say(f'help.about.{self.place}')}\n"))
            if self.about:
                page += [Text(say("help.focus"), "bold cyan"), Text(f"{self.about}\n")]
        for where in dict.fromkeys((self.place, "app")):
            # A grid, so that a long sentence goes on under itself and not under the keys.
            grid = Table.grid(padding=(0, 2, 0, 0))
            grid.add_column(width=18, no_wrap=True)
            grid.add_column()
            for key in keys.of(where):
                shown = " ".join(keys.pretty(k) for k in key.keys.split(","))
                told = say(f"help.{key.id}")
                if wanted in f"{shown} {told} {say(f'key.{key.id}')} {key.id}".casefold():
                    grid.add_row(Text(f" {shown}", "bold"), told)
            if grid.row_count:
                page += [Text(say(f"help.place.{where}"), "bold cyan"), grid, Text()]
        if wanted:
            return Group(*page) if page else Group(Text(say("help.nothing", text=wanted)))
        page += [Text(f"{say('help.lists')}\n"), Text(say("help.states"), "bold cyan")]
        page += [Text(f" {'   '.join(state_words(state) for state in STATES)}\n"), Text(say("help.mouse"))]
        page.append(Text(say("help.config", file=str(config.file())), "dim"))
        return Group(*page)

    @property
    def _box(self) -> VerticalScroll:
        return self.query_one(VerticalScroll)

    def action_search(self) -> None:
        """Type what the lines shall hold."""
        entry = self.query_one("#help-search", Input)
        entry.display = True
        entry.focus()

    @on(Input.Changed, "#help-search")
    def _typed(self, event: Input.Changed) -> None:
        self.query_one("#help-page", Static).update(self._page(event.value.strip().casefold()))
        self._box.scroll_home(animate=False)

    @on(Input.Submitted, "#help-search")
    def _searched(self) -> None:
        self.set_focus(None)

    def action_close(self) -> None:
        """Leave the search first, then the help."""
        entry = self.query_one("#help-search", Input)
        if entry.display:
            entry.value = ""
            entry.display = False
            self.set_focus(None)
        else:
            self.dismiss(None)

    def action_move(self, by: int) -> None:
        self._box.scroll_relative(y=by, animate=False)

    def action_page(self, by: int) -> None:
        self._box.scroll_relative(y=by * max(1, self._box.size.height - 2), animate=False)

    def action_edge(self, end: int) -> None:
        if end:
            self._box.scroll_end(animate=False)
        else:
            self._box.scroll_home(animate=False)


def about_focus(focused: Widget | None) -> str:
    """Return what is said of a widget, by its class or the nearest one above it that has words."""
    if focused is None:
        return ""
    for kind in type(focused).__mro__:
        name = f"help.widget.{kind.__name__.lower()}"
        if has(name):
            return say(name)
    return ""
