"""One place on the x axis, shown by every chart of a screen, and what each line says there.

Owns the guide that is drawn over a finished picture: moving it draws no curve again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.strip import Strip

from engine.words import say
from tui.charts.axes import label
from tui.charts.lines import Line, Mark
from tui.charts.strips import ansi, cells, join
from tui.charts.times import elapsed, moment
from tui.charts.warp import XKind

if TYPE_CHECKING:
    from tui.charts.render import Picture
    from tui.charts.widget import Chart

_GUIDE = ansi(15)
_DIGITS = 6
_LARGEST = 1.7e308


@dataclass(frozen=True)
class Reading:
    """What one line has at its point nearest to the cursor; `difference` is to the first line."""

    name: str
    letter: str
    colour: int
    x: float
    step: float
    value: float
    difference: float | None = None
    dim: bool = False

    def text(self) -> str:
        """Return the reading as the title row tells it."""
        value = label(self.value, _DIGITS)
        if self.difference is None:
            return say("charts.reading", letter=self.letter, name=self.name, value=value)
        change = f"{'+' if self.difference >= 0 else ''}{label(self.difference, 4)}"
        return say("charts.reading_change", letter=self.letter, name=self.name, value=value, change=change)


def readings(lines: Sequence[Line], x: float, *, baseline: bool = False) -> list[Reading]:
    """Return what every line has nearest to x; with `baseline` also the difference to the first line."""
    found: list[Reading] = []
    first: float | None = None
    for line in lines:
        index = _nearest(line, x)
        if index is None:
            continue
        value = float(line.series.arrays()[1][index])
        difference = None if first is None or not baseline else value - first
        first = value if first is None else first
        place, step = float(line.arrays()[0][index]), float(line.series.arrays()[0][index])
        colour = 7 if line.colour is None else line.colour
        found.append(Reading(line.name, line.letter, colour, place, step, value, difference, line.dim))
    return found


def marked_words(marks: Sequence[Mark], x: float, width: float) -> list[str]:
    """Return what the marks say that lie within `width` of x, each sentence once."""
    near = (mark.told or mark.label for mark in marks if abs(mark.x - x) <= width)
    return list(dict.fromkeys(word for word in near if word))


def place_words(x: float, kind: XKind) -> str:
    """Return where the cursor is: step 1200, epoch 3.5, 1h20m, 03-01 12:00:05."""
    if kind == "step":
        return say("charts.at_step", step=f"{x:.10g}")
    if kind == "epoch":
        return say("charts.at_epoch", epoch=f"{x:.4g}")
    return elapsed(x) if kind == "relative" else moment(x)


def with_cursor(picture: Picture, x: float | None) -> list[Strip]:
    """Return the picture with a guide at x: in the empty cells, so that it hides no point."""
    column = None if x is None else picture.plate.column(x)
    if column is None:
        return picture.strips
    plate, strips = picture.plate, list(picture.strips)
    at = plate.gutter + column
    last = picture.top + plate.height
    for y in range(picture.top, last + 1 if plate.has_axis else last):
        row = cells(strips[y])
        if row[at][0] == " " or (y == last and row[at][0] in (plate.glyphs.horizontal, plate.glyphs.x_tick)):
            row[at] = (plate.glyphs.vertical if y < last else plate.glyphs.cursor, _GUIDE)
            strips[y] = join(row)
    return strips


def next_point(lines: Sequence[Line], x: float, columns: int, width: float) -> float | None:
    """Return the recorded x that lies about `columns` columns beyond x; by 0, the one nearest to x."""
    import numpy as np

    # Halves: the difference of two doubles may overflow.
    target = max(-_LARGEST, min(_LARGEST, x + columns * width))
    best: float | None = None
    for line in lines:
        places = line.arrays()[0]
        beyond = places[places > x] if columns > 0 else places[places < x] if columns < 0 else places
        beyond = beyond[np.isfinite(beyond)]
        if beyond.size:
            nearest = float(beyond[np.abs(beyond / 2 - target / 2).argmin()])
            if best is None or abs(nearest / 2 - target / 2) < abs(best / 2 - target / 2):
                best = nearest
    return best


def _nearest(line: Line, x: float) -> int | None:
    import numpy as np

    places = line.arrays()[0]
    if not places.size:
        return None
    with np.errstate(all="ignore"):
        distance = np.abs(places / 2 - x / 2)
    known = np.isfinite(distance)
    return int(np.where(known, distance, np.inf).argmin()) if known.any() else None


class SharedCursor:
    """Moves one cursor through all charts that `charts` gives."""

    def __init__(self, charts: Callable[[], Iterable[Chart]]) -> None:
        self._charts = charts
        self.x: float | None = None

    def put(self, x: float | None) -> None:
        """Show the cursor at x in every chart, or take it away."""
        self.x = x
        for chart in self._charts():
            chart.look(x)

    def move(self, lead: Chart, columns: int) -> None:
        """Move by columns of one chart, to a point that it has; the first move starts at the end."""
        x = lead.next_point(self.x, columns)
        if x is not None:
            self.put(x)
