"""What is written over the curves: red guides of non-finite values, signs of events, letters of lines.

Works on rows of cells of the curve area. Guides only take empty cells; a label takes others at need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.style import Style

from tui.charts.lines import Mark
from tui.charts.plate import Plate
from tui.charts.strips import Cell, ansi, shorten, text_cells, write

if TYPE_CHECKING:
    from tui.charts.render import Curve
    from tui.charts.series import Floats

RED = ansi(9, bold=True)
_SIGNS = {
    "checkpoint": ("^", ansi(6)),
    "lr": ("~", ansi(5)),
    "best": ("*", ansi(10, bold=True)),
    "masked": ("x", ansi(5)),
    "zero": ("o", ansi(6)),
    "clipped": ("!", ansi(11, bold=True)),
}
_CLIPPED = ansi(11, bold=True)
_LINES = {"line": ansi(7), "faint": ansi(7, dim=True)}
_GUIDE = ansi(7, dim=True)


def draw_marks(rows: list[list[Cell]], axis: list[Cell], marks: Sequence[Mark], plate: Plate) -> None:
    """Write every mark that lies in view on the axis, or on the lowest row where there is no axis."""
    floor = axis or rows[-1]
    for kind, (sign, style) in _SIGNS.items():
        for column, text in _placed(marks, kind, plate):
            write(floor, column, sign, style)
            if text:
                _write_label(list(reversed(rows)), column, text, style, plate, force=False)
    bad = _placed(marks, "nonfinite", plate)
    columns = {column for column, _ in bad}
    # A run of bad steps is one event: one guide and one label, but a cross for each column.
    first_of_run = [(column, text) for column, text in bad if column - 1 not in columns]
    for column, _ in first_of_run:
        for row in rows:
            if row[column][0] == " ":
                row[column] = (plate.glyphs.guide, RED)
    for column, text in first_of_run:
        _write_label(rows, column, text.replace("✗", plate.glyphs.cross), RED, plate, force=True)
    for column, _ in bad:
        write(floor, column, plate.glyphs.cross, RED)


def draw_lines(
    rows: list[list[Cell]], axis: list[Cell], above: list[list[Cell]], marks: Sequence[Mark], plate: Plate
) -> None:
    """Write the labels of lines into the rows above the curves, and a dim guide under each that found room.

    The lowest row is filled first; a label that would touch another goes one row up, or is left out.
    """
    for mark in marks:
        style = _LINES.get(mark.kind)
        if style is None:
            continue
        if mark.until is not None and axis:
            _underline(axis, mark.x, mark.until, plate)
        column = plate.column(mark.x)
        text = shorten(mark.label, plate.width, plate.glyphs.ellipsis)
        length = len(text_cells(text, style))
        if column is None or not text:
            continue
        start = max(0, min(column - length // 2, plate.width - length))
        for row in reversed(above):
            if all(cell[0] == " " for cell in row[max(0, start - 1) : start + length + 1]):
                write(row, start, text, style)
                for below in rows:
                    if below[column][0] == " ":
                        below[column] = (plate.glyphs.line, _GUIDE)
                break


def _underline(axis: list[Cell], low: float, high: float, plate: Plate) -> None:
    low, high = max(low, plate.x_range[0]), min(high, plate.x_range[1])
    first, last = plate.column(low), plate.column(high)
    if first is None or last is None or low > high:
        return
    for column in range(first, last + 1):
        if axis[column][0] == plate.glyphs.horizontal:
            axis[column] = (plate.glyphs.span, _LINES["line"])


def draw_letters(rows: list[list[Cell]], curves: Sequence[Curve], plate: Plate) -> None:
    """Write the letter of each curve on its last point whose cell no other letter has taken."""
    taken: set[tuple[int, int]] = set()
    for curve in curves:
        for x, y in zip(curve.x[::-1].tolist(), curve.y[::-1].tolist(), strict=True):
            if not (0 <= x <= 1 and 0 <= y <= 1):
                continue
            column = int(x * (plate.width - 1) + 0.5)
            row = plate.height - 1 - int(y * (plate.height - 1) + 0.5)
            if (column, row) not in taken:
                taken.add((column, row))
                write(rows[row], column, curve.letter, ansi(curve.colour, bold=True))
                break


def draw_clipped(rows: list[list[Cell]], outside: tuple[Floats, Floats], plate: Plate) -> int:
    """Write an arrow at the edge over each column with points beyond it; return how many points there are."""
    for row, sign, places in (
        (rows[-1], plate.glyphs.below, outside[0]),
        (rows[0], plate.glyphs.above, outside[1]),
    ):
        for column in {plate.column(x) for x in set(places.tolist())}:
            # The letter of a line and the words of a mark say more than the arrow does.
            if column is not None and not row[column][0].isalnum():
                write(row, column, sign, _CLIPPED)
    return len(outside[0]) + len(outside[1])


def _placed(marks: Sequence[Mark], kind: str, plate: Plate) -> list[tuple[int, str]]:
    """Return (column, label) of the marks of one kind in view, the first label of each column."""
    found: dict[int, str] = {}
    for mark in marks:
        column = plate.column(mark.x) if mark.kind == kind else None
        if column is not None:
            found[column] = found.get(column) or mark.label
    return sorted(found.items())


def _write_label(
    rows: list[list[Cell]], column: int, text: str, style: Style, plate: Plate, *, force: bool
) -> None:
    """Write a label beside a column on the first row with room; forced, over what is on the first row."""
    width = plate.width
    text = shorten(text, width, plate.glyphs.ellipsis)
    length = len(text_cells(text, ansi(9)))
    starts = [start for start in (column + 1, column - length) if 0 <= start <= width - length]
    for row in rows[: max(1, len(rows) // 2)]:
        for start in starts:
            if all(cell[0] == " " for cell in row[start : start + length]):
                write(row, start, text, style)
                return
    if force:
        write(rows[0], starts[0] if starts else max(0, min(column, width - length)), text, style)
