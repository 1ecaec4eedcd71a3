"""Splits depend on seed and obsids alone; scalers see the rows they are given and come back exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import BadInput
from engine.spectra import scale, split
from engine.spectra.stars import Stars


def some_stars(obsid: np.ndarray) -> Stars:
    flux = np.zeros((len(obsid), 3), np.float32)
    return Stars(obsid, flux, flux, flux, ("a", "b", "c"), np.arange(3.0), "f")


def members(obsid: np.ndarray, parts: split.Split) -> dict[str, set[Any]]:
    return {name: set(obsid[parts.part(name)].tolist()) for name in split.PARTS}


@pytest.mark.parametrize("kind", [int, str])
def test_split_does_not_depend_on_row_order(kind: Any) -> None:
    obsid = np.array([kind(i) for i in range(1000, 1200)])
    shuffled = np.random.default_rng(1).permutation(obsid)
    first, second = split.divide(obsid, [0.7, 0.2, 0.1], 5), split.divide(shuffled, [0.7, 0.2, 0.1], 5)
    assert members(obsid, first) == members(shuffled, second)
    assert first.sizes == {"train": 140, "val": 40, "test": 20}
    assert sorted(np.concatenate([first.train, first.val, first.test])) == list(range(200))
    assert members(obsid, first) != members(obsid, split.divide(obsid, [0.7, 0.2, 0.1], 6))
    # not the seed framework's blocks of ascending obsid
    assert first.train.max() > 150 and first.val.min() < 100


def test_sizes_of_small_sets() -> None:
    for stars in range(1, 60):
        for ratios in ([0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [1, 0, 0], [0.5, 0.5, 0], [0.05, 0, 0.95]):
            train, val, test = split.sizes(stars, ratios)
            assert train + val + test == stars and train >= 1 and test >= 0 and val >= (stars >= 3)
    assert split.sizes(1000, [0.9, 0.1, 0]) == (900, 100, 0)
    assert split.sizes(2_000_000, [0.8, 0.2000005, 0]) == (1_600_000, 400_000, 0)


@pytest.mark.parametrize("ratios", [[0.8, 0.1, 0.2], [0.8, 0.2], [1.2, -0.1, -0.1], [float("nan"), 0.5, 0.5]])
def test_ratios_that_cannot_be(ratios: list[float]) -> None:
    with pytest.raises(BadInput, match=r"data\.split: .* sum to 1"):
        split.sizes(100, ratios)


def test_nothing_to_train_on() -> None:
    with pytest.raises(BadInput, match="train on"):
        split.sizes(100, [0, 0.5, 0.5])
    with pytest.raises(BadInput, match="no star"):
        split.sizes(0, [0.8, 0.1, 0.1])


@pytest.mark.parametrize("kind", [int, str])
def test_split_file_comes_back_for_any_row_order(tmp_path: Path, kind: Any) -> None:
    obsid = np.array([kind(i) for i in range(50)])
    parts = split.divide(obsid, [0.6, 0.2, 0.2], 3)
    split.write(tmp_path / "split.csv", some_stars(obsid), parts)
    assert (tmp_path / "split.csv").read_text().startswith("obsid,part\n0,")
    assert [p.name for p in tmp_path.iterdir()] == ["split.csv"]
    back = split.read(tmp_path / "split.csv", some_stars(obsid[::-1]))
    assert members(obsid[::-1], back) == members(obsid, parts)


def test_split_file_of_other_stars(tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    split.write(file, some_stars(np.arange(10)), split.divide(np.arange(10), [0.8, 0.1, 0.1], 1))
    with pytest.raises(
        BadInput, match="3 of its obsids are not in the data, 2 stars of the data are not in it"
    ):
        split.read(file, some_stars(np.arange(3, 12)))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("id,part\n", 1),
        ("obsid,part\n1,train\n2,tset\n", 3),
        ("obsid,part\n1,train\n1,val\n", 3),
        ("obsid,part\n1\n", 2),
    ],
)
def test_spoilt_split_file(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(BadInput, match=f"line {line}: "):
        split.read(tmp_path / "s.csv", some_stars(np.arange(1, 3)))
    with pytest.raises(BadInput, match="cannot be read"):
        split.read(tmp_path / "none.csv", some_stars(np.arange(1, 3)))


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", scale.KINDS)
def test_round_trip(kind: str, columns: int) -> None:
    rng = np.random.default_rng(columns)
    values = rng.normal([5500, 4, -0.5, 0.1][:columns], [500, 1, 0.5, 0.2][:columns], (3000, columns)).astype(
        np.float32
    )
    values[5, 0] = np.nan
    scaler = scale.fit(kind, values)
    scaled = scaler.transform(values)
    assert scaled.dtype == np.float32 and np.isnan(scaled[5, 0]) and np.isnan(scaled).sum() == 1
    np.testing.assert_allclose(scaler.inverse(scaled), values, rtol=1e-5, atol=1e-5)
    back = scale.Scaler.from_state(json.loads(json.dumps(scaler.to_state())))
    np.testing.assert_array_equal(back.transform(values), scaled)
    assert back.kind == kind and back.flat == 0
    good = np.delete(scaled, 5, axis=0).astype(np.float64)
    if kind == "standard":
        np.testing.assert_allclose([good.mean(0), good.std(0)], [[0] * columns, [1] * columns], atol=1e-3)
    elif kind == "minmax":
        np.testing.assert_allclose([good.min(0), good.max(0)], [[0] * columns, [1] * columns], atol=1e-3)
    elif kind == "robust":
        np.testing.assert_allclose(np.nanmedian(scaled, axis=0), 0, atol=1e-3)
    else:
        np.testing.assert_array_equal(scaled, values)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("kind", scale.KINDS)
def test_fit_sees_only_its_rows(kind: str, pooled: bool) -> None:
    values = np.random.default_rng(0).normal(3, 2, (50, 7)).astype(np.float32)
    rows = np.arange(0, 50, 2)
    expected = scale.fit(kind, values[rows], pooled=pooled)
    values[1::2] = 1e9  # what val and test hold must not matter
    found = scale.fit(kind, values, rows, pooled=pooled)
    assert found.to_state() == expected.to_state() and len(found.centre) == (1 if pooled else 7)


def test_pooled_keeps_the_shape_of_a_spectrum() -> None:
    flux = np.random.default_rng(0).lognormal(6, 1, (40, 30)).astype(np.float32)
    scaler = scale.fit("standard", flux, pooled=True)
    np.testing.assert_allclose([scaler.centre[0], scaler.scale[0]], [flux.mean(), flux.std()], rtol=1e-5)
    copy = flux.copy()
    assert scaler.transform(copy, out=copy) is copy
    np.testing.assert_allclose(scaler.inverse(copy), flux, rtol=1e-4)


@pytest.mark.parametrize("kind", ["standard", "minmax", "robust"])
def test_flat_and_empty_columns_get_scale_one(kind: str) -> None:
    values = np.array([[5777.3, np.nan, 1], [5777.3, np.nan, 2], [5777.3, np.inf, 4]], np.float32)
    scaler = scale.fit(kind, values)
    assert scaler.flat == 2 and scaler.scale[:2].tolist() == [1, 1] and scaler.scale[2] > 0
    np.testing.assert_allclose(scaler.transform(values)[:, 0], 0, atol=1e-6)


def test_quartiles_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    flux = np.random.default_rng(0).normal(np.arange(10) * 5, 1, (4000, 10)).astype(np.float32)
    whole = scale.fit("robust", flux, pooled=True)
    monkeypatch.setattr(scale, "SAMPLE", 10_000)
    sample = scale.fit("robust", flux, pooled=True)
    np.testing.assert_allclose([sample.centre, sample.scale], [whole.centre, whole.scale], rtol=0.05)


def test_states_that_are_not_ours() -> None:
    for state in (
        {"kind": "magic", "centre": [0], "scale": [1]},
        {"kind": "none", "centre": [0], "scale": [0]},
    ):
        with pytest.raises(ValueError, match="not the state"):
            scale.Scaler.from_state(state)
    with pytest.raises(ValueError, match="unknown scaler"):
        scale.fit("magic", np.zeros((2, 2)))
