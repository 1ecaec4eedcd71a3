"""One of many, chosen by typing a piece of it: a key to sort or to group by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.words import say
from tui.widgets.entry import Entry
from tui.widgets.plain import plain

Choice = tuple[str, str]
"""A value and the words for it."""


class Pick(ModalScreen[str | None]):
    """Ask for one of the choices; enter gives its value, escape gives None.

    `more` are choices that take a while to find; `free` says whether a text that is none of them will do.
    """

    BINDINGS = [Binding("escape", "cancel", show=False)]

    def __init__(
        self,
        question: str,
        choices: Sequence[Choice],
        current: str = "",
        more: Callable[[], Sequence[Choice]] | None = None,
        free: Callable[[str], bool] = lambda _text: False,
    ) -> None:
        super().__init__()
        self.question, self.choices, self.current = question, list(choices), current
        self._more, self._free = more, free
        self._shown: list[Choice] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self.question, markup=False)
            yield Entry(id="piece", compact=True, placeholder=say("pick.placeholder"))
            choices = OptionList(id="choices", compact=True)
            choices.can_focus = False
            yield choices
            yield Static(say("pick.hint"), classes="hint", markup=False)

    def on_mount(self) -> None:
        self.set_focus(self.query_one("#piece"))
        self._narrow()
        if self._more is not None:
            self._find_more(self._more)

    @work(thread=True, group="more")
    def _find_more(self, more: Callable[[], Sequence[Choice]]) -> None:
        self.app.call_from_thread(self._found_more, more())

    def _found_more(self, found: Sequence[Choice]) -> None:
        there = {value for value, _ in self.choices}
        self.choices += [choice for choice in found if choice[0] not in there]
        if self.is_mounted:
            self._narrow()

    @on(Input.Changed, "#piece")
    def _narrow(self) -> None:
        choices = self.query_one("#choices", OptionList)
        had = self._chosen()
        piece = self.query_one("#piece", Input).value.strip().casefold()
        begins = [c for c in self.choices if c[0].casefold().startswith(piece)]
        holds = [c for c in self.choices if piece in f"{c[0]} {c[1]}".casefold() and c not in begins]
        self._shown = begins + holds if piece else list(self.choices)
        choices.clear_options()
        choices.add_options(Option(Text(plain(words), no_wrap=True)) for _, words in self._shown)
        wanted = self.current if had is None and not piece else had if not piece else None
        values = [value for value, _ in self._shown]
        choices.highlighted = values.index(wanted) if wanted in values else 0 if values else None

    def _chosen(self) -> str | None:
        at = self.query_one("#choices", OptionList).highlighted
        return self._shown[at][0] if at is not None and at < len(self._shown) else None

    def on_key(self, event: events.Key) -> None:
        by = {"down": 1, "up": -1, "pagedown": 10, "pageup": -10}.get(event.key)
        choices = self.query_one("#choices", OptionList)
        if by is not None and self._shown:
            choices.highlighted = max(0, min(len(self._shown) - 1, (choices.highlighted or 0) + by))
            event.stop()

    @on(Input.Submitted, "#piece")
    def _given(self, event: Input.Submitted) -> None:
        chosen, text = self._chosen(), event.value.strip()
        if chosen is None and text and self._free(text):
            chosen = text
        if chosen is not None:
            self.dismiss(chosen)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._shown[event.option_index][0])

    def action_cancel(self) -> None:
        self.dismiss(None)
