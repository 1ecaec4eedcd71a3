"""A whole import: what is written, what is refused, and that no interruption changes a byte."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.conf.data import Data
from engine.errors import BadInput
from engine.spectra import facts, stars
from engine.spectra.check import format_report, report_of
from engine.spectra.facts_sets import data_sets
from engine.spectra.fits import parts, write
from engine.spectra.fits.choices import choose
from engine.spectra.fits.run import import_set
from engine.workspace import Workspace

GRID = "4000:7000:10"
TABLES = (*write.TABLES.values(), write.REJECTED)


def bring(out: Path, *paths: Path | str, **options: Any) -> dict[str, Any]:
    """Import with a coarse grid; choices and options are told apart by name."""
    names = ("labels", "jobs", "force", "progress")
    outer = {name: options.pop(name) for name in names if name in options}
    outer.setdefault("jobs", 1)
    return import_set([str(p) for p in paths], out, choose(**({"grid_word": GRID} | options)), **outer)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def header(folder: Path) -> dict[str, Any]:
    """Return import.json without the times of the run."""
    content: dict[str, Any] = json.loads((folder / "import.json").read_text())
    del content["made"]
    return content


def same(a: Path, b: Path) -> None:
    assert sorted(p.name for p in a.iterdir()) == sorted(p.name for p in b.iterdir()) == sorted(write.FILES)
    for name in TABLES:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    assert header(a) == header(b)


@pytest.fixture
def many(make: Any) -> Callable[[int], Path]:
    """`many(40)` is a folder of forty stars in all layouts, one galaxy and one torn file among them."""

    def build(number: int) -> Path:
        first = {
            kind: make(f"all/{i:04d}.fits", kind, seed=i)
            for i, kind in enumerate(("image", "table", "medium"))
        }
        for i in range(3, number - 2):
            kind = ("image", "table", "table")[i % 3]
            path = make.folder / "all" / f"{i:04d}.fits"
            data = first[kind].read_bytes()
            old = 1000 + list(first).index(kind)
            card = f"OBSID   = {old:20d}".encode()
            assert card in data
            path.write_bytes(data.replace(card, f"OBSID   = {1000 + i:20d}".encode()))
        make("all/zz_galaxy.fits", CLASS="GALAXY")
        whole = (make.folder / "all" / "0000.fits").read_bytes()
        (make.folder / "all" / "zz_torn.fits.gz").write_bytes(gzip.compress(whole)[:4000])
        return make.folder / "all"

    return build


def labels_of(folder: Path, obsids: list[int], extra: str = "") -> Path:
    path = folder / "labels.csv"
    rows = [
        f"{o},{5000 + 7 * i},{2 + 0.1 * i},{-0.1 * i:.2f},0.3,{30 + i},n {i}" for i, o in enumerate(obsids)
    ]
    path.write_text("obsid,Teff,logg,FeH,CFe,rv,name\n" + "\n".join(rows) + "\n" + extra)
    return path


def test_the_set_is_what_the_tables_promise(make: Any, tmp_path: Path, conf: Any) -> None:
    for i, layout in enumerate(("table", "image", "table", "medium")):
        make(f"s{i}.fits.gz", layout, seed=i, z=1e-4 * i)
    make("deep/er/named.FITS", OBSID=None, seed=9)
    make("galaxy.fits", CLASS="GALAXY")
    (make.folder / "notes.txt").write_text("no FITS")
    labels = labels_of(tmp_path, [1001, 1000, 1003, 777], "777,1,1,1,1,1,again\n")
    out = tmp_path / "made" / "set"
    head = bring(out, make.folder, labels=str(labels))
    assert head["counts"]["files"] == 6 and head["counts"]["spectra"] == 5
    assert head["counts"]["reasons"] == {"not_a_star": 1}
    about = head["labels"]
    assert (about["rows"], about["matched"], about["doubled"]) == (5, 3, 1)
    assert (about["without_spectrum"], about["spectra_without_labels"]) == (1, 2)
    ids = [row["obsid"] for row in table(out / "removed_with_rv.csv")]
    assert ids == ["1000", "1001", "1002", "1003", "named"]
    first = table(out / "removed_with_rv.csv")[0]
    assert list(first) == [
        "obsid",
        "Teff",
        "logg",
        "FeH",
        "CFe",
        "rv_label",
        "name",
        "rv",
        "snr",
        "ra",
        "dec",
        "class",
        "subclass",
        "file",
    ]
    assert first["Teff"] == "5007" and first["rv_label"] == "31" and first["snr"] == "40.5"
    assert first["file"] == str(make.folder / "s0.fits.gz") and first["class"] == "STAR"
    assert table(out / "removed_with_rv.csv")[2]["Teff"] == ""
    (rejected,) = table(out / "rejected.csv")
    assert rejected["file"].endswith("galaxy.fits") and "GALAXY" in rejected["reason"]
    made = header(out)
    assert [f["obsid"] for f in made["files"]] == ids and made["choices"]["continuum"]["method"] == "spline"
    assert made["files"][3]["arms_used"] == 2 and made["files"][3]["rv"] is None
    assert set(made["versions"]) == {"spectui", "python", "astropy", "numpy", "scipy"}
    assert not list(out.parent.glob(".import-*"))
    conf.path = "made/set"
    loaded = stars.load(Workspace(tmp_path), conf)
    assert len(loaded) == 3 and loaded.wavelength[0] == 4000 and loaded.continuum.shape == (3, 301)
    assert np.isfinite(loaded.continuum).all() and loaded.report["unlabelled"] == 2
    np.testing.assert_allclose(np.median(loaded.continuum[:2], axis=1), 1, atol=1e-5)


def test_real_files_make_a_set_that_loads(real_fits: Path, tmp_path: Path, conf: Any) -> None:
    out = tmp_path / "real"
    bring(out, real_fits, grid_word="3900:8800:1")
    obsids = [row["obsid"] for row in table(out / "removed_with_rv.csv")]
    assert len(obsids) == 11 and not table(out / "rejected.csv")
    labels = tmp_path / "labels.csv"
    labels.write_text("obsid,Teff,logg,FeH,CFe\n" + "".join(f"{o},5000,4,0,0\n" for o in obsids))
    bring(out, real_fits, grid_word="3900:8800:1", labels=str(labels), force=True)
    conf.path = "real"
    loaded = stars.load(Workspace(tmp_path), conf)
    assert loaded.normalized.shape == (11, 4901) and loaded.report["labels_missing"]["Teff"] == 0
    assert loaded.report["wild"] == {"continuum": 0, "normalized": 0}


def test_no_labels(make: Any, tmp_path: Path) -> None:
    make("a.fits")
    head = bring(tmp_path / "set", make.folder)
    assert head["labels"] is None
    assert list(table(tmp_path / "set" / "removed_with_rv.csv")[0])[:3] == ["obsid", "rv", "snr"]


def test_a_set_without_labels_can_be_looked_at_with_what_was_masked(make: Any, tmp_path: Path) -> None:
    def hole(arrays: dict[str, np.ndarray]) -> None:
        arrays["IVAR"][700:760] = 0

    make("a.fits", seed=1, spoil=hole)
    make("b.fits", "medium", seed=2)
    out = tmp_path / "dataset" / "set"
    bring(out, make.folder)
    here, conf = Workspace(tmp_path), Data(path="set")
    read = facts.read(here, conf)
    assert read.targets == () and read.lacking == ("Teff", "logg", "FeH", "CFe")
    first, second = (facts.find(read, obsid) for obsid in ("1001", "1002"))
    rows = {row["obsid"]: row for row in json.loads((out / "import.json").read_text())["files"]}
    for star, obsid in ((first, "1001"), (second, "1002")):
        told = rows[obsid]["masked_pixels"] + rows[obsid]["uncovered_pixels"]
        assert read.masked(star).sum() == told > 0
    assert 0 < read.masked(first).sum() < 20, "a hole of sixty narrow pixels"
    shown = facts.seen(read.flux("normalized", second), (-1, 3), read.masked(second))
    assert (shown.flux[shown.masked] == 1).all() and not shown.masked.all()
    report = report_of(here, conf, read)
    assert [p["id"] for p in report["problems"] if p["severity"] == "error"] == ["label_absent", "no_star"]
    assert report["split"] == {} and "set can be looked at" in "\n".join(format_report(report))
    (found,) = data_sets(here)
    assert not found.problem and found.points == 301
    with pytest.raises(BadInput, match="no label column Teff"):
        stars.load(here, conf)


@pytest.mark.parametrize(
    "spoiled", ['{"choices": 3}', "{", '{"choices": {"grid": {"points": 301}},\n "files": [\n  {"a']
)
def test_an_import_json_that_is_damaged_is_said(make: Any, tmp_path: Path, spoiled: str) -> None:
    make("a.fits", seed=1)
    out = tmp_path / "dataset" / "set"
    bring(out, make.folder)
    (out / "import.json").write_text(spoiled)
    read = facts.read(Workspace(tmp_path), Data(path="set"))
    with pytest.raises(BadInput, match="import the set again"):
        read.masked(0)
    (out / "import.json").unlink()
    assert not facts.read(Workspace(tmp_path), Data(path="set")).masked(0).any()


def test_rv_column_first_the_header_where_it_is_silent(make: Any, tmp_path: Path) -> None:
    for i in range(3):
        make(f"{i}.fits", seed=i, z=2e-4)
    labels = labels_of(tmp_path, [1000, 1001])
    text = labels.read_text().replace(",31,", ",-9999,")
    labels.write_text(text)
    head = bring(tmp_path / "set", make.folder, labels=str(labels), rv_column="rv")
    rows = table(tmp_path / "set" / "removed_with_rv.csv")
    assert [row["rv"] for row in rows] == ["30.0", "59.958", "59.958"]
    assert head["counts"]["rv_column"] == 1 and head["counts"]["rv_header"] == 2


def test_one_obsid_twice(make: Any, tmp_path: Path) -> None:
    make("a.fits", seed=1)
    make("b.fits", "image", seed=1)
    bring(tmp_path / "set", make.folder)
    (row,) = table(tmp_path / "set" / "removed_with_rv.csv")
    (rejected,) = table(tmp_path / "set" / "rejected.csv")
    assert row["file"].endswith("a.fits") and rejected["file"].endswith("b.fits")
    assert "1001" in rejected["reason"] and "a.fits" in rejected["reason"]


def test_what_paths_mean(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("x/b.fits", seed=1)
    make("x/a.fit", seed=2)
    odd = make("odd_name", seed=3)
    (make.folder / "x" / "loop").symlink_to(make.folder / "x")
    listing = make.folder / "list.txt"
    listing.write_text(f"# mine\n\nx/b.fits\n{odd}\n")
    monkeypatch.chdir(tmp_path)
    bring(tmp_path / "one", f"@{listing}", make.folder / "x")
    files = [row["file"] for row in table(tmp_path / "one" / "removed_with_rv.csv")]
    assert [Path(f).name for f in files] == ["b.fits", "odd_name", "a.fit"]
    with pytest.raises(BadInput) as caught:
        listing.write_text("x/b.fits\nx/c.fits\n")
        bring(tmp_path / "two", f"@{listing}", "nowhere", "@no_list")
    assert len(caught.value.lines) == 3 and "line 2" in caught.value.lines[0]
    (tmp_path / "void").mkdir()
    with pytest.raises(BadInput, match="no FITS file"):
        bring(tmp_path / "two", tmp_path / "void")
    assert not (tmp_path / "two").exists()


def test_bad_labels_are_told_before_any_work(make: Any, tmp_path: Path) -> None:
    make("a.fits")
    labels = tmp_path / "labels.csv"

    def refused(text: str | None, **options: Any) -> str:
        if text is not None:
            labels.write_text(text)
        with pytest.raises(BadInput) as caught:
            bring(tmp_path / "new" / "set", make.folder, **({"labels": str(labels)} | options))
        assert len(caught.value.lines) == 1 and not (tmp_path / "new").exists()
        return caught.value.lines[0]

    assert "no such file" in refused(None)
    assert "no column named obsid" in refused("id,Teff\n1,2\n")
    assert "empty" in refused("")
    assert "line 3" in refused("obsid,Teff\n1,2\n1,2,3\n")
    assert "did you mean rv" in refused("obsid,rv\n1,2\n", rv_column="rw")
    assert "--labels" in refused("obsid\n1\n", labels=None, rv_column="rv")


def test_nothing_accepted_writes_nothing(make: Any, tmp_path: Path) -> None:
    make("galaxy.fits", CLASS="GALAXY")
    (make.folder / "torn.fits").write_bytes(b"SIMPLE")
    with pytest.raises(BadInput) as caught:
        bring(tmp_path / "new" / "set", make.folder)
    assert len(caught.value.lines) == 3 and "GALAXY" in "".join(caught.value.lines)
    assert not (tmp_path / "new").exists()


def test_a_set_is_never_overwritten_unasked(make: Any, tmp_path: Path) -> None:
    make("a.fits", seed=1)
    out = tmp_path / "set"
    bring(out, make.folder)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    make("b.fits", seed=2)
    with pytest.raises(BadInput, match="--force"):
        bring(out, make.folder)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    (out / "mine.txt").write_text("kept")
    assert bring(out, make.folder, force=True)["counts"]["spectra"] == 2
    assert (out / "mine.txt").read_text() == "kept" and len(table(out / "removed_with_rv.csv")) == 2
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file"):
        bring(tmp_path / "file", make.folder)


def test_parallel_equals_serial(many: Any, tmp_path: Path) -> None:
    folder = many(30)
    told: list[tuple[int, int]] = []
    head = bring(tmp_path / "one", folder, jobs=1)
    bring(tmp_path / "two", folder, jobs=2, progress=lambda done, total: told.append((done, total)))
    same(tmp_path / "one", tmp_path / "two")
    assert head["counts"]["spectra"] == 28 and head["counts"]["rejected"] == 2
    assert told[0] == (0, 30) and told[-1] == (30, 30) and len(told) > 3


DRIVER = """
import json, sys
from pathlib import Path
from engine.spectra.fits.choices import choose
from engine.spectra.fits.run import import_set
if __name__ == "__main__":
    folder, out, jobs = sys.argv[1:]
    head = import_set([folder], Path(out), choose(grid_word="4000:7000:10"), jobs=int(jobs))
    print(json.dumps(head["made"]))
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_kill_9_and_the_same_again(many: Any, tmp_path: Path, until: Any, jobs: str) -> None:
    """Killed while it works, the import goes on where it was and ends as if nothing had been."""
    folder = many(60)
    bring(tmp_path / "whole", folder, jobs=1)
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    out = tmp_path / "killed"
    command = [sys.executable, str(driver), str(folder), str(out), jobs]
    environment = os.environ | {"PYTHONPATH": str(Path(engine.__file__).parents[1])}
    process = subprocess.Popen(command, env=environment, start_new_session=True)

    def finished_parts() -> list[Path]:
        return [p for p in tmp_path.glob(".import-killed-*/parts/*") if not p.name.startswith(".")]

    try:
        until(finished_parts)
        process.send_signal(signal.SIGKILL)  # the parent alone: its workers have to notice by themselves
        assert process.wait() == -signal.SIGKILL
        until(lambda: not group_alive(process.pid))
    finally:
        if group_alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    assert finished_parts() and not out.exists()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    assert 0 < json.loads(again.stdout)["reused"] < 60
    same(tmp_path / "whole", out)
    assert not list(tmp_path.glob(".import-*"))


def group_alive(group: int) -> bool:
    """Tell whether any process of the group still runs; one that only waits to be buried does not."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if words[0] != "Z" and int(words[2]) == group:
            return True
    return False


def test_an_import_ended_while_its_files_are_moved_in(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("a.fits", seed=1)
    out, other = tmp_path / "set", tmp_path / "other"
    bring(other, make.folder)
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    replace = Path.replace
    moved: list[str] = []

    def dies(self: Path, target: Any) -> Path:
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(self.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        bring(out, make.folder)
    monkeypatch.setattr(Path, "replace", replace)
    assert not (out / "import.json").exists(), "a set that is not whole has no header file"
    assert bring(out, make.folder)["made"]["reused"] == 1
    (out / "mine.txt").unlink()
    same(out, other)


def test_a_full_disk_leaves_no_set_and_costs_no_work(
    many: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = many(12)
    bring(tmp_path / "whole", folder)
    finish = parts.PartWriter.finish
    calls: list[int] = []

    def full(self: parts.PartWriter) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        finish(self)

    monkeypatch.setattr(parts.PartWriter, "finish", full)
    with pytest.raises(OSError, match="No space"):
        bring(tmp_path / "set", folder)
    monkeypatch.setattr(parts.PartWriter, "finish", finish)
    assert not (tmp_path / "set").exists()
    assert bring(tmp_path / "set", folder)["made"]["reused"] > 0
    same(tmp_path / "whole", tmp_path / "set")


def test_work_is_reused_only_where_nothing_changed(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(4):
        make(f"{i}.fits", seed=i)

    def stop(*words: Any) -> None:
        raise OSError("stopped before the end")

    def interrupted(**options: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("engine.spectra.fits.run.write_set", stop)
            with pytest.raises(OSError, match="before the end"):
                bring(tmp_path / "set", make.folder, **options)

    interrupted()
    make("2.fits", seed=2, z=3e-4)
    make("4.fits", seed=4)
    assert bring(tmp_path / "set", make.folder)["made"]["reused"] == 3
    shutil.rmtree(tmp_path / "set")
    interrupted()
    assert bring(tmp_path / "set", make.folder, telluric=True)["made"]["reused"] == 0
    assert not list(tmp_path.glob(".import-*")), "what other choices left is of no more use"


def test_another_import_of_the_same_is_refused(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("a.fits")
    monkeypatch.setattr("engine.spectra.fits.run._lock", lambda lock: False)
    with pytest.raises(BadInput, match="another process"):
        bring(tmp_path / "set", make.folder)


def test_one_strange_file_costs_no_other(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.spectra.fits import work

    make("a.fits", seed=1)
    make("b.fits", seed=2)
    process = work.process

    def strange(path: Path, *words: Any) -> Any:
        if path.name == "a.fits":
            raise IndexError("a fault of ours, or of a library")
        return process(path, *words)

    monkeypatch.setattr(work, "process", strange)
    bring(tmp_path / "set", make.folder)
    (rejected,) = table(tmp_path / "set" / "rejected.csv")
    assert "IndexError" in rejected["reason"] and len(table(tmp_path / "set" / "removed_with_rv.csv")) == 1
