"""Kill -9, anywhere: the run goes on and ends, to the bit, as if nothing had happened."""

from __future__ import annotations

import random
import signal

import pytest

from .conftest import House, Trial, as_if_never_disturbed, words_of

pytestmark = pytest.mark.e2e

# Where, and at which visit at most: an attempt gets that far whatever was saved before it.
AT_WORK = {
    "preparing": 1, "forward": 7, "update": 7, "evaluation": 1, "epoch": 1, "event": 20, "save": 2,
    "written": 4, "linked": 2,
}  # fmt: skip
AT_THE_END = ("testing", "tables", "export", "figures")
LAST = ("export", "figures")  # a moment later it would be over


def killed(trial: Trial) -> None:
    record = trial.record
    assert record.state == "died" and record.end is None


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_random_moments(house: House, straight: Trial, seed: int) -> None:
    """Six runs, each killed four or five times, here or there, at once or a moment later."""
    draw = random.Random(seed)
    places = [*draw.sample(sorted(AT_WORK), 3), draw.choice(AT_THE_END)]
    if seed % 2:
        places.insert(0, "reading")
    trial: Trial | None = None
    for place in places:
        after = 0.0 if place in LAST else draw.choice((0.0, draw.uniform(0, 0.003)))
        kill = (place, draw.randint(1, AT_WORK.get(place, 1)), after)
        words = words_of(()) if trial is None else ["resume", trial.run.run_id]
        house.run(*words, kill=[kill], code=-signal.SIGKILL)
        if trial is None and place == "reading":
            continue  # before there is a run
        trial = trial or house.new()
        killed(trial)
    assert trial is not None
    trial.resume()
    as_if_never_disturbed(trial, straight)


@pytest.mark.parametrize(("visit", "what"), [(2, "last"), (3, "best")])
def test_killed_before_a_checkpoint_has_its_name(
    house: House, straight: Trial, visit: int, what: str
) -> None:
    """The end of the first epoch is written as `step-00000006.pt`, and neither the last nor the best yet."""
    trial = house.train(kill=[("written", visit, 0.0)], code=-signal.SIGKILL)
    there = {path.name for path in trial.run.checkpoints.glob("*.pt")}
    assert "step-00000006.pt" in there and "best.pt" not in there
    engine = trial.resume()
    assert "going on from step 6 " in engine.said
    as_if_never_disturbed(trial, straight)


def test_killed_while_a_checkpoint_is_written(house: House, straight: Trial) -> None:
    """What is half-written is swept away, and counts for nothing."""
    torn = """
import os, signal
import torch
def half(whole, file, real=torch.save, seen=[]):
    seen.append(1)
    if len(seen) < 3:
        return real(whole, file)
    import io
    buffer = io.BytesIO()
    real(whole, buffer)
    file.write(buffer.getvalue()[:3000])
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
torch.save = half
"""
    trial = house.train(before=torn, code=-signal.SIGKILL)
    assert list(trial.run.checkpoints.glob(".*.tmp")), "half of a checkpoint is there"
    trial.resume()
    as_if_never_disturbed(trial, straight)


def test_killed_before_the_first_checkpoint(house: House) -> None:
    """Starts over from the first step, says so, and records nothing twice."""
    rarely = ("training.save_steps=null", "training.epochs=2")
    whole = house.train(*rarely)
    trial = house.train(*rarely, kill=[("update", 5, 0.0)], code=-signal.SIGKILL)
    assert trial.record.step > 0 and not list(trial.run.checkpoints.iterdir())
    engine = trial.resume()
    assert "starting over from the first step" in engine.said
    as_if_never_disturbed(trial, whole)


def test_a_kill_leaves_the_run_to_be_seen_as_died(house: House, straight: Trial) -> None:
    trial = house.train(kill=[("update", 5, 0.0)], code=-signal.SIGKILL)
    assert house.run("runs", "--filter", "state=died", "--columns", "run_id", "--csv").lines[1:] == [
        trial.run.run_id
    ]
    trial.resume()
    assert [e["number"] for e in trial.events("attempt")] == [1, 2]
    (resumed,) = trial.events("resume")
    assert (resumed["step"], resumed["exact"], resumed["lost"]) == (4, True, [])
    as_if_never_disturbed(trial, straight)
