"""Which columns the run list has, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.words import say
from tui.widgets.entry import Entry
from tui.widgets.plain import plain
from tui.widgets.run_columns import ALWAYS, ATTRIBUTES, DEFAULT, title


class ColumnsScreen(ModalScreen[list[str] | None]):
    """Choose columns; enter gives the keys in order, escape gives None.

    The chosen ones stand first, in their order; below them what the runs have besides.
    """

    BINDINGS = [
        Binding("escape", "cancel", show=False),
        Binding("enter", "done", show=False, priority=True),
        Binding("slash", "narrow", show=False),
        Binding("space", "take", show=False),
        Binding("K,shift+up", "shift(-1)", show=False),
        Binding("J,shift+down", "shift(1)", show=False),
        Binding("k", "step(-1)", show=False),
        Binding("j", "step(1)", show=False),
        Binding("0", "reset", show=False),
    ]

    def __init__(self, chosen: Sequence[str], more: Callable[[], Sequence[str]]) -> None:
        super().__init__()
        self.chosen = list(chosen)
        self.others = [key for key in ATTRIBUTES if key not in chosen]
        self._more = more
        self._shown: list[str] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(say("columns.question"), markup=False)
            yield OptionList(id="columns", compact=True)
            yield Entry(id="piece", compact=True, placeholder=say("pick.placeholder"))
            yield Static(say("columns.hint"), classes="hint", markup=False)

    def on_mount(self) -> None:
        self.query_one("#piece").display = False
        self.set_focus(self.query_one("#columns"))
        self._list(0)
        self._find_more()

    @work(thread=True, group="more")
    def _find_more(self) -> None:
        self.app.call_from_thread(self._found_more, self._more())

    def _found_more(self, found: Sequence[str]) -> None:
        self.others += [key for key in found if key not in self.others and key not in self.chosen]
        if self.is_mounted:
            self._list()

    @on(Input.Changed, "#piece")
    def _typed(self) -> None:
        self._list(0)

    def _list(self, at: int | None = None) -> None:
        columns = self.query_one("#columns", OptionList)
        before = columns.highlighted or 0
        piece = self.query_one("#piece", Input).value.strip().casefold()
        every = [*self.chosen, *self.others]
        self._shown = [key for key in every if piece in f"{key} {title(key)}".casefold()]
        columns.clear_options()
        columns.add_options(Option(self._words(key)) for key in self._shown)
        last = len(self._shown) - 1
        columns.highlighted = max(0, min(last, before if at is None else at)) if self._shown else None

    def _words(self, key: str) -> Text:
        sign = "[x] " if key in self.chosen else "[ ] "
        text = Text(sign + plain(title(key)), no_wrap=True)
        if title(key) != key:
            text.append(f"  {plain(key)}", "dim")
        return text

    def _key(self) -> str | None:
        at = self.query_one("#columns", OptionList).highlighted
        return self._shown[at] if at is not None and at < len(self._shown) else None

    @on(OptionList.OptionSelected)
    def action_take(self) -> None:
        """Take a column in, as the last one, or out."""
        key = self._key()
        if key is None or key in ALWAYS:
            return
        if key in self.chosen:
            self.chosen.remove(key)
            self.others.insert(0, key)
        else:
            self.others.remove(key)
            self.chosen.append(key)
        self._list()

    def action_shift(self, by: int) -> None:
        """Let a column change places with its neighbour."""
        key = self._key()
        if key in self.chosen:
            at = self.chosen.index(key)
            to = max(0, min(len(self.chosen) - 1, at + by))
            self.chosen.insert(to, self.chosen.pop(at))
            self._list()
            self.query_one("#columns", OptionList).highlighted = self._shown.index(key)

    def action_step(self, by: int) -> None:
        columns = self.query_one("#columns", OptionList)
        if self._shown:
            columns.highlighted = max(0, min(len(self._shown) - 1, (columns.highlighted or 0) + by))

    def action_narrow(self) -> None:
        piece = self.query_one("#piece")
        piece.display = True
        self.set_focus(piece)

    def action_reset(self) -> None:
        """Go back to the columns that everybody begins with."""
        self.others = [key for key in [*self.chosen, *self.others] if key not in DEFAULT]
        self.chosen = list(DEFAULT)
        self._list(0)

    def action_done(self) -> None:
        if self.query_one("#piece").has_focus:
            self.set_focus(self.query_one("#columns"))
        else:
            self.dismiss(self.chosen)

    def action_cancel(self) -> None:
        self.dismiss(None)
