"""One row of the launch form: a mark when changed, the key, and an input or a choice."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Select, Static

from engine.conf.form import FormField


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
        """Whether a heading above names the section, so that the label need not."""
        self.field = field
        self.original = original
        """The text of the source conf: what 'changed' is measured against."""
        self.text = field.text

    @property
    def changed(self) -> bool:
        return self.text.strip() != self.original

    def compose(self) -> ComposeResult:
        yield Static(self._label(), classes="label", markup=False)
        if self.field.kind == "choice":
            yield Select(
                [(choice, choice) for choice in self.field.choices],
                value=self.field.text,
                allow_blank=False,
                compact=True,
            )
        else:
            yield Input(self.field.text, compact=True, select_on_focus=False)

    def on_mount(self) -> None:
        self.set_class(self.changed, "-changed")

    def reset(self) -> None:
        """Put the source conf's text back."""
        if self.field.kind == "choice":
            self.query_one(Select).value = self.original
        else:
            self.query_one(Input).value = self.original

    @on(Input.Changed)
    @on(Select.Changed)
    def _typed(self, event: Input.Changed | Select.Changed) -> None:
        event.stop()
        text = str(event.value)
        if text == self.text:
            return
        self.text = text
        self.set_class(self.changed, "-changed")
        self.query_one(".label", Static).update(self._label())
        self.post_message(self.Changed(self))

    def on_descendant_focus(self) -> None:
        self.post_message(self.Focused(self))

    def _label(self) -> str:
        section, dot, rest = self.field.key.partition(".")
        return f"{'*' if self.changed else ' '} {rest if dot and self.headed else self.field.key}"
