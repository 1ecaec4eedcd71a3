"""Histograms and the Kiel diagram as text: what the labels of a data set look like at one glance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.text import Text

from engine.words import say

if TYPE_CHECKING:
    import numpy as np

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_ROWS = 4
# classes of engine.conf.data.Resample, from many metals to few: marks for 1, 2-4, 5 and more stars
CLASSES = (
    ("normal", ".:#", "white"),
    ("mp", "oO@", "yellow"),
    ("vmp", "vVW", "cyan"),
    ("emp", "xXX", "magenta"),
)
UNKNOWN = ("unknown", "-=%", "bright_black")
_EDGES = (-1.0, -2.0, -3.0)
_SHARE = 0.25  # of a cell's stars that makes the poorer class show: the rare ones are looked for
_GUTTER = 6


def histograms(report: dict[str, Any], width: int) -> Text:
    """Return one histogram per label: bars, the range beneath, holes and what lies outside."""
    text = Text(no_wrap=True)
    for target, told in report["labels"].items():
        text.append(target, "bold")
        text.append(f"  {told['number']}  ", "")
        text.append(say("datasets.holes", missing=told["missing"]), "yellow" if told["missing"] else "dim")
        shown = told.get("histogram")
        if shown and (shown["below"] or shown["above"]):
            text.append("  " + say("datasets.outside", below=shown["below"], above=shown["above"]), "dim")
        text.append("\n")
        if shown:
            for row in bars(shown["counts"], width):
                text.append(row + "\n", "cyan")
            text.append(_axis(shown["edges"], shown["counts"], width) + "\n", "dim")
        text.append("\n")
    return text


def bars(counts: list[int], width: int) -> list[str]:
    """Return `_ROWS` rows of bars, each as wide as fits; a count above 0 is never drawn as nothing."""
    each = _bar_width(counts, width)
    most = max(counts) or 1
    levels = [max(1, round(8 * _ROWS * count / most)) if count else 0 for count in counts]
    return [
        "".join(_EIGHTHS[max(0, min(8, level - 8 * row))] * each for level in levels).rstrip()
        for row in reversed(range(_ROWS))
    ]


def _axis(edges: list[float], counts: list[int], width: int) -> str:
    room = _bar_width(counts, width) * len(counts)
    low, high = f"{edges[0]:g}", f"{edges[-1]:g}"
    return low + high.rjust(max(len(high) + 1, room - len(low)))


def _bar_width(counts: list[int], width: int) -> int:
    return max(1, min(4, width // max(1, len(counts))))


def kiel(stars: dict[str, np.ndarray], width: int, height: int) -> Text:
    """Return the Kiel diagram, hot stars left and giants on top, in at most `width` x `height` cells."""
    import numpy as np

    names = {name.lower(): name for name in stars}
    text = Text(no_wrap=True)
    text.append(say("datasets.kiel") + "\n", "bold")
    if "teff" not in names or "logg" not in names:
        return text.append(say("datasets.kiel_none") + "\n", "dim")
    teff, logg = stars[names["teff"]], stars[names["logg"]]
    there = np.isfinite(teff) & np.isfinite(logg) & (teff > 0)
    if not there.any():
        return text.append(say("datasets.kiel_none") + "\n", "dim")
    feh = stars[names["feh"]] if "feh" in names else np.full(len(teff), np.nan)
    teff, logg, feh = teff[there], logg[there], feh[there]
    columns, rows = max(8, width - _GUTTER), max(4, height - 6)
    hot, cool, log = _range(teff)
    top, bottom = (float(v) for v in np.percentile(logg, [0.1, 99.9]))
    top, bottom = math.floor(2 * top) / 2, math.ceil(2 * bottom) / 2
    bottom = max(bottom, top + 0.5)
    scale = np.log10 if log else np.asarray
    across = (scale(teff) - scale(hot)) / (scale(cool) - scale(hot))
    down = (logg - top) / (bottom - top)
    inside = (across >= 0) & (across <= 1) & (down >= 0) & (down <= 1)
    at = np.zeros((len(CLASSES) + 1, rows, columns), np.int64)
    x = (across[inside] * (columns - 1) + 0.5).astype(int)
    y = (down[inside] * (rows - 1) + 0.5).astype(int)
    np.add.at(at, (classes(feh[inside]), y, x), 1)
    for row in range(rows):
        value = top + row * (bottom - top) / max(1, rows - 1)
        text.append(f"{value:>{_GUTTER - 1}.1f}│" if row % 3 == 0 else " " * (_GUTTER - 1) + "│", "dim")
        for column in range(columns):
            text.append(*_cell(at[:, row, column]))
        text.append("\n")
    text.append(" " * (_GUTTER - 1) + "└" + "─" * columns + "\n", "dim")
    ends = (
        f"{hot:g} K",
        f"{10 ** ((math.log10(hot) + math.log10(cool)) / 2) if log else (hot + cool) / 2:.0f}",
        f"{cool:g} K",
    )
    gap = columns - sum(len(end) for end in ends)
    text.append(
        " " * _GUTTER + ends[0] + " " * (gap // 2) + ends[1] + " " * (gap - gap // 2) + ends[2] + "\n", "dim"
    )
    marks = {name: glyphs for name, glyphs, _ in (*CLASSES, UNKNOWN)}
    text.append(say("datasets.kiel_legend", **marks) + "\n")
    text.append(say("datasets.kiel_glyphs", outside=int((~inside).sum())) + "\n", "dim")
    return text


def classes(feh: np.ndarray) -> np.ndarray:
    """Return the class number [N] of each star by [Fe/H]: 0 normal to 3 EMP, 4 unknown."""
    import numpy as np

    found = np.zeros(len(feh), np.int64)
    with np.errstate(invalid="ignore"):
        for edge in _EDGES:
            found += feh <= edge
    found[~np.isfinite(feh)] = len(CLASSES)
    return found


def _cell(counts: np.ndarray) -> tuple[str, str]:
    """Return glyph and colour of a cell: the poorest class that makes up a fair share of it."""
    total = int(counts.sum())
    if not total:
        return " ", ""
    known = [i for i in reversed(range(len(CLASSES))) if counts[i] and counts[i] >= _SHARE * total]
    _, glyphs, colour = CLASSES[known[0]] if known else UNKNOWN
    return glyphs[0 if total == 1 else 1 if total < 5 else 2], colour


def _range(teff: np.ndarray) -> tuple[float, float, bool]:
    """Return the hot and the cool end in K, rounded outwards, and whether the axis is better logarithmic."""
    import numpy as np

    cool, hot = (float(value) for value in np.percentile(teff, [0.1, 99.9]))
    cool, hot = math.floor(cool / 250) * 250, math.ceil(hot / 250) * 250
    cool = max(cool, 250)
    hot = max(hot, cool + 250)
    return float(hot), float(cool), hot > 3 * cool
