"""Coloured text to strips: parse escape sequences, write over cells, find what changed.

A cell is one column of the terminal: a character and a style. The second column of a wide character holds
an empty text. Never decides what is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

Cell = tuple[str, Style]
PLAIN = Style.null()
_SPAN_GAP = 4  # equal cells between two changed ones that cost less than moving the cursor
_SGR = re.compile(r"\x1b\[([0-9;]*)m")


@lru_cache(maxsize=256)
def style_of(codes: str) -> Style:
    """Return the style that the parameters of SGR sequences ask for, such as '2;38;5;12'."""
    numbers = [int(code) for code in codes.split(";") if code]
    colour, bold, dim = None, False, False
    while numbers:
        number = numbers.pop(0)
        if number == 38 and numbers[:1] == [5] and len(numbers) > 1:
            colour, numbers = Color.from_ansi(numbers[1]), numbers[2:]
        elif number in (1, 2):
            bold, dim = bold or number == 1, dim or number == 2
    return Style(color=colour, bold=bold or None, dim=dim or None)


@lru_cache(maxsize=64)
def ansi(colour: int, *, dim: bool = False, bold: bool = False) -> Style:
    """Return the style of one of the terminal's own colours."""
    return Style(color=Color.from_ansi(colour), dim=dim or None, bold=bold or None)


def split(text: str) -> list[Strip]:
    """Return one strip per line of a text with SGR sequences."""
    return [Strip(_segments(line)) for line in text.splitlines()]


def _segments(line: str) -> list[Segment]:
    found, codes = [], ""
    for index, part in enumerate(_SGR.split(line)):
        if index % 2:
            codes = "" if part in ("", "0") else f"{codes};{part}"
        elif part:
            found.append(Segment(part, style_of(codes)))
    return found


def cells(strip: Iterable[Segment]) -> list[Cell]:
    """Return the cells of a strip, one per terminal column."""
    row: list[Cell] = []
    for text, style, control in strip:
        if not control:
            row += text_cells(text, style or PLAIN)
    return row


_NARROW = re.compile("[ -~\u2500-\u25ff\u2800-\u28ff]*")  # one cell each: letters, frames and dots


def text_cells(text: str, style: Style) -> list[Cell]:
    """Return the cells of a text; a control character becomes '?', one of no width is left out."""
    if _NARROW.fullmatch(text):
        return [(character, style) for character in text]
    row: list[Cell] = []
    for character in text:
        shown = character if character.isprintable() else "?"
        width = cell_len(shown)
        if width:
            row += [(shown, style), *[("", style)] * (width - 1)]
    return row


def fit(row: Sequence[Cell], width: int) -> list[Cell]:
    """Return the cells cut or filled to a width; a wide character that is cut in half becomes a space."""
    kept = list(row[:width])
    if len(row) > width > 0 and row[width][0] == "":
        kept[-1] = (" ", kept[-1][1])
    return kept + [(" ", PLAIN)] * (width - len(kept))


def shorten(text: str, width: int, ellipsis: str = "…") -> str:
    """Return the text if it fits in width cells, else its start and an ellipsis."""
    row = text_cells(text, PLAIN)
    if len(row) > width:
        row = [*fit(row, width - 1), (ellipsis, PLAIN)] if width > 0 else []
    return "".join(character for character, _ in row)


def write(row: list[Cell], column: int, text: str, style: Style) -> None:
    """Write a text over a row of cells from a column on; what does not fit is left out."""
    new = text_cells(text, style)
    first, last = max(0, column), min(len(row), column + len(new))
    if first >= last:
        return
    if row[first][0] == "":
        row[first - 1] = (" ", row[first - 1][1])
    if last < len(row) and row[last][0] == "":
        row[last] = (" ", row[last][1])
    row[first:last] = fit(new[first - column :], last - first)
    if row[first][0] == "":
        row[first] = (" ", style)


def join(row: Iterable[Cell]) -> Strip:
    """Return the strip of a row of cells: one segment per run of the same style.

    A blank is drawn in the colour of what stands before it, since none is seen: each change costs 40 bytes.
    """
    segments: list[Segment] = []
    text: list[str] = []
    style = PLAIN
    for character, wanted in row:
        # Cells share their styles: most are the very same object.
        if wanted is not style and not (
            character == " " and _leaves_no_trace(wanted) and _leaves_no_trace(style)
        ):
            if wanted != style and text:
                segments.append(Segment("".join(text), style))
                text = []
            style = wanted
        text.append(character)
    if text:
        segments.append(Segment("".join(text), style))
    return Strip(segments)


@lru_cache(maxsize=512)
def _leaves_no_trace(style: Style) -> bool:
    """Tell whether a blank in this style looks like any other blank."""
    return style.bgcolor is None and not (style.reverse or style.underline or style.strike)


def changed_spans(old: Sequence[Strip], new: Sequence[Strip]) -> list[tuple[int, int, int]]:
    """Return (row, first column, width) of every run of cells in which new differs from old.

    Runs of one row that lie within a few cells of each other are joined.
    """
    spans: list[tuple[int, int, int]] = []
    for y in range(max(len(old), len(new))):
        before, after = (lines[y] if y < len(lines) else Strip.blank(0) for lines in (old, new))
        if before == after:
            continue
        left, right = cells(before), cells(after)
        length = max(len(left), len(right))
        left, right = (row + [("\0", PLAIN)] * (length - len(row)) for row in (left, right))
        differing = [x for x in range(length) if left[x] != right[x] and not _both_blank(left[x], right[x])]
        breaks = [i for i in range(1, len(differing)) if differing[i] - differing[i - 1] > _SPAN_GAP]
        for first, last in zip([0, *breaks], [*breaks, len(differing)], strict=True):
            if differing:  # the same cells may be cut into other segments
                spans.append((y, differing[first], differing[last - 1] + 1 - differing[first]))
    return spans


def _both_blank(left: Cell, right: Cell) -> bool:
    return left[0] == right[0] == " " and _leaves_no_trace(left[1]) and _leaves_no_trace(right[1])
