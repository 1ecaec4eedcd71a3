"""Lines and marks to strips: the body of a chart, without its title.

The only importer of plotext, which draws the curves and nothing else. It is never given raw data: a NaN
inside a line aborts the process and a far point costs gigabytes, so curves are cut at non-finite values,
thinned, and mapped to [0, 1] first. Axes, ticks, marks and letters are ours.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.strip import Strip

from tui.charts import axes, strips
from tui.charts.lines import Line, Mark, Marker, dressed
from tui.charts.overlay import draw_letters, draw_lines, draw_marks
from tui.charts.plate import ORDINARY, Frame, Plate
from tui.charts.series import picks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_figure_lock = threading.Lock()  # plotext has one figure per process
_ready = threading.Event()
_failure: list[str] = []


def warm_up() -> None:
    """Import numpy and plotext and draw once; slow, so the app calls this from a thread.

    An import that fails is kept for `failure` and not raised: the app lives on without charts.
    """
    try:
        import numpy  # noqa: F401

        _rasterise([Curve([0.0, 1.0], [0.0, 1.0], [], 2, False, "A")], 8, 4, "braille")
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

    x: list[float]
    y: list[float]
    breaks: list[int]
    colour: int
    dim: bool
    letter: str


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
    if width < 1 or height < 1:
        return [Strip.blank(0)] * max(0, height)
    lines = dressed(lines)
    x_range = axes.widen(*(x_range or axes.union(line.series.x_bounds() for line in lines) or (0.0, 1.0)))
    columns = [_visible(line, x_range, log_y) for line in lines]
    y_range = _axis_range(columns, y_range, log_y)
    label_rows = min(frame.label_rows, max(0, height - 4))
    plate = Plate.of(
        width, height - label_rows, x_range, y_range, log_y=log_y, ascii_only=marker == "ascii", frame=frame
    )
    curves = [
        _curve(line, x, y, x_range, y_range, plate.width * (1 if marker == "ascii" else 2))
        for line, (x, y) in zip(lines, columns, strict=True)
    ]
    picture = strips.split(_rasterise(curves, plate.width, plate.height, marker))
    rows = [strips.fit(strips.cells(strip), plate.width) for strip in picture[: plate.height]]
    bottom = plate.axis_row()
    above: list[list[strips.Cell]] = [strips.fit([], plate.width) for _ in range(label_rows)]
    draw_lines(rows, bottom, above, marks, plate)
    draw_marks(rows, bottom, marks, plate)
    if sum(not line.dim for line in lines) > 1:
        draw_letters(rows, [curve for curve in curves if not curve.dim], plate)
    return plate.assemble(rows, bottom, above)


def left_out(lines: Sequence[Line], x_range: axes.Range | None = None) -> int:
    """Return how many finite values a log axis cannot show."""
    import numpy as np

    count = 0
    for line in lines:
        x, y = _values(line)
        inside = np.isfinite(y) & (y <= 0)
        if x_range:
            inside &= (x >= x_range[0]) & (x <= x_range[1])
        count += int(np.count_nonzero(inside))
    return count


def has_points(lines: Sequence[Line], x_range: axes.Range, *, log_y: bool) -> bool:
    """Tell whether anything can be drawn in this part of the x axis."""
    import numpy as np

    return any(bool(np.isfinite(_visible(line, axes.widen(*x_range), log_y)[1]).any()) for line in lines)


def _values(line: Line) -> tuple[Floats, Floats]:
    x, y = line.series.arrays()
    return (x, line.series.smoothed(line.weight)) if line.weight > 0 else (x, y)


def _visible(line: Line, x_range: axes.Range, log_y: bool) -> tuple[Floats, Floats]:
    """Return the points in the window, in axis units, with the curve's crossings of its two edges."""
    import numpy as np

    x, y = _values(line)
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
    import numpy as np

    if wanted is None:
        finite = [y[np.isfinite(y)] for _, y in columns]
        found = axes.union((float(y.min()), float(y.max())) for y in finite if y.size)
        if found is None:
            return 0.0, 1.0
        if not log_y:
            return axes.y_range(*found)
        wanted = (10.0 ** max(found[0], -323.0), 10.0 ** min(found[1], 308.2))
    return axes.log_range(*wanted) if log_y else axes.widen(*wanted)


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


def _unit(values: Floats, limits: axes.Range) -> list[float]:
    """Return the values mapped so that the limits become 0 and 1, clipped just outside."""
    import numpy as np

    low, high = limits
    with np.errstate(all="ignore"):
        mapped = (values / 2 - low / 2) / (high / 2 - low / 2)
    mapped = np.clip(np.nan_to_num(mapped, nan=0.5), -0.02, 1.02)
    return [float(value) for value in mapped]


def _rasterise(curves: Sequence[Curve], width: int, height: int, marker: Marker) -> str:
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
            if curve.x:
                pixel = plotext.pixel(foreground=curve.colour, style="dim" if curve.dim else None)
                glyph = curve.letter[0] if marker == "ascii" else marker
                signal = figure.signal(curve.x, curve.y, marker=plotext.marker(glyph, pixel)).lines()
                for index in curve.breaks:
                    signal.line(index, False)
                figure.draw(signal)
        text = str(figure.build().string())
        figure.clear.data()
        return text
