"""A star can be found, chosen and looked at as it lies in the tables."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from engine.errors import BadInput
from engine.spectra import DataConf, facts
from engine.spectra.check import check
from engine.spectra.facts_select import select
from engine.spectra.facts_sets import data_sets, described, stars_in

CONTINUUM, NORMALIZED, LABELS = (
    "final_spectra_continuum.csv",
    "final_spectra_normalized.csv",
    "removed_with_rv.csv",
)


@pytest.fixture
def read(small: Any) -> facts.Facts:
    for i, row in enumerate(small.tables[LABELS][1:]):
        row[1:6] = [str(5000 + 100 * i), "4.1", f"{-0.36 * i:.2f}", "0.5" if i % 2 else "", "12.5"]
    small.tables[NORMALIZED][3][2] = "nan"
    small.tables[NORMALIZED][3][5:7] = ["1e9", "0"]
    small.tables[NORMALIZED][1:] = small.tables[NORMALIZED][:0:-1]
    small.write()
    return facts.read(small.workspace, DataConf(path="small"))


def test_rows_belong_together_whatever_their_order(small: Any, read: facts.Facts) -> None:
    assert read.obsid.tolist() == [1001 + 7 * i for i in range(12)] and len(read) == 12
    star = facts.find(read, "1029")
    assert read.flux("continuum", star) == pytest.approx(small.flux[4])
    assert read.flux("normalized", star) == pytest.approx(small.ratio[4])
    assert read.number("FeH", star) == -1.44  # as written, not as float32 has it
    assert list(read.columns) == ["Teff", "logg", "FeH", "CFe", "rv", "name"]
    assert read.number("rv", star) == 12.5 and read.columns["name"][star] == "HD 4"
    assert np.isnan(read.number("name", star)) and np.isnan(read.number("nothing", star))


def test_bad_pixels_are_seen_and_the_rest_keeps_its_scale(read: facts.Facts) -> None:
    star = facts.find(read, "1015")
    shown = facts.seen(read.flux("normalized", star), (-1, 3))
    assert np.flatnonzero(shown.nonfinite).tolist() == [1] and np.isnan(shown.flux[1])
    assert np.flatnonzero(shown.clipped).tolist() == [4] == np.flatnonzero(shown.wild).tolist()
    assert np.flatnonzero(shown.zero).tolist() == [5] and np.nanmax(shown.flux) == 3
    free = facts.seen(read.flux("normalized", star), None)
    assert not free.clipped.any() and free.wild.sum() == 1 and np.nanmax(free.flux) < 1.2


@pytest.mark.parametrize(
    ("expression", "count"),
    [
        ("", 12), ("FeH < -2", 6), ("FeH = -1.44", 1), ("FeH < -1.44", 7),
        ("feh >= -0.36 AND Teff>5000", 1), ("CFe = none", 6),
        ("CFe != none and Teff <= 5300", 2), ("CFe > 0", 6), ("CFe < 9 ", 6), ("obsid >= 1071", 2),
        ("name ~ hd 1", 3), ("name = 'HD 3'", 1), ("HD 1", 3), ("1001", 1), ("102", 2),
    ],
)  # fmt: skip
def test_an_expression_chooses(read: facts.Facts, expression: str, count: int) -> None:
    assert len(select(read, expression)) == count


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("Tef > 5000", "did you mean 'Teff'"),
        ("FeH <", "KEY OP VALUE"),
        ("FeH < low", "needs a number"),
        ("name > 3", "needs a number"),
    ],
)
def test_a_bad_expression_is_one_clear_line(read: facts.Facts, expression: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        select(read, expression)
    assert len(caught.value.lines) == 1


def test_looking_at_spectra_loads_no_importer() -> None:
    code = "import sys, engine.spectra.facts; print([m for m in sys.modules if '.spectra.fits.' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_obsid_names_near_misses(read: facts.Facts) -> None:
    with pytest.raises(BadInput, match=r"no such obsid among 12 stars; near: .*1029"):
        facts.find(read, "1028")
    many = np.arange(10**6, 10**6 + 50_000)
    assert "1020000" in facts.near_misses(many, "10200000")


def test_runs() -> None:
    assert list(facts.runs(np.array([1, 1, 0, 0, 1, 0, 1], bool))) == [(0, 1), (4, 4), (6, 6)]
    assert list(facts.runs(np.zeros(3, bool))) == []


def test_progress_can_stop_the_work(small: Any) -> None:
    small.write()

    def stop(what: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        facts.read(small.workspace, DataConf(path="small"), stop)


def test_data_sets_are_listed_with_the_conf_that_reads_them(small: Any) -> None:
    small.write()
    root = small.workspace.root
    (root / "conf").mkdir()
    (root / "conf" / "two.yaml").write_text("data: {path: small, targets: [Teff, logg]}\n")
    (root / "conf" / "far.yaml").write_text(f"data: {{path: {root / 'elsewhere'}}}\n")
    (root / "conf" / "bad.yaml").write_text("data: {pth: small}\n")
    (root / "elsewhere").mkdir()
    broken = small.workspace.dataset / "group" / "broken"
    broken.mkdir(parents=True)
    (broken / CONTINUUM).write_text("obsid,3900,3901\n1,1,1\n")
    (small.workspace.dataset / "nothing here").mkdir()
    sets = {found.name: found for found in data_sets(small.workspace)}
    assert list(sets) == ["group/broken", "small", str(root / "elsewhere")]
    one = sets["small"]
    assert (one.points, one.conf.targets, one.source) == (24, ["Teff", "logg"], "conf/two.yaml")
    assert stars_in(small.workspace, one) == 12 and described(one, 12).startswith("12 stars x 24 points, ")
    assert NORMALIZED in sets["group/broken"].problem and sets["group/broken"].points == 0


def test_the_verb_tells_numbers_and_never_draws_alone(small: Any, read: facts.Facts) -> None:
    (small.workspace.root / "conf").mkdir()
    command = ["--root", str(small.workspace.root), "--lang", "en", "data", "spectrum", "--path", "small"]

    def ask(module: str, *words: str) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-m", module, *command, *words]
        return subprocess.run(whole, capture_output=True, text=True, check=False)

    told = json.loads(ask("engine", "1015", "--json").stdout)
    assert told["obsid"] == 1015 and told["labels"]["Teff"] == 5200 and told["columns"]["name"] == "HD 2"
    assert len(told["wavelength"]) == len(told["continuum"]) == len(told["normalized"]) == 24
    assert told["normalized"][1] is None and told["pixels"]["normalized"]["nonfinite"] == [3901.0]
    text = ask("engine", "1015")
    assert text.returncode == 0 and "spectui data spectrum 1015" in text.stdout and "⠁" not in text.stdout
    drawn = ask("tui", "1015", "--with", "1029", "--width", "60", "--height", "20")
    assert drawn.returncode == 0 and sum(0x2800 < ord(c) < 0x2900 for c in drawn.stdout) > 30
    assert max(map(len, drawn.stdout.splitlines())) <= 80 and "B 1029" in drawn.stdout and "✗" in drawn.stdout
    unknown = ask("engine", "1016")
    assert unknown.returncode == 2 and "1015" in unknown.stderr and unknown.stdout == ""
    assert ask("engine", "1015", "--from", "9000").returncode == 2
    assert ask("engine", "1015", "--with", "1015").returncode == 2


def test_one_branch_in_folders_is_enough(workspace: Any) -> None:
    grid = ",".join(f"{4800 + i}" for i in range(100))
    for part, first, count in (("train", 1, 6), ("val", 7, 2), ("test", 9, 2)):
        folder = workspace.dataset / "parts" / part
        folder.mkdir(parents=True)
        stars = range(first, first + count)
        flux = [f"{i}," + ",".join(["0.9", str(i), *["1.0"] * 98]) for i in stars]
        (folder / "normalized.csv").write_text("\n".join([f"obsid,{grid}", *flux]) + "\n")
        labels = [f"{i},{5000 + i},4.{i},gaia {i}" for i in stars]
        (folder / "labels.csv").write_text("\n".join(["obsid,Teff,logg,star_id", *labels]) + "\n")
    conf = DataConf(path="parts", branches="normalized", targets=["Teff", "logg"])
    read = facts.read(workspace, conf)
    assert read.branches == ("normalized",) and read.flux("normalized", facts.find(read, "8"))[1] == 8
    assert read.columns["star_id"][7] == "gaia 8"
    report = check(workspace, conf)
    assert report["split"] == {"train": 6, "val": 2, "test": 2} and list(report["wild"]) == ["normalized"]
    (workspace.root / "conf").mkdir()
    (workspace.root / "conf" / "p.yaml").write_text(
        "data: {path: parts, branches: normalized, targets: [Teff, logg]}\n"
    )
    (found,) = data_sets(workspace)
    assert (found.points, found.problem, stars_in(workspace, found)) == (100, "", 10)
