"""A screen whose charts zoom and pan together."""

from __future__ import annotations

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
