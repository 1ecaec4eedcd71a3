"""Text from files and networks, made safe to draw: a run, a conf or a message may hold anything."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.text import Text

_KEPT = "\n\t"


def plain(text: str) -> str:
    """Return text with a '�' for every character that would move the cursor or change the terminal."""
    return "".join(c if c.isprintable() or c in _KEPT else "�" for c in text)


def harmless(text: Text) -> Text:
    """Return the same styled text, made safe in place."""
    text.plain = plain(text.plain)
    return text


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return text of exactly `width` cells: padded, or cut with an ellipsis at its end."""
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…" if width > 1 else set_cell_size(text, width)
    pad = " " * (width - cell_len(text))
    return pad + text if right else text + pad


def fit_middle(text: str, width: int, tail: int) -> str:
    """Return text of exactly `width` cells that keeps its last `tail` characters: what tells runs apart."""
    if cell_len(text) <= width or width < tail + 4:
        return fit(text, width)
    end = text[-tail:]
    return set_cell_size(text, width - 1 - cell_len(end)) + "…" + end
