"""Tables that can be used become aligned stars, whatever their row order, columns and spelling."""

from __future__ import annotations

import csv
import gzip
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.spectra import layout, stars

CONTINUUM, NORMALIZED, LABELS = (
    "final_spectra_continuum.csv",
    "final_spectra_normalized.csv",
    "removed_with_rv.csv",
)


def load(small: Any) -> stars.Stars:
    small.write()
    return stars.load(small.workspace, small.conf)


class Told:
    """Progress that remembers the rows of a conversion, and how many were expected."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.totals: list[int] = []

    def rows(self, what: str, done: int, total: int | None = None) -> None:
        if what.startswith("converting"):
            self.done.append(done)
            self.totals += [] if total is None else [total]

    def line(self, text: str) -> None:
        raise AssertionError(text)


def shuffle(small: Any, seed: int) -> None:
    for name, rows in small.tables.items():
        body = rows[1:]
        random.Random(f"{seed} {name}").shuffle(body)
        small.tables[name] = [rows[0], *body]


def same(a: stars.Stars, b: stars.Stars) -> None:
    for name in ("obsid", "continuum", "normalized", "labels", "wavelength"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_values_types_and_report(small: Any) -> None:
    loaded = load(small)
    np.testing.assert_array_equal(loaded.continuum, small.flux.astype(np.float32))
    np.testing.assert_array_equal(loaded.normalized, small.ratio.astype(np.float32))
    np.testing.assert_array_equal(loaded.labels, small.truth.astype(np.float32))
    assert loaded.obsid.dtype == np.int64 and loaded.wavelength.dtype == np.float64
    assert (
        loaded.wavelength[0] == 3900
        and len(loaded) == 12
        and loaded.targets == ("Teff", "logg", "FeH", "CFe")
    )
    assert loaded.report["matched"] == loaded.report["kept"] == 12
    assert loaded.report["rows"] == {"continuum": 12, "normalized": 12, "labels": 12}


@pytest.mark.parametrize("seed", range(3))
def test_row_order_does_not_matter(small: Any, seed: int) -> None:
    first = load(small)
    shuffle(small, seed)
    same(first, load(small))


def test_column_order_does_not_matter(small: Any) -> None:
    first = load(small)
    for name in (CONTINUUM, NORMALIZED):
        order = list(range(25))
        random.Random(name).shuffle(order)
        small.tables[name] = [[row[i] for i in order] for row in small.tables[name]]
    same(first, load(small))


def test_other_columns_never_become_flux(small: Any) -> None:
    first = load(small)
    for row, extra in zip(small.tables[CONTINUUM], ["snr", *["55.5"] * 12], strict=True):
        row.insert(0, extra)
    for row, extra in zip(small.tables[NORMALIZED], ["class", *["STAR"] * 12], strict=True):
        row.insert(9, extra)
        row.append("nan" if extra == "class" else "1.0")
    same(first, load(small))


def test_header_spelling(small: Any) -> None:
    first = load(small)
    small.tables[CONTINUUM][0] = ["ObsID", *(f"{float(c):g}" for c in small.tables[CONTINUUM][0][1:])]
    small.tables[LABELS][0][0] = "OBSID"
    same(first, load(small))


def test_gz_stands_in_for_csv_and_the_reverse(small: Any) -> None:
    first = load(small)
    file = small.folder / CONTINUUM
    (small.folder / f"{CONTINUUM}.gz").write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    same(first, stars.load(small.workspace, small.conf))
    small.conf.normalized += ".gz"
    files = layout.preflight(small.workspace, small.conf).tables.files
    assert files["continuum"][0].suffix == ".gz" and files["normalized"][0].suffix == ".csv"
    same(first, stars.load(small.workspace, small.conf))


def test_windows_line_ends_byte_order_mark_and_no_last_line_end(small: Any) -> None:
    first = load(small)
    for name in (CONTINUUM, LABELS):
        file = small.folder / name
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n").rstrip(b"\r\n"))
    same(first, stars.load(small.workspace, small.conf))


def test_quoted_headers_and_commas_in_names(small: Any) -> None:
    first = load(small)
    for rows in small.tables.values():
        rows[0] = [f'"{cell}"' for cell in rows[0]]
    for row in small.tables[LABELS][1:]:
        row[-1] = '"HD 1, A"'
    same(first, load(small))


def test_small_chunks_give_the_same_stars(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(small)
    monkeypatch.setattr("engine.spectra.tables.CELLS", 5 * 24)
    monkeypatch.setattr("engine.spectra.tables.LEAST_ROWS", 1)
    shutil.rmtree(small.workspace.cache)
    told = Told()
    same(first, stars.load(small.workspace, small.conf, told))
    assert told.done == [0, 5, 10, 12, 0, 5, 10, 12] and told.totals == [12] * 6


def test_obsids_of_other_kinds_still_join(small: Any) -> None:
    for row in small.tables[LABELS][1:]:
        row[0] += ".0"  # what pandas makes of integers beside a hole
    assert load(small).obsid.dtype == np.int64
    for rows in small.tables.values():
        rows[1][0] = "J0001+01"
    loaded = load(small)
    assert loaded.obsid.dtype.kind == "U" and "J0001+01" in loaded.obsid and len(loaded) == 12


def test_missing_on_each_side_is_counted(small: Any) -> None:
    del small.tables[CONTINUUM][3]
    del small.tables[LABELS][5:7]
    report = load(small).report
    assert report["matched"] == 9 and report["stars"] == 12
    assert report["missing"] == {"continuum": 1, "normalized": 0, "labels": 2}


def test_label_holes(small: Any) -> None:
    labels = small.tables[LABELS]
    labels[1][4], labels[2][4], labels[3][1], labels[4][2] = "", "-9999", "99999.0", "9999"
    labels[5][1:5] = ["", "-9999", "NaN", ""]
    loaded = load(small)
    assert len(loaded) == 11 and 1029 not in loaded.obsid and loaded.report["unlabelled"] == 1
    assert loaded.report["labels_missing"] == {"Teff": 1, "logg": 1, "FeH": 0, "CFe": 2}
    assert np.isnan(loaded.labels[:2, 3]).all() and np.isfinite(loaded.labels[0, :3]).all()


def test_unwanted_label_columns_may_hold_anything(small: Any) -> None:
    small.conf.targets = ["FeH"]
    for row in small.tables[LABELS][1:]:
        row[1] = "n.a."
    np.testing.assert_array_equal(load(small).labels[:, 0], small.truth[:, 2].astype(np.float32))


@pytest.mark.parametrize("policy", ["first", "mean"])
def test_duplicates(small: Any, policy: str) -> None:
    small.conf.duplicates = policy
    small.tables[CONTINUUM].insert(2, ["1015", *["7"] * 24])  # before the other 1015: every later row shifts
    small.tables[LABELS].append(["1001", "6000", "", "0", "0", "0", "again"])
    loaded = load(small)
    assert len(loaded) == 12 and loaded.report["duplicates"] == {"continuum": 1, "normalized": 0, "labels": 1}
    expected = small.flux.copy()
    truth = small.truth.copy()
    expected[2] = 7 if policy == "first" else (7 + expected[2]) / 2
    if policy == "mean":
        truth[0] = [(truth[0, 0] + 6000) / 2, truth[0, 1], truth[0, 2] / 2, truth[0, 3] / 2]
    np.testing.assert_allclose(loaded.continuum, expected, rtol=1e-6)
    np.testing.assert_allclose(loaded.labels, truth, rtol=1e-6)
    np.testing.assert_array_equal(loaded.normalized, small.ratio.astype(np.float32))


def test_nonfinite_interpolate_and_drop(small: Any) -> None:
    small.tables[CONTINUUM][2][5:7] = ["", "inf"]
    small.tables[NORMALIZED][3][1] = "nan"
    small.tables[NORMALIZED][4][1:20] = ["nan"] * 19  # more than half: nothing to interpolate from
    small.conf.nonfinite = "interpolate"
    loaded = load(small)
    assert len(loaded) == 11 and loaded.report["dropped"] == 1 and loaded.report["nonfinite_stars"] == 3
    assert loaded.report["nonfinite"] == {"continuum": 2, "normalized": 20}
    left, right = small.flux[1, 3], small.flux[1, 6]
    np.testing.assert_allclose(
        loaded.continuum[1, 4:6], [left + (right - left) / 3, left + 2 * (right - left) / 3]
    )
    assert loaded.normalized[2, 0] == loaded.normalized[2, 1]
    small.conf.nonfinite = "drop"
    loaded = load(small)
    assert len(loaded) == 9 and loaded.report["dropped"] == 3 and np.isfinite(loaded.continuum).all()


def test_clip_and_wild_pixels_are_counted(small: Any) -> None:
    small.tables[NORMALIZED][6][3] = "4.4e11"
    small.tables[NORMALIZED][6][4] = "3.5"
    loaded = load(small)
    assert loaded.report["clipped"] == {"continuum": 0, "normalized": 2}
    assert loaded.report["wild"] == {"continuum": 0, "normalized": 1}
    assert loaded.normalized.max() == 3
    small.conf.clip.normalized, small.conf.clip.continuum = None, [0.0, 150.0]
    loaded = load(small)
    assert loaded.normalized.max() > 4e11 and loaded.continuum.max() == 150


def test_max_rows_takes_the_lowest_labelled_obsids(small: Any) -> None:
    small.conf.max_rows = 4
    small.tables[LABELS][1][1:5] = [""] * 4
    shuffle(small, 3)
    assert load(small).obsid.tolist() == [1008, 1015, 1022, 1029]


def test_fingerprint_follows_the_bytes(small: Any) -> None:
    first = load(small).fingerprint
    assert load(small).fingerprint == first and len(first) == 64
    small.tables[LABELS][3][1] = "5000"
    assert load(small).fingerprint != first


def test_paths(small: Any) -> None:
    small.write()
    for path in ("small", "dataset/small", str(small.folder)):
        assert layout.resolve(small.workspace, path) == small.folder
    small.conf.path = "dataset/small"
    promise = layout.preflight(small.workspace, small.conf)
    assert len(promise.wavelength) == 24 and promise.tables.shown("labels") == f"dataset/small/{LABELS}"


@pytest.mark.parametrize("name", ["miles", "hybrid_cfe"])
def test_real_headers(shared: Path, workspace: Any, conf: Any, name: str) -> None:
    conf.path = str(shared / name)
    promise = layout.preflight(workspace, conf)
    assert len(promise.wavelength) == 4700 and promise.wavelength[0] == 3600


def test_real_miles(shared: Path, workspace: Any, conf: Any) -> None:
    conf.path = str(shared / "miles")
    loaded = stars.load(workspace, conf)
    assert loaded.continuum.shape == (980, 4700) and loaded.report["unlabelled"] == 3
    assert loaded.report["labels_missing"] == {"Teff": 0, "logg": 0, "FeH": 36, "CFe": 608}
    assert np.isfinite(loaded.continuum).all() and np.isfinite(loaded.normalized).all()
    assert loaded.columns["snr"].dtype == np.float64 and loaded.columns["CFe_src"].dtype.kind == "U"
    again = stars.load(workspace, conf)
    same(loaded, again)
    assert again.home == loaded.home and not list((shared / "miles").glob(".*"))


@pytest.mark.slow
def test_real_hybrid(shared: Path, workspace: Any, conf: Any) -> None:
    conf.path = str(shared / "hybrid_cfe")
    loaded = stars.load(workspace, conf)
    assert loaded.normalized.shape == (2400, 4700) and np.isfinite(loaded.labels).all()
    tables = layout.find_tables(shared / "hybrid_cfe", conf)
    with gzip.open(tables.files["normalized"][0], "rt") as file:
        for _, row in zip(range(6), csv.reader(file), strict=False):
            if row[0] != "obsid":
                found = loaded.normalized[np.flatnonzero(loaded.obsid == int(row[0]))[0]]
                np.testing.assert_allclose(found, np.array(row[1:], np.float64), rtol=1e-6)


def test_one_star(small: Any) -> None:
    small.tables = {name: rows[:2] for name, rows in small.tables.items()}
    loaded = load(small)
    assert len(loaded) == 1 and loaded.continuum.shape == (1, 24) and loaded.labels.shape == (1, 4)
