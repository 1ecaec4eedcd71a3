"""Choose from a list that can be filtered: one thing, or several with marks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from engine.words import say
from tui.charts.strips import PLAIN, Cell
from tui.theme import MARK
from tui.widgets.bars import Quiet
from tui.widgets.entry import Entry
from tui.widgets.rows import BOLD, Rows, cells_of

Matches = Callable[[str], set[str]]


class Choose(ModalScreen[list[str] | None]):
    """Give the chosen names; escape leaves the filter first, then everything as it is."""

    BINDINGS = [
        Binding("enter", "accept", show=False, priority=True),
        Binding("space", "mark", show=False),
        Binding("slash", "filter", show=False),
        Binding("escape", "cancel", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
    ]

    def __init__(
        self,
        question: str,
        items: Sequence[tuple[str, str]],
        *,
        chosen: Sequence[str] = (),
        many: bool = False,
        matches: Matches | None = None,
    ) -> None:
        super().__init__()
        self.question, self.items, self.many = question, list(items), many
        self.chosen = list(chosen)
        self._matches = matches or self._holding
        self._seen = self.items

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog big"):
            yield Static(self.question, markup=False)
            yield Entry("", id="pick-filter", compact=True)
            yield Rows(id="pick-rows")
            yield Quiet(classes="hint", id="pick-hint")

    def on_mount(self) -> None:
        rows = self.query_one("#pick-rows", Rows)
        rows.focus()
        self.query_one("#pick-filter").display = False
        first = next((i for i, (name, _) in enumerate(self.items) if name in self.chosen), 0)
        self.call_after_refresh(self._show, 0 if self.many else first)

    def _show(self, row: int | None = None) -> None:
        text = self.query_one("#pick-filter", Input).value.strip()
        kept = self._matches(text) if text else None
        self._seen = [item for item in self.items if kept is None or item[0] in kept]
        self.query_one("#pick-rows", Rows).show(len(self._seen), self._line, row=row)
        counted = say("choose.count", shown=len(self._seen), total=len(self.items), marked=len(self.chosen))
        keys = say("choose.keys_many" if self.many else "choose.keys_one")
        self.query_one("#pick-hint", Quiet).say(f"{counted}   {keys}" if self.many else keys)

    def _line(self, row: int, width: int) -> list[Cell]:
        name, text = self._seen[row]
        chosen = name in self.chosen
        return cells_of([(f"{MARK} " if chosen else "  ", BOLD), (text, BOLD if chosen else PLAIN)])

    def _holding(self, text: str) -> set[str]:
        return {name for name, words in self.items if text.lower() in words.lower()}

    @on(Input.Changed, "#pick-filter")
    def _typed(self) -> None:
        self._show(0)

    def action_filter(self) -> None:
        box = self.query_one("#pick-filter")
        box.display = True
        box.focus()

    def action_move(self, rows: int) -> None:
        self.query_one("#pick-rows", Rows).action_move(rows)

    def action_mark(self) -> None:
        """Mark what the cursor stands on and go on to the next; of a list of one choice, choose it."""
        rows = self.query_one("#pick-rows", Rows)
        if not self._seen:
            return
        name = self._seen[rows.row][0]
        if not self.many:
            self.dismiss([name])
            return
        if name in self.chosen:
            self.chosen.remove(name)
        else:
            self.chosen.append(name)
        rows.action_move(1)
        self._show()

    def action_accept(self) -> None:
        """Leave the filter if it is being written, else give what is chosen."""
        box = self.query_one("#pick-filter")
        if box.has_focus and self.many:
            self.query_one("#pick-rows").focus()
        elif self.many:
            self.dismiss(self.chosen)
        elif self._seen:
            self.dismiss([self._seen[self.query_one("#pick-rows", Rows).row][0]])

    def action_cancel(self) -> None:
        box = self.query_one("#pick-filter", Input)
        if box.display:
            box.value = ""
            box.display = False
            self.query_one("#pick-rows").focus()
            self._show(0)
        else:
            self.dismiss(None)
