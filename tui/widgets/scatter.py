"""Points as braille in a box with labelled axes: what a scatter looks like in a terminal.

Plain numbers in, rich text out; as many points as there are cost one pass of numpy. The outermost tenths of a
percent may lie outside a box that is fitted to the rest; they are drawn at its edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from engine.words import say
from tui.charts import axes

if TYPE_CHECKING:
    import numpy as np

_GUTTER = 7
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
LEAST = (_GUTTER + 8, 5)


def scatter(
    x: np.ndarray, y: np.ndarray, width: int, height: int, *, title: str, across: axes.Range, up: axes.Range,
    slope: float | None = None, levels: tuple[float, ...] = (), colour: str = "cyan",
) -> Text:  # fmt: skip
    """Return `height` lines of `width` cells: a title, the points, guides, and the axes' ends.

    `slope` draws the line y = slope * x, `levels` level lines.
    """
    import numpy as np

    columns, rows = max(4, width - _GUTTER - 1), max(2, height - 2)
    (left, right), (low, high) = across, up
    dots = np.zeros((rows * 4, columns * 2), bool)
    guide = np.zeros_like(dots)
    h = (np.clip((x - left) / (right - left), 0, 1) * (columns * 2 - 1)).round().astype(int)
    v = (np.clip((high - y) / (high - low), 0, 1) * (rows * 4 - 1)).round().astype(int)
    dots[v, h] = True
    if slope is not None or levels:
        at = np.linspace(left, right, columns * 2)
        lines = [slope * at] if slope is not None else []
        lines += [np.full_like(at, level) for level in levels]
        for line in lines:
            place = (high - line) / (high - low) * (rows * 4 - 1)
            inside = (place > -0.5) & (place < rows * 4 - 0.5)
            inside[2::4] = inside[3::4] = False  # dashed: points are whole
            guide[place[inside].round().astype(int), np.flatnonzero(inside)] = True
    text = Text(no_wrap=True)
    text.append(title[:width].ljust(width) + "\n", "bold")
    marks = {0: _end(high), rows - 1: _end(low)}
    if rows > 4:
        marks[rows // 2] = _end((low + high) / 2)
    points, guides = _cells(dots), _cells(guide)
    for row in range(rows):
        text.append(f"{marks.get(row, '')[: _GUTTER - 1]:>{_GUTTER - 1}}│", "dim")
        for point, faint in zip(points[row], guides[row], strict=True):
            if point:
                text.append(chr(0x2800 + int(point)), colour)
            elif faint:
                text.append(chr(0x2800 + int(faint)), "dim")
            else:
                text.append(" ")
        text.append("\n")
    ends = _end(left), _end(right)
    gap = max(1, columns - len(ends[0]) - len(ends[1]))
    text.append(" " * (_GUTTER - 1) + "└" + (ends[0] + "─" * gap + ends[1])[:columns], "dim")
    return text


def fitted(values: np.ndarray, other: np.ndarray | None = None) -> axes.Range:
    """Return a range around values, and around others where both belong on one scale."""
    import numpy as np

    whole = values if other is None else np.concatenate([values, other])
    if not whole.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(whole, [0.1, 99.9]))
    margin = 0.04 * (high - low) or max(abs(high), 1.0) * 0.04
    return low - margin, high + margin


def _end(value: float) -> str:
    """Return the value at a place of an axis: 7109 K, no 7.109k."""
    return f"{value:.4g}"


def empty(width: int, height: int) -> Text:
    """Return what stands where nothing can be drawn."""
    return Text("\n" * (height // 2) + say("figure.empty").center(width), "dim")


def _cells(dots: np.ndarray) -> np.ndarray:
    """Return the braille bits [rows, columns] of dots [4 rows, 2 columns]."""
    import numpy as np

    rows, columns = dots.shape[0] // 4, dots.shape[1] // 2
    cells = np.zeros((rows, columns), int)
    for down, pair in enumerate(_DOTS):
        for along, bit in enumerate(pair):
            cells |= dots[down::4, along::2] * bit
    return cells
