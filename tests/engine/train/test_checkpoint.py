"""Checkpoints are whole or not there, whatever happens while one is written."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import BadInput
from engine.train import checkpoint
from engine.train.checkpoint import Checkpoints, load

WEIGHTS = {"w": torch.ones(3)}


class Poison:
    """An object that raises while it is saved."""

    def __reduce__(self) -> Any:
        raise ValueError("poison")


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path, {"conf": {"name": "x"}, "targets": ["Teff"]})


def state(value: float) -> dict[str, Any]:
    return {"network": {"w": torch.full((3,), value)}, "progress": {"step": int(value)}}


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_checkpoint_is_complete_in_itself(checkpoints: Checkpoints, tmp_path: Path) -> None:
    path = checkpoints.save(state(7), WEIGHTS, step=7, epoch=2, best=True)
    assert path.name == "step-00000007.pt"
    for name in (path.name, "last.pt", "best.pt"):
        whole = load(tmp_path / name)
        assert (whole["format"], whole["step"], whole["epoch"]) == (checkpoint.FORMAT, 7, 2)
        assert (whole["conf"], whole["targets"]) == ({"name": "x"}, ["Teff"])
        assert whole["state"]["network"]["w"].tolist() == [7, 7, 7]
    assert len({(tmp_path / n).stat().st_ino for n in ("last.pt", "best.pt", path.name)}) == 1, (
        "one file on disk"
    )


def test_the_newest_two_and_the_best_are_kept(checkpoints: Checkpoints, tmp_path: Path) -> None:
    for step in range(1, 8):
        checkpoints.save(state(step), WEIGHTS, step=step, epoch=step, best=step == 3)
    kept = sorted(p.name for p in tmp_path.iterdir())
    assert kept == ["best.pt", "last.pt", "step-00000003.pt", "step-00000006.pt", "step-00000007.pt"]
    assert load(tmp_path / "best.pt")["step"] == 3
    assert load(tmp_path / "last.pt")["step"] == 7


@pytest.mark.parametrize("at", ["poison", "fsync", "replace"])
def test_a_failure_while_saving_changes_nothing(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    checkpoints.save(state(1), WEIGHTS, step=1, epoch=1, best=True)
    before = files(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    bad: dict[str, Any] = state(2)
    if at == "poison":
        bad["network"]["z"] = Poison()
    elif at == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises((OSError, ValueError)):
        checkpoints.save(bad, WEIGHTS, step=2, epoch=2, best=True)
    assert files(tmp_path) == before


def test_without_hard_links_copies_say_the_same(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for step in range(1, 6):
        checkpoints.save(state(step), WEIGHTS, step=step, epoch=step, best=step == 1)
    assert load(tmp_path / "best.pt")["step"] == 1
    assert load(tmp_path / "last.pt")["step"] == 5


def save_for_ever(folder: Path, step: int) -> None:
    """Save without pause, as a forked child that is going to be killed."""
    checkpoints = Checkpoints(folder, {"conf": {}})
    while True:
        weights = torch.full((100_000,), float(step))
        checkpoints.save({"weights": weights}, WEIGHTS, step=step, epoch=1, best=step % 3 == 1)
        step += 1


def test_a_kill_while_saving_always_leaves_a_good_last_and_best(tmp_path: Path) -> None:
    """Twenty processes, one after the other, are killed at random moments of saving into one folder."""
    generator = random.Random(5)
    step, strays = 1, 0
    for _ in range(20):
        child = os.fork()
        if child == 0:
            try:
                save_for_ever(tmp_path, step)
            finally:
                os._exit(1)
        try:
            until = time.monotonic() + 30
            while not (tmp_path / f"step-{step:08d}.pt").exists() and time.monotonic() < until:
                time.sleep(0.001)
            time.sleep(generator.uniform(0, 0.02))
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        for name in ("last.pt", "best.pt") if step > 1 else ():
            whole = load(tmp_path / name)
            assert whole["state"]["weights"].eq(float(whole["step"])).all()
        newest = max(int(p.stem.partition("-")[2]) for p in tmp_path.glob("step-*.pt"))
        strays += len(Checkpoints(tmp_path, {}).sweep())
        assert not list(tmp_path.glob(".*"))
        step = newest + 1
    assert strays > 3, "some of the kills came in the middle of writing"
    Checkpoints(tmp_path, {}).save({}, WEIGHTS, step=step, epoch=1, best=False)
    assert len(list(tmp_path.glob("step-*.pt"))) <= 3, "what kills left is cleared by the next save"


def damage(whole: bytes) -> dict[str, bytes]:
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    return {
        "empty": b"", "text": b"these are not the bytes\n", "half": whole[: len(whole) // 2],
        "short": whole[:-1], "tail": whole[100:], "zeros": bytes(len(whole)), "flipped": bytes(flipped),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["empty", "text", "half", "short", "tail", "zeros", "flipped"])
def test_a_damaged_checkpoint_is_named(checkpoints: Checkpoints, tmp_path: Path, kind: str) -> None:
    big = {"network": {"w": torch.arange(10_000.0)}}
    path = checkpoints.save(big, WEIGHTS, step=1, epoch=1, best=True)
    bad = tmp_path / "bad.pt"
    bad.write_bytes(damage(path.read_bytes())[kind])
    with pytest.raises(BadInput, match=r"bad.pt: damaged checkpoint: ."):
        load(bad)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "hacked"),))

    torch.save({"format": 1, "x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(BadInput, match="damaged"):
        load(tmp_path / "evil.pt")
    assert not (tmp_path / "hacked").exists()


def test_missing_and_later_checkpoints_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such checkpoint"):
        load(tmp_path / "gone.pt")
    torch.save({"format": checkpoint.FORMAT + 1}, tmp_path / "later.pt")
    with pytest.raises(BadInput, match="later spectui"):
        load(tmp_path / "later.pt")
