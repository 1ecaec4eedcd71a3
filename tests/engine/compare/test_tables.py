"""Parameters that differ, changes against a baseline, and what counts as better."""

from __future__ import annotations

import math
from typing import Any

import pytest

from engine.compare import change, comparison, metrics, params, written
from engine.compare.looks import COLOURS, Looks, lettering
from engine.compare.numbers import axes, places, wants_log
from engine.compare.tables import MISSING, best_index, same


@pytest.mark.parametrize(
    ("key", "value", "base", "percent", "verdict"),
    [
        ("test.Teff_mae", 90.0, 100.0, -10.0, "better"),
        ("test.Teff_mae", 110.0, 100.0, 10.0, "worse"),
        ("test.Teff_r2", 0.9, 0.8, 12.5, "better"),
        ("test.Teff_r2", 0.7, 0.8, -12.5, "worse"),
        ("test.Teff_r2", -0.5, -1.0, 50.0, "better"),
        ("best.val_loss", 0.5, 0.5, 0.0, "same"),
        ("test.Teff_bias", -5.0, 10.0, -50.0, "better"),
        ("test.Teff_bias", -20.0, 10.0, 100.0, "worse"),
        ("last.learning_rate", 2.0, 1.0, 100.0, ""),
        ("last.val_loss", 1.0, 0.0, None, "worse"),
    ],
)
def test_change_against_the_baseline(
    key: str, value: float, base: float, percent: float | None, verdict: str
) -> None:
    changed = change(key, value, base)
    assert changed is not None
    assert changed.verdict == verdict
    assert changed.percent == (None if percent is None else pytest.approx(percent))


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, MISSING, None, "text", True])
def test_what_is_no_number_has_no_change(odd: Any) -> None:
    assert change("best.val_loss", odd, 1.0) is None
    assert change("best.val_loss", 1.0, odd) is None


def test_a_change_in_words_has_an_arrow_a_sign_and_a_word() -> None:
    def text(key: str, value: float, base: float) -> str:
        changed = change(key, value, base)
        assert changed is not None
        return changed.text()

    assert text("test.Teff_mae", 90.0, 100.0) == "▼-10% better"
    assert text("test.Teff_r2", 0.9, 0.8) == "▲+12.5% better"
    assert text("last.val_loss", 0.25, 0.0) == "▲+0.25 worse"
    assert text("last.val_loss", 100.0, 1.0) == "▲+9900% worse"
    assert text("last.val_loss", 1.0, 1.0) == "="


def test_missing_null_zero_and_what_is_not_finite_are_told_apart() -> None:
    shown = [written(v) for v in (MISSING, None, 0, 0.0, math.nan, math.inf, -math.inf, True, 1, "x")]
    assert shown == ["-", "null", "0", "0", "NaN", "inf", "-inf", "true", "1", "x"]
    assert same(math.nan, math.nan) and same(1, 1.0)
    assert not same(True, 1) and not same(MISSING, None) and not same(0, None)


def test_the_best_of_a_row() -> None:
    assert best_index("test.Teff_mae", [3.0, math.nan, 1.0, MISSING]) == 2
    assert best_index("test.Teff_r2", [0.3, 0.9, math.inf]) == 1
    assert best_index("test.Teff_bias", [-9.0, 2.0, -1.0]) == 2
    assert best_index("last.learning_rate", [1.0, 2.0]) is None
    assert best_index("best.val_loss", [1.0, MISSING]) is None, "one alone is no best"


def test_only_what_differs_or_everything(made: Any) -> None:
    runs = [made({"val_loss": 1.0}), made({"val_loss": 2.0}, None, "training.learning_rate=0.5")]
    differing = params(runs).rows
    assert differing["training.learning_rate"][1] == 0.5
    assert "training.seed" not in differing
    assert "training.seed" in params(runs, everything=True).rows
    assert comparison(runs)["metrics"]["best.val_loss"] == [1.0, 2.0]


def test_best_last_and_test_of_each_metric(made: Any) -> None:
    one = made({"val_loss": 1.0, "val_Teff_r2": 0.4}, {"Teff_mae": 90.0, "Teff_n": 10, "Teff_r2": "nan"})
    other = made({"val_loss": 2.0})
    rows = metrics([one, other]).rows
    assert rows["best.val_Teff_r2"] == [0.8, MISSING], "of r2 the greatest is the best"
    assert rows["last.val_Teff_r2"] == [0.4, MISSING]
    assert rows["best.val_loss"] == [1.0, 2.0]
    assert rows["test.Teff_mae"] == [90.0, MISSING]
    assert math.isnan(rows["test.Teff_r2"][0])
    assert "test.Teff_n" not in rows


def test_axes_of_numbers_and_of_words(made: Any) -> None:
    runs = [made({"val_loss": 1.0}, None, f"training.learning_rate={rate}") for rate in (1e-4, 1e-1)]
    found = axes(runs)
    assert found["training.learning_rate"] == [1e-4, 1e-1] and wants_log(found["training.learning_rate"])
    assert not wants_log([0.0, 5.0, 1e6]) and not wants_log([1.0, 2.0])
    assert places([1, 2.5, MISSING, math.nan]) == ([1.0, 2.5, None, None], [])
    assert places(["b", "a", "b", MISSING]) == ([0.0, 1.0, 0.0, None], ["b", "a"])


def test_a_run_keeps_its_look_while_others_come_and_go() -> None:
    looks = Looks()
    ids = [f"run-{number}" for number in range(30)]
    first = looks.give(ids[:3])
    assert [look.letter for look in first.values()] == ["A", "B", "C"]
    later = looks.give(ids[1:])
    assert all(later[run_id] == first[run_id] for run_id in ids[1:3])
    assert later[ids[3]].letter == "A", "a letter that is free again is given again"
    assert len({look.letter for look in later.values()}) == 29
    colours = {look.colour for look in looks.give(ids[:10]).values()}
    assert colours <= set(COLOURS)
    assert len({look.colour for look in Looks().give(ids[:10]).values()}) == 10
    assert [lettering(n) for n in (0, 25, 26, 51, 52, 701, 702)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]
