"""Each thing that can be wrong with a table is refused in one clear line."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from engine.errors import BadInput
from engine.spectra import layout, stars

CONTINUUM, NORMALIZED, LABELS = (
    "final_spectra_continuum.csv",
    "final_spectra_normalized.csv",
    "removed_with_rv.csv",
)


def refused(small: Any, ask: Callable[[], Any]) -> str:
    """Return the one line of the refusal; it must name the file's folder and be one line."""
    with pytest.raises(BadInput) as caught:
        ask()
    assert len(caught.value.lines) == 1 and "\n" not in caught.value.lines[0]
    return caught.value.lines[0]


def refused_by_load(small: Any) -> str:
    small.write()
    return refused(small, lambda: stars.load(small.workspace, small.conf))


def refused_by_preflight(small: Any) -> str:
    """Cheap checks refuse it, and loading refuses it in the same words."""
    small.write()
    line = refused(small, lambda: layout.preflight(small.workspace, small.conf))
    assert line == refused(small, lambda: stars.load(small.workspace, small.conf))
    return line


def test_no_folder(small: Any) -> None:
    small.write()
    small.conf.path = "smal"
    line = refused(small, lambda: layout.preflight(small.workspace, small.conf))
    assert "smal: no such folder" in line and "small" in line and "spectui data demo" in line


def test_folder_is_a_file(small: Any) -> None:
    small.write()
    small.conf.path = f"small/{LABELS}"
    assert "a file, not a folder" in refused(small, lambda: layout.preflight(small.workspace, small.conf))


@pytest.mark.parametrize("name", [CONTINUUM, NORMALIZED, LABELS])
def test_missing_table(small: Any, name: str) -> None:
    del small.tables[name]
    line = refused_by_preflight(small)
    assert name in line and str(small.folder) in line and "spectui data demo" in line


def test_all_missing_tables_at_once(small: Any) -> None:
    small.folder.mkdir(parents=True)
    with pytest.raises(BadInput) as caught:
        layout.preflight(small.workspace, small.conf)
    assert len(caught.value.lines) == 3


@pytest.mark.parametrize("name", [CONTINUUM, NORMALIZED, LABELS])
def test_empty_and_header_only(small: Any, name: str) -> None:
    rows = small.tables[name]
    small.tables[name] = []
    assert f"dataset/small/{name}: the file is empty" in refused_by_preflight(small)
    small.tables[name] = rows[:1]
    assert f"dataset/small/{name}: a header but no rows" in refused_by_preflight(small)


@pytest.mark.parametrize("name", [CONTINUUM, LABELS])
def test_no_obsid(small: Any, name: str) -> None:
    small.tables[name][0][0] = "star"
    line = refused_by_preflight(small)
    assert f"{name}: no column named obsid" in line and "star, " in line


def test_two_obsid_columns(small: Any) -> None:
    small.tables[LABELS][0][-1] = "OBSID"
    assert "column OBSID is there twice" in refused_by_preflight(small)


def test_columns_without_wavelengths(small: Any) -> None:
    small.tables[CONTINUUM][0][1:] = [f"flux{i}" for i in range(24)]
    assert "named by wavelength in angstrom" in refused_by_preflight(small)


def test_columns_numbered_from_zero_are_no_wavelengths(small: Any) -> None:
    small.tables[CONTINUUM][0][1:] = [str(i) for i in range(24)]
    assert "column 0 is not a wavelength" in refused_by_preflight(small)


def test_wavelength_twice(small: Any) -> None:
    small.tables[CONTINUUM][0][3] = "3901"
    assert "columns 3901.00 and 3901 are one wavelength" in refused_by_preflight(small)


def test_grids_differ(small: Any) -> None:
    small.tables[NORMALIZED][0][5] = "3904.50"
    line = refused_by_preflight(small)
    assert "column 3904.00 is only in dataset/small/final_spectra_continuum.csv" in line


def test_grids_of_different_length(small: Any) -> None:
    small.tables[CONTINUUM] = [row[:-1] for row in small.tables[CONTINUUM]]
    line = refused_by_preflight(small)
    assert (
        "has 23 wavelengths" in line and "column 3923.00 is only in dataset/small/final_spectra_norm" in line
    )


def test_missing_label_column_names_near_misses(small: Any) -> None:
    small.tables[LABELS][0][1] = "teff"
    line = refused_by_preflight(small)
    assert "no label column Teff; did you mean teff?" in line and "obsid, teff, logg" in line


def test_targets_twice(small: Any) -> None:
    small.conf.targets = ["Teff", "Teff"]
    assert "names Teff twice" in refused_by_preflight(small)


def test_label_column_twice(small: Any) -> None:
    small.tables[LABELS][0][5] = "Teff"
    assert "column Teff is there twice" in refused_by_preflight(small)


@pytest.mark.parametrize("cell", ["bad", "True", "1_000", "0.5.1", "--"])
@pytest.mark.parametrize("name", [CONTINUUM, NORMALIZED])
def test_text_in_a_spectrum(small: Any, name: str, cell: str) -> None:
    small.tables[name][7][4] = cell
    assert f"{name}: line 8, column 3903.00: '{cell}' is not a number" in refused_by_load(small)


def test_text_in_a_late_chunk(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.spectra.tables.CELLS", 4 * 24)
    monkeypatch.setattr("engine.spectra.tables.LEAST_ROWS", 1)
    small.tables[CONTINUUM][10][2] = "x"
    assert "line 11, column 3901.00: 'x'" in refused_by_load(small)


def test_text_after_blank_lines_keeps_the_files_own_line_number(small: Any) -> None:
    small.tables[CONTINUUM][7][4] = "bad"
    small.tables[CONTINUUM].insert(3, [""])
    assert "line 9, column 3903.00" in refused_by_load(small)


def test_text_in_a_label(small: Any) -> None:
    small.tables[LABELS][2][1] = "hot"
    assert f"{LABELS}: line 3, column Teff: 'hot' is not a number" in refused_by_load(small)


@pytest.mark.parametrize("name", [CONTINUUM, NORMALIZED, LABELS])
@pytest.mark.parametrize("change", [-1, 1])
def test_ragged_row(small: Any, name: str, change: int) -> None:
    row = small.tables[name][5]
    small.tables[name][5] = row[:-1] if change < 0 else [*row, "0.5"]
    line = refused_by_load(small)
    assert f"{name}: line 6 has {len(row) + change} cells, the header has {len(row)}" in line


@pytest.mark.parametrize("name", [CONTINUUM, NORMALIZED, LABELS])
def test_torn_last_line(small: Any, name: str) -> None:
    small.write()
    file = small.folder / name
    file.write_bytes(file.read_bytes()[:-30])
    line = refused(small, lambda: stars.load(small.workspace, small.conf))
    assert f"dataset/small/{name}: the file ends inside line 13" in line


@pytest.mark.parametrize("name", [CONTINUUM, LABELS])
@pytest.mark.parametrize("cut", [5, 60])
def test_gzip_that_ends_early(small: Any, name: str, cut: int) -> None:
    small.write()
    file = small.folder / name
    packed = gzip.compress(file.read_bytes())
    file.unlink()
    (small.folder / f"{name}.gz").write_bytes(packed[:-cut])
    line = refused(small, lambda: stars.load(small.workspace, small.conf))
    assert f"{name}.gz: the gzip file ends early or is damaged" in line


def test_empty_obsid(small: Any) -> None:
    small.tables[NORMALIZED][4][0] = " "
    assert "line 5, column obsid: empty" in refused_by_load(small)


def test_nothing_in_common_shows_examples(small: Any) -> None:
    for row in small.tables[LABELS][1:]:
        row[0] = "9" + row[0]
    line = refused_by_load(small)
    assert "1001 in dataset/small/final_spectra_continuum.csv" in line and "91001 in" in line


def test_duplicates_fail_with_their_lines(small: Any) -> None:
    small.tables[NORMALIZED].append(list(small.tables[NORMALIZED][3]))
    line = refused_by_load(small)
    assert (
        "1 obsids are there more than once, first 1015 in lines 4 and 14" in line
        and "data.duplicates" in line
    )


@pytest.mark.parametrize("cell", ["", "nan", "inf", "NaN", "-inf"])
def test_nonfinite_fail_with_its_place(small: Any, cell: str) -> None:
    small.tables[CONTINUUM][5][2] = cell
    line = refused_by_load(small)
    assert "1 pixels of 1 stars" in line and "obsid 1029, line 6, column 3901.00" in line


def test_everything_dropped(small: Any) -> None:
    small.conf.nonfinite = "drop"
    for row in small.tables[CONTINUUM][1:]:
        row[1] = ""
    assert "all 12 stars" in refused_by_load(small)


def test_label_missing_for_every_star(small: Any) -> None:
    for i, row in enumerate(small.tables[LABELS][1:]):
        row[4] = ["", "-9999", "9999", "99999.0"][i % 4]
    assert f"{LABELS}: column CFe is missing for all 12 stars" in refused_by_load(small)


def test_no_label_at_all(small: Any) -> None:
    for row in small.tables[LABELS][1:]:
        row[1:5] = ["-9999"] * 4
    assert "no matched star has any of the labels Teff, logg, FeH, CFe" in refused_by_load(small)


def test_layout_is_cheap() -> None:
    code = "import sys, engine.spectra.layout; print(sorted({'numpy', 'pandas', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_package_never_imports_torch() -> None:
    names = ["arrow", "cache_care", "check", "join", "scale", "split", "stars", "synthetic", "tables"]
    code = "import sys\n" + "".join(f"import engine.spectra.{n}\n" for n in names)
    code += "print(sorted({'pandas', 'pyarrow', 'torch', 'textual', 'mlflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_both_languages_have_the_same_words() -> None:
    from string import Formatter

    from engine.words import catalogue

    english, chinese = (
        {k: v for k, v in catalogue(n).items() if k.startswith(("data.", "spectra."))} for n in ("en", "zh")
    )
    assert english.keys() == chinese.keys() and len(english) > 40

    def holes(text: str) -> set[str | None]:
        return {name for _, name, _, _ in Formatter().parse(text)} - {None}

    assert not [key for key in english if holes(english[key]) != holes(chinese[key])]
