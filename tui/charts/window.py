"""The part of the x axis that is looked at: zoomed, moved, and kept within the whole. Plain numbers."""

from __future__ import annotations

from tui.charts.axes import Range

_DEEPEST = 1e-6  # the smallest part of the x axis that can be zoomed into


def zoomed(view: Range, whole: Range, factor: float) -> Range | None:
    """Return 1/factor of a view around its middle; None when that is everything."""
    low, high = view
    half = max((high / 2 - low / 2) / factor, (whole[1] / 2 - whole[0] / 2) * _DEEPEST)
    middle = low / 2 + high / 2
    return within((middle - half, middle + half), whole)


def panned(view: Range, whole: Range, fraction: float) -> Range | None:
    """Return a view moved by a fraction of its width, as far as there is something."""
    low, high = view
    shift = (high - low) * fraction
    shift = max(whole[0] - low, min(whole[1] - high, shift))
    return within((low + shift, high + shift), whole)


def holding(view: Range, whole: Range, x: float) -> Range | None:
    """Return a view moved just so far that it holds x."""
    low, high = view
    shift = min(0.0, x - low) + max(0.0, x - high)
    return within((low + shift, high + shift), whole)


def within(view: Range, whole: Range) -> Range | None:
    """Return the part of a view that lies in the whole; None when that is everything or nothing."""
    low, high = max(view[0], whole[0]), min(view[1], whole[1])
    return None if (low, high) == whole or low >= high else (low, high)
