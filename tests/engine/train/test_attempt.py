"""Real `spectui train` processes: exit codes, signals, end events."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.runs import find
from engine.runs.record import Record
from engine.workspace import Workspace

pytestmark = pytest.mark.e2e

FOR_EVER = ("train", "tiny", "--train_epochs", "100000")


def only_run(workspace: Workspace) -> Record:
    (record,) = find.records(workspace)
    return record


def phase_of(workspace: Workspace) -> str:
    found = find.records(workspace)
    return found[0].phase if found else ""


def test_a_run_that_finishes_exits_with_0_and_prints_its_errors(workspace: Workspace, processes: Any) -> None:
    done = processes.run("train", "tiny", "--set", "training.epochs=3")
    assert done.returncode == 0, done.stderr
    record = only_run(workspace)
    assert record.state == "finished"
    assert record.identity["command"][1:] == [
        "--root", str(workspace.root), "train", "tiny", "--set", "training.epochs=3",
    ]  # fmt: skip
    for label in ("Teff", "logg", "FeH", "CFe"):
        assert any(line.startswith(label) for line in done.stdout.splitlines()), "facts go to stdout"
    assert "epoch 3/3" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout, "no colour and no bar without a terminal"


def test_bad_input_exits_with_2_and_leaves_nothing(workspace: Workspace, processes: Any) -> None:
    (workspace.dataset / "spectral" / "removed_with_rv.csv").unlink()
    done = processes.run("train", "tiny")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "removed_with_rv.csv" in done.stderr
    assert list(workspace.runs.iterdir()) == []
    for words in (
        ("train",),
        ("train", "tinny"),
        ("train", "tiny", "--batch_size", "one"),
        ("train", "tiny", "--bach"),
    ):
        wrong = processes.run(*words)
        assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1), wrong.stderr


def test_a_learning_rate_that_is_far_too_high_exits_with_87(workspace: Workspace, processes: Any) -> None:
    done = processes.run("train", "tiny", "--learning_rate", "1e38", "--gradient_clip_val", "null")
    assert done.returncode == 87, done.stderr
    record = only_run(workspace)
    assert record.state == "diverged"
    assert record.nonfinite is not None
    assert f"step {record.nonfinite.step} " in done.stderr
    shown = json.loads(processes.run("diagnose", "@last", "--json").stdout)
    assert shown["findings"][0]["id"] in ("SP101", "SP102")


def test_a_signal_while_training_saves_and_exits_with_85(
    workspace: Workspace, processes: Any, until: Callable[..., Any]
) -> None:
    process = processes.start(*FOR_EVER)
    until(lambda: phase_of(workspace) == "training" and only_run(workspace).step > 3)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=90)
    assert process.returncode == 85, said
    record = only_run(workspace)
    assert record.state == "stopped"
    assert record.end is not None
    assert "SIGTERM" in record.end["message"]
    last = torch.load(record.folder.checkpoints / "last.pt", weights_only=True)
    assert last["step"] == record.step == last["state"]["progress"]["step"]


def test_a_signal_while_torch_loads_ends_the_run_properly(
    workspace: Workspace, processes: Any, until: Callable[..., Any]
) -> None:
    process = processes.start(*FOR_EVER)
    until(lambda: phase_of(workspace) == "loading")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=90)
    assert process.returncode == 85, said
    record = only_run(workspace)
    assert record.state == "stopped"
    assert record.training_at is None or record.checkpoints
    assert "SIGTERM" in said


def test_a_kill_leaves_a_run_that_died_and_a_good_checkpoint(
    workspace: Workspace, processes: Any, until: Callable[..., Any]
) -> None:
    process = processes.start(*FOR_EVER)
    until(lambda: phase_of(workspace) == "training" and only_run(workspace).checkpoints)
    process.kill()
    record = only_run(workspace)
    until(lambda: record.refresh() or record.state == "died")
    assert record.end is None
    last: Path = record.folder.checkpoints / "last.pt"
    assert torch.load(last, weights_only=True)["step"] > 0
    shown = json.loads(processes.run("show", record.run_id, "--json").stdout)
    assert shown["state"] == "died"
    assert [f["id"] for f in shown["findings"]] == ["SP901"]
