"""Each form of the same content gives the same stars; what a form lacks is said in one line."""

from __future__ import annotations

import gzip
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engine.errors import BadInput
from engine.spectra import layout, stars

CONTINUUM, NORMALIZED, LABELS = (
    "final_spectra_continuum.csv",
    "final_spectra_normalized.csv",
    "removed_with_rv.csv",
)
OLD = {CONTINUUM: "continuum.csv", NORMALIZED: "normalized.csv", LABELS: "labels.csv"}
ENDINGS = (".csv", ".csv.gz", ".feather", ".parquet")


def same(a: stars.Stars, b: stars.Stars, *names: str) -> None:
    for name in names or ("obsid", "continuum", "normalized", "labels", "wavelength"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.columns.keys() == b.columns.keys()
    for name, column in a.columns.items():
        np.testing.assert_array_equal(column, b.columns[name])


def load(small: Any) -> stars.Stars:
    return stars.load(small.workspace, small.conf)


def refusal(small: Any) -> str:
    with pytest.raises(BadInput) as caught:
        load(small)
    assert len(caught.value.lines) == 1 and "\n" not in caught.value.lines[0]
    return caught.value.lines[0]


def write(rows: list[list[str]], path: Path) -> None:
    """Write a table in the format that its ending names; cells that are numbers become numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(",".join(row) + "\n" for row in rows)
    if path.suffix in (".csv", ".gz"):
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
        return
    columns = {name: [row[i] for row in rows[1:]] for i, name in enumerate(rows[0])}
    frame = pd.DataFrame({name: _typed(cells) for name, cells in columns.items()})
    if path.suffix == ".feather":
        frame.to_feather(path, chunksize=5)  # several batches
    else:
        frame.to_parquet(path, index=False, row_group_size=5)


def _typed(cells: list[str]) -> Any:
    try:
        if all(cell.isdigit() for cell in cells):
            return np.array(cells, np.int64)
        return np.array([np.nan if cell == "" else float(cell) for cell in cells])
    except ValueError:
        return cells


def shuffled(rows: list[list[str]], seed: object) -> list[list[str]]:
    body = rows[1:]
    random.Random(str(seed)).shuffle(body)
    return [rows[0], *body]


def write_folders(
    small: Any, sizes: tuple[int, ...] = (8, 2, 2), names: dict[str, str] | None = None
) -> None:
    """Write the tables cut into train/ val/ test/, each table of each part in a row order of its own."""
    for table, rows in small.tables.items():
        start = 1
        for part, size in zip(("train", "val", "test"), sizes, strict=False):
            cut = shuffled([rows[0], *rows[start : start + size]], (table, part))
            write(cut, small.folder / part / (names or OLD)[table])
            start += size


def expected(small: Any) -> stars.Stars:
    """Load the three CSV tables, then take them away."""
    small.write()
    loaded = load(small)
    for name in small.tables:
        (small.folder / name).unlink()
    return loaded


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("seed", [None, 1])
def test_three_tables_in_every_format(small: Any, ending: str, seed: int | None) -> None:
    first = expected(small)
    for name, rows in small.tables.items():
        target = small.folder / name.replace(".csv", ending)
        write(rows if seed is None else shuffled(rows, (seed, name)), target)
    loaded = load(small)
    same(first, loaded)
    assert loaded.branches == ("continuum", "normalized") and loaded.parts is None
    assert loaded.obsid.dtype == np.int64 and loaded.report["kept"] == 12


def test_old_names_in_one_folder(small: Any) -> None:
    first = expected(small)
    for name, rows in small.tables.items():
        write(rows, small.folder / OLD[name])
    same(first, load(small))


@pytest.mark.parametrize("names", [OLD, {name: name for name in OLD}, {n: o + ".gz" for n, o in OLD.items()}])
def test_folders(small: Any, names: dict[str, str]) -> None:
    first = expected(small)
    write_folders(small, names=names)
    loaded = load(small)
    same(first, loaded)
    assert loaded.parts is not None and loaded.parts.tolist() == ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    assert loaded.report["rows"] == {"continuum": 12, "normalized": 12, "labels": 12}
    assert "small/{train,val,test}/" in loaded.report["files"]["labels"]


def test_folders_of_other_formats_and_columns_in_another_order(small: Any) -> None:
    first = expected(small)
    write_folders(small)
    for part, ending in (("train", ".feather"), ("val", ".parquet"), ("test", ".csv.gz")):
        frame = pd.read_csv(small.folder / part / "continuum.csv")
        rows = [list(frame.columns[::-1]), *frame[frame.columns[::-1]].astype(object).values.tolist()]
        cells = [[str(cell) for cell in row] for row in rows]
        (small.folder / part / "continuum.csv").unlink()
        write(cells, small.folder / part / f"continuum{ending}")
    same(first, load(small))


def test_a_part_may_be_absent_but_not_train(small: Any) -> None:
    write_folders(small, sizes=(10, 2))
    loaded = load(small)
    assert loaded.parts is not None and set(loaded.parts) == {"train", "val"} and len(loaded) == 12
    (small.folder / "train").rename(small.folder / "test")
    small.conf.form = "folders"
    assert "no folder train/ in it" in refusal(small)


def test_a_table_missing_in_one_part(small: Any) -> None:
    write_folders(small)
    (small.folder / "val" / "normalized.csv").unlink()
    line = refusal(small)
    assert f"{small.folder / 'val'}: no {NORMALIZED}" in line


def test_one_star_in_two_parts_is_never_both(small: Any) -> None:
    write_folders(small)
    for name in OLD.values():
        train, val = small.folder / "train" / name, small.folder / "val" / name
        rows = {line.split(",")[0]: line for line in train.read_text().splitlines()[1:]}
        val.write_text(val.read_text() + rows["1001"] + "\n")
    with pytest.raises(BadInput) as caught:
        load(small)
    assert len(caught.value.lines) == 3
    assert "1001 in dataset/small/train/continuum.csv and in dataset/small/val/" in caught.value.lines[0]
    small.conf.duplicates = "first"
    loaded = load(small)
    assert loaded.parts is not None and loaded.parts[0] == "train" and len(loaded) == 12


def test_a_star_whose_tables_disagree_on_its_part(small: Any) -> None:
    write_folders(small)
    train, val = (small.folder / part / "labels.csv" for part in ("train", "val"))
    header, first, *rest = train.read_text().splitlines()
    train.write_text("\n".join([header, *rest]) + "\n")
    val.write_text(val.read_text() + first + "\n")
    line = refusal(small)
    assert (
        f"obsid {first.split(',')[0]} is in" in line
        and "train/continuum.csv" in line
        and "val/labels" in line
    )


def test_parts_with_differing_grids(small: Any) -> None:
    write_folders(small)
    file = small.folder / "test" / "normalized.csv"
    file.write_text(file.read_text().replace("3904.00", "3904.50", 1))
    assert "column 3904.00 is only in dataset/small/train/continuum.csv" in refusal(small)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("seed", [None, 2])
def test_one_feature_table(small: Any, ending: str, seed: int | None) -> None:
    first = expected(small)
    rows = small.tables[NORMALIZED]
    write(rows if seed is None else shuffled(rows, seed), small.folder / f"feature{ending}")
    write(shuffled(small.tables[LABELS], seed), small.folder / "labels.csv")
    loaded = load(small)
    same(first, loaded, "obsid", "normalized", "labels", "wavelength")
    assert loaded.branches == ("normalized",) and loaded.continuum is loaded.normalized
    assert set(loaded.report["files"]) == {"normalized", "labels"}


def test_feature_table_under_another_name(small: Any) -> None:
    write(small.tables[CONTINUUM], small.folder / "mine.csv")
    write(small.tables[LABELS], small.folder / LABELS)
    small.conf.features, small.conf.branches = "mine.csv", "continuum"
    loaded = load(small)
    assert loaded.branches == ("continuum",)
    np.testing.assert_array_equal(loaded.continuum, small.flux.astype(np.float32))
    small.conf.form, small.conf.features = "features", "other.feather"
    assert "no other.feather" in refusal(small) and "data.features" in refusal(small)


@pytest.mark.parametrize("branch", ["continuum", "normalized"])
def test_one_branch_alone(small: Any, branch: str) -> None:
    first = expected(small)
    small.conf.branches = branch
    small.write()
    (small.folder / (NORMALIZED if branch == "continuum" else CONTINUUM)).unlink()
    loaded = load(small)
    same(first, loaded, "obsid", branch, "labels", "wavelength")
    assert loaded.branches == (branch,)


@pytest.mark.parametrize(
    ("inputs", "fine"),
    [
        (("normalized",), True),
        (("continuum",), False),
        (("continuum", "normalized"), False),
        (("stacked",), False),
        (("concatenated",), False),
    ],
)
def test_what_a_network_needs(small: Any, inputs: tuple[str, ...], fine: bool) -> None:
    small.write()
    layout.needs(load(small).branches, inputs)
    small.conf.branches = "normalized"
    loaded = load(small)
    if fine:
        layout.needs(loaded.branches, inputs)
    else:
        with pytest.raises(BadInput, match="takes the continuum branch and the data has only normalized"):
            layout.needs(loaded.branches, inputs)
    small.conf.missing_branch = "copy"
    copied = load(small)
    layout.needs(copied.branches, inputs)
    assert copied.report["copied"] == "normalized" and copied.continuum is copied.normalized


def test_which_form_is_taken_when_there_are_several(small: Any) -> None:
    small.write()
    write_folders(small, sizes=(6, 3, 3))
    write(small.tables[NORMALIZED], small.folder / "feature.csv")
    assert load(small).parts is None
    small.conf.split.method = "folder"
    assert load(small).parts is not None
    small.conf.form = "features"
    assert load(small).branches == ("normalized",)
    small.conf.split.method, small.conf.form = "random", "folders"
    assert load(small).parts is not None


@pytest.mark.parametrize("ending", [".feather", ".parquet"])
def test_cells_of_arrow_tables(small: Any, ending: str) -> None:
    """Words are read as numbers, nulls are holes, other columns no flux, obsids may be words."""
    for rows in small.tables.values():
        rows[1][0] = "J0001+01"
    small.tables[CONTINUUM][2][3] = ""
    small.conf.nonfinite = "interpolate"
    first = expected(small)
    frame = pd.DataFrame(small.tables[CONTINUUM][1:], columns=small.tables[CONTINUUM][0])
    frame = frame.astype(dict.fromkeys(frame.columns[5:], np.float32))
    frame["3901.00"] = frame["3901.00"].astype("category")
    frame.insert(1, "snr", 55.5)
    frame["class"] = "STAR"
    path = small.folder / f"final_spectra_continuum{ending}"
    getattr(frame, f"to_{ending[1:]}")(path)
    for name in (NORMALIZED, LABELS):
        write(small.tables[name], small.folder / name)
    loaded = load(small)
    same(first, loaded)
    assert "J0001+01" in loaded.obsid and loaded.report["nonfinite"]["continuum"] == 1
    frame.loc[7, "3902.00"] = "bad"
    getattr(frame, f"to_{ending[1:]}")(path)
    assert f"continuum{ending}: line 8, column 3902.00: 'bad' is not a number" in refusal(small)


@pytest.mark.parametrize("ending", [".feather", ".parquet"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: b"", "the file is empty"),
        (lambda data: data[: len(data) // 2], "damaged or of another format"),
        (lambda data: b"obsid,3900.00\n1,2\n", "damaged or of another format"),
        (lambda data: b"FEA1" + data[4:], "first version"),
    ],
)
def test_damaged_arrow_tables(small: Any, ending: str, spoil: Callable[[bytes], bytes], words: str) -> None:
    small.write()
    (small.folder / CONTINUUM).unlink()
    path = small.folder / f"final_spectra_continuum{ending}"
    write(small.tables[CONTINUUM], path)
    if words == "first version" and ending == ".parquet":
        pytest.skip("feather alone has a first version")
    path.write_bytes(spoil(path.read_bytes()))
    line = refusal(small)
    assert words in line and f"continuum{ending}" in line


def test_an_arrow_table_without_rows(small: Any) -> None:
    small.write()
    (small.folder / CONTINUUM).unlink()
    write(small.tables[CONTINUUM][:1], small.folder / "final_spectra_continuum.parquet")
    assert "a header but no rows" in refusal(small)


def test_label_columns(small: Any) -> None:
    labels = small.tables[LABELS]
    for name, cells in {
        "snr": [f"{10 + i}.5" for i in range(12)],
        "star_id": ["1", "1", *map(str, range(2, 12))],
        "gaia": [f"38655442105{i:08d}" for i in range(12)],
        "note": ["", "a, b", *["x"] * 10],
        "hole": ["", "-9999", *["9999"] * 10],
    }.items():
        for row, cell in zip(labels, [name, *cells], strict=True):
            row.append(f'"{cell}"' if "," in cell else cell)
    small.write()
    columns = load(small).columns
    assert set(columns) == {"rv", "name", "snr", "star_id", "gaia", "note", "hole"}
    assert columns["snr"].dtype == np.float64 and columns["snr"][1] == 11.5
    assert columns["star_id"].tolist() == [1, 1, *range(2, 12)]
    assert columns["gaia"].dtype.kind == "U" and len(set(columns["gaia"])) == 12
    assert columns["note"].tolist()[:3] == ["", "a, b", "x"] and columns["name"][0] == "HD 0"
    assert np.isnan(columns["hole"][:2]).all() and (columns["hole"][2:] == 9999).all()


def test_label_columns_follow_their_stars(small: Any) -> None:
    del small.tables[CONTINUUM][4]
    small.tables[LABELS] = shuffled(small.tables[LABELS], 5)
    small.write()
    loaded = load(small)
    assert loaded.columns["name"].tolist() == [f"HD {(o - 1001) // 7}" for o in loaded.obsid.tolist()]


@pytest.mark.parametrize("name", ["miles", "hybrid_cfe"])
def test_real_tables_as_folders_and_features(shared: Path, workspace: Any, conf: Any, name: str) -> None:
    """A cut of the real tables (40 stars, every 47th pixel) is the same in all forms."""
    folder = workspace.dataset / "cut"
    for table in OLD:
        path = next(p for p in (shared / name).iterdir() if p.name.startswith(table))
        frame = pd.read_csv(path, nrows=40)
        if table != LABELS:
            frame = frame.iloc[:, [0, *range(1, frame.shape[1], 47)]]
        frame.sample(frac=1, random_state=1).to_csv(_made(folder / table), index=False)
        for part, rows in (("train", frame[5:]), ("val", frame[:3]), ("test", frame[3:5])):
            rows.to_csv(_made(workspace.dataset / "parts" / part / OLD[table]), index=False)
        if table != CONTINUUM:
            target = _made(
                workspace.dataset / "one" / ("labels.csv" if table == LABELS else "feature.feather")
            )
            rows = frame.reset_index(drop=True)
            rows.to_csv(target, index=False) if table == LABELS else rows.to_feather(target)
    loaded = {}
    for form in ("cut", "parts", "one"):
        conf.path = form
        loaded[form] = stars.load(workspace, conf)
    assert len(loaded["cut"]) >= 35
    same(loaded["cut"], loaded["parts"])
    same(loaded["cut"], loaded["one"], "obsid", "normalized", "labels", "wavelength")


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_a_moved_folder_is_found_in_the_cache(small: Any) -> None:
    small.write()
    first = load(small)
    shutil.move(small.folder, small.workspace.dataset / "moved")
    small.conf.path = "moved"
    assert load(small).home == first.home
    assert load(small).report["files"]["labels"] == f"dataset/moved/{LABELS}"
    assert layout.preflight(small.workspace, small.conf).tables.form == "tables"
