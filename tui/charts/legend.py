"""The title row of a chart: title, state words, and one entry per line with its last value and minimum.

Never wider than it may be: entries that do not fit are cut by cells and end with an ellipsis.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from textual.strip import Strip

from engine.words import say
from tui.charts.axes import label
from tui.charts.cursor import Reading
from tui.charts.lines import Line
from tui.charts.strips import PLAIN, Cell, ansi, fit, join, text_cells

_BOLD = Style(bold=True)
_FOCUSED = Style(bold=True, reverse=True)
_DIM = Style(dim=True)


def title_strip(
    title: str,
    lines: Sequence[Line],
    words: Sequence[str],
    width: int,
    *,
    readings: Sequence[Reading] | None = None,
    after: Sequence[str] = (),
    spare: str = "",
    focused: bool = False,
) -> Strip:
    """Return the title row, exactly `width` cells wide; the lines must be dressed.

    With `readings` the values at the cursor stand in place of the last and the lowest ones, and `after` them
    what else there is to say of the place. `spare` is said only where all the rest fits too.
    """
    head = [(title, _FOCUSED if focused else _BOLD), *((word, _DIM) for word in words if word)]
    if readings is not None:
        values = [(one.text(), ansi(one.colour)) for one in readings[: width // 4]]
        row = _row([*head, *values, *((word, _DIM) for word in after)])
    else:
        told = [line for line in lines if not line.dim][: max(1, width // 4)]  # an entry takes four cells
        for short, word in ((False, spare), (False, ""), (True, "")):
            said = [(word, _DIM)] if word else []
            row = _row([*head, *said, *((entry(line, short=short), ansi(line.colour or 7)) for line in told)])
            if len(row) <= width:
                break
    if len(row) > width > 0:
        row = [*fit(row, width - 1), ("…", row[width - 1][1])]
    return join(fit(row, width))


def _row(parts: Sequence[tuple[str, Style]]) -> list[Cell]:
    row: list[Cell] = []
    for text, style in parts:
        row += [*([(" ", PLAIN)] * 2 if row else []), *text_cells(text, style)]
    return row


def entry(line: Line, *, short: bool = False) -> str:
    """Return the legend entry of one line, such as 'A train 0.012 (min 0.01)', or without its minimum."""
    if line.legend:
        return f"{line.letter} {line.legend}"
    last, low = line.series.last(), line.series.minimum()
    if last is None or low is None:
        return say("charts.entry_empty", letter=line.letter, name=line.name)
    if short or not line.lowest:
        return say("charts.entry_last", letter=line.letter, name=line.name, last=label(last[1]))
    return say("charts.entry", letter=line.letter, name=line.name, last=label(last[1]), low=label(low))


def message_strips(text: str, width: int, height: int) -> list[Strip]:
    """Return a body that says one sentence in its middle."""
    row = text_cells(text, _DIM)
    if len(row) > width > 0:
        row = [*fit(row, width - 1), ("…", _DIM)]
    margin: list[Cell] = [(" ", PLAIN)] * max(0, (width - len(row)) // 2)
    middle = max(0, (height - 1) // 2)
    return [join(fit([*margin, *row] if y == middle else [], width)) for y in range(height)]
