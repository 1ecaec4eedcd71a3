"""Six first launches at once where MLflow was never seen: six runs, one store, one experiment."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("app")]


def ask(workspace: Path, question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(workspace / "mlflow.db")) as connection:
        return connection.execute(question).fetchall()


def test_six_first_launches_at_once(
    spectui: Any, workspace: Path, clean_environment: Callable[..., dict[str, str]]
) -> None:
    words = ("launch", "mlp", "--train_epochs", "1", "--model_id")
    launches = [
        subprocess.Popen(
            spectui.command(*words, f"first-{number}"), cwd=workspace, env=clean_environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(6)
    ]  # fmt: skip
    try:
        ids = []
        for launch in launches:
            out, err = launch.communicate(timeout=120)
            assert launch.returncode == 0, err
            ids += out.split()
        assert len(set(ids)) == 6
        deadline = time.monotonic() + 200
        while True:
            rows = (
                ask(workspace, "select name, status from runs") if (workspace / "mlflow.db").exists() else []
            )
            if len(rows) == 6 and {status for _, status in rows} == {"FINISHED"}:
                break
            assert time.monotonic() < deadline, rows
            time.sleep(0.5)
        assert sorted(name for name, _ in rows) == [f"first-{number}" for number in range(6)]
        names = [name for (name,) in ask(workspace, "select name from experiments")]
        assert sorted(names) == ["Default", "spectral_prediction"]
    finally:
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(workspace).encode() in entry.read_bytes():
                    os.kill(int(entry.parent.name), signal.SIGKILL)
