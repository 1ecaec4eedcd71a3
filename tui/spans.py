"""A partial repaint writes the cells that changed, in as few bytes as that takes.

Textual 8.2.8 cuts a changed span off at its right only, so that a point at the right end of a chart costs the
whole row, and says every colour anew for every piece of text: 24 KB/s for a live run, where 3 do (measured).
Owns this one place of Textual's compositor, whose version is pinned; decides nothing about what is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from rich.console import Console
from rich.control import Control
from textual._compositor import ChopsUpdate
from textual.geometry import Region
from textual.widget import Widget

from tui.charts.strips import changed_spans

_SGR = re.compile(r"\x1b\[([0-9;]*)m")
_COLOUR = re.compile(r"(?:^|;)([34]8;(?:5;\d+|2;\d+;\d+;\d+)|[349]\d|10[0-7])(?=;|$)")
_RESET = "\x1b[0m"


def install() -> None:
    """Let Textual's partial repaints write only what they have to."""
    ChopsUpdate.render_segments = _render_segments  # type: ignore[method-assign, assignment]


def repaint_less(widget: Widget, change: Callable[[], object]) -> None:
    """Change what a widget shows, and repaint only the cells that look different; its size must stay."""
    region = widget.outer_size.region
    before = widget.render_lines(region)
    due = set(widget._repaint_regions)  # what an earlier change left for the next repaint is not there yet
    change()
    spans = changed_spans(before, widget.render_lines(region))
    widget._repaint_regions.clear()
    widget._repaint_regions.update(due, (Region(x, y, width, 1) for y, x, width in spans))


def _render_segments(update: ChopsUpdate, console: Console) -> str:
    """Return the terminal's sequences for the spans of a partial repaint."""
    found: list[str] = []
    for y, first, last in update.spans:
        at = -1  # where the terminal's cursor stands on this row
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is None or x >= last or end <= first:
                continue
            start, stop = max(x, first), min(end, last)
            if start != at:
                found.append(Control.move_to(start, y).segment.text)
            found.append(strip.crop(start - x, stop - x).render(console))
            at = stop
    return fewer("".join(found))


def fewer(text: str) -> str:
    """Return the same text, with a style said only where it differs from the one in force.

    Every style in it must be said whole and be taken back, as Rich does it.
    """
    found: list[str] = []
    now, wanted = "", ""
    for index, part in enumerate(_SGR.split(text)):
        if index % 2:
            wanted = "" if part in ("", "0") else part
        elif part:
            # A move of the cursor takes the style with it, and shows nothing.
            if wanted != now and not _only_moves(part):
                found.append(_change(now, wanted))
                now = wanted
            found.append(part)
    return "".join(found) + (_RESET if now else "")


def _only_moves(text: str) -> bool:
    return text[0] == "\x1b" and text[-1] == "H" and text.count("\x1b") == 1 and text.isascii()


@lru_cache(maxsize=1024)
def _change(now: str, wanted: str) -> str:
    """Return the shortest sequence that leads from one whole style to another."""
    if not wanted:
        return _RESET
    if now:
        (old, old_rest), (new, new_rest) = _parts(now), _parts(wanted)
        if old_rest == new_rest and old.keys() == new.keys():
            return f"\x1b[{';'.join(code for where, code in new.items() if old[where] != code)}m"
        return f"\x1b[0;{wanted}m"
    return f"\x1b[{wanted}m"


def _parts(style: str) -> tuple[dict[str, str], str]:
    """Return the colours of a style, by whether they are of the ground, and the rest of it."""
    colours = {}
    for code in _COLOUR.findall(style):
        colours["ground" if code[0] == "4" or code[:2] == "10" else "letter"] = code
    return colours, _COLOUR.sub("", style).strip(";")
