"""The wavelength grid that all spectra are brought to.

Owns the words `3900:8800:1` and `log:3700:9100:1e-4`, the pixels they mean and the names of the columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.errors import BadInput
from engine.words import say

DEFAULT = "3900:8800:1"
LOWEST, HIGHEST = 1000.0, 30000.0  # Å
LEAST_POINTS, MOST_POINTS = 10, 100_000
LEAST_STEP = 0.001  # Å: ten times what tells two columns of a table apart
EXACT = 5e-5  # Å: column names are this near to the true wavelength


@dataclass(frozen=True)
class Grid:
    """A grid of `points` pixels from `first`; `step` is in Å, or in log10 λ when `log` is set."""

    word: str
    log: bool
    first: float
    step: float
    points: int

    def wavelength(self) -> np.ndarray:
        """Return the pixels' centres [M] in Å."""
        return self._at(np.arange(self.points))

    def edges(self) -> np.ndarray:
        """Return the pixels' edges [M + 1] in Å; on a log grid half-way in log λ."""
        return self._at(np.arange(self.points + 1) - 0.5)

    def columns(self) -> list[str]:
        """Return the columns' names [M]: at least two decimals, more when two would move a pixel."""
        centres = self.wavelength()
        for decimals in (2, 3, 4):
            names = [f"{w:.{decimals}f}" for w in centres]
            if np.abs(np.array(names, np.float64) - centres).max() <= EXACT * 1.001:
                break
        return names

    def _at(self, index: np.ndarray) -> np.ndarray:
        if self.log:
            return np.asarray(10 ** (math.log10(self.first) + self.step * index))
        return np.asarray(self.first + self.step * index)


def parse(word: str) -> Grid:
    """Return the grid that FIRST:LAST:STEP (Å) or log:FIRST:LAST:STEP (Å, Å, log10 λ) means.

    Raises:
        BadInput: it is neither, or it means no grid that a table can have.
    """
    log = word.startswith("log:")
    try:
        first, last, step = (float(part) for part in word.removeprefix("log:").split(":"))
    except ValueError:
        raise BadInput(say("fits.bad_grid", word=word)) from None
    if not all(map(math.isfinite, (first, last, step))) or not LOWEST <= first < last <= HIGHEST or step <= 0:
        raise BadInput(say("fits.bad_grid", word=word))
    span = math.log10(last / first) if log else last - first
    points = int(min(span / step + 1e-6, MOST_POINTS)) + 1
    finest = first * math.log(10) * step if log else step
    if not LEAST_POINTS <= points <= MOST_POINTS or finest < LEAST_STEP:
        raise BadInput(say("fits.bad_grid_points", word=word, least=LEAST_POINTS, most=MOST_POINTS))
    return Grid(word, log, first, step, points)
