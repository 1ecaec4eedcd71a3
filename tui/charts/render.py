"""Lines and marks to strips: the body of a chart, without its title.

The only importer of plotext, which draws the curves and nothing else. It is never given raw data: a NaN
inside a line aborts the process and a far point costs gigabytes, so curves are cut at non-finite values,
thinned, and mapped to [0, 1] first. Axes, ticks, marks and letters are ours.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.strip import Strip

from tui.charts import axes, strips
from tui.charts.lines import Line, Mark, Marker, dressed
from tui.charts.overlay import draw_clipped, draw_letters, draw_lines, draw_marks
from tui.charts.plate import ORDINARY, Frame, Plate
from tui.charts.raster import rasterise
from tui.charts.series import picks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# plotext takes five times as long as numpy does (measured): it draws few curves, and those that stand still.
_MOST_FOR_PLOTEXT = 2
_ROBUST = (2.0, 98.0)  # per cent of the visible points between which a clipped axis certainly reaches
_ROBUST_MARGIN = 0.25

_figure_lock = threading.Lock()  # plotext has one figure per process
_ready = threading.Event()
_failure: list[str] = []


def warm_up() -> None:
    """Import numpy and plotext and draw once; slow, so the app calls this from a thread.

    An import that fails is kept for `failure` and not raised: the app lives on without charts.
    """
    try:
        import numpy

        ends = numpy.array([0.0, 1.0])
        _by_plotext([Curve(ends, ends, [], 2, False, "A")], 8, 4, "braille")
    except (ImportError, OSError) as error:  # OSError: the kernel of plotext is a shared library
        _failure[:] = [str(error)]
    _ready.set()


def is_warm() -> bool:
    """Tell whether `warm_up` has ended, so that drawing will not wait for an import."""
    return _ready.is_set()


def failure() -> str:
    """Return why charts cannot be drawn on this machine, or an empty text."""
    return _failure[0] if _failure else ""


@dataclass(frozen=True)
class Curve:
    """What plotext is given: points in [-0.02, 1.02], and the indices that start a new piece."""

    x: Floats
    y: Floats
    breaks: list[int]
    colour: int
    dim: bool
    letter: str


@dataclass(frozen=True)
class Picture:
    """The body of a chart: its strips, the frame they were drawn in, and what it has to admit."""

    strips: list[Strip]
    plate: Plate
    top: int
    """rows above the curves"""
    clipped: int
    """how many visible points lie outside a clipped y axis"""
    per_column: float
    """points of the densest line in view, for each column of the terminal"""


def render(
    lines: Sequence[Line],
    marks: Sequence[Mark],
    width: int,
    height: int,
    *,
    log_y: bool = False,
    x_range: axes.Range | None = None,
    y_range: axes.Range | None = None,
    marker: Marker = "braille",
    frame: Frame = ORDINARY,
) -> list[Strip]:
    """Return `height` strips of `width` cells; `y_range` is in the units of the data."""
    picture = draw(
        lines, marks, width, height,
        log_y=log_y, x_range=x_range, y_range=y_range, marker=marker, frame=frame,
    )  # fmt: skip
    return picture.strips if picture else [Strip.blank(0)] * max(0, height)


def draw(
    lines: Sequence[Line],
    marks: Sequence[Mark],
    width: int,
    height: int,
    *,
    log_y: bool = False,
    clip: bool = False,
    x_range: axes.Range | None = None,
    y_range: axes.Range | None = None,
    marker: Marker = "braille",
    frame: Frame = ORDINARY,
    passing: bool = False,
    before: axes.Range | None = None,
) -> Picture | None:
    """Return the body of a chart, None when it has no size.

    `clip`: wild points do not set the y range. `passing`: more points are on their way, so it is drawn the
    quick way, and in the y range that it had `before` while they fit in.
    """
    if width < 1 or height < 1:
        return None
    lines = dressed(lines)
    x_range = axes.widen(*(x_range or axes.union(line.x_bounds() for line in lines) or (0.0, 1.0)))
    columns = [_visible(line, x_range, log_y) for line in lines]
    wild = y_range is None and clip
    if passing and not wild and y_range is None:
        y_range = axes.still(_bounds(columns), before, log_y=log_y)
    else:
        y_range = _robust_range(columns, log_y) if wild else _axis_range(columns, y_range, log_y)
    label_rows = min(frame.label_rows, max(0, height - 4))
    plate = Plate.of(
        width, height - label_rows, x_range, y_range, log_y=log_y, ascii_only=marker == "ascii", frame=frame
    )
    curves = [
        _curve(line, x, y, x_range, y_range, plate.width * (1 if marker == "ascii" else 2))
        for line, (x, y) in zip(lines, columns, strict=True)
    ]
    if passing or len(curves) > _MOST_FOR_PLOTEXT:
        rows = rasterise(curves, plate.width, plate.height, marker)
    else:
        picture = strips.split(_by_plotext(curves, plate.width, plate.height, marker))
        rows = [strips.fit(strips.cells(strip), plate.width) for strip in picture[: plate.height]]
    bottom = plate.axis_row()
    above: list[list[strips.Cell]] = [strips.fit([], plate.width) for _ in range(label_rows)]
    draw_lines(rows, bottom, above, marks, plate)
    draw_marks(rows, bottom, marks, plate)
    if sum(not line.dim for line in lines) > 1:
        draw_letters(rows, [curve for curve in curves if not curve.dim], plate)
    clipped = draw_clipped(rows, _outside(columns, y_range), plate) if wild else 0
    dense = max((x.size for x, _ in columns), default=0) / plate.width
    return Picture(plate.assemble(rows, bottom, above), plate, label_rows, clipped, dense)


def left_out(lines: Sequence[Line], x_range: axes.Range | None = None) -> int:
    """Return how many finite values a log axis cannot show."""
    import numpy as np

    count = 0
    for line in lines:
        x, y = line.arrays()
        inside = np.isfinite(y) & (y <= 0)
        if x_range:
            inside &= (x >= x_range[0]) & (x <= x_range[1])
        count += int(np.count_nonzero(inside))
    return count


def has_points(lines: Sequence[Line], x_range: axes.Range, *, log_y: bool) -> bool:
    """Tell whether anything can be drawn in this part of the x axis."""
    import numpy as np

    return any(bool(np.isfinite(_visible(line, axes.widen(*x_range), log_y)[1]).any()) for line in lines)


def _visible(line: Line, x_range: axes.Range, log_y: bool) -> tuple[Floats, Floats]:
    """Return the points in the window, in axis units, with the curve's crossings of its two edges."""
    import numpy as np

    x, y = line.arrays()
    if log_y:
        with np.errstate(all="ignore"):
            y = np.where(np.isfinite(y) & (y > 0), np.log10(y), np.nan)
    known = np.isfinite(x)
    if not known.all():
        x, y = x[known], y[known]
    low, high = x_range
    if not x.size or (x.min() >= low and x.max() <= high):
        return x, y
    if not (x[1:] >= x[:-1]).all():  # steps that went back: no order in which to look for crossings
        inside = (x >= low) & (x <= high)
        return x[inside], y[inside]
    first, last = (int(np.searchsorted(x, low, "left")), int(np.searchsorted(x, high, "right")))
    nothing: list[tuple[float, float]] = []
    left = np.array([_crossing(x, y, low, first)] if first > 0 else nothing).reshape(-1, 2)
    right = np.array([_crossing(x, y, high, last)] if last < x.size else nothing).reshape(-1, 2)
    middle = slice(first, last)
    return (
        np.concatenate([left[:, 0], x[middle], right[:, 0]]),
        np.concatenate([left[:, 1], y[middle], right[:, 1]]),
    )


def _crossing(x: Floats, y: Floats, edge: float, index: int) -> tuple[float, float]:
    """Return where the curve meets x = edge, between the points index - 1 and index; NaN if it does not."""
    if not 0 < index < len(x):
        return edge, float("nan")
    before, after = float(x[index - 1]), float(x[index])
    width = after / 2 - before / 2  # halves: the difference of two doubles may overflow, or round to 0
    share = (edge / 2 - before / 2) / width if width > 0 else float("nan")
    return edge, float(y[index - 1]) * (1 - share) + float(y[index]) * share


def _axis_range(
    columns: Sequence[tuple[Floats, Floats]], wanted: axes.Range | None, log_y: bool
) -> axes.Range:
    """Return the range of the y axis in axis units: asked for, or around everything that is visible."""
    if wanted is None:
        return axes.around(_bounds(columns), log_y=log_y)
    return axes.log_range(*wanted) if log_y else axes.widen(*wanted)


def _bounds(columns: Sequence[tuple[Floats, Floats]]) -> axes.Range | None:
    """Return the lowest and the highest of what is visible, in axis units."""
    import numpy as np

    finite = [y[np.isfinite(y)] for _, y in columns]
    return axes.union((float(y.min()), float(y.max())) for y in finite if y.size)


def _robust_range(columns: Sequence[tuple[Floats, Floats]], log_y: bool) -> axes.Range:
    """Return a y range, in axis units, around nearly all of what is visible of each line."""
    import numpy as np

    ranges = []
    for _, y in columns:
        known = y[np.isfinite(y)]
        if known.size:
            low, high = (float(value) for value in np.percentile(known / 2, _ROBUST) * 2)
            margin = (high / 2 - low / 2) * 2 * _ROBUST_MARGIN
            bounds = (low - margin, high + margin) if math.isfinite(margin) else (low, high)
            ranges.append((max(bounds[0], float(known.min())), min(bounds[1], float(known.max()))))
    found = axes.union(ranges)
    if found is None:
        return 0.0, 1.0
    if not log_y:
        return axes.y_range(*found)
    return axes.log_range(10.0 ** max(found[0], -323.0), 10.0 ** min(found[1], 308.2))


def _outside(columns: Sequence[tuple[Floats, Floats]], y_range: axes.Range) -> tuple[Floats, Floats]:
    """Return the x of the points that lie below the y range, and of those above it."""
    import numpy as np

    nothing = np.zeros(0)
    below = np.concatenate([nothing, *(x[y < y_range[0]] for x, y in columns)])
    above = np.concatenate([nothing, *(x[y > y_range[1]] for x, y in columns)])
    return below, above


def _curve(line: Line, x: Floats, y: Floats, x_range: axes.Range, y_range: axes.Range, dots: int) -> Curve:
    """Return what plotext may be given of one line."""
    import numpy as np

    kept = picks(x, y, max(1, dots), x_range)
    holes = np.cumsum(~np.isfinite(y))[kept]
    breaks = np.flatnonzero(np.diff(holes)) + 1
    colour = 7 if line.colour is None else line.colour
    return Curve(
        _unit(x[kept], x_range), _unit(y[kept], y_range), breaks.tolist(), colour, line.dim, line.letter
    )


def _unit(values: Floats, limits: axes.Range) -> Floats:
    """Return the values mapped so that the limits become 0 and 1, clipped just outside."""
    import numpy as np

    low, high = limits
    with np.errstate(all="ignore"):
        mapped = (values / 2 - low / 2) / (high / 2 - low / 2)
    clipped: Floats = np.clip(np.nan_to_num(mapped, nan=0.5), -0.02, 1.02)
    return clipped


def _by_plotext(curves: Sequence[Curve], width: int, height: int, marker: Marker) -> str:
    """Return the curves as text with escape sequences; (0, 0) is the middle of the lower left cell."""
    import plotext

    with _figure_lock:
        plotext.terminal.limit(False, False)  # the size of a chart is not bounded by the terminal's
        figure = plotext.figure
        figure.clear()
        figure.theme("colorless")
        figure.canvas("default")
        figure.plot_size(width, height)
        figure.axes(False)
        for name in ("x", "y"):
            figure.ruler(name).lim(0, 1).ticks([])
        for curve in curves:
            if curve.x.size:
                pixel = plotext.pixel(foreground=curve.colour, style="dim" if curve.dim else None)
                glyph = curve.letter[0] if marker == "ascii" else marker
                signal = figure.signal(
                    curve.x.tolist(), curve.y.tolist(), marker=plotext.marker(glyph, pixel)
                ).lines()
                for index in curve.breaks:
                    signal.line(index, False)
                figure.draw(signal)
        text = str(figure.build().string())
        figure.clear.data()
        return text
