"""CSV, Markdown and pictures of a comparison, from the functions and from the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from engine.compare import export, picture
from engine.compare.labels import error, kinds, unit
from engine.errors import BadInput


@pytest.fixture
def runs(made: Any) -> list[Any]:
    test = {"loss": 0.1, "Teff_mae": 90.0, "Teff_n": 10, "Teff_r2": 0.9}
    worse = {"loss": 0.2, "Teff_mae": 99.0, "Teff_n": 10, "Teff_r2": 0.8}
    return [
        made({"val_loss": 0.5}, test),
        made({"val_loss": 0.1 + 0.2}, worse, "training.learning_rate=0.5"),
    ]


def test_a_row_per_run_with_all_digits(runs: list[Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(export.as_text(lambda file: export.runs_csv(runs, file)))))
    assert [row["run_id"] for row in rows] == [run.run_id for run in runs]
    assert rows[1]["best.val_loss"] == repr(0.1 + 0.2)
    assert rows[1]["training.learning_rate"] == "0.5"


def test_every_point_of_the_curves(runs: list[Any]) -> None:
    text = export.as_text(lambda file: export.curves_csv(runs, file, ["val_loss"]))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["step"], row["value"]) for row in rows[:2]] == [("10", "1.0"), ("20", "0.5")]
    assert {row["run_id"] for row in rows} == {run.run_id for run in runs}


def test_markdown_aligns_numbers_right_and_escapes(runs: list[Any]) -> None:
    text = export.markdown(runs, ["a|b", "c"], baseline=0)
    lines = text.splitlines()
    assert "|  | a\\|b |" in text
    metric = lines[lines.index("## Metrics") :]
    assert metric[3] == "|---|---:|---:|"
    assert "| test.Teff_mae | **90** | 99 ▲+10% worse |" in metric


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken(file: Any) -> None:
        file.write("half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        export.write_whole(tmp_path / "exports" / "x.csv", broken)
    assert list((tmp_path / "exports").iterdir()) == []


def test_errors_per_label_have_units(runs: list[Any]) -> None:
    assert kinds(runs) == ["mae"]
    assert error(runs[0], "Teff", "mae") == 90.0
    assert [unit(label) for label in ("Teff", "teff", "logg", "FeH", "CFe", "alpha_m", "rv", "colour")] == [
        "K", "K", "dex", "dex", "dex", "dex", "km/s", "",
    ]  # fmt: skip


def test_a_picture_needs_curves_and_a_known_ending(runs: list[Any], tmp_path: Path) -> None:
    curves = picture.drawn(runs, ["a", "b"], "val_loss")
    assert curves[0].y == [1.0, 0.5] and curves[0].letter == "A"
    with pytest.raises(BadInput, match="ends in one of"):
        picture.draw(tmp_path / "x.bmp", curves, "val_loss")
    with pytest.raises(BadInput, match="no run has a curve"):
        picture.draw(tmp_path / "x.png", [], "val_loss")
    assert not list(tmp_path.glob("*.bmp")) and not list(tmp_path.glob("*.png"))


def test_the_verb_prints_the_same_facts(runs: list[Any], processes: Any, tmp_path: Path) -> None:
    first, second = (run.run_id for run in runs)
    told = json.loads(processes.run("compare", first, second, "--baseline", second, "--json").stdout)
    assert told["baseline"] == second and told["params"]["training.learning_rate"][1] == 0.5
    text = processes.run("compare", second, "--baseline", first).stdout
    assert text.splitlines()[0].split() == [first, second], "the baseline is compared too"
    assert "▲+10% worse" in text
    assert "training.seed" not in text
    figure = tmp_path / "overlay.png"
    drawn = processes.run("compare", first, second, "--figure", str(figure), "--log")
    assert drawn.returncode == 0, drawn.stderr
    assert figure.read_bytes()[:4] == b"\x89PNG"
    wrong = processes.run("compare", first, second, "--figure", str(figure), "--quantity", "nothing")
    assert wrong.returncode == 2 and len(wrong.stderr.strip().splitlines()) == 1
