"""Curves of any length: thinned before they are drawn, and nothing that matters is lost."""

from __future__ import annotations

import math
from array import array

import numpy as np
import pytest

from engine.figures.curves import thinned
from engine.runs.record import Curve


def curve(values: list[float]) -> Curve:
    return Curve(array("d", range(1, len(values) + 1)), array("d", values))


def test_a_short_curve_is_drawn_as_it_is() -> None:
    steps, values = thinned(curve([3.0, math.inf, 1.0]), columns=2)
    assert steps.tolist() == [1, 2, 3]
    assert np.isnan(values).tolist() == [False, True, False]


@pytest.mark.parametrize("place", [0, 1, 4_999, 9_998, 9_999])
def test_a_spike_survives_wherever_it_is(place: int) -> None:
    for spike in (50.0, -50.0):
        made = [1.0] * 10_000
        made[place] = spike
        steps, values = thinned(curve(made), columns=20)
        assert len(steps) < 100
        assert steps[values == spike].tolist() == [place + 1]


def test_a_gap_survives_and_so_do_the_ends() -> None:
    made = [float(n) for n in range(10_000)]
    made[777] = math.nan
    steps, values = thinned(curve(made), columns=20)
    assert steps[np.isnan(values)].tolist() == [778]
    assert (steps[0], steps[-1]) == (1, 10_000)
    assert (np.diff(steps) > 0).all()


def test_a_curve_without_one_finite_value_is_one_gap() -> None:
    assert np.isnan(thinned(curve([math.nan] * 1000), columns=10)[1]).all()
