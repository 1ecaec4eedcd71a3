"""`data import` as it is typed: words, exit codes, and what is said."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import engine.words
from engine.cli.fits import import_
from engine.cli.fits_options import add_options
from engine.errors import BadInput
from engine.spectra.fits import continuum, grid
from engine.words import catalogue


def typed(*words: Any, json: bool = False, root: Path | None = None) -> int:
    parser = argparse.ArgumentParser()
    add_options(parser)
    arguments = parser.parse_args([str(word) for word in words])
    arguments.json, arguments.root = json, root
    return import_(arguments)


def test_facts_to_stdout(make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make("a.fits", seed=1)
    make("m.fits", "medium", seed=2)
    make("galaxy.fits", CLASS="GALAXY")
    out = tmp_path / "set"
    assert typed(make.folder, "--out", out, "--grid", "4000:7000:10") == 0
    shown = capsys.readouterr()
    assert (
        "imported 2 of 3 files" in shown.out and "rejected: 1" in shown.out and "not trained on" in shown.out
    )
    assert "without a radial velocity" in shown.out and shown.err == ""
    assert typed(make.folder, "--out", out, "--grid", "4000:7000:10", "--force", json=True) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["counts"]["spectra"] == 2 and facts["out"] == str(out) and "files" not in facts


def test_the_cache_is_filled_at_once(make: Any, tmp_path: Path) -> None:
    for name in ("conf", "runs", "dataset"):
        (tmp_path / "work" / name).mkdir(parents=True)
    make("a.fits", seed=1)
    common = (make.folder, "--grid", "4000:7000:10", "--out")
    kept = tmp_path / "work" / ".cache" / "spectra" / "tables"
    assert typed(*common, tmp_path / "one", root=tmp_path / "work") == 0
    assert not kept.exists()
    assert typed(*common, tmp_path / "two", "--cache", root=tmp_path / "work") == 0
    assert len(list(kept.glob("*/flux.npy"))) == 2


def test_every_option_acts(make: Any, tmp_path: Path) -> None:
    make("a.fits", seed=1)
    labels = tmp_path / "labels.csv"
    labels.write_text("obsid,Teff,v\n1001,5000,12.5\n")
    common = [
        "--grid",
        "log:4000:7000:1e-3",
        "--continuum",
        "gaussian:width=70",
        "--frame",
        "air",
        "--telluric",
        "mask",
        "--any-class",
        "--max-masked",
        "0.6",
        "--min-coverage",
        "0.7",
        "--jobs",
        "1",
    ]
    assert typed(make.folder, "--out", tmp_path / "a", "--rv", "none", *common) == 0
    assert typed(make.folder, "--out", tmp_path / "b", "--labels", labels, "--rv-column", "v", *common) == 0
    first, second = (json.loads((tmp_path / n / "import.json").read_text())["choices"] for n in "ab")
    assert first["rv"] == "none" and second["rv"] == "column" and second["rv_column"] == "v"
    assert (
        first["grid"]["log"] and first["continuum"]["parameters"] == {"width": 70} and first["frame"] == "air"
    )
    assert (
        first["telluric"]
        and first["any_class"]
        and first["max_masked"] == 0.6
        and first["min_coverage"] == 0.7
    )


def test_bad_input_is_one_line(make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make("a.fits")
    for words, said in (
        (["nowhere"], "nowhere: no such file or folder"),
        ([make.folder, "--grid", "3900-8800"], "--grid 3900-8800"),
        ([make.folder, "--continuum", "splin"], "did you mean spline"),
        ([make.folder, "--labels", "none.csv"], "none.csv: no such file"),
    ):
        with pytest.raises(BadInput) as caught:
            typed(*words, "--out", tmp_path / "set")
        assert len(caught.value.lines) == 1 and said in caught.value.lines[0]
    for words in (
        ["--max-masked", "2"],
        ["--jobs", "0"],
        ["--rv", "x"],
        ["--rv", "none", "--rv-column", "v"],
    ):
        with pytest.raises(SystemExit):
            typed(make.folder, "--out", tmp_path / "set", *words)
    assert not (tmp_path / "set").exists()


def test_a_write_error_is_told_and_leaves_the_way_open(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make("a.fits")

    def full(*words: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("engine.spectra.fits.run.write_set", full)
        assert typed(make.folder, "--out", tmp_path / "set", "--grid", "4000:7000:10") == 1
    assert "run the same command again" in capsys.readouterr().err
    assert typed(make.folder, "--out", tmp_path / "set", "--grid", "4000:7000:10") == 0
    assert "1 of 1 files were done before" in capsys.readouterr().err


def test_the_options_agree_with_the_engine() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    parsed = parser.parse_args(["x", "--out", "y"])
    assert parsed.grid == grid.DEFAULT and parsed.continuum == continuum.DEFAULT
    parser.format_help()


def loaded_by(module: str, *heavy: str) -> list[str]:
    code = f"import sys, json, {module}; print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def test_help_loads_nothing_heavy() -> None:
    assert loaded_by("engine.cli.fits_options", "numpy", "astropy", "scipy", "rich") == []


def test_torch_is_never_imported() -> None:
    assert loaded_by("engine.spectra.fits.run", "torch", "astropy", "scipy") == []


def test_every_reason_has_words() -> None:
    folder = Path(engine.words.__file__).parents[1] / "spectra" / "fits"
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    used = set(re.findall(r'Rejected\(\s*"(\w+)"', source)) | {"doubled", "unexpected"}
    for language in ("en", "zh"):
        words = catalogue(language)
        for kind in ("reject", "kind"):
            known = {key.rpartition(".")[2] for key in words if key.startswith(f"fits.{kind}.")}
            assert known == used, f"{language} {kind}"
