"""Charts of training runs: series → axes → render → strips → widget.

`render` is the only importer of plotext; neither it nor numpy is imported before `warm_up` is called or a
chart is built.
"""

from __future__ import annotations

from tui.charts.lines import Line, Mark, colour_of
from tui.charts.plate import Frame
from tui.charts.render import is_warm, warm_up
from tui.charts.series import Series
from tui.charts.widget import Chart

__all__ = ["Chart", "Frame", "Line", "Mark", "Series", "colour_of", "is_warm", "warm_up"]
