"""Many curves to cells in one go, with numpy: what plotext takes seconds for when a hundred lines overlap.

Owns the dots of a cell. Never sees a raw value: points come mapped to [0, 1], cut at non-finite ones and
thinned, as plotext gets them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tui.charts.lines import Marker
from tui.charts.strips import PLAIN, Cell, ansi

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tui.charts.render import Curve

    Floats = NDArray[np.float64]

_DOTS = {"braille": (2, 4), "hd": (2, 2), "ascii": (1, 1)}
_BRAILLE = ((1, 8), (2, 16), (4, 32), (64, 128))
_BLOCKS = " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"


def rasterise(curves: Sequence[Curve], width: int, height: int, marker: Marker) -> list[list[Cell]]:
    """Return rows of cells, later curves over earlier ones; (0, 0) is the middle of the lower left cell."""
    import numpy as np

    across, down = _DOTS[marker]
    dots = np.zeros((height * down, width * across), dtype=bool)
    owner = np.full((height, width), -1, dtype=np.int64)
    x, y, who = _samples(curves, width, height, across, down)
    column, row = np.floor(x).astype(np.int64), height * down - 1 - np.floor(y).astype(np.int64)
    inside = (column >= 0) & (column < width * across) & (row >= 0) & (row < height * down)
    column, row, who = column[inside], row[inside], who[inside]
    dots[row, column] = True
    owner[row // down, column // across] = who  # of repeated places the last value stays
    if marker == "ascii":
        codes = owner + 1
        glyphs = [" ", *(curve.letter[0] for curve in curves)]
    else:
        weights = np.array(_BRAILLE if marker == "braille" else ((1, 2), (4, 8)))
        codes = (dots.reshape(height, down, width, across) * weights[None, :, None, :]).sum(axis=(1, 3))
        glyphs = [chr(0x2800 + bits) for bits in range(256)] if marker == "braille" else list(_BLOCKS)
        glyphs[0] = " "
    styles = [*(ansi(curve.colour, dim=curve.dim) for curve in curves), PLAIN]  # the last is -1: nobody's
    return [
        [(glyphs[code], styles[index]) for code, index in zip(line, owners, strict=True)]
        for line, owners in zip(codes.tolist(), owner.tolist(), strict=True)
    ]


def _samples(
    curves: Sequence[Curve], width: int, height: int, across: int, down: int
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return points close enough together that every dot of every piece of the curves has one."""
    import numpy as np

    starts, ends, owners = [], [], []
    for index, curve in enumerate(curves):
        if not curve.x.size:
            continue
        place = np.column_stack(
            [(curve.x * (width - 1) + 0.5) * across, (curve.y * (height - 1) + 0.5) * down]
        )
        follows = np.ones(len(place), dtype=bool)
        follows[0] = False
        follows[curve.breaks] = False
        before = np.maximum(np.arange(len(place)) - follows, 0)  # the first point of a piece is one dot
        starts.append(place[before])
        ends.append(place)
        owners.append(np.full(len(place), index))
    if not starts:
        return np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64)
    first, last, who = np.concatenate(starts), np.concatenate(ends), np.concatenate(owners)
    counts = np.ceil(np.abs(last - first).max(axis=1)).astype(np.int64) + 1
    which = np.repeat(np.arange(len(counts)), counts)
    position = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (position / np.maximum(counts - 1, 1)[which])[:, None]
    places = first[which] * (1 - share) + last[which] * share
    return places[:, 0], places[:, 1], who[which]
