"""What is loaded with what: the torch-free half stays so, and `--help` loads next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "mlflow", "pandas", "numpy", "matplotlib", "textual", "plotext", "sqlalchemy")
PURE = (
    "engine.conf.load", "engine.conf.form", "engine.runs.launch", "engine.runs.record", "engine.runs.find",
    "engine.runs.select", "engine.track.listing", "engine.track.replicate", "engine.diagnose", "engine.words",
    "engine.catalog", "engine.spectra.layout", "engine.cli", "engine.cli.inspect", "engine.cli.things",
    "engine.cli.training", "engine.cli.workspace", "engine.cli.data", "engine.figures", "engine.init",
    "engine.figures.predictions", "engine.spectra.label_units",
    "engine.train.attempt", "engine.train.report", "engine.train.stop", "engine.workspace",
    "engine.course", "engine.cli.schedule", "engine.cli.queueing", "engine.runs.queue_owner",
    "engine.track.feed", "engine.track.follow", "engine.track.remote",
)  # fmt: skip


def loaded_after(code: str) -> set[str]:
    """Return which heavy modules a fresh Python has loaded after `code`."""
    tell = f"import sys, json; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]), file=sys.stderr)"
    probe = f"{code}\n{tell}"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_the_torch_free_half_loads_neither_torch_nor_mlflow() -> None:
    found = loaded_after("import " + ", ".join(PURE))
    assert found & {"torch", "mlflow", "sqlalchemy", "textual", "plotext", "matplotlib"} == set()


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["--version"], ["models", "show", "--help"]]
)
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    ask = f"""
from engine.cli import main
try:
    main({words!r})
except SystemExit as end:
    assert not end.code"""
    assert loaded_after(ask) == set()


def test_the_probe_itself_sees_what_is_loaded() -> None:
    assert loaded_after("import numpy") == {"numpy"}


def test_the_runs_open_without_what_only_forms_and_charts_need() -> None:
    probe = "import sys, tui.boot, tui.app, tui.screens.runs, tui.screens.run; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & {"pydantic", "numpy", "plotext", "watchdog"} == set()
