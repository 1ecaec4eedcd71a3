"""The keys that move the cursor of a list, the same in every list."""

from __future__ import annotations

from textual.binding import Binding

MOVES = (
    Binding("up,k", "move(-1)", show=False),
    Binding("down,j", "move(1)", show=False),
    Binding("pageup,ctrl+u", "page(-1)", show=False),
    Binding("pagedown,ctrl+d", "page(1)", show=False),
    Binding("home,g", "edge(0)", show=False),
    Binding("end,G", "edge(1)", show=False),
)
