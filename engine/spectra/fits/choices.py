"""Everything that decides what an import writes, in one value.

Owns the choices, their record and their digest. Nothing else may change a byte of the tables: not the
number of processes, not an interruption, not the order in which files were done.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import engine
from engine.errors import BadInput
from engine.spectra.fits import continuum, grid
from engine.spectra.fits.frame import FRAMES
from engine.words import say

FORMAT = 1
RV_SOURCES = ("header", "none")
LIBRARIES = ("astropy", "numpy", "scipy")


@dataclass(frozen=True)
class Choices:
    """What was asked for, checked.

    `rv` is 'header' (Z), 'none' or, when `rv_column` names a column of the label table in km/s, 'column'.
    `max_masked` is the largest share of masked pixels that a spectrum may have, `min_coverage` the least
    share of the grid that it must cover.
    """

    grid: grid.Grid
    continuum: continuum.Continuum
    frame: str = "vacuum"
    rv: str = "header"
    rv_column: str | None = None
    telluric: bool = False
    any_class: bool = False
    max_masked: float = 0.5
    min_coverage: float = 0.0

    def record(self) -> dict[str, Any]:
        """Return the choices as they are written into import.json."""
        return asdict(self)


def choose(
    *,
    grid_word: str = grid.DEFAULT,
    continuum_word: str = continuum.DEFAULT,
    frame: str = "vacuum",
    rv: str = "header",
    rv_column: str | None = None,
    telluric: bool = False,
    any_class: bool = False,
    max_masked: float = 0.5,
    min_coverage: float = 0.0,
) -> Choices:
    """Return the checked choices.

    Raises:
        BadInput: a word or a number that cannot be used; all of them at once.
    """
    lines: list[str] = []
    chosen: dict[str, Any] = {}
    for name, parse, word in (
        ("grid", grid.parse, grid_word),
        ("continuum", continuum.parse, continuum_word),
    ):
        try:
            chosen[name] = parse(word)
        except BadInput as error:
            lines += error.lines
    for option, given, known in (("--frame", frame, FRAMES), ("--rv", rv, RV_SOURCES)):
        if given not in known:
            lines.append(say("fits.bad_choice", option=option, value=given, known=", ".join(known)))
    for option, share in (("--max-masked", max_masked), ("--min-coverage", min_coverage)):
        if not 0 <= share <= 1:
            lines.append(say("fits.bad_share", option=option, value=share))
    if lines:
        raise BadInput(lines)
    return Choices(
        **chosen,
        frame=frame,
        rv="column" if rv_column else rv,
        rv_column=rv_column,
        telluric=telluric,
        any_class=any_class,
        max_masked=max_masked,
        min_coverage=min_coverage,
    )


def versions() -> dict[str, str]:
    """Return the versions of what computes the rows."""
    return {
        "spectui": engine.__version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def digest(*things: Any) -> str:
    """Return a short digest of JSON-able things: equal exactly when they are."""
    text = json.dumps([FORMAT, versions(), *things], sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
