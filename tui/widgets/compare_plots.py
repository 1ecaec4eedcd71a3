"""A scatter of runs, and parallel coordinates: plain values to strips, and the widget that shows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from rich.style import Style
from textual.strip import Strip

from engine.compare.looks import Look
from engine.words import say
from tui.charts import axes
from tui.charts.legend import message_strips
from tui.charts.plate import cell_at
from tui.charts.strips import PLAIN, Cell, ansi, fit, join, shorten, text_cells, write
from tui.widgets.kept import Kept
from tui.widgets.plain import plain

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BRAILLE = 0x2800
# From the best fifth of the runs to the worst.
GRADES = (10, 14, 12, 13, 11)
_UNKNOWN = 7
_LEAST = (24, 6)
_CURSOR = Style(reverse=True)


class Plot(Kept):
    """A picture that some function draws at the size there is."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._draw: Callable[[int, int], list[Strip]] = lambda width, height: []

    def show(self, draw: Callable[[int, int], list[Strip]]) -> None:
        """Set what draws."""
        self._draw = draw
        self.rebuild()

    def build(self, width: int, height: int) -> list[Strip]:
        return self._draw(width, height)


@dataclass(frozen=True)
class Axis:
    """One axis: its name, each run's place on it (None: no value), and its words if it has words."""

    name: str
    places: Sequence[float | None]
    words: Sequence[str] = ()
    log: bool = False

    def mapped(self, place: float | None) -> float | None:
        """Return a place in axis units."""
        if place is None or (self.log and place <= 0):
            return None
        return math.log10(place) if self.log else place

    @cached_property
    def limits(self) -> axes.Range:
        """Return the range in axis units, with a little room at its ends for words."""
        known = [m for place in self.places if (m := self.mapped(place)) is not None]
        if not known:
            return 0.0, 1.0
        if self.words:
            return -0.5, max(known) + 0.5
        return axes.widen(*axes.y_range(min(known), max(known))) if not self.log else _log_limits(known)

    def ticks(self, count: int) -> list[tuple[float, str]]:
        """Return (place in axis units, label)."""
        if self.words:
            return [(float(index), plain(word)) for index, word in enumerate(self.words)]
        found = (axes.log_ticks if self.log else axes.ticks)(*self.limits, max(2, count))
        texts = axes.labels([value for _, value in found])
        return [(place, text) for (place, _), text in zip(found, texts, strict=True)]


def _log_limits(known: Sequence[float]) -> axes.Range:
    low, high = math.floor(min(known) * 5) / 5, math.ceil(max(known) * 5) / 5
    return (low - 0.3, high + 0.3) if low == high else (low, high)


def scatter(
    x: Axis, y: Axis, looks: Sequence[Look], current: int | None, width: int, height: int
) -> list[Strip]:
    """Return the runs as letters at (x, y); of runs on one cell the last is seen, and '+' beside it."""
    if width < _LEAST[0] or height < _LEAST[1]:
        return message_strips(say("charts.nothing_here"), width, height)
    log = say("charts.log")
    title = f"{plain(y.name)}{f' ({log})' if y.log else ''}  /  {plain(x.name)}{f' ({log})' if x.log else ''}"
    rows = height - 3
    y_ticks = [tick for tick in y.ticks(max(2, rows // 3)) if y.limits[0] <= tick[0] <= y.limits[1]]
    gutter = min(width // 3, max((len(text_cells(text, PLAIN)) for _, text in y_ticks), default=0)) + 1
    area = width - gutter
    grid: list[list[Cell]] = [[(" ", PLAIN)] * area for _ in range(rows)]
    placed = _place(x, y, area, rows)
    seen: dict[tuple[int, int], int] = {}
    for index in sorted(placed, key=lambda i: i == current):
        column, row = placed[index]
        seen[column, row] = seen.get((column, row), 0) + 1
        many = "+" if seen[column, row] > 1 else ""
        style = ansi(looks[index].colour, bold=True)
        write(grid[row], column, looks[index].letter + many, style + _CURSOR if index == current else style)
    labels = {rows - 1 - cell_at(place, y.limits, rows): text for place, text in y_ticks}
    strips = [join(fit(text_cells(title, ansi(7, bold=True)), width))]
    for row, cells in enumerate(grid):
        text = shorten(labels.get(row, ""), gutter - 1).rjust(gutter - 1)
        strips.append(join(fit([*text_cells(text + ("┤" if row in labels else "│"), PLAIN), *cells], width)))
    strips += _x_axis(x, area, gutter, width)
    left_out = len(x.places) - len(placed)
    if left_out:
        said = say("compare.left_out", count=left_out)
        strips[0] = join(
            fit([*text_cells(f"{title}  ", ansi(7, bold=True)), *text_cells(said, ansi(3))], width)
        )
    return strips


def _place(x: Axis, y: Axis, width: int, height: int) -> dict[int, tuple[int, int]]:
    found = {}
    for index, (across, up) in enumerate(zip(x.places, y.places, strict=True)):
        at_x, at_y = x.mapped(across), y.mapped(up)
        if at_x is not None and at_y is not None:
            found[index] = (cell_at(at_x, x.limits, width), height - 1 - cell_at(at_y, y.limits, height))
    return found


def _x_axis(x: Axis, area: int, gutter: int, width: int) -> list[Strip]:
    line: list[Cell] = [("─", PLAIN)] * area
    words: list[Cell] = [(" ", PLAIN)] * area
    free, low, high = 0, *x.limits
    for place, text in x.ticks(max(2, area // 12)):
        if not low <= place <= high:
            continue
        column = cell_at(place, (low, high), area)
        line[column] = ("┬", PLAIN)
        text = shorten(text, max(4, area // max(1, len(x.words)) - 1) if x.words else area)
        length = len(text_cells(text, PLAIN))
        start = max(0, min(column - length // 2, area - length))
        if start >= free:
            write(words, start, text, PLAIN)
            free = start + length + 1
    margin = [(" ", PLAIN)] * (gutter - 1)
    return [
        join(fit([*margin, ("└", PLAIN), *line], width)),
        join(fit([*margin, (" ", PLAIN), *words], width)),
    ]


def grades(values: Sequence[float | None], sense: int) -> list[int]:
    """Return the colour of each run by its metric: fifths from the best to the worst, grey without one."""
    known = sorted((v for v in values if v is not None), reverse=sense > 0)
    return [
        _UNKNOWN if v is None else GRADES[min(len(GRADES) - 1, len(GRADES) * known.index(v) // len(known))]
        for v in values
    ]


def parallel(
    shown: Sequence[Axis], colours: Sequence[int], best: int | None, current: int | None,
    looks: Sequence[Look], width: int, height: int,
) -> list[Strip]:  # fmt: skip
    """Return one line per run across upright axes; the best and the cursor's are bold and lettered."""
    if width < _LEAST[0] or height < _LEAST[1] or not shown:
        return message_strips(say("charts.nothing_here"), width, height)
    count = max(1, min(len(shown), width // 14))
    kept = [*shown[: count - 1], shown[-1]]  # the metric is the last one and always stays
    each = width // len(kept)
    columns = [each // 2 + index * each for index in range(len(kept))]
    rows = height - 3
    canvas = _Canvas(width, rows)
    order = sorted(range(len(colours)), key=lambda run: (run == best, run == current))
    for run in order:
        points = [_spot(axis, run, column, rows) for axis, column in zip(kept, columns, strict=True)]
        style = ansi(colours[run], bold=run in (best, current), dim=run not in (best, current))
        for left, right in pairwise(points):
            if left is not None and right is not None:
                canvas.line(left, right, style)
    grid = canvas.rows()
    for axis, column in zip(kept, columns, strict=True):
        for row in grid:
            if row[column][0] == " ":
                row[column] = ("│", ansi(7, dim=True))
        for run in [run for run in order if run in (best, current)]:
            spot = _spot(axis, run, column, rows)
            if spot is not None:
                letter = ansi(colours[run], bold=True)
                write(grid[spot[1] // 4], column + 1, looks[run].letter, letter)
    head, top, floor = ([(" ", PLAIN)] * width for _ in range(3))
    for axis, column in zip(kept, columns, strict=True):
        low, high = axis.limits
        ends = _ends(axis, low, high)
        for line, text, style in (
            (head, axis.name, ansi(7, bold=True)),
            (top, ends[1], PLAIN),
            (floor, ends[0], PLAIN),
        ):
            text = shorten(plain(text), each - 1)
            write(line, max(0, column - len(text_cells(text, PLAIN)) // 2), text, style)
    more = len(shown) - len(kept)
    if more:
        write(floor, 0, say("compare.more_axes", count=more), ansi(3))
    return [join(head), join(top), *(join(row) for row in grid), join(floor)]


def _ends(axis: Axis, low: float, high: float) -> tuple[str, str]:
    if axis.words:
        return axis.words[0], axis.words[-1]
    pair = (10**low, 10**high) if axis.log else (low, high)
    return axes.label(pair[0]), axes.label(pair[1])


def _spot(axis: Axis, run: int, column: int, rows: int) -> tuple[int, int] | None:
    """Return where a run crosses an axis, in dots."""
    place = axis.mapped(axis.places[run])
    if place is None:
        return None
    return 2 * column, 4 * rows - 1 - cell_at(place, axis.limits, 4 * rows)


class _Canvas:
    """Dots of braille, the style of a cell being that of the last line through it."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._bits = [[0] * width for _ in range(height)]
        self._styles = [[PLAIN] * width for _ in range(height)]

    def line(self, start: tuple[int, int], end: tuple[int, int], style: Style) -> None:
        """Draw a straight line; the dots of its ends are part of it."""
        (x0, y0), (x1, y1) = start, end
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            x, y = x0 + (x1 - x0) * step // steps, y0 + (y1 - y0) * step // steps
            column, row = x // 2, y // 4
            if 0 <= column < self.width and 0 <= row < self.height:
                self._bits[row][column] |= _DOTS[y % 4][x % 2]
                self._styles[row][column] = style

    def rows(self) -> list[list[Cell]]:
        """Return the cells."""
        return [
            [
                (chr(_BRAILLE + bits), style) if bits else (" ", PLAIN)
                for bits, style in zip(line, styles, strict=True)
            ]
            for line, styles in zip(self._bits, self._styles, strict=True)
        ]
