"""Resampling over FeH classes: exact counts, no star favoured, the same draw for the same seed and epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.conf.data import Resample
from engine.errors import BadInput
from engine.spectra import resample
from engine.spectra.stars import Stars


def survey(counts: tuple[int, int, int, int] = (3, 17, 60, 420), holes: int = 0) -> Stars:
    """Stars of each class, and `holes` more without FeH, in mixed order."""
    feh = np.repeat([-3.5, -2.5, -1.5, -0.2], counts)
    feh = np.append(feh, np.full(holes, np.nan))
    feh = np.random.default_rng(2).permutation(feh)
    nothing = np.zeros((len(feh), 0), np.float32)
    labels = np.column_stack([np.full(len(feh), 5777.0), feh]).astype(np.float32)
    return Stars(np.arange(len(feh)), nothing, nothing, labels, ("Teff", "FeH"), np.zeros(0), "f")


def plan(stars: Stars, rows: np.ndarray | None = None, **conf: Any) -> resample.Resampler:
    made = resample.plan(Resample(**conf), stars, np.arange(len(stars)) if rows is None else rows)
    assert made is not None
    return made


def drawn(made: resample.Resampler, epoch: int = 1) -> list[int]:
    return np.bincount(made.classes_N[made.order(5, epoch)], minlength=4).tolist()


def test_edges_of_the_classes() -> None:
    feh = np.array([-5, -3, -2.999, -2, -1.999, -1, -0.999, 0.5, np.nan])
    assert resample.class_of(feh).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("conf", "counts"),
    [
        ({"strategy": "balanced"}, [125, 125, 125, 125]),
        ({"strategy": "auto"}, [420, 420, 420, 420]),
        ({"strategy": "weights"}, [3, 17, 60, 420]),
        ({"strategy": "weights", "weights": [10.0, 5.0, 1.0, 0.5]}, [39, 110, 78, 273]),
        ({"strategy": "weights", "weights": [0.0, 1.0, 1.0, 0.0]}, [0, 110, 390, 0]),
    ],
)
def test_counts_are_exact_in_every_epoch(conf: dict[str, Any], counts: list[int]) -> None:
    made = plan(survey(), **conf)
    for epoch in (1, 2, 30):
        assert drawn(made, epoch) == counts == list(made.draws)
        repeats = made.repeats(5, epoch)
        assert repeats.sum() == made.length == sum(counts)
        for number in range(4):
            times = repeats[made.classes_N == number]
            assert times.max() - times.min() <= 1  # no star of a class is favoured
    assert made.facts["drawn"] == made.length


def test_identity_weights_are_a_permutation_and_auto_leaves_no_star_out() -> None:
    same = plan(survey(), strategy="weights").order(1, 1)
    assert sorted(same.tolist()) == list(range(500)) and same.tolist() != list(range(500))
    assert plan(survey(), strategy="auto").repeats(1, 1).min() == 1


def test_over_epochs_every_star_gets_its_turn() -> None:
    made = plan(survey(), strategy="balanced")
    total = sum(made.repeats(0, epoch) for epoch in range(1, 41))
    normal = total[made.classes_N == 3]
    assert normal.min() > 0 and normal.mean() == pytest.approx(40 * 125 / 420)
    assert normal.std() < 4  # binomial: 2.9


def test_the_draw_is_a_function_of_seed_and_epoch() -> None:
    made, again = plan(survey(), strategy="balanced"), plan(survey(), strategy="balanced")
    np.testing.assert_array_equal(made.order(3, 7), again.order(3, 7))
    assert made.order(3, 8).tolist() != made.order(3, 7).tolist() != made.order(4, 7).tolist()
    assert made.order(-1, 1).dtype == np.int64
    # the repeats say the same as the order, for a reader that goes block by block
    np.testing.assert_array_equal(np.bincount(made.order(3, 7), minlength=500), made.repeats(3, 7))


def test_only_the_training_rows_count() -> None:
    stars = survey()
    rows = np.flatnonzero(stars.labels[:, 1] > -1.9)[::2]
    made = plan(stars, rows, strategy="balanced")
    assert len(made.classes_N) == len(rows) and made.draws[:2] == (0, 0) and sum(made.draws) == len(rows)
    assert abs(made.draws[2] - made.draws[3]) <= 1
    assert made.order(1, 1).max() < len(rows)


def test_stars_without_feh_are_normal_and_counted() -> None:
    made = plan(survey(holes=25), strategy="balanced")
    assert made.facts["unmeasured"] == 25 and made.facts["classes"]["Normal"] == {"stars": 445, "drawn": 131}
    said = resample.describe(made.facts)
    assert "EMP 3 -> 132" in said and "Normal 445 -> 131" in said and "25 without FeH count as Normal" in said


def test_other_columns() -> None:
    stars = survey()
    stars.columns["feh_lit"] = np.array(["-3.2", "", *["-0.1"] * 498], dtype=object)
    made = plan(stars, strategy="balanced", column="feh_lit")
    assert made.draws == (250, 0, 0, 250) and made.facts["unmeasured"] == 1
    with pytest.raises(BadInput, match=r"data\.resample\.column: .*no column Fe; the columns are: Teff, FeH"):
        plan(stars, strategy="balanced", column="Fe")


def test_none_and_nothing() -> None:
    assert resample.plan(Resample(), survey(), np.arange(9)) is None
    with pytest.raises(BadInput, match=r"every class that is there \(MP\) has weight 0"):
        plan(survey((0, 0, 9, 0)), strategy="weights", weights=[1.0, 1.0, 0.0, 1.0])
    assert plan(survey((0, 0, 9, 0)), strategy="balanced").draws == (0, 0, 9, 0)
