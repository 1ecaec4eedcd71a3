"""Trouble that is not the run's end for good: memory, a reader that dies, stars that are no numbers."""

from __future__ import annotations

import csv
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.spectra.synthetic import FILES, write_demo

from .conftest import Engine, House, Trial, as_if_never_disturbed

pytestmark = pytest.mark.e2e

# A network whose activations are large and whose weights are few: two megabytes a star, some times over.
HUNGRY = '''
import torch
from torch import nn
from models import register_model


@register_model("Hungry")
class Hungry(nn.Module):
    """Every pixel many times."""

    def __init__(self, points: int, labels: int, times: int = 8_000, more: int = 0) -> None:
        super().__init__()
        self.more = more
        self.factor_K = nn.Parameter(torch.ones(times))
        self.line = nn.Linear(points, labels)

    def forward(self, normalized: torch.Tensor) -> torch.Tensor:
        spread_BLK = torch.relu(normalized[:, :, None] * self.factor_K)
        for _ in range(self.more if self.training else 0):
            spread_BLK = torch.relu(spread_BLK + 1e-3)  # kept for the way back, each of them
        return self.line(spread_BLK.mean(dim=2))
'''

# An address space limit, as `ulimit -v` sets it: what the process has, and so many megabytes.
LIMIT = """
import resource
pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + {megabytes} * 2**20
resource.setrlimit(resource.RLIMIT_AS, (most, most))
"""


@pytest.fixture(scope="module")
def house(build: Callable[..., House]) -> House:
    made = build()
    (made.workspace.networks / "hungry.py").write_text(HUNGRY)
    write_demo(made.workspace.dataset / "many", stars=400, points=64)
    return made


# -- memory --------------------------------------------------------------------------------------------------


def test_out_of_memory_says_what_fits_and_it_fits(house: House) -> None:
    hungry = ("model={name: Hungry}", "training.batch_size=48", "training.epochs=1")
    limit = LIMIT.format(megabytes=180)
    house.run(*words(hungry), before=limit, code=86)
    trial = house.new()
    (end,) = trial.events("end")
    assert (end["outcome"], end["exit_code"]) == ("failed", 86)
    said = end["message"]
    assert "\n" not in said and "Traceback" not in trial.run.log.read_text()
    (facts,) = trial.events("memory")
    assert facts["batch"] == 48 and 2 <= facts["fits"] < 48
    assert facts["asked"] > 20e6 and facts["peak"] > 100e6
    for figure in (
        f"{facts['asked'] / 1e6:,.0f} MB",
        f"{facts['peak'] / 1e6:,.0f} MB",
        f"--batch_size {facts['fits']}",
    ):
        assert figure in said
    assert "batch_size 48" in said
    smaller = f"training.batch_size={facts['fits']}"
    house.train(*hungry, smaller, before=limit)
    # the same batch in more pieces is what the line advises
    house.train(*hungry, smaller, "training.accumulate=2", before=limit)
    # and a run that ran out goes on where there is more
    trial.resume()
    assert trial.record.state == "finished"


def test_not_even_two_stars_fit(house: House) -> None:
    """It can be built, which runs two stars forward, and needs four times as much to learn from two."""
    hungry = ("model={name: Hungry, times: 200000, more: 8}", "training.batch_size=4")
    house.run(*words(hungry), before=LIMIT.format(megabytes=600), code=86)
    assert "Not even a batch of 2 fits" in house.new().events("end")[0]["message"]


def test_a_network_that_is_too_large_to_be_built(house: House) -> None:
    engine = house.run(
        *words(("model={name: Hungry, times: 2000000}",)), before=LIMIT.format(megabytes=300), code=86
    )
    assert "out of memory on cpu" in engine.lines[-1] and "Traceback" not in engine.said
    assert house.new().events("end")[0]["exit_code"] == 86


def words(sets: tuple[str, ...]) -> list[str]:
    return ["train", "tiny", *(word for one in sets for word in ("--set", one))]


# -- a reader that dies --------------------------------------------------------------------------------------

BLOCKS = (
    "data.path=many", "data.memory_share=1e-9", "training.batch_size=24", "training.epochs=3",
    "data.normalized_scaler=minmax",
)  # fmt: skip

# At the n-th update the file of a branch in the cache becomes short, or the disk answers with an error.
CUT = """
import os
import __main__ as forks
def strike(after):
    os.truncate({path!r}, 4096)
forks.strike = strike
forks.mine("update", {visit}, 0.0)
"""
BROKEN = """
import errno, os
import __main__ as forks
def fail(*_):
    raise OSError(errno.EIO, "Input/output error")
def strike(after):
    os.preadv = fail
forks.strike = strike
forks.mine("update", {visit}, 0.0)
"""


@pytest.fixture(scope="module")
def many(house: House) -> Trial:
    return house.train(*BLOCKS)


@pytest.mark.parametrize(("how", "visit"), [(CUT, 5), (CUT, 17), (BROKEN, 5), (BROKEN, 17)])
def test_a_dead_reader_is_one_line(house: House, many: Trial, how: str, visit: int) -> None:
    path = max(house.workspace.cache.glob("spectra/sets/*/continuum.npy"), key=lambda p: p.stat().st_size)
    kept = path.read_bytes()
    engine = house.run(*words(BLOCKS), before=how.format(path=str(path), visit=visit), code=1)
    trial = house.new()
    assert "Traceback" not in engine.said
    (end,) = trial.events("end")
    assert (end["outcome"], end["exit_code"]) == ("failed", 1)
    assert "\n" not in end["message"] and f"spectui resume {trial.run.run_id}" in end["message"]
    assert re.search("became shorter|Input/output error", end["message"])
    assert str(path.parent) in end["message"], "which file"
    # resume notices what is damaged and makes it again
    trial.resume()
    as_if_never_disturbed(trial, many)
    assert path.read_bytes() == kept


def test_a_kill_while_blocks_are_read(house: House, many: Trial) -> None:
    trial = house.train(*BLOCKS, kill=[("update", 17, 0.001)], code=-signal.SIGKILL)
    trial.resume()
    as_if_never_disturbed(trial, many)


# -- no numbers ----------------------------------------------------------------------------------------------

RAW = (
    "data.path=poisoned", "data.clip.normalized=null", "data.continuum_scaler=none",
    "training.gradient_clip_val=null", "model.dropout=0.0",
)  # fmt: skip


@pytest.fixture(scope="module")
def poisoned(house: House) -> tuple[str, float]:
    """A table in which one star of the training part has one absurd pixel; its obsid and the wavelength."""
    with house.train("training.epochs=1").run.split.open(newline="") as file:
        learnt = [row["obsid"] for row in csv.DictReader(file) if row["part"] == "train"]
    folder = house.workspace.dataset / "poisoned"
    folder.mkdir()
    for name in FILES:
        text = (house.workspace.dataset / "spectral" / name).read_text()
        rows = list(csv.reader(text.splitlines()))
        if name == FILES[1]:
            row = next(row for row in rows if row[0] == learnt[7])
            row[21] = "3e38"
            at = float(rows[0][21])
        (folder / name).write_text("".join(",".join(row) + "\n" for row in rows))
    return learnt[7], at


def ended_with(house: House, *sets: str, code: int) -> tuple[Engine, Trial]:
    engine = house.run(*words((*RAW, *sets)), code=code)
    return engine, house.new()


def test_a_poisoned_star_is_named_first(house: House, poisoned: tuple[str, float]) -> None:
    obsid, wavelength = poisoned
    engine, trial = ended_with(house, code=87)
    record = trial.record
    bad = record.nonfinite
    assert record.state == "diverged" and bad is not None
    assert bad.extremes[0]["obsid"] == obsid and bad.obsids[0] == obsid
    assert bad.extremes[0]["wavelength"] == pytest.approx(wavelength, abs=0.01)
    assert bad.extremes[0]["branch"] == "normalized" and bad.extremes[0]["flux"] == pytest.approx(
        3e38, rel=1e-3
    )
    assert bad.module is not None and bad.module.startswith(("layers.", "loss"))
    assert f"step {bad.step} (epoch 1)" in engine.said
    assert f"stars to look at first: {obsid}" in engine.said
    assert f"at {wavelength:.1f} Å, normalized of {obsid}" in engine.said
    (end,) = trial.events("end")
    assert (end["outcome"], end["exit_code"]) == ("diverged", 87)
    # saved as it was before that step, and so it is bad again there
    assert trial.checkpoint()["step"] == bad.step - 1
    trial.resume(code=87)
    again = trial.record.nonfinite
    assert again is not None and (again.step, again.obsids[0]) == (bad.step, obsid)


def test_a_poisoned_star_is_left_out(house: House, poisoned: tuple[str, float]) -> None:
    _, trial = ended_with(house, "training.on_nonfinite=skip", code=0)
    record = trial.record
    assert record.state == "finished" and record.step == record.total_steps
    assert len(record.bad_steps) == 6, "once an epoch"
    assert all(event["obsids"][0] == poisoned[0] and event["action"] == "skip" for event in record.bad_steps)
    assert trial.checkpoint()["state"]["progress"]["bad_steps"] == 6


def test_too_many_in_a_row_end_it(house: House, poisoned: tuple[str, float]) -> None:
    """With all stars in one batch every step is bad."""
    sets = ("training.on_nonfinite=skip", "training.batch_size=48", "training.nonfinite_limit=2")
    _, trial = ended_with(house, *sets, code=87)
    assert [event["step"] for event in trial.record.bad_steps] == [1, 2]
    assert trial.record.nonfinite is not None and trial.record.nonfinite.step == 3


def test_going_back_halves_the_rate_and_ends(house: House, poisoned: tuple[str, float]) -> None:
    sets = ("training.on_nonfinite=rollback", "training.schedule=constant", "training.nonfinite_limit=2")
    _, trial = ended_with(house, *sets, code=87)
    rewinds = trial.events("rewind")
    assert [event["learning_rate"] for event in rewinds] == [pytest.approx(1.5e-3), pytest.approx(0.75e-3)]
    assert all(event["step"] < event["was"] for event in rewinds)
    steps = list(trial.record.curves["batch_loss"].steps)
    assert steps == list(range(1, len(steps) + 1))


def test_an_overflow_of_half_precision_is_no_divergence(house: House) -> None:
    """The scale begins too high for these gradients: steps are left out and counted until it fits."""
    scale = """
import torch
real = torch.amp.GradScaler
torch.amp.GradScaler = lambda device: real(device, init_scale=2.0**40)
"""
    trial = house.train("training.precision=fp16", before=scale)
    record = trial.record
    assert record.state == "finished" and record.nonfinite is None
    assert record.last["skipped_steps"] > 10
    assert record.step == record.total_steps


def test_half_precision_that_does_not_recover_is_named(house: House, poisoned: tuple[str, float]) -> None:
    engine, trial = ended_with(house, "training.precision=fp16", code=87)
    bad = trial.record.nonfinite
    assert bad is not None and bad.extremes[0]["obsid"] == poisoned[0]
    assert f"normalized of {poisoned[0]}" in engine.said


def test_a_bad_network_file_after_a_launch_ends_the_run(house: House, tmp_path: Path) -> None:
    """The network of a run that was killed is gone: one line, exit code 2, and nothing is written."""
    path = house.workspace.networks / "hungry.py"
    trial = house.train("model={name: Hungry, times: 10}", kill=[("update", 9, 0.0)], code=-signal.SIGKILL)
    path.rename(tmp_path / "hungry.py")
    try:
        engine = trial.resume(code=2)
        assert "Traceback" not in engine.said and "Hungry" in engine.said
    finally:
        (tmp_path / "hungry.py").rename(path)
    trial.resume()
    assert trial.record.state == "finished"
