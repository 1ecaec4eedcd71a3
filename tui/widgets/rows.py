"""Rows with a cursor, and a table that also moves sideways under fixed first columns; both virtual.

What stands in a row is asked for when it is drawn, so that 200 columns of 200 rows cost
what is on the screen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.strip import Strip

from tui.charts.strips import PLAIN, Cell, fit, join, text_cells
from tui.widgets.kept import Kept
from tui.widgets.moves import MOVES
from tui.widgets.plain import fit as fit_text
from tui.widgets.plain import plain

Piece = tuple[str, Style]
BOLD, DIM = Style(bold=True), Style(dim=True)
_GAP = 2
_WIDEST = 36
_LEAST_TITLE = 14


def cells_of(pieces: list[Piece]) -> list[Cell]:
    """Return the cells of some texts in a row, made harmless."""
    return [cell for text, style in pieces for cell in text_cells(plain(text), style)]


class Rows(Kept, can_focus=True):
    """A list with a cursor under an optional header."""

    COMPONENT_CLASSES = {"rows--cursor"}
    DEFAULT_CSS = """
    Rows { height: 1fr; width: 1fr; }
    Rows > .rows--cursor { background: $surface-lighten-2; }
    Rows:focus > .rows--cursor { background: $primary 40%; text-style: bold; }
    """
    BINDINGS = [*MOVES]

    @dataclass
    class Moved(Message):
        """The cursor stands on something else."""

        rows: Rows

        @property
        def control(self) -> Rows:
            return self.rows

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Rows.Moved) and message.rows is self.rows

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.count = 0
        self.row = 0
        self.top = 0
        self._line: Callable[[int, int], list[Cell]] = lambda row, width: []
        self._header: Callable[[int], list[Cell]] | None = None

    def show(
        self,
        count: int,
        line: Callable[[int, int], list[Cell]],
        header: Callable[[int], list[Cell]] | None = None,
        row: int | None = None,
    ) -> None:
        """Set how many rows there are and what a row of some width says; `row` moves the cursor."""
        self.count, self._line, self._header = count, line, header
        self.row = max(0, min(self.row if row is None else row, count - 1))
        self.rebuild()

    def build(self, width: int, height: int) -> list[Strip]:
        """Return the header and the rows around the cursor."""
        head = [join(fit(self._header(width), width))] if self._header is not None else []
        room = max(1, height - len(head))
        self.top = max(0, min(self.top, self.row, self.count - room), self.row - room + 1)
        cursor = self.get_component_rich_style("rows--cursor", partial=True)
        body = []
        for row in range(self.top, min(self.count, self.top + room)):
            strip = join(fit(self._line(row, width), width))
            body.append(_over(strip, cursor) if row == self.row else strip)
        blank = join(fit([], width))
        return [*head, *body, *[blank] * (room - len(body))][:height]

    def action_move(self, rows: int) -> None:
        """Move the cursor by some rows."""
        self.go(self.row + rows)

    def action_page(self, pages: int) -> None:
        """Move the cursor by what is seen at once."""
        self.go(self.row + pages * max(1, self.size.height - 2))

    def action_edge(self, end: int) -> None:
        """Move the cursor to the first or the last row."""
        self.go(self.count - 1 if end else 0)

    def go(self, row: int) -> None:
        """Put the cursor on a row, the nearest there is."""
        row = max(0, min(row, self.count - 1))
        if row != self.row:
            self.row = row
            self.moved()

    def moved(self) -> None:
        """Draw the cursor at its new place and tell."""
        self.rebuild()
        self.post_message(self.Moved(self))

    def on_click(self, event: events.Click) -> None:
        row = event.y - (1 if self._header is not None else 0) + self.top
        if 0 <= row < self.count and event.y >= (1 if self._header is not None else 0):
            self.go(row)

    def on_mouse_scroll_down(self) -> None:
        self.action_move(3)

    def on_mouse_scroll_up(self) -> None:
        self.action_move(-3)

    def on_focus(self) -> None:
        self.rebuild()

    def on_blur(self) -> None:
        self.rebuild()


def _over(strip: Strip, style: Style) -> Strip:
    """Return the strip with a style over that of its cells: their own colours stay where it has none."""
    return Strip([segment._replace(style=(segment.style or PLAIN) + style) for segment in strip])


@dataclass
class Sheet:
    """What a table shows: titles of rows, names of columns, and a cell when it is asked for.

    The first `fixed` columns stay at the left as far as there is room; `width` is that of a column.
    """

    titles: list[str]
    columns: list[str]
    cell: Callable[[int, int], list[Piece]]
    head: Callable[[int], list[Piece]]
    width: int = 12
    fixed: int = 0


class Table(Rows):
    """Rows and columns; the titles of rows and the fixed columns stay while the others move sideways."""

    BINDINGS = [
        Binding("left,h", "sideways(-1)", show=False),
        Binding("right,l", "sideways(1)", show=False),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.column = 0
        self.first = 0
        self.sheet = Sheet([], [], lambda row, column: [], lambda column: [])

    def show_sheet(self, sheet: Sheet, column: int | None = None) -> None:
        """Set what is shown; `column` moves the cursor."""
        self.sheet = sheet
        self.column = max(0, min(self.column if column is None else column, len(sheet.columns) - 1))
        self.show(len(sheet.titles), self._row, self._head)

    def action_sideways(self, columns: int) -> None:
        """Move the cursor by some columns."""
        column = max(0, min(self.column + columns, len(self.sheet.columns) - 1))
        if column != self.column:
            self.column = column
            self.moved()

    def _fitting(self, width: int) -> tuple[int, int, list[int]]:
        """Return the widths of titles and columns, and the columns in view."""
        sheet, count = self.sheet, len(self.sheet.columns)
        longest = max((cell_len(title) for title in sheet.titles), default=0)
        title = max(_LEAST_TITLE, min(longest, width // 2 if width < 100 else width // 3))
        room = width - title - _GAP
        each = max(sheet.width, min(_WIDEST, room // max(1, count) - _GAP))
        fits = max(1, (room + _GAP) // (each + _GAP))
        fixed = min(sheet.fixed, count, fits - 1)
        moving = max(1, fits - fixed)
        if self.column >= fixed:
            self.first = max(min(self.first, self.column), self.column - moving + 1)
        self.first = max(fixed, min(self.first, count - moving))
        return title, each, [*range(fixed), *range(self.first, min(count, self.first + moving))]

    def _head(self, width: int) -> list[Cell]:
        title, each, columns = self._fitting(width)
        hidden = len(columns) < len(self.sheet.columns)
        said = f"{columns[-1] + 1}/{len(self.sheet.columns)}" if hidden and columns else ""
        return self._join((said, DIM), title, [self.sheet.head(c) for c in columns], each, marked=columns)

    def _row(self, row: int, width: int) -> list[Cell]:
        title, each, columns = self._fitting(width)
        cells = [self.sheet.cell(row, column) for column in columns]
        return self._join((self.sheet.titles[row], PLAIN), title, cells, each, marked=columns, row=row)

    def _join(
        self,
        title: Piece,
        title_width: int,
        cells: list[list[Piece]],
        each: int,
        *,
        marked: list[int],
        row: int = -1,
    ) -> list[Cell]:
        """Return a row: the cell of the cursor's column is underlined, in the header too."""
        joined = text_cells(fit_text(plain(title[0]), title_width), title[1])
        for column, pieces in zip(marked, cells, strict=True):
            under = Style(underline=True) if column == self.column and (row in (self.row, -1)) else PLAIN
            shown = cells_of(pieces)
            if len(shown) > each:
                shown = [*fit(shown, each - 1), ("…", shown[each - 1][1])]
            joined += [(" ", PLAIN)] * _GAP
            joined += fit([(text, style + under) for text, style in shown], each)
        return joined

    def on_click(self, event: events.Click) -> None:
        title, each, columns = self._fitting(self.size.width)
        index = (event.x - title) // (each + _GAP)
        if event.x >= title and index < len(columns) and columns[index] != self.column:
            self.column = columns[index]
            self.moved()
        super().on_click(event)
