"""From a star's fluxes to what a chart draws: curves, marks of bad pixels, labelled lines.

Plain data for `tui.charts`, for the screen and the plain terminal alike. Imports no numpy before a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.spectra.lines import Frame, lines_between
from engine.words import say
from tui.charts.lines import Kind, Line, Mark
from tui.charts.series import Series

if TYPE_CHECKING:
    import numpy as np

    from engine.conf.data import Clip
    from engine.spectra.facts import Facts, Seen

_LETTERS = "AB"
_COLOURS = (6, 3)  # cyan for the star itself, yellow for the one laid over it


def curves(
    facts: Facts, clip: Clip, branch: str, stars: Sequence[int], pixels: slice = slice(None)
) -> tuple[list[Line], list[Mark], dict[str, int]]:
    """Return the curves of a branch, the first star in front, the marks of its bad pixels, their numbers."""
    from engine.spectra.facts import seen

    wavelength = facts.wavelength[pixels]
    lines, first = [], None
    for place, star in enumerate(stars):
        shown = seen(facts.flux(branch, star), getattr(clip, branch), facts.masked(star))
        first = first or shown
        obsid = str(facts.obsid[star])
        series = Series.of(obsid, wavelength.tolist(), shown.flux[pixels].tolist())
        lines.append(Line(obsid, series, colour=_COLOURS[place], letter=_LETTERS[place], legend=obsid))
    if first is None:
        return [], [], {}
    counts: dict[str, int] = {name: int(mask[pixels].sum()) for name, mask in _masks(first)}
    return lines[::-1], bad_marks(wavelength, first, pixels), counts


def bad_marks(wavelength: np.ndarray, shown: Seen, pixels: slice = slice(None)) -> list[Mark]:
    """Return one mark per bad pixel; the first of each run says how many there are."""
    from engine.spectra.facts import runs

    marks = []
    for kind, mask in _masks(shown):
        for first, last in runs(mask[pixels]):
            words = "wild" if kind == "clipped" and not shown.clipped[pixels][first] else kind
            label = say(f"spectrum.mark.{words}", pixels=last - first + 1)
            if kind == "nonfinite":
                label = f"✗ {label}"
            marks += [
                Mark(float(wavelength[i]), kind, label if i == first else "") for i in range(first, last + 1)
            ]
    return marks


def line_marks(low: float, high: float, frame: Frame, rv: float = 0.0) -> list[Mark]:
    """Return the spectral lines of a range as marks, the most wanted first; bands are underlined."""
    marks = []
    for placed in sorted(lines_between(low, high, frame, rv), key=lambda p: p.line.rank):
        kind: Kind = "faint" if placed.line.kind == "telluric" else "line"
        if placed.line.band is not None:
            marks.append(Mark(placed.low, kind, until=placed.high))
        marks.append(Mark(placed.at, kind, placed.line.name))
    return marks


def _masks(shown: Seen) -> list[tuple[Kind, np.ndarray]]:
    return [
        ("masked", shown.masked), ("nonfinite", shown.nonfinite),
        ("clipped", shown.clipped | shown.wild), ("zero", shown.zero),
    ]  # fmt: skip
