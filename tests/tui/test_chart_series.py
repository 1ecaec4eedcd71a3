"""Columns of a curve: bounds, smoothing, thinning."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tui.charts.series import Series, decimate, picks


def test_bounds_count_only_finite_values_and_the_first_bad_step_is_known() -> None:
    series = Series("loss")
    series.append([1, 2, 3], [5.0, math.nan, 2.0])
    series.append([4, 5, 6], [math.inf, None, 7.0])
    assert len(series) == 6
    assert (series.minimum(), series.maximum(), series.last()) == (2.0, 7.0, (6.0, 7.0))
    assert series.first_nonfinite() == 2.0
    assert math.isnan(series.first_nonfinite_value() or 0.0)
    assert series.x_bounds() == (1.0, 6.0)
    series.clear()
    assert (len(series), series.minimum(), series.last(), series.first_nonfinite()) == (0, None, None, None)


def test_columns_of_different_length_are_refused_whole() -> None:
    series = Series("loss")
    with pytest.raises(ValueError, match="loss: 2 x values for 1 y values"):
        series.append([1, 2], [1.0])
    assert len(series) == 0
    series.append(iter([1]), iter([10**400]))
    assert math.isinf(series.arrays()[1][0])


def test_arrays_follow_what_is_appended() -> None:
    series = Series.of("loss", [1], [1.0])
    before, _ = series.arrays()
    series.append([2], [2.0])
    assert before.tolist() == [1.0]
    assert series.arrays()[0].tolist() == [1.0, 2.0]


def test_smoothing_corrects_its_bias_skips_bad_values_and_goes_on_where_it_stopped() -> None:
    values = [3.0, math.nan, 3.0, 3.0, 9.0]
    whole = Series.of("loss", range(5), values)
    assert np.allclose(whole.smoothed(0.9)[:4], [3.0, math.nan, 3.0, 3.0], equal_nan=True)
    assert 3.0 < whole.smoothed(0.9)[4] < 9.0
    grown = Series("loss")
    for step, value in enumerate(values):
        grown.append([step], [value])
        grown.smoothed(0.9)
    assert np.allclose(grown.smoothed(0.9), whole.smoothed(0.9), equal_nan=True)
    assert not np.allclose(grown.smoothed(0.5), whole.smoothed(0.9), equal_nan=True)


@pytest.mark.parametrize("uneven", [False, True])
def test_decimation_keeps_a_planted_spike_and_is_bounded(uneven: bool) -> None:
    x = np.arange(100_000.0) ** (3 if uneven else 1)
    y = np.sin(np.arange(100_000) / 7_000)
    y[61_803], y[7_777] = 40.0, -40.0
    thin_x, thin_y = decimate(x, y, 100)
    assert len(thin_x) <= 202
    assert thin_y.max() == 40.0 and thin_y.min() == -40.0
    assert thin_x[thin_y.argmax()] == x[61_803]
    assert (thin_x[0], thin_x[-1]) == (x[0], x[-1])
    assert (np.diff(thin_x) > 0).all()


def test_decimation_drops_bad_values_and_survives_steps_that_go_back() -> None:
    x = np.tile(np.arange(5_000.0), 20)
    y = np.zeros(100_000)
    y[50] = 9.0
    y[::7] = np.nan
    kept = picks(x, y, 50)
    assert len(kept) <= 102
    assert np.isfinite(y[kept]).all() and 50 in kept
    assert picks(x[:0], y[:0], 50).size == 0
