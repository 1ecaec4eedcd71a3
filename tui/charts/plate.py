"""The frame of a chart: how the cells are shared out between curves, ticks and labels.

Owns the gutter of y labels, the x axis and its labels, and the way from a value to a cell. Never sees a
curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.strip import Strip

from tui.charts import axes
from tui.charts.strips import PLAIN, Cell, join, write
from tui.charts.times import time_ticks
from tui.charts.warp import XKind

_MIN_HEIGHT = 4  # rows under which the x axis goes
_MIN_WIDTH = 16  # columns under which the y labels go


@dataclass(frozen=True)
class Glyphs:
    """The characters of the frame, for terminals with and without line drawing."""

    vertical: str
    y_tick: str
    horizontal: str
    x_tick: str
    corner: str
    guide: str
    cross: str
    ellipsis: str
    line: str
    span: str
    above: str
    below: str
    cursor: str


BOX = Glyphs("│", "┤", "─", "┬", "└", "╎", "✗", "…", "┊", "═", "▲", "▼", "┃")
ASCII = Glyphs("|", "+", "-", "+", "+", ":", "x", "~", "'", "=", "^", "v", "|")


@dataclass(frozen=True)
class Frame:
    """How the axes of a chart are written: `plain_x` says 5000 and not 5k; `gutter` is the least width of the
    y labels, so that charts above each other line up; `label_rows` are kept free above the curves; `x_kind`
    says in what x counts.
    """

    plain_x: bool = False
    gutter: int = 0
    x_axis: bool = True
    label_rows: int = 0
    x_kind: XKind = "step"


ORDINARY = Frame()


@dataclass(frozen=True)
class Plate:
    """A laid-out frame: `width` and `height` are those of the area of the curves."""

    width: int
    height: int
    gutter: int
    has_axis: bool
    x_range: axes.Range
    y_range: axes.Range
    x_ticks: list[tuple[int, str]]
    y_ticks: dict[int, str]
    glyphs: Glyphs

    @classmethod
    def of(
        cls,
        width: int,
        height: int,
        x_range: axes.Range,
        y_range: axes.Range,
        *,
        log_y: bool,
        ascii_only: bool,
        frame: Frame = ORDINARY,
    ) -> Plate:
        """Return the frame of a chart of the given outer size."""
        has_axis = frame.x_axis and height >= _MIN_HEIGHT
        plot_height = height - 2 if has_axis else height
        marks = (axes.log_ticks if log_y else axes.ticks)(*y_range, max(2, min(8, plot_height // 3)))
        texts = axes.labels([value for _, value in marks])
        rows = {
            plot_height - 1 - cell_at(place, y_range, plot_height): text
            for (place, _), text in zip(marks, texts, strict=True)
            if y_range[0] <= place <= y_range[1]
        }
        gutter = max(frame.gutter, max((len(text) for text in rows.values()), default=0) + 1)
        if width < _MIN_WIDTH or gutter > width // 3:
            gutter, rows = 0, {}
        plot_width = width - gutter
        many = max(2, plot_width // 12)
        if frame.x_kind in ("relative", "wall"):
            timed = time_ticks(*x_range, many, clock=frame.x_kind == "wall")
            x_marks, x_texts = [(value, value) for value, _ in timed], [text for _, text in timed]
        else:
            x_marks = axes.ticks(*x_range, many, whole=frame.x_kind == "step")
            x_texts = axes.labels([value for _, value in x_marks])
        if frame.plain_x:
            x_texts = [f"{value:.10g}" for _, value in x_marks]
        x_ticks = [
            (cell_at(place, x_range, plot_width), text)
            for (place, _), text in zip(x_marks, x_texts, strict=True)
            if x_range[0] <= place <= x_range[1]
        ]
        glyphs = ASCII if ascii_only else BOX
        return cls(plot_width, plot_height, gutter, has_axis, x_range, y_range, x_ticks, rows, glyphs)

    def column(self, x: float) -> int | None:
        """Return the column of the curve area on which a value of x lies, None outside the range."""
        return cell_at(x, self.x_range, self.width) if self.x_range[0] <= x <= self.x_range[1] else None

    def axis_row(self) -> list[Cell]:
        """Return the cells of the x axis, to be written on; no cells when there is no room for one."""
        row: list[Cell] = [(self.glyphs.horizontal, PLAIN)] * self.width if self.has_axis else []
        for column, _ in self.x_ticks if row else ():
            row[column] = (self.glyphs.x_tick, PLAIN)
        return row

    def assemble(
        self, rows: list[list[Cell]], bottom: list[Cell], above: Sequence[list[Cell]] = ()
    ) -> list[Strip]:
        """Return the strips of the whole body: what stands above, then labels, curves, axis."""
        whole = [join(self._beside("", row)) for row in above]
        for y, row in enumerate(rows):
            text = self.y_ticks.get(y, "")
            glyph = self.glyphs.y_tick if text else self.glyphs.vertical
            whole.append(join(self._beside(text + glyph, row)))
        if self.has_axis:
            whole.append(join(self._beside(self.glyphs.corner, bottom)))
            whole.append(join(self._beside("", self._labels())))
        return whole

    def _beside(self, text: str, row: list[Cell]) -> list[Cell]:
        return [*((character, PLAIN) for character in text.rjust(self.gutter)), *row] if self.gutter else row

    def _labels(self) -> list[Cell]:
        row: list[Cell] = [(" ", PLAIN)] * self.width
        free = 0
        for column, text in self.x_ticks:
            start = max(0, min(column - len(text) // 2, self.width - len(text)))
            if start >= free and start + len(text) <= self.width:
                write(row, start, text, PLAIN)
                free = start + len(text) + 1
        return row


def cell_at(value: float, limits: axes.Range, count: int) -> int:
    """Return which of `count` cells a value lies on; the limits lie on the middles of the outer cells."""
    low, high = limits
    place = (value / 2 - low / 2) / (high / 2 - low / 2)
    return int(max(0.0, min(1.0, place)) * (count - 1) + 0.5)
