"""A file system that really is full: one line, a truthful end, nothing lost, and on after room was made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest
import torch

from .conftest import House, Trial, as_if_never_disturbed

pytestmark = pytest.mark.e2e

# At a place in the engine (see forks.py), at its n-th visit, the disk fills up to so many bytes.
FILL = """
import os
import __main__ as forks
place, visit, left, runs = {asked!r}
def strike(after):
    room = os.statvfs(runs)
    with open(os.path.join(runs, ".ballast"), "wb", buffering=0) as file:
        file.write(bytes(max(0, room.f_bavail * room.f_frsize - left)))
forks.strike = strike
forks.mine(place, visit, 0.0)
"""


@pytest.fixture(scope="module")
def house(build: Callable[..., House]) -> Iterator[House]:
    """A house whose runs are on a file system of two megabytes, where this machine lets us."""
    made = build()
    runs = made.workspace.runs
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(runs)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield made
    subprocess.run(["umount", "--lazy", str(runs)], check=True)


@pytest.fixture(scope="module")
def straight(build: Callable[..., House]) -> Trial:
    return build().train()


@pytest.fixture
def fill(house: House) -> Iterator[Callable[[str, int, int], str]]:
    """`fill(place, visit, left)` is what fills the disk; room is made after the test."""
    runs = house.workspace.runs
    yield lambda place, visit, left: FILL.format(asked=(place, visit, left, str(runs)))
    make_room(house)
    for path in runs.iterdir():
        subprocess.run(["rm", "-r", str(path)], check=True)


def make_room(house: House) -> None:
    (house.workspace.runs / ".ballast").unlink(missing_ok=True)


CASES = [
    ("save", 1, 0), ("save", 3, 9_000), ("save", 4, 40_000), ("written", 3, 0), ("event", 8, 0),
    ("event", 40, 0), ("epoch", 2, 0), ("tables", 1, 0), ("export", 1, 0), ("preparing", 1, 0),
]  # fmt: skip


@pytest.mark.parametrize(("place", "visit", "left"), CASES)
def test_the_disk_fills_up(
    house: House, straight: Trial, fill: Callable[..., str], place: str, visit: int, left: int
) -> None:
    engine = house.run("train", "tiny", before=fill(place, visit, left), code=1)
    trial = house.new()
    assert "Traceback" not in engine.said
    assert sum("the disk is full" in line for line in engine.lines) == 1, engine.said
    assert f"spectui resume {trial.run.run_id}" in engine.said
    (end,) = trial.events("end")
    assert (end["outcome"], end["exit_code"]) == ("failed", 1) and "the disk is full" in end["message"]
    assert trial.record.state == "failed"
    for path in trial.run.checkpoints.glob("*.pt"):
        torch.load(path, weights_only=True)
    assert not list(trial.run.checkpoints.glob(".*"))
    # still full: it says so again, and does no harm
    again = trial.resume(code=1)
    assert "the disk is full" in again.said and "Traceback" not in again.said
    make_room(house)
    trial.resume()
    as_if_never_disturbed(trial, straight)


def test_no_room_at_all_for_another_attempt(house: House, straight: Trial, fill: Callable[..., str]) -> None:
    """Not a byte is free when it is resumed: nothing changes, and it still can be."""
    trial = house.train(kill=[("update", 9, 0.0)], code=-9)
    room = os.statvfs(trial.run.path)
    (house.workspace.runs / ".ballast").write_bytes(bytes(room.f_bavail * room.f_frsize))
    engine = trial.resume(code=1)
    assert "Traceback" not in engine.said and "the disk is full" in engine.lines[-1]
    assert trial.record.state == "died"
    make_room(house)
    trial.resume()
    as_if_never_disturbed(trial, straight)


def test_there_is_no_room_for_a_run(house: House, fill: Callable[..., str]) -> None:
    engine = house.run("train", "tiny", before=fill("reading", 1, 0), code=1)
    assert "Traceback" not in engine.said
    runs = house.workspace.runs
    assert engine.lines[-1] == f"{runs}: no run can be made there: No space left on device"
    assert [p.name for p in house.workspace.runs.iterdir()] == [".ballast"]
