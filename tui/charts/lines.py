"""What a chart is asked to show: lines, marks, and the colour that a name has everywhere.

Plain data. Never imports numpy or plotext.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING, Literal

from engine.words import say
from tui.charts import axes
from tui.charts.series import Series
from tui.charts.warp import Warp

if TYPE_CHECKING:
    from tui.charts.series import Floats

Marker = Literal["braille", "hd", "ascii"]
Kind = Literal["nonfinite", "best", "checkpoint", "lr", "clipped", "zero", "masked", "line", "faint"]

# ANSI indices, so that the palette of the user's terminal rules. No red (1, 9): red is non-finite.
# Best told apart first, whoever looks: Okabe and Ito's five in the safe theme.
COLOURS = (4, 3, 2, 5, 6, 12, 11, 10, 13, 14)
LETTERS = ascii_uppercase + ascii_lowercase


@dataclass(frozen=True)
class Line:
    """One curve; colour and letter are filled in by `dressed` when they are not given.

    The letter stands in the legend and on the curve, so that colour is never the only carrier.
    `weight` above 0 draws the moving average instead of the points themselves. `legend` replaces the name,
    last value and minimum of the legend.
    """

    name: str
    series: Series
    colour: int | None = None
    letter: str = ""
    dim: bool = False
    weight: float = 0.0
    legend: str = ""
    lowest: bool = True
    """the legend tells the lowest value too; no use for a learning rate"""
    warp: Warp | None = None
    """where its steps lie on the x axis; None: at the steps themselves"""

    def x_bounds(self) -> axes.Range | None:
        """Return the smallest and largest x on the axis, or None without points."""
        bounds = self.series.x_bounds()
        if self.warp is None or bounds is None:
            return bounds
        return self.warp.at(bounds[0]), self.warp.at(bounds[1])

    def first_nonfinite(self) -> float | None:
        """Return where on the axis its first value lies that is no finite number, or None."""
        x = self.series.first_nonfinite()
        return x if self.warp is None or x is None else self.warp.at(x)

    def arrays(self) -> tuple[Floats, Floats]:
        """Return the places on the axis, and the values or their moving average."""
        x, y = self.series.arrays()
        if self.weight > 0:
            y = self.series.smoothed(self.weight)
        return (x if self.warp is None else self.warp.all(x)), y


@dataclass(frozen=True)
class Mark:
    """Something at one x: a red guide for 'nonfinite', a sign on the axis for the others.

    'line' and 'faint' are places to look at (a spectral line): a dim guide under a label above the curves, as
    many as there is room for, the first ones first; `until` underlines a range from x on the axis.
    """

    x: float
    kind: Kind
    label: str = ""
    told: str = ""
    """what it is, said when the cursor stands on it; the label is always there"""
    until: float | None = None


def colour_of(name: str) -> int:
    """Return the ANSI colour of a name: the same in every chart, process and machine."""
    return COLOURS[zlib.crc32(name.encode("utf-8", "surrogatepass")) % len(COLOURS)]


def dressed(lines: Iterable[Line]) -> list[Line]:
    """Return the lines with a colour and a letter each; no two share one while there are enough."""
    done: list[Line] = []
    for index, line in enumerate(lines):
        colour = line.colour
        if colour is None:
            taken = {other.colour for other in done}
            first = COLOURS.index(colour_of(line.name))
            turn = COLOURS[first:] + COLOURS[:first]
            colour = next((candidate for candidate in turn if candidate not in taken), turn[0])
        done.append(replace(line, colour=colour, letter=line.letter or LETTERS[index % len(LETTERS)]))
    return done


def nonfinite_marks(lines: Iterable[Line], marks: Iterable[Mark]) -> list[Mark]:
    """Return a mark for each line's first non-finite value that none of the given marks stands on."""
    marked = {mark.x for mark in marks if mark.kind == "nonfinite"}
    found: list[Mark] = []
    for line in lines:
        x, value, step = (
            line.first_nonfinite(),
            line.series.first_nonfinite_value(),
            line.series.first_nonfinite(),
        )
        if x is not None and step is not None and x not in marked:
            text = say("charts.nonfinite", name=line.name, value=value, step=axes.label(step, 12))
            found.append(Mark(x, "nonfinite", text))
            marked.add(x)
    return found


def extent(
    lines: Iterable[Line], marks: Sequence[Mark], *, live: bool, also: axes.Range | None = None
) -> axes.Range | None:
    """Return the x range that holds every point and every non-finite mark, or None without any."""
    bad = [(mark.x, mark.x) for mark in marks if mark.kind == "nonfinite" and abs(mark.x) < float("inf")]
    known = axes.union([*(line.x_bounds() for line in lines), *bad])
    known = axes.union([known, also]) if known else None
    return axes.x_range(*known, live=live) if known else None
