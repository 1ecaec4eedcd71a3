"""From the steps at which a run recorded its points to another x axis: epochs, hours of work, time of day.

Plain data. `at` works before numpy has been imported; a warp never turns the order of points round.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

XKind = Literal["step", "epoch", "relative", "wall"]
X_KINDS: tuple[XKind, ...] = ("step", "epoch", "relative", "wall")


@dataclass(frozen=True)
class Warp:
    """A place on the axis for every step: steps times `scale`, or between anchors that never go back."""

    scale: float = 1.0
    steps: Sequence[float] = ()
    places: Sequence[float] = ()

    def at(self, step: float) -> float:
        """Return the place of one step; outside the anchors, that of the nearest."""
        if not self.steps:
            return step * self.scale
        index = bisect_right(self.steps, step)
        if index == 0 or index == len(self.steps):
            return self.places[min(index, len(self.steps) - 1)]
        before, after = self.steps[index - 1], self.steps[index]
        share = (step - before) / (after - before)
        return self.places[index - 1] * (1 - share) + self.places[index] * share

    def all(self, steps: Floats) -> Floats:
        """Return the places of many steps."""
        import numpy as np

        if not self.steps:
            with np.errstate(all="ignore"):
                return steps * self.scale
        places: Floats = np.interp(steps, np.asarray(self.steps), np.asarray(self.places))
        return places
