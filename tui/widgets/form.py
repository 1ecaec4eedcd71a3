"""The rows of the launch form: a mark when changed, the key, an input or a choice, what is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.conf.form import FormField, form_fields
from engine.conf.marks import parse_value
from engine.conf.schema import Conf
from engine.words import say
from engine.workspace import Workspace
from tui.widgets.entry import Entry
from tui.widgets.plain import plain


class Choice(Widget, can_focus=True):
    """One of a few words on one row: left and right step through them, a letter goes to the next it begins.

    Up and down stay free to move between the fields, which an opened list would take.
    """

    BINDINGS = [
        Binding("right,space", "step(1)", show=False),
        Binding("left,backspace", "step(-1)", show=False),
    ]

    value: reactive[str] = reactive("", init=False)

    class Changed(Message):
        """Another word was chosen."""

        def __init__(self, value: str) -> None:
            self.value = value
            super().__init__()

    def __init__(self, choices: tuple[str, ...], value: str) -> None:
        super().__init__()
        self.choices = choices
        self.set_reactive(Choice.value, value)

    def render(self) -> Text:
        place = f"  {self.choices.index(self.value) + 1}/{len(self.choices)}"
        word = (self.value, "bold" if self.has_focus else "")
        return Text.assemble("‹ ", word, " ›", (place, "dim"), no_wrap=True)

    def watch_value(self) -> None:
        self.post_message(self.Changed(self.value))

    def action_step(self, by: int) -> None:
        self.value = self.choices[(self.choices.index(self.value) + by) % len(self.choices)]

    def on_key(self, event: events.Key) -> None:
        """Letters choose; none of them is a command while a form is filled in."""
        if event.character is None or not event.is_printable or event.character == " ":
            return
        event.stop()
        place = self.choices.index(self.value) + 1
        letter = event.character.casefold()
        turn = (*self.choices[place:], *self.choices[:place])
        self.value = next((word for word in turn if word.casefold().startswith(letter)), self.value)

    def on_click(self) -> None:
        self.action_step(1)


class FieldRow(Horizontal):
    """A field and what is typed into it."""

    class Changed(Message):
        """The text of a field is not what it was."""

        def __init__(self, row: FieldRow) -> None:
            self.row = row
            super().__init__()

    class Focused(Message):
        """The cursor came into a field."""

        def __init__(self, row: FieldRow) -> None:
            self.row = row
            super().__init__()

    def __init__(self, field: FormField, original: str, *, headed: bool = False) -> None:
        super().__init__(classes="field")
        self.headed = headed
        """Whether a heading above names the part of the conf, so that the label need not."""
        self.field = field
        self.original = original
        """The text of the source conf: what 'changed' is measured against."""
        self.box: Choice | Entry = (
            Choice(field.choices, field.text)
            if field.kind == "choice"
            else Entry(field.text, compact=True, select_on_focus=False)
        )
        self.problem = self.idle = ""
        """What is wrong with the field, and why it has nothing to act on, as last told."""
        self.in_difference = False
        self._below: Static | None = None
        self._beside: Static | None = None
        self._before: Static | None = None

    @property
    def text(self) -> str:
        """What stands in the field now."""
        return self.box.value

    @property
    def changed(self) -> bool:
        return self.text.strip() != self.original

    def compose(self) -> ComposeResult:
        yield Static(self._label(), classes="label", markup=False)
        yield self.box

    def on_mount(self) -> None:
        self.set_class(self.changed, "-changed")

    def reset(self) -> None:
        """Put the source conf's text back."""
        self.set_text(self.original)

    def set_text(self, text: str) -> None:
        """Put a text in, as if it had been typed."""
        if isinstance(self.box, Entry) or text in self.field.choices:
            self.box.value = text

    def settle(self) -> None:
        """Take what stands in the field for that of the source conf: it was saved there."""
        self.field = dataclasses.replace(self.field, text=self.text)
        self.original = self.text.strip()
        self.set_class(False, "-changed")
        self.query_one(".label", Static).update(self._label())

    def tell(self, problem: str, idle: str) -> None:
        """Show what is wrong below the field, and beside it why it has nothing to act on; empty for nothing.

        The texts are made when they are first needed: a form has eighty fields, and most are fine.
        """
        if problem != self.problem:
            self.problem = problem
            if self._below is None:
                self._below = Static(classes="problem", markup=False)
                above = self.parent
                assert isinstance(above, Widget)
                above.mount(self._below, after=self)
            self._below.display = bool(problem)
            self._below.update(plain(f"  ! {problem}"))
            self.set_class(bool(problem), "-wrong")
        if idle != self.idle:
            self.idle = idle
            if self._beside is None:
                self._beside = Static(classes="beside", markup=False)
                self.mount(self._beside)
            self._beside.update(plain(f"({idle})" if idle else ""))
            self.set_class(bool(idle), "-idle")

    def keep_in_sight(self) -> None:
        """Scroll so that the field and what is wrong with it are seen."""
        if self._below is not None and self._below.display:
            self._below.scroll_visible(animate=False)
        self.scroll_visible(animate=False)

    def tell_difference(self, on: bool) -> None:
        """Show the source conf's value before the one that is now, or the field alone again.

        A row that is shown stays while the cursor may be in it, also when it is changed back.
        """
        self.in_difference = on
        self.set_class(on and self.changed, "-differs")
        if on and self.changed and self._before is None:
            self._before = Static(classes="before", markup=False)
            self.mount(self._before, before=self.box)
        if self._before is not None:
            self._before.display = on
            self._before.update(plain(f"{self.original or say('launch.empty')} →"))
        self.query_one(".label", Static).update(self._label())
        if self._below is not None:
            self._below.display = bool(self.problem) and (not on or self.changed)

    @on(Input.Changed)
    @on(Choice.Changed)
    def _typed(self, event: Input.Changed | Choice.Changed) -> None:
        event.stop()
        self.set_class(self.changed, "-changed")
        self.query_one(".label", Static).update(self._label())
        self.post_message(self.Changed(self))

    def on_descendant_focus(self) -> None:
        self.post_message(self.Focused(self))

    def _label(self) -> str:
        headed = self.headed and not self.in_difference
        name = self.field.key.rpartition(".")[2] if headed else self.field.key
        return f"{'*' if self.changed else ' '} {name}"


class Fields(VerticalScroll):
    """The list of rows; whatever takes room from it, the row with the cursor stays in sight."""

    def on_resize(self) -> None:
        for row in self.query(FieldRow):
            if row.has_focus_within:
                row.keep_in_sight()


def rows_of(workspace: Workspace, original: Conf, conf: Conf) -> list[FieldRow | Static]:
    """Return the rows of a form: a field of `conf` each, marked where it is not that of `original`."""
    before = {f.key: f.text for f in form_fields(workspace, original)}
    rows: list[FieldRow | Static] = []
    part = ""
    for field in form_fields(workspace, conf):
        # The name and the network stand first, above the parts of the conf.
        headed = field.section != "" and len(rows) > 2
        above = field.key.rpartition(".")[0]
        if headed and above != part:
            part = above
            rows.append(Static(part, classes="heading"))
        rows.append(FieldRow(field, before.get(field.key, field.text), headed=headed))
    return rows


def typed_in(conf: Conf, rows: Iterable[FieldRow]) -> dict[str, Any]:
    """Return the conf as plain data with what was typed; untouched network defaults stay unsaid."""
    plain = conf.plain()
    for row in rows:
        if row.text.strip() == row.field.text:
            continue
        value: Any = parse_value(row.text) if row.text.strip() else ""
        if isinstance(value, int | float) and row.field.key in ("name", "description"):
            value = row.text.strip()
        *parents, last = row.field.key.split(".")
        place = plain
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = value
    return plain
