"""The report counts what is there, and foretells what `stars.load` does."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

import engine.words
from engine.spectra import DataConf, stars
from engine.spectra.check import check, format_report, grid
from engine.spectra.check_frame import guess_frame
from engine.spectra.check_labels import describe
from engine.spectra.check_survey import constant_columns, der_snr, survey
from engine.spectra.check_words import wrapped
from engine.spectra.lines import LINES
from engine.spectra.tables import Spectra

CONTINUUM, NORMALIZED, LABELS = (
    "final_spectra_continuum.csv",
    "final_spectra_normalized.csv",
    "removed_with_rv.csv",
)


def spoil(small: Any) -> None:
    small.tables[CONTINUUM].append(list(small.tables[CONTINUUM][1]))
    small.tables[CONTINUUM][4][3] = ""
    small.tables[NORMALIZED][5][4] = "4.4e11"
    small.tables[NORMALIZED][6][4] = "0"
    small.tables[LABELS][2][4] = "-9999"
    small.tables[LABELS][3][2] = "-999"
    for rows in (small.tables[CONTINUUM], small.tables[NORMALIZED]):
        rows[0][13:] = [f"{float(cell) + 200:.2f}" for cell in rows[0][13:]]
    for row in small.tables[CONTINUUM][1:]:
        row[20] = "150.0"
    del small.tables[LABELS][9]
    small.write()


def found(report: dict[str, Any]) -> dict[str, str]:
    return {problem["id"]: problem["severity"] for problem in report["problems"]}


def test_everything_is_found_and_placed(small: Any) -> None:
    spoil(small)
    report = check(small.workspace, DataConf(path="small"))
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["rows"] == {"continuum": 13, "normalized": 12, "labels": 11} and report["matched"] == 11
    assert report["duplicates"]["continuum"] == 1 and report["missing"]["labels"] == 1
    place = {"obsid": 1022, "wavelength": 3902.0, "value": "nan"}
    assert report["nonfinite"]["continuum"] == {"pixels": 1, "stars": 1, "first": [place]}
    assert report["wild"]["normalized"]["first"][0]["obsid"] == 1029
    assert report["zero"]["normalized"] == {
        "pixels": 1, "stars": 1, "first": [{"obsid": 1036, "wavelength": 3903.0, "value": "0.0"}],
    }  # fmt: skip
    assert report["constant"]["continuum"] == {"columns": 1, "first": [[4119.0, 4119.0]]}
    assert report["grid"] == {
        "points": 24, "first": 3900.0, "last": 4123.0, "step": 1.0, "kind": "linear",
        "gaps": [[3911.0, 4112.0]],
    }  # fmt: skip
    assert report["labels"]["CFe"]["missing"] == 1 and report["labels"]["Teff"]["number"] == 11
    wrong = report["labels"]["logg"]["impossible"]
    assert wrong == {"number": 1, "first": [{"obsid": 1015, "value": -999.0}]}
    assert report["split"] == {"train": 9, "val": 1, "test": 1}
    severities = found(report)
    assert severities["doubled_fail"] == "error" and report["problems"][0]["severity"] == "error"
    wanted = ("nonfinite_interpolate", "wild_clipped", "constant", "impossible", "unmatched", "gap")
    assert {severities[name] for name in wanted} == {"warning"}
    assert report["memory"]["bytes"] == 11 * (24 * 2 + 4) * 4
    assert len(report["cache"]["folders"]) == 2 and report["cache"]["bytes"] > (13 + 12) * 24 * 4


@pytest.mark.parametrize("policy", ["interpolate", "drop"])
@pytest.mark.parametrize("rows", [None, 7])
def test_policies_are_foretold(small: Any, policy: str, rows: int | None) -> None:
    small.tables[NORMALIZED][2][3] = "nan"
    small.tables[NORMALIZED][2][4] = "9"  # beside the hole: interpolation gives a pixel that is clipped too
    small.tables[NORMALIZED][3][9] = "-7"
    small.tables[CONTINUUM][4][5] = "nan"
    small.tables[CONTINUUM][5][1:20] = [""] * 19
    small.tables[LABELS][6][1:5] = [""] * 4
    small.write()
    conf = DataConf(path="small", nonfinite=policy, max_rows=rows, clip={"normalized": [-1, 3]})
    loaded = stars.load(small.workspace, conf)
    told = check(small.workspace, conf)["policies"]
    assert told["clipped"] == loaded.report["clipped"] and sum(told["clipped"].values()) > 0
    assert told["dropped"] == loaded.report["dropped"] > 0 and told["kept"] == len(loaded)
    if policy == "interpolate":
        assert told["interpolated"] == {"pixels": 2, "stars": 2}


def test_what_stops_a_run_is_an_error(small: Any) -> None:
    small.tables[CONTINUUM][4][3] = ""
    for row in small.tables[LABELS][1:]:
        row[4] = ""
    small.write()
    severities = found(check(small.workspace, DataConf(path="small", nonfinite="fail")))
    assert severities == {"nonfinite_fail": "error", "label_empty": "error"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_text_fits_a_terminal(small: Any, monkeypatch: pytest.MonkeyPatch, language: str) -> None:
    path = "a-folder-with-a-rather-long-name/" * 3
    small.folder = small.workspace.dataset / path
    spoil(small)
    monkeypatch.setattr(engine.words, "_chosen", language)
    lines = format_report(check(small.workspace, DataConf(path=path)))
    assert max(map(cell_len, lines)) <= 80 and len(lines) > 25 and not any("{" in line for line in lines)
    assert lines[1].startswith("✗") and lines.index("") > 8


def test_a_break_never_splits_a_number() -> None:
    line = "首个像素的波长和流量为 " + "3612.25 Å（123456789）" * 6
    assert "".join(piece.strip() for piece in wrapped(line)).replace(" ", "") == line.replace(" ", "")
    for piece in wrapped(line):
        assert cell_len(piece) <= 80 and not piece.endswith(("3612", "12345"))
    assert all(cell_len(piece) <= 20 for piece in wrapped("x" * 95, 20))


def test_grids_are_told_apart() -> None:
    assert grid(np.arange(3700, 3800, 0.8))["kind"] == "linear"
    log = 10 ** (3.57 + 1e-4 * np.arange(4000))
    assert grid(log)["kind"] == "log" and grid(np.round(log, 2))["gaps"] == []
    assert grid(np.array([3900.0, 3901, 3903, 3906, 3910, 3915]))["kind"] == "irregular"


@pytest.mark.parametrize(("frame", "seen"), [("vacuum", "vacuum"), ("air", "air"), ("shifted", "unknown")])
def test_the_frame_is_told_from_the_lines(frame: str, seen: str) -> None:
    x = np.arange(4000.0, 6800.0, 0.9)
    flux = np.ones((30, len(x)), np.float32)
    for line in LINES:
        if line.name in ("Hα", "Hβ", "Hγ", "Hδ", "Mg b", "Fe I"):
            at = line.air if frame == "air" else line.vacuum - 5.0 * (frame == "shifted")
            flux -= (0.4 * np.exp(-(((x - at) / 2.5) ** 2))).astype(np.float32)
    flux += np.random.default_rng(3).normal(0, 0.03, flux.shape).astype(np.float32)
    flux[4, 100:300] = np.nan
    part = Spectra(np.arange(30), flux, x, (), np.arange(30), np.zeros(30, np.uint8))
    told = guess_frame(part, np.arange(30))
    assert told is not None and told["guess"] == seen and told["lines"] >= 3
    coarse = Spectra(np.arange(30), flux[:, ::6], x[::6], (), np.arange(30), np.zeros(30, np.uint8))
    assert guess_frame(coarse, np.arange(30)) is None


def test_outliers_are_robust() -> None:
    values = np.append(np.random.default_rng(1).normal(5000, 100, 200), [5800.0, 9e4, np.nan])
    told = describe("Teff", values, np.arange(203))
    assert told["outliers"] == {
        "number": 2,
        "first": [{"obsid": 201, "value": 9e4}, {"obsid": 200, "value": 5800.0}],
    }
    assert told["impossible"]["number"] == 1 and told["missing"] == 1
    shown = told["histogram"]
    assert sum(shown["counts"]) + shown["above"] == 202 and shown["above"] == 2
    assert 8 <= len(shown["counts"]) <= 25 and np.ptp(np.diff(shown["edges"])) < 1e-6
    assert describe("logg", np.array([4.0, 4.0, 4.0]), np.arange(3))["outliers"]["number"] == 0


def test_der_snr_finds_the_noise() -> None:
    noise = np.random.default_rng(2).normal(0, 1 / 40, 4000)
    flux = (1 + 0.2 * np.sin(np.arange(4000) / 200) + noise).astype(np.float32)
    assert der_snr(flux) == pytest.approx(40, rel=0.08)
    flux[::50] = np.nan
    assert der_snr(flux) == pytest.approx(40, rel=0.15)
    assert np.isnan(der_snr(np.ones(100, np.float32)))


def test_a_large_table_takes_one_block_of_memory(tmp_path: Path) -> None:
    """12,000 x 1,000 pixels are 48 MB; the pass may take a few blocks of 2 MB beside them."""
    file = np.lib.format.open_memmap(tmp_path / "f.npy", "w+", np.float32, (12_000, 1_000))
    file[:] = np.linspace(0.9, 1.1, 1_000)
    file[11_000, 700] = np.nan
    file[:, 3] = 1.0
    rows = np.arange(12_000)
    part = Spectra(rows, file, np.arange(1_000.0), (), rows, np.zeros(12_000, np.uint8))
    tracemalloc.start()
    told = survey(part, (-1, 3), mend=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told.nonfinite.per_row.sum() == 1 and told.nonfinite.first[0]["obsid"] == 11_000
    assert constant_columns(told, part.wavelength)["columns"] == 1000  # every star is the same star
    assert peak < 25e6, f"{peak / 1e6:.0f} MB"


def test_the_verb_exits_0_with_problems_and_2_when_unreadable(small: Any) -> None:
    spoil(small)
    (small.workspace.root / "conf").mkdir()
    command = [sys.executable, "-m", "engine", "--root", str(small.workspace.root), "--lang", "en"]

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        whole = [*command, "data", "check", *words]
        return subprocess.run(whole, capture_output=True, text=True, check=False)

    shown = ask("small")
    assert shown.returncode == 0 and shown.stderr == "" and "✗ doubled obsids stop a run" in shown.stdout
    exported = ask("small", "--json")
    assert exported.returncode == 0 and json.loads(exported.stdout)["matched"] == 11
    (small.folder / NORMALIZED).unlink()
    missing = ask("small")
    assert missing.returncode == 2 and missing.stdout == "" and len(missing.stderr.splitlines()) == 1


def test_real_stars(shared: Path, workspace: Any) -> None:
    report = check(workspace, DataConf(path=str(shared / "miles")))
    assert report["matched"] == 983 and report["labels"]["CFe"]["number"] == 372
    assert report["grid"]["kind"] == "linear" and report["grid"]["step"] == 0.8
    assert report["frame"]["guess"] == "vacuum" and abs(report["frame"]["shift"]) < 0.3
    assert report["zero"]["normalized"]["pixels"] == 101 and report["policies"]["kept"] == 980
    assert not any(problem["severity"] == "error" for problem in report["problems"])
