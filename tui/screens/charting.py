"""The keys of the charts of a run: each action passes on to the grid while the charts are shown."""

from __future__ import annotations

from tui.screens.zoomed import Gridded
from tui.widgets.chart_grid import ChartGrid

_ON_CHARTS = frozenset({
    "chart", "chart_page", "full", "x_axis", "log_axis", "smooth", "clip", "charset", "cursor", "zoom", "pan",
    "fit", "quantity",
})  # fmt: skip


class Charting(Gridded):
    """A screen with a grid of charts on one of its tabs."""

    AUTO_FOCUS = ""  # a focused field would take the keys of the charts

    @property
    def grid(self) -> ChartGrid:
        return self.query_one(ChartGrid)

    @property
    def charts_shown(self) -> bool:
        """Whether the keys of the charts mean the charts now."""
        return bool(self.grid.is_on_screen and self.grid.size)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the keys of the charts to whatever else is shown."""
        if action in _ON_CHARTS and self.is_mounted and self.query(ChartGrid) and not self.charts_shown:
            return False
        return super().check_action(action, parameters)

    def action_chart(self, by: int) -> None:
        self.grid.go(by)

    def action_quantity(self) -> None:
        self.grid.go(1)

    def action_chart_page(self, by: int) -> None:
        self.grid.turn(by)

    def action_charset(self) -> None:
        self.grid.next_charset()
