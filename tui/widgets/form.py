"""One row of the launch form: a mark when changed, the key, and an input or a choice."""

from __future__ import annotations

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, Static

from engine.conf.form import FormField
from tui.widgets.entry import Entry


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
        name = self.field.key.rpartition(".")[2] if self.headed else self.field.key
        return f"{'*' if self.changed else ' '} {name}"
