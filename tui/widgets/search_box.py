"""The line that a search is typed into: there while it is typed, gone with enter or escape."""

from __future__ import annotations

from textual.binding import Binding
from textual.message import Message

from tui.widgets.entry import Entry


class SearchBox(Entry):
    """An input line at the bottom of a pane; escape leaves what was searched for before."""

    DEFAULT_CSS = """
    SearchBox { dock: bottom; height: 1; background: $surface; display: none; }
    SearchBox.-open { display: block; }
    """
    BINDINGS = [Binding("escape", "leave", show=False)]

    class Left(Message):
        """The search was given up."""

    def open(self, text: str) -> None:
        """Begin to type, with what was searched for last."""
        self.add_class("-open")
        self.value = text
        self.cursor_position = len(text)
        self.focus()

    def shut(self) -> None:
        """Take the line away; the caller says where the keys go."""
        self.remove_class("-open")

    def action_leave(self) -> None:
        self.post_message(self.Left())
