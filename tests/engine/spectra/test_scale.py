"""Scalers see the rows they are given, come back exactly, and are the same in one pass as in one piece."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from engine.conf.data import Data
from engine.spectra import scale
from engine.spectra.stars import Stars


def stars_of(rng: np.random.Generator, number: int = 80, points: int = 9, labels: int = 2) -> Stars:
    continuum = rng.lognormal(6, 1, (number, points)).astype(np.float32)
    normalized = rng.uniform(0.3, 1.1, (number, points)).astype(np.float32)
    truth = rng.normal([5500, -0.5, 3, 0.1][:labels], [500, 0.5, 1, 0.2][:labels], (number, labels))
    truth[rng.random(truth.shape) < 0.1] = np.nan
    names = ("Teff", "FeH", "logg", "CFe")[:labels]
    return Stars(np.arange(number), continuum, normalized, truth.astype(np.float32), names,
                 np.arange(3900.0, 3900 + points), "f")  # fmt: skip


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", scale.KINDS)
def test_round_trip(kind: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "BLOCK", 500)  # several blocks, none of them a divisor
    rng = np.random.default_rng(columns)
    values = rng.normal([5500, 4, -0.5, 0.1][:columns], [500, 1, 0.5, 0.2][:columns], (3001, columns)).astype(
        np.float32
    )
    values[5, 0] = np.nan
    scaler = scale.fit(kind, values)
    scaled = scaler.transform(values)
    assert scaled.dtype == np.float32 and np.isnan(scaled[5, 0]) and np.isnan(scaled).sum() == 1
    np.testing.assert_allclose(scaler.inverse(scaled), values, rtol=1e-5, atol=1e-5)
    back = scale.Scaler.from_state(json.loads(json.dumps(scaler.to_state())))
    np.testing.assert_array_equal(back.transform(values), scaled)
    assert back.kind == kind and back.flat == ()
    good = np.delete(scaled, 5, axis=0).astype(np.float64)
    if kind == "standard":
        np.testing.assert_allclose([good.mean(0), good.std(0)], [[0] * columns, [1] * columns], atol=1e-3)
    elif kind == "minmax":
        np.testing.assert_allclose([good.min(0), good.max(0)], [[0] * columns, [1] * columns], atol=1e-3)
    elif kind == "robust":
        np.testing.assert_allclose(np.nanmedian(scaled, axis=0), 0, atol=1e-3)
    else:
        np.testing.assert_array_equal(scaled, values)


@pytest.mark.parametrize("labels", [1, 2, 3, 4])
@pytest.mark.parametrize("scope", ["pooled", "pixel"])
@pytest.mark.parametrize("kind", scale.KINDS)
def test_train_rows_alone_are_fitted_and_kept(kind: str, scope: str, labels: int) -> None:
    stars = stars_of(np.random.default_rng(7), labels=labels)
    conf = Data(continuum_scaler=kind, normalized_scaler=kind, label_scaler=kind, scaler_scope=scope)
    train = np.arange(0, 80, 2)
    expected = scale.Scalers.fitted(conf, stars, train)
    for values in (stars.continuum, stars.normalized, stars.labels):
        values[1::2] = 4e11  # what val and test hold must not matter
    stars.labels[1::4] = np.nan
    found = scale.Scalers.fitted(conf, stars, train)
    assert found.to_state() == expected.to_state()
    assert len(found.continuum.centre) == len(found.normalized.centre) == (1 if scope == "pooled" else 9)
    assert len(found.labels.centre) == labels and not found.warnings(stars)
    back = scale.Scalers.from_state(json.loads(json.dumps(found.to_state())))
    for name in ("continuum", "normalized", "labels"):
        values, scaler = getattr(stars, name)[train], getattr(back, name)
        scaled = scaler.transform(values)
        np.testing.assert_array_equal(scaled, getattr(found, name).transform(values))
        np.testing.assert_array_equal(np.isnan(scaled), np.isnan(values))
        np.testing.assert_allclose(scaler.inverse(scaled), values, rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("kind", ["standard", "minmax", "robust"])
def test_against_plain_numpy_with_holes(kind: str, pooled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "BLOCK", 30)
    rng = np.random.default_rng(1)
    values = (rng.normal(0, 1, (57, 7)) + 1e4 * np.arange(7)).astype(np.float32)
    values[rng.random(values.shape) < 0.2] = np.nan
    values[3, 2], values[4, 2] = np.inf, -np.inf
    values[:20, 4] = np.nan  # whole blocks without a value
    rows = np.flatnonzero(rng.random(57) < 0.8)
    plain = values[rows].astype(np.float64)
    plain[~np.isfinite(plain)] = np.nan
    plain = plain.reshape(-1, 1) if pooled else plain
    low, quarter, middle, three, high = np.nanpercentile(plain, [0, 25, 50, 75, 100], axis=0)
    centre, spread = {
        "standard": (np.nanmean(plain, axis=0), np.nanstd(plain, axis=0)),
        "minmax": (low, high - low),
        "robust": (middle, three - quarter),
    }[kind]
    scaler = scale.fit(kind, values, rows, pooled=pooled)
    np.testing.assert_allclose(scaler.centre, centre, rtol=1e-9)
    np.testing.assert_allclose(scaler.scale, spread, rtol=1e-7)


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
    assert scaler.flat == (0, 1) and scaler.scale[:2].tolist() == [1, 1] and scaler.scale[2] > 0
    np.testing.assert_allclose(scaler.transform(values)[:, 0], 0, atol=1e-6)
    assert scale.Scaler.from_state(json.loads(json.dumps(scaler.to_state()))).flat == (0, 1)


def test_flat_columns_are_named() -> None:
    stars = stars_of(np.random.default_rng(0))
    stars.labels[:, 1] = -0.5
    stars.continuum[:, [0, 3]] = 10.0
    pixel = scale.Scalers.fitted(Data(scaler_scope="pixel"), stars, np.arange(80)).warnings(stars)
    assert len(pixel) == 2 and "continuum: 2 of 9 columns" in pixel[0] and "3900.00, 3903.00" in pixel[0]
    assert "labels: 1 of 2 columns" in pixel[1] and pixel[1].endswith("FeH")
    stars.continuum[:] = 10.0
    pooled = scale.Scalers.fitted(Data(), stars, np.arange(80)).warnings(stars)
    assert "continuum: 1 of 1 columns" in pooled[0] and "pooled" in pooled[0]


@pytest.mark.parametrize("pooled", [False, True])
def test_quartiles_of_a_sample(monkeypatch: pytest.MonkeyPatch, pooled: bool) -> None:
    flux = np.random.default_rng(0).normal(np.arange(10) * 5, 1, (4000, 10)).astype(np.float32)
    full = scale.fit("robust", flux, pooled=pooled)
    monkeypatch.setattr(scale, "SAMPLE", 10_000)
    sample = scale.fit("robust", flux, pooled=pooled)
    assert sample.to_state() != full.to_state()
    np.testing.assert_allclose(sample.centre, full.centre, rtol=0.05, atol=0.1)
    np.testing.assert_allclose(sample.scale, full.scale, rtol=0.12)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("kind", ["standard", "minmax", "robust"])
def test_memory_is_bounded_on_a_memory_map(
    kind: str, pooled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "flux.npy", rng.normal(5, 1, (4000, 500)).astype(np.float32))  # 8 MB
    flux = np.load(tmp_path / "flux.npy", mmap_mode="r")
    monkeypatch.setattr(scale, "BLOCK", 20_000)
    monkeypatch.setattr(scale, "SAMPLE", 100_000)
    scale.fit(kind, flux[:64], pooled=pooled)  # imports and buffers
    tracemalloc.start()
    scale.fit(kind, flux, np.arange(0, 4000, 2), pooled=pooled)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_500_000, peak


def test_states_that_are_not_ours() -> None:
    for state in (
        {"kind": "magic", "centre": [0], "scale": [1]},
        {"kind": "none", "centre": [0], "scale": [0]},
    ):
        with pytest.raises(ValueError, match="not the state"):
            scale.Scaler.from_state(state)
    with pytest.raises(ValueError, match="not the state of the scalers"):
        scale.Scalers.from_state({"continuum": {"kind": "none", "centre": [0], "scale": [1]}})
    with pytest.raises(ValueError, match="unknown scaler"):
        scale.fit("magic", np.zeros((2, 2)))
