"""The line in which a filter is typed: what can be written next, and the filters of before.

Knows no runs: who has them gives the candidates. Posts what is typed as any input does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len
from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input

from engine.runs.filter import Completion, complete
from engine.runs.record import Record
from engine.words import say
from tui.widgets.bars import Quiet
from tui.widgets.entry import Entry
from tui.widgets.plain import plain

_MOST_KEPT = 30


class FilterBox(Entry):
    """An input line with completion by tab, and earlier lines by up and down."""

    class CandidateChosen(Message):
        """Another of the candidates stands in the line."""

    def __init__(self, placeholder: str, *, id: str) -> None:
        super().__init__(placeholder=placeholder, id=id, compact=True, select_on_focus=False)
        self.past: list[str] = []
        self._draft = ""
        self._back = 0
        """How many filters back the line is; 0 is what is being typed."""
        self._text = ""
        """The text that the candidates are for."""
        self._completion = Completion(0, 0, ())
        self.chosen = -1

    @property
    def candidates(self) -> tuple[str, ...]:
        """What may stand where the cursor is."""
        return self._completion.candidates

    @property
    def completed(self) -> bool:
        """Tell whether the line is as a candidate made it, so that the candidates still stand."""
        return self.chosen >= 0 and self.value == self._with(self.candidates[self.chosen])

    def offer(self, text: str, completion: Completion) -> None:
        """Take the candidates for a text; they count for nothing when another is there by now."""
        if text == self.value:
            self._text, self._completion, self.chosen = text, completion, -1

    def remember(self, text: str) -> None:
        """Keep a filter that was used, the newest last."""
        if text:
            self.past = [*(other for other in self.past if other != text), text][-_MOST_KEPT:]
        self._back = 0

    async def on_key(self, event: events.Key) -> None:
        step = {"tab": 1, "shift+tab": -1}.get(event.key)
        if step is not None:
            self._complete(step)
        elif event.key in ("up", "down"):
            self._recall(1 if event.key == "up" else -1)
        else:
            return
        event.stop()
        event.prevent_default()

    def _with(self, candidate: str) -> str:
        return self._text[: self._completion.start] + candidate + self._text[self._completion.end :]

    def _complete(self, step: int) -> None:
        if not self.candidates or not (self.completed or self.value == self._text):
            return
        if self.chosen < 0:
            self.chosen = 0 if step > 0 else len(self.candidates) - 1
        else:
            self.chosen = (self.chosen + step) % len(self.candidates)
        candidate = self.candidates[self.chosen]
        self.value = self._with(candidate)
        self.cursor_position = self._completion.start + len(candidate)
        self.post_message(self.CandidateChosen())

    def _recall(self, step: int) -> None:
        if self._back == 0:
            self._draft = self.value
        self._back = max(0, min(len(self.past), self._back + step))
        self.value = self.past[-self._back] if self._back else self._draft
        self.cursor_position = len(self.value)


class Candidates(Quiet):
    """One line of what can be written next, the chosen one marked; the rest is a number."""

    def tell(self, candidates: Sequence[str], chosen: int) -> None:
        """Show as many candidates as fit, so that the chosen one is among them."""
        self.display = bool(candidates)
        room = max(10, self.app.size.width - 10)
        first = 0
        while chosen > first and sum(cell_len(c) + 2 for c in candidates[first : chosen + 1]) > room:
            first += 1
        text, used = Text(no_wrap=True), 0
        for at, candidate in enumerate(candidates[first:], first):
            word = plain(candidate)
            used += cell_len(word) + 2
            if used > room and at > first:
                text.append(f"+{len(candidates) - at}", "dim")
                break
            text.append(word, "reverse" if at == chosen else "")
            text.append("  ")
        self.say(text)


class FilterBar(Vertical):
    """The line and what can be written next; out of sight until a filter is typed."""

    class Typed(Message):
        """The line says something else."""

        def __init__(self, text: str) -> None:
            self.text = text
            super().__init__()

    class Done(Message):
        """The line is to be left as it is."""

    class Completed(Message):
        """What can be written next is known."""

        def __init__(self, text: str, completion: Completion) -> None:
            self.text, self.completion = text, completion
            super().__init__()

    def __init__(self, records: Callable[[], list[Record]]) -> None:
        super().__init__(id="filter-bar")
        self._records = records

    def compose(self) -> ComposeResult:
        yield Candidates(id="candidates")
        yield FilterBox(say("runs.filter_hint"), id="filter")

    def on_mount(self) -> None:
        self.display = self.query_one(Candidates).display = False

    @property
    def box(self) -> FilterBox:
        """Return the line."""
        return self.query_one(FilterBox)

    def open(self, text: str) -> None:
        """Show the line with a text; letters typed from now on go into it."""
        self.display, self.box.value, self.box.cursor_position = True, text, len(text)
        # At once, not after the messages in between: the next letters are meant for the line.
        self.screen.set_focus(self.box)
        self._complete(text, len(text))

    def close(self) -> None:
        """Take the line out of sight."""
        self.display = False

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if self.display:
            self.post_message(self.Typed(self.box.value.strip()))
            if not self.box.completed:
                self._complete(self.box.value, self.box.cursor_position)

    @on(Input.Submitted, "#filter")
    def _done(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Done())

    @work(thread=True, exclusive=True, group="complete")
    def _complete(self, text: str, cursor: int) -> None:
        # Off the UI thread: the confs of some runs may have to be read.
        self.post_message(self.Completed(text, complete(text, cursor, self._records())))

    @on(Completed)
    def _completed(self, message: Completed) -> None:
        self.box.offer(message.text, message.completion)
        self._show_candidates()

    @on(FilterBox.CandidateChosen)
    def _show_candidates(self) -> None:
        shown = self.box.candidates if self.box.value else ()
        self.query_one(Candidates).tell(shown, self.box.chosen)
