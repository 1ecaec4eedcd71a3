"""The file of a split: written with every run, read back for any row order, accepted from the user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.conf.data import Split as SplitConf
from engine.errors import BadInput
from engine.spectra import split
from engine.spectra.stars import Stars


def some_stars(obsid: np.ndarray) -> Stars:
    flux = np.zeros((len(obsid), 3), np.float32)
    return Stars(obsid, flux, flux, flux, ("a", "b", "c"), np.arange(3.0), "f")


def members(stars: Stars, parts: split.Split) -> dict[str, set[Any]]:
    return {name: set(stars.obsid[parts.part(name)].tolist()) for name in split.PARTS}


def from_file(stars: Stars, text: str | bytes, folder: Path, **conf: Any) -> split.Split:
    (folder / "parts.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return split.divide(stars, SplitConf(method="file", file="parts.csv", **conf), folder)


@pytest.mark.parametrize("kind", [int, str])
def test_split_file_comes_back_for_any_row_order(tmp_path: Path, kind: Any) -> None:
    stars = some_stars(np.array([kind(i) for i in range(50)]))
    parts = split.divide(stars, SplitConf(ratios=[0.6, 0.2, 0.2]), tmp_path)
    split.write(tmp_path / "split.csv", stars, parts)
    assert (tmp_path / "split.csv").read_text().startswith("obsid,part\n0,")
    assert [p.name for p in tmp_path.iterdir()] == ["split.csv"]
    back = some_stars(stars.obsid[::-1])
    assert members(back, split.read(tmp_path / "split.csv", back)) == members(stars, parts)
    # and as the file of another conf
    again = split.divide(back, SplitConf(method="file", file="split.csv"), tmp_path)
    assert members(back, again) == members(stars, parts)


def test_stars_that_are_left_out_stay_out(tmp_path: Path) -> None:
    stars = some_stars(np.arange(8))
    parts = from_file(stars, "obsid,part\n0,train\n1,train\n2,val\n3,none\n99,test\n4,test\n", tmp_path)
    assert parts.sizes == {"train": 2, "val": 1, "test": 1}
    assert parts.facts["left_out"] == 4 and parts.facts["strangers"] == 1
    said = " ".join(split.describe(parts))
    assert "4 stars are in no part" in said and "1 obsids of the split's file are not in the data" in said
    split.write(tmp_path / "split.csv", stars, parts)
    assert "\n7,none\n" in (tmp_path / "split.csv").read_text()
    assert split.read(tmp_path / "split.csv", stars).sizes == parts.sizes


def test_split_file_of_other_stars(tmp_path: Path) -> None:
    file, ten = tmp_path / "split.csv", some_stars(np.arange(10))
    split.write(file, ten, split.divide(ten, SplitConf(), tmp_path))
    with pytest.raises(
        BadInput, match="3 of its obsids are not in the data, 2 stars of the data are not in it"
    ):
        split.read(file, some_stars(np.arange(3, 12)))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("id,part\n", 1),
        ("", 1),
        ("obsid,part\n1,train\n2,tset\n", 3),
        ("obsid,part\n1,train\n1.0,val\n", 3),
        ("obsid,part\n1\n", 2),
        ("obsid,part\n,train\n", 2),
    ],
)
def test_spoilt_split_file(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(BadInput, match=f"line {line}: "):
        split.read(tmp_path / "s.csv", some_stars(np.arange(1, 3)))
    with pytest.raises(BadInput, match=f"parts.csv: line {line}: "):
        from_file(some_stars(np.arange(1, 3)), text, tmp_path)
    with pytest.raises(BadInput, match="cannot be read"):
        split.read(tmp_path / "none.csv", some_stars(np.arange(1, 3)))


def test_as_people_write_it(tmp_path: Path) -> None:
    text = "\ufeffOBSID,snr,Part\n 1 ,3.5,Train\n2.0,,VAL\n\n3,9,test\n"
    assert from_file(some_stars(np.arange(1, 4)), text, tmp_path).sizes == {"train": 1, "val": 1, "test": 1}
    named = some_stars(np.array(["12", "HD 1", "HD 2"]))
    text = "obsid,part\nHD 1,train\n12.0,val\nHD 2,test\n"
    assert members(named, from_file(named, text, tmp_path)) == {
        "train": {"HD 1"}, "val": {"12"}, "test": {"HD 2"},
    }  # fmt: skip
    with pytest.raises(BadInput, match="cannot be read"):
        from_file(named, b"obsid,part\nHD\xff,train\n", tmp_path)


def test_a_part_that_the_data_does_not_have(tmp_path: Path) -> None:
    stars = some_stars(np.arange(4))
    with pytest.raises(BadInput, match="none of its 2 obsids of part val is in the data"):
        from_file(stars, "obsid,part\n0,train\n70,val\n71,val\n", tmp_path)
    with pytest.raises(BadInput, match="leaves no star to train on"):
        from_file(stars, "obsid,part\n0,val\n", tmp_path)
    assert from_file(stars, "obsid,part\n0,train\n", tmp_path).sizes == {"train": 1, "val": 0, "test": 0}


def test_folds_of_a_file(tmp_path: Path) -> None:
    stars = some_stars(np.arange(30))
    parts = ["test"] * 5 + ["val"] * 4 + ["train"] * 16
    text = "obsid,part\n" + "".join(f"{i},{part}\n" for i, part in enumerate(parts))
    folds = [from_file(stars, text, tmp_path, folds=4, fold=k) for k in (1, 2, 3, 4)]
    assert sorted(np.concatenate([f.val for f in folds]).tolist()) == list(range(5, 25))
    assert all(f.test.tolist() == [0, 1, 2, 3, 4] and len(f.train) == 15 for f in folds)


def test_where_the_file_is_looked_for(tmp_path: Path) -> None:
    data, root = tmp_path / "data", tmp_path / "root"
    stars = some_stars(np.arange(2))
    for folder in (data, root):
        folder.mkdir()
    (root / "a.csv").write_text("obsid,part\n0,train\n1,train\n")

    def sizes(name: str) -> dict[str, int]:
        return split.divide(stars, SplitConf(method="file", file=name), data, root).sizes

    assert sizes("a.csv")["train"] == sizes(str(root / "a.csv"))["train"] == 2
    (data / "a.csv").write_text("obsid,part\n0,train\n1,val\n")
    assert sizes("a.csv")["train"] == 1  # the data's own comes first
    with pytest.raises(BadInput, match=rf"b.csv: no such file \(looked for {data}/b.csv, {root}/b.csv\)"):
        sizes("b.csv")
