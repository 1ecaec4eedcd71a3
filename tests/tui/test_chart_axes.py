"""Ranges, ticks and labels."""

from __future__ import annotations

import math

import pytest

from tui.charts import axes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (5000, "5k"),
        (1e-5, "1e-05"),
        (0.012, "0.012"),
        (2.5e6, "2.5M"),
        (-1500, "-1.5k"),
        (999_999, "1M"),
        (1e300, "1e+300"),
    ],
)
def test_labels_are_short(value: float, text: str) -> None:
    assert axes.label(value) == text


def test_labels_get_digits_until_they_differ() -> None:
    assert axes.labels([10_001, 10_002]) == ["10.001k", "10.002k"]
    assert axes.labels([0.1 + 0.2 - 0.3, 0.1]) == ["0", "0.1"]


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 397), (-3e-7, 8e-7), (1e9, 1e9 + 7), (-1.7e308, 1.7e308)]
)
def test_ticks_are_nice_few_and_inside(low: float, high: float) -> None:
    places = [place for place, _ in axes.ticks(low, high, 6)]
    assert 2 <= len(places) <= 7
    assert all(low - abs(low) * 1e-6 <= place <= high * (1 + 1e-6) for place in places)
    step = places[1] / 2 - places[0] / 2
    mantissa = 2 * step / 10 ** math.floor(math.log10(step) + 0.30103 + 1e-9)
    assert min(abs(mantissa - nice) for nice in (1, 2, 2.5, 5, 10)) < 1e-6


def test_a_log_axis_ticks_decades_and_thins_or_fills_them() -> None:
    assert [value for _, value in axes.log_ticks(-3, 0, 5)] == pytest.approx([1e-3, 1e-2, 1e-1, 1])
    assert len(axes.log_ticks(-300, 300, 5)) <= 6
    assert len(axes.log_ticks(0.1, 0.4, 5)) >= 2
    assert axes.log_range(1e-3, 1.0) == (-3, 0)
    assert axes.log_range(1.0, 1.0) == (-0.5, 0.5)
    assert axes.log_range(-1.0, 1.0) == (0.0, 1.0)


def test_a_live_x_range_stands_still_while_points_arrive() -> None:
    ranges = {axes.x_range(1, last, live=True) for last in range(1010, 1200, 10)}
    assert len(ranges) == 1 and ranges.pop() == pytest.approx((0.0, 1500.0))
    assert axes.x_range(1, 1111, live=False) == (1, 1111)
    low, high = axes.x_range(5_000, 5_100, live=True)
    assert 4_900 <= low <= 5_000 and high >= 5_100


@pytest.mark.parametrize("value", [0.0, 3.5, -2e-9, 5e-324, 1e300, -1.7e308, math.inf, math.nan])
def test_constant_data_gets_a_range(value: float) -> None:
    live = axes.x_range(value, value, live=True)
    for low, high in (axes.widen(value, value), axes.y_range(value, value), live):
        assert math.isfinite(low) and math.isfinite(high) and low < high


def test_the_y_axis_of_a_live_curve_stands_still_until_it_is_outgrown() -> None:
    before = axes.still((0.0, 9.0), None, log_y=False)
    assert before == axes.y_range(0.0, 9.0)
    assert axes.still((1.0, 8.9), before, log_y=False) == before
    grown = axes.still((0.0, 11.0), before, log_y=False)
    assert grown[0] == 0.0 and grown[1] >= 13.0
    assert axes.still((0.0, 13.0), grown, log_y=False) == grown
    # What fills little of it (a peak went out of view) gets an axis of its own.
    assert axes.still((0.0, 1.0), grown, log_y=False) == axes.y_range(0.0, 1.0)
    assert axes.still(None, before, log_y=False) == (0.0, 1.0)
    # A quantity that was never negative keeps its zero.
    assert axes.still((0.1, 9.0), (1.0, 9.0), log_y=False)[0] >= 0.0


def test_a_still_axis_survives_any_numbers() -> None:
    for found in ((-1.7e308, 1.7e308), (1e-300, 1e-300), (5.0, 5.0)):
        for before in ((0.0, 1.0), (-1e308, 1e308)):
            for log_y in (False, True):
                low, high = axes.still(found, before, log_y=log_y)
                assert math.isfinite(low) and math.isfinite(high) and low < high


def test_the_x_axis_of_a_live_run_moves_seldom_and_is_half_full_at_least() -> None:
    ends = [axes.x_range(1, step, live=True)[1] for step in range(100, 10_000)]
    assert len(set(ends)) <= 13
    assert all(end <= 2.01 * step for step, end in zip(range(100, 10_000), ends, strict=True))
