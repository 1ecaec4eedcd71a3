"""Rows with a cursor, drawn as they come into view: log lines, conf lines, files, stars.

Knows how many rows there are and asks for the text of those that are seen. Owns no data.
"""

from __future__ import annotations

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.widgets.moves import MOVES
from tui.widgets.plain import harmless

CURSOR = "▸"
_SHIFT = 16


class RowList(ScrollView, can_focus=True):
    """A list of `count` rows; `row` makes the text of one."""

    COMPONENT_CLASSES = {"row-list--cursor", "row-list--faint"}
    DEFAULT_CSS = """
    RowList { height: 1fr; background: $background; overflow-x: hidden; }
    RowList .row-list--cursor { background: $primary 35%; text-style: bold; }
    RowList .row-list--faint { color: $text-muted; }
    """
    BINDINGS = [
        *MOVES,
        Binding("left,h", "shift(-1)", show=False),
        Binding("right,l", "shift(1)", show=False),
    ]

    class RowClicked(Message):
        """A row was clicked where the cursor already stood."""

        def __init__(self, rows: RowList) -> None:
            self.rows = rows
            super().__init__()

    class CursorMoved(Message):
        """The cursor stands on another row."""

        def __init__(self, rows: RowList) -> None:
            self.rows = rows
            super().__init__()

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.count = 0
        self.cursor = 0
        self.shift = 0
        self.empty = ""

    @property
    def width(self) -> int:
        """Return the cells of a row, beside the scroll bar."""
        return self.scrollable_content_region.width

    def row(self, number: int) -> Text:
        """Return the text of a row."""
        raise NotImplementedError

    def show(self, count: int, *, cursor: int | None = None, empty: str = "") -> None:
        """Say how many rows there are; the cursor stays where it is unless it is told."""
        self.count, self.empty = count, empty or self.empty
        self.virtual_size = Size(self.size.width, count)
        self.go(self.cursor if cursor is None else cursor)
        self.refresh()

    def go(self, number: int) -> None:
        """Put the cursor on a row, and the row on the screen."""
        before, self.cursor = self.cursor, max(0, min(self.count - 1, number))
        self.keep_in_view()
        self.refresh()
        if before != self.cursor:
            self.post_message(self.CursorMoved(self))

    def keep_in_view(self) -> None:
        """Scroll no more than needed to see the cursor."""
        height, top = self.size.height, round(self.scroll_offset.y)
        if not height:
            return
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, force=True, immediate=True)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, force=True, immediate=True)

    def action_move(self, by: int) -> None:
        self.go(self.cursor + by)

    def action_page(self, by: int) -> None:
        self.go(self.cursor + by * max(1, self.size.height - 1))

    def action_edge(self, end: int) -> None:
        self.go(self.count - 1 if end else 0)

    def action_shift(self, by: int) -> None:
        """Show what stands further right, or back."""
        self.shift = max(0, self.shift + by * _SHIFT)
        self.refresh()

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, self.count)
        self.keep_in_view()

    def on_click(self, event: events.Click) -> None:
        number = self.number_at(event.y)
        if number is not None:
            same = number == self.cursor
            self.go(number)
            if same:
                self.post_message(self.RowClicked(self))

    def number_at(self, y: int) -> int | None:
        """Return which row stands at a line of the widget."""
        number = y + round(self.scroll_offset.y)
        return number if number < self.count else None

    def render_line(self, y: int) -> Strip:
        if not self.count and y == 1:
            style = self.rich_style + self.get_component_rich_style("row-list--faint", partial=True)
            return self.strip(Text("  " + self.empty), style)
        number = self.number_at(y)
        if number is None:
            return Strip.blank(self.size.width, self.rich_style)
        return self.drawn(number, self.row(number))

    def drawn(self, number: int, text: Text, first: bool = True) -> Strip:
        """Return a row as cells, with the cursor's sign before it."""
        here = number == self.cursor
        style = self.rich_style
        if here:
            style += self.get_component_rich_style("row-list--cursor", partial=True)
        gutter = Text(f"{CURSOR if here and first else ' '} ")
        return self.strip(gutter + text, style)

    def strip(self, text: Text, style: Style) -> Strip:
        """Return text over a style, exactly as wide as the widget."""
        text = harmless(text.copy())
        text.expand_tabs(8)
        text.end = ""
        width = self.width
        strip = Strip(text.render(self.app.console)).simplify()
        if self.shift:
            strip = Strip.join([strip.crop(0, 2), strip.crop(2 + self.shift, 2 + self.shift + width)])
        return strip.crop_extend(0, width, None).apply_style(style)
