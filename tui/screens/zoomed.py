"""A screen whose charts zoom and pan together, and one whose charts stand in a grid."""

from __future__ import annotations

from typing import Protocol

from tui.charts import Chart
from tui.screens.base import Place


class Zoomed(Place):
    """The actions behind the zoom keys, for every chart of the screen at once."""

    def action_zoom(self, factor: float) -> None:
        for chart in self.query(Chart):
            chart.zoom(factor)

    def action_pan(self, fraction: float) -> None:
        for chart in self.query(Chart):
            chart.pan(fraction)

    def action_fit(self) -> None:
        for chart in self.query(Chart):
            chart.fit()


class Grid(Protocol):
    """Charts that share a cursor and their choices: `ChartGrid`, `CompareGrid`."""

    def toggle_full(self) -> None: ...
    def next_x(self) -> None: ...
    def toggle_log(self) -> None: ...
    def toggle_smooth(self) -> None: ...
    def toggle_clip(self) -> None: ...
    def move_cursor(self, columns: int) -> None: ...


class Gridded(Zoomed):
    """The actions behind the keys that mean a grid of charts."""

    @property
    def grid(self) -> Grid:
        """The charts that the keys mean."""
        raise NotImplementedError

    def action_full(self) -> None:
        self.grid.toggle_full()

    def action_x_axis(self) -> None:
        self.grid.next_x()

    def action_log_axis(self) -> None:
        self.grid.toggle_log()

    def action_smooth(self) -> None:
        self.grid.toggle_smooth()

    def action_clip(self) -> None:
        self.grid.toggle_clip()

    def action_cursor(self, columns: int) -> None:
        self.grid.move_cursor(columns)
