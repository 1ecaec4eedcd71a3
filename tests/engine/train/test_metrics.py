"""Errors, their scaled aggregate and FeH classes, against numbers worked out by hand or in another way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from engine.spectra.label_units import unit
from engine.spectra.resample import CLASSES
from engine.spectra.scale import Scaler
from engine.train.metrics import feh_classes, feh_column, label_errors, scaled_errors
from engine.train.outputs import error_scale

NAN = math.nan


def errors_of(*error: float) -> dict[str, float]:
    """The summary of these errors, of truths 0, 1, 2, …"""
    truth = np.arange(len(error), dtype=float)[:, None]
    return label_errors(truth + np.array(error)[:, None], truth, ["x"])["x"]


# -- outliers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_an_outlier_is_three_sigma_mad_from_the_median(shift: float) -> None:
    """Distances from the median are 0 1 1 2 2 8 9, so sigma is 1.4826 * 2 and the edge is 8.8956."""
    found = errors_of(*(shift + e for e in (0, 1, -1, 2, -2, 8, -9)))
    assert found["sigma_mad"] == pytest.approx(2.9652)
    assert found["outlier_rate"] == pytest.approx(1 / 7)


def test_normal_errors_have_few_outliers() -> None:
    rng = np.random.default_rng(0)
    assert errors_of(*rng.normal(size=100_000).tolist())["outlier_rate"] == pytest.approx(0.0027, abs=0.0005)


def test_one_star_is_no_outlier_and_has_no_r2() -> None:
    found = errors_of(3.0)
    assert found.pop("r2") != 0
    assert found == {"n": 1, "mae": 3, "rmse": 3, "bias": 3, "sigma_mad": 0, "outlier_rate": 0}


def test_where_half_of_the_errors_agree_whoever_differs_is_an_outlier() -> None:
    assert errors_of(0, 0, 0, 5)["outlier_rate"] == 0.25


def test_an_infinite_prediction_is_an_outlier_and_nan_spoils_all() -> None:
    with np.errstate(all="raise"):
        infinite, none = errors_of(0, 1, -1, math.inf), errors_of(0, 1, NAN)
    assert (infinite["outlier_rate"], infinite["mae"]) == (0.25, math.inf)
    assert [none["n"], *map(math.isnan, (none["mae"], none["sigma_mad"], none["outlier_rate"]))] == [3] + [
        True
    ] * 3


def test_r2_of_a_truth_that_only_rounding_varies_is_undefined() -> None:
    truth = np.full((3, 1), 0.1, np.float32)
    assert np.float64(truth.astype(float).mean()) - float(truth[0, 0]) == pytest.approx(0, abs=1e-16)
    for size in range(2, 50):
        truth = np.full((size, 1), 0.1)
        assert math.isnan(label_errors(truth + 1, truth, ["x"])["x"]["r2"])


# -- all labels at once -------------------------------------------------------------------------------------


def test_errors_are_pooled_in_units_of_their_label_s_scale() -> None:
    """Scaled errors 1 -1 (Teff) and 2 0 0 (FeH): by hand."""
    truth = np.array([[5000.0, -1.0], [6000.0, 0.0], [NAN, -2.0]])
    predicted = np.array([[5200.0, 0.0], [5800.0, 0.0], [0.0, -2.0]])
    found = scaled_errors(predicted, truth, np.array([200.0, 0.5]))
    assert found == pytest.approx({
        "n": 5, "mae": 4 / 5, "rmse": math.sqrt(6 / 5), "bias": 2 / 5,
        "sigma_mad": 1.4826 * 1, "outlier_rate": 0.0,
        # about each label's own mean: 2 * 2.5^2 for Teff, 2^2 * (0 + 1 + 1) for FeH
        "r2": 1 - 6 / (12.5 + 8),
    })  # fmt: skip
    assert scaled_errors(predicted[:, ::-1], truth[:, ::-1], np.array([0.5, 200.0])) == pytest.approx(found)
    in_millikelvin = [1000.0, 1.0]
    again = scaled_errors(predicted * in_millikelvin, truth * in_millikelvin, np.array([2e5, 0.5]))
    assert again == pytest.approx(found)


def test_a_label_without_a_scale_is_left_out() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = rng.normal(size=(2, 20, 2))
    alone = scaled_errors(predicted[:, 1:], truth[:, 1:], np.array([2.0]))
    assert scaled_errors(predicted, truth, np.array([NAN, 2.0])) == alone
    assert scaled_errors(predicted, truth, np.array([NAN, NAN])) == {"n": 0}
    (one,) = label_errors(predicted[:, 1:] / 2, truth[:, 1:] / 2, ["x"]).values()
    assert alone == pytest.approx(one)


def test_the_scale_is_the_label_scaler_s_and_never_one_for_all() -> None:
    train = np.array([[4000.0, -1.0, 7.0], [6000.0, NAN, 7.0], [5000.0, 1.0, 7.0]])
    standard = Scaler("standard", np.array([5000.0, 0.0, 7.0]), np.array([816.0, 1.5, 1.0]), flat=(2,))
    np.testing.assert_array_equal(error_scale(standard, train), [816.0, 1.5, NAN])
    none = Scaler("none", np.zeros(3), np.ones(3))
    np.testing.assert_allclose(error_scale(none, train), [np.std([4000, 6000, 5000]), 1.0, NAN])
    assert np.isnan(error_scale(none, np.full((3, 3), NAN))).all()


# -- FeH classes --------------------------------------------------------------------------------------------


def test_feh_is_found_by_its_name() -> None:
    assert feh_column(["Teff", "logg", "FeH", "CFe"]) == 2
    assert feh_column(["FeH", "Teff"]) == 0
    assert feh_column(["CFe", "[Fe/H]"]) == feh_column(["CFe", "fe_h"]) == 1
    assert feh_column(["Teff", "logg", "CFe"]) is feh_column(["FeH_err"]) is None


@pytest.mark.parametrize(
    ("feh", "name"),
    [(-9.0, "EMP"), (-3.0, "EMP"), (-2.99, "VMP"), (-2.0, "VMP"), (-1.99, "MP"), (-1.0, "MP"),
     (-0.99, "Normal"), (0.5, "Normal")],
)  # fmt: skip
def test_the_upper_edge_belongs_to_the_class(feh: float, name: str) -> None:
    value = np.array([feh], np.float32)
    found = feh_classes(value, value)
    assert found is not None
    assert [c for c, scores in found.by_class.items() if scores.support] == [name]
    assert (found.accuracy, found.macro.f1) == (1.0, 1.0)


def test_scores_by_hand() -> None:
    """Three VMP (two called so), two MP (one called EMP), no EMP, one Normal (right); one FeH unknown."""
    truth = np.array([-2.5, -2.5, -2.5, -1.5, -1.5, 0.0, NAN])
    predicted = np.array([-2.4, -2.9, -1.1, -1.7, -3.5, 0.2, -5.0])
    found = feh_classes(predicted, truth)
    assert found is not None
    assert found.confusion.tolist() == [[0, 0, 0, 0], [0, 2, 1, 0], [1, 0, 1, 0], [0, 0, 0, 1]]
    assert vars(found.by_class["EMP"]) == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert vars(found.by_class["VMP"]) == pytest.approx(
        {"precision": 1, "recall": 2 / 3, "f1": 4 / 5, "support": 3}
    )
    assert vars(found.by_class["MP"]) == pytest.approx(
        {"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "support": 2}
    )
    assert found.accuracy == pytest.approx(4 / 6)
    assert vars(found.macro) == pytest.approx(
        {"precision": 2.5 / 3, "recall": (2 / 3 + 1 / 2 + 1) / 3, "f1": 2.3 / 3, "support": 6}
    )
    assert vars(found.weighted) == pytest.approx(
        {"precision": (3 + 1 + 1) / 6, "recall": 4 / 6, "f1": (2.4 + 1 + 1) / 6, "support": 6}
    )


def test_scores_in_another_way() -> None:
    """The definitions written with sets of stars instead of a matrix."""

    def name_of(feh: float) -> str:
        return "EMP" if feh <= -3 else "VMP" if feh <= -2 else "MP" if feh <= -1 else "Normal"

    rng = np.random.default_rng(3)
    truth = rng.uniform(-4, 0.5, 300).round(1)
    predicted = truth + rng.normal(0, 0.5, 300)
    found = feh_classes(predicted, truth)
    assert found is not None
    macro: list[float] = []
    for name in CLASSES:
        true = {i for i, v in enumerate(truth.tolist()) if name_of(v) == name}
        called = {i for i, v in enumerate(predicted.tolist()) if name_of(v) == name}
        precision, recall = len(true & called) / len(called), len(true & called) / len(true)
        macro.append(2 / (1 / precision + 1 / recall))
        scores = found.by_class[name]
        assert (scores.precision, scores.recall, scores.f1, scores.support) == pytest.approx(
            (precision, recall, macro[-1], len(true))
        )
    assert found.macro.f1 == pytest.approx(np.mean(macro))
    right = [name_of(t) == name_of(p) for t, p in zip(truth.tolist(), predicted.tolist(), strict=True)]
    assert found.accuracy == found.weighted.recall == pytest.approx(np.mean(right))


def test_a_prediction_that_is_no_number_is_wrong_and_in_no_class() -> None:
    found = feh_classes(np.array([0.0, NAN]), np.array([0.0, 0.0]))
    assert found is not None
    assert (found.confusion.sum(), found.accuracy, found.by_class["Normal"].recall) == (1, 0.5, 0.5)
    assert found.by_class["Normal"].precision == 1.0


def test_without_a_known_feh_there_are_no_classes() -> None:
    unknown: Any = np.array([NAN, NAN])
    assert feh_classes(np.zeros(2), unknown) is None


@pytest.mark.parametrize(
    ("label", "wanted"),
    [("Teff", "K"), ("logg", "dex"), ("FeH", "dex"), ("CFe", "dex"), ("[Mg/Fe]", "dex"), ("alpha_m", "dex"),
     ("age", ""), ("snr", ""), ("光度", "")],
)  # fmt: skip
def test_units_are_told_from_the_name(label: str, wanted: str) -> None:
    assert unit(label) == wanted
