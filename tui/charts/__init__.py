"""Charts of training runs: series → axes → render → strips → widget.

`render` is the only importer of plotext; neither it nor numpy is imported before `warm_up` is called or a
chart is built. What is named here is imported when it is first asked for: the list of runs needs none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui.charts.lines import Line, Mark, colour_of
    from tui.charts.plate import Frame
    from tui.charts.render import is_warm, warm_up
    from tui.charts.series import Series
    from tui.charts.widget import Chart

__all__ = ["Chart", "Frame", "Line", "Mark", "Series", "colour_of", "is_warm", "warm_up"]

_HOMES = {
    "Line": "lines", "Mark": "lines", "colour_of": "lines", "Frame": "plate", "is_warm": "render",
    "warm_up": "render", "Series": "series", "Chart": "widget",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
