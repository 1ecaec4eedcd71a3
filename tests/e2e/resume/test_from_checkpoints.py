"""What a run goes on from: its newest whole checkpoint; or one line on why it cannot, or what is lost."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.runs import find

from .conftest import House, Trial, as_if_never_disturbed

pytestmark = pytest.mark.e2e


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def emptied(data: bytes) -> bytes:
    return b""


def zeroed(data: bytes) -> bytes:
    return bytes(len(data))


DAMAGE = (cut, flipped, emptied, zeroed)


def spoil(path: Path, how: Callable[[bytes], bytes]) -> None:
    """Damage a file in place: every name of it is damaged."""
    data = how(path.read_bytes())
    with path.open("r+b") as file:
        file.truncate()
        file.write(data)


@pytest.fixture(scope="module")
def half(house: House) -> Trial:
    """A run that was killed at step 15, with checkpoints of steps 10 to 14; to be copied."""
    return house.train("training.save_steps=2", kill=[("update", 15, 0.0)], code=-signal.SIGKILL)


@pytest.fixture(scope="module")
def straight(house: House) -> Trial:
    return house.train("training.save_steps=2")


@pytest.fixture
def trial(house: House, half: Trial) -> Trial:
    """A copy of the killed run, under a name of its own; links stay links."""
    number = len(list(house.workspace.runs.iterdir()))
    to = half.run.path.with_name(f"{half.run.run_id}x{number}")
    shutil.copytree(half.run.path, to)
    for name in ("last.pt", "best.pt"):
        there = half.run.checkpoints / name
        same = next(p for p in half.run.checkpoints.glob("step-*.pt") if p.samefile(there))
        (to / "checkpoints" / name).unlink()
        (to / "checkpoints" / name).hardlink_to(to / "checkpoints" / same.name)
    identity = to / "run.json"
    identity.write_text(identity.read_text().replace(half.run.run_id, to.name))
    return Trial(house, type(half.run)(to))


def steps_of(trial: Trial) -> list[int]:
    return sorted(int(path.stem[5:]) for path in trial.run.checkpoints.glob("step-*.pt"))


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    whole = torch.load(path, weights_only=True)
    change(whole)
    with path.open("r+b") as file:
        file.truncate()
        torch.save(whole, file)


# -- damage --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", DAMAGE, ids=lambda how: how.__name__)
def test_a_damaged_newest_is_set_aside(trial: Trial, straight: Trial, how: Callable[[bytes], bytes]) -> None:
    *_, before, newest = steps_of(trial)
    assert (before, newest) == (12, 14)
    spoil(trial.run.checkpoints / f"step-{newest:08d}.pt", how)
    engine = trial.resume()
    said = [line for line in engine.lines if "damaged" in line]
    assert said == [f"a damaged checkpoint was set aside: step-{newest:08d}.pt.bad; an older one is used"]
    assert f"going on from step {before} " in engine.said
    assert (trial.run.checkpoints / f"step-{newest:08d}.pt.bad").exists()
    as_if_never_disturbed(trial, straight)


@pytest.mark.parametrize("how", DAMAGE, ids=lambda how: how.__name__)
def test_all_damaged_it_starts_over(trial: Trial, straight: Trial, how: Callable[[bytes], bytes]) -> None:
    for path in {path.stat().st_ino: path for path in trial.run.checkpoints.iterdir()}.values():
        spoil(path, how)
    engine = trial.resume()
    assert "starting over from the first step" in engine.said and "damaged" in engine.said
    as_if_never_disturbed(trial, straight)


def test_a_damaged_last_alone_does_not_matter(trial: Trial, straight: Trial) -> None:
    last = trial.run.checkpoints / "last.pt"
    last.unlink()
    last.write_bytes(b"no checkpoint")
    assert "going on from step 14 " in trial.resume().said
    as_if_never_disturbed(trial, straight)


def test_without_links_the_copies_are_used(trial: Trial, straight: Trial) -> None:
    """Somebody copied the run and left the step files out."""
    for path in trial.run.checkpoints.glob("step-*.pt"):
        path.unlink()
    assert "going on from step 14 (last.pt)" in trial.resume().said
    as_if_never_disturbed(trial, straight)


def test_a_damaged_best_is_replaced(trial: Trial) -> None:
    """The best weights are gone for good; the run says so, and still ends with a best that can be used."""
    best = trial.run.checkpoints / "best.pt"
    spoil(best, cut)
    engine = trial.resume()
    assert sum("best.pt is damaged or gone" in line for line in engine.lines) == 1
    assert trial.record.state == "finished"
    assert trial.checkpoint("best.pt")["step"] > 0


def test_every_checkpoint_loads_without_running_code(straight: Trial) -> None:
    files = list(straight.run.path.rglob("*.pt"))
    assert len(files) >= 4
    for path in files:
        whole = torch.load(path, weights_only=True)
        assert {"conf", "scalers", "targets", "wavelength", "weights", "state"} <= set(whole)


# -- exactness -----------------------------------------------------------------------------------------------


def test_other_threads_are_said(house: House) -> None:
    trial = house.train("training.threads=null", kill=[("update", 9, 0.0)], code=-signal.SIGKILL)
    two = "import os; os.environ['OMP_NUM_THREADS'] = '2'"
    engine = trial.resume(before=two)
    lost = "not bit by bit what an unbroken run would be: threads 1 before, 2 now"
    assert engine.lines.count(lost) == 1
    (event,) = trial.events("resume")
    assert (event["exact"], event["lost"]) == (False, [lost])
    record = trial.record
    assert record.state == "finished" and list(record.curves["batch_loss"].steps) == list(range(1, 37))


def test_other_threads_are_said_where_no_checkpoint_is(house: House) -> None:
    sets = ("training.threads=null", "training.save_steps=null")
    trial = house.train(*sets, kill=[("update", 5, 0.0)], code=-signal.SIGKILL)
    engine = trial.resume(before="import os; os.environ['OMP_NUM_THREADS'] = '2'")
    assert "threads 1 before, 2 now" in engine.said
    assert list(trial.record.curves["batch_loss"].steps) == list(range(1, 37))


def test_the_threads_of_a_run_stay_its_own(house: House) -> None:
    """Nobody says how many: a run goes on with those that it began with."""
    trial = house.train("training.threads=null", kill=[("update", 9, 0.0)], code=-signal.SIGKILL)
    engine = trial.resume(before="import os; os.environ.pop('OMP_NUM_THREADS')")
    assert "not bit by bit" not in engine.said
    assert trial.record.machine["threads"] == 1


@pytest.mark.parametrize(("fact", "words"), [("torch", "torch 1.0 before"), ("world", "processes 4 before")])
def test_another_torch_or_number_of_processes_is_said(trial: Trial, fact: str, words: str) -> None:
    def change(whole: dict[str, Any]) -> None:
        if fact == "torch":
            whole["versions"]["torch"] = "1.0"
        else:
            whole["world"] = 4

    rewrite(trial.run.checkpoints / "step-00000014.pt", change)
    engine = trial.resume()
    assert sum(words in line for line in engine.lines) == 1
    assert trial.record.state == "finished"


# -- refusals ------------------------------------------------------------------------------------------------


def refused(house: House, run: str) -> str:
    engine = house.run("resume", run, code=2)
    return engine.lines[-1]


def files_of(trial: Trial) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in trial.run.path.rglob("*") if p.is_file()}


def test_a_finished_run_is_pointed_to_its_weights(house: House, straight: Trial) -> None:
    before = files_of(straight)
    said = refused(house, straight.run.run_id)
    assert said.endswith(f"spectui train --from {straight.run.run_id}") and "has finished" in said
    assert files_of(straight) == before


def test_an_unknown_run_is_refused(house: House) -> None:
    assert "no run" in refused(house, "nobody").lower() or "nobody" in refused(house, "nobody")


def test_a_run_at_work_is_refused_with_its_pid(house: House) -> None:
    engine = house.start("train", "tiny", "--train_epochs", "100000")
    try:
        record = None
        while record is None or record.state != "running":
            record = next((r for r in find.records(house.workspace) if r.pid == engine.pid), None)
        assert f"(pid {engine.pid})" in refused(house, record.run_id)
    finally:
        os.kill(engine.pid, signal.SIGTERM)
        assert engine.wait() == 85


def test_other_tables_are_refused(build: Callable[..., House]) -> None:
    house = build()
    trial = house.train(kill=[("update", 9, 0.0)], code=-signal.SIGKILL)
    table = house.workspace.dataset / "spectral" / "removed_with_rv.csv"
    whole = table.read_text()
    table.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    before = files_of(trial)
    assert "the tables are not those it was trained on" in refused(house, trial.run.run_id)
    assert files_of(trial) == before
    table.write_text(whole)
    trial.resume()


def test_a_checkpoint_of_the_first_format_is_refused(trial: Trial) -> None:
    def change(whole: dict[str, Any]) -> None:
        whole["format"] = 1
        del whole["weights"], whole["state"]["rate"], whole["state"]["random"]

    for step in steps_of(trial):
        rewrite(trial.run.checkpoints / f"step-{step:08d}.pt", change)
    before = files_of(trial)
    said = refused(trial.house, trial.run.run_id)
    assert "written by an earlier version" in said and f"spectui train --from {trial.run.run_id}" in said
    assert files_of(trial) == before
