"""Several processes train as one: shares of a batch, and real processes under gloo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engine
from engine.conf.data import Augment
from engine.errors import BadInput
from engine.runs.folder import RunFolder
from engine.spectra import resample
from engine.spectra.ondisk import FluxFile
from engine.train import attempt, augment, told
from engine.train.batches import Batches
from engine.train.blocks import Stored, Windows
from engine.train.device import choose_device
from engine.train.ranks import Ranks
from engine.train.rows import Resident, Rows
from engine.workspace import Workspace
from models import contract

CPU = torch.device("cpu")
STARS, POINTS = 300, 7


# -- shares of a batch --------------------------------------------------------------------------------------


def resident(device: torch.device, folder: Path, part_N: np.ndarray) -> Resident | Stored:
    """Return flux that says which star and pixel it is, in memory."""
    flux = torch.arange(2 * STARS * POINTS, dtype=torch.float32).reshape(2 * STARS, POINTS)
    return Resident(flux, -flux, torch.from_numpy(part_N), device)


def stored(device: torch.device, folder: Path, part_N: np.ndarray) -> Resident | Stored:
    """Return the same flux, in files."""
    flux = np.arange(2 * STARS * POINTS, dtype=np.float32).reshape(2 * STARS, POINTS)
    np.save(folder / "continuum.npy", flux)
    np.save(folder / "normalized.npy", -flux)
    files = tuple(FluxFile(folder / f"{name}.npy") for name in ("continuum", "normalized"))
    return Stored(files, part_N, device)


@pytest.mark.parametrize("source", [resident, stored])
@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize(("size", "world"), [(32, 2), (7, 3), (5, 4), (2, 2), (299, 2)])
def test_the_shares_of_all_ranks_are_the_batch_of_one_process(
    tmp_path: Path, source: Callable[..., Any], uneven: bool, changed: bool, size: int, world: int
) -> None:
    part_N = np.arange(1, 2 * STARS, 2)
    taken = source(CPU, tmp_path, part_N)
    labels_NT = torch.arange(STARS, dtype=torch.float32)[:, None]
    rows = Rows(taken, labels_NT, [str(i) for i in range(STARS)])
    drawn = None
    if uneven:
        drawn = resample.Resampler(np.arange(STARS) % 4, (40, 30, 20, 15), {})
    settings = Augment(
        noise=0.1, shift_pixels=1.0, scale=0.1, probability=0.7, mask_windows=1, mask_width=0.2
    )
    made = augment.build(settings, 5, np.arange(POINTS) + 4000.0, None, CPU) if changed else None

    def batches(ranks: Ranks) -> Batches:
        windows = Windows(taken, 2, drawn) if isinstance(taken, Stored) else None
        return Batches(rows, size, 3, drawn, augmentation=made, windows=windows, ranks=ranks)

    whole = batches(Ranks())
    shares = [batches(Ranks(rank, world)) for rank in range(world)]
    streams = [iter(one) for one in shares]
    for _, expected in zip(range(min(12, whole.per_epoch + 2)), whole, strict=False):
        given = [next(stream) for stream in streams]
        count = len(expected.index_B)
        for one in given:
            assert len(one.index_B) >= 2, "batch statistics need two stars"
        # those that count: a label that is not NaN
        counted = [~torch.isnan(one.labels_BT[:, 0]) for one in given]
        assert sum(int(mask.sum()) for mask in counted) == count
        for field in ("index_B", "continuum_BL", "normalized_BL", "labels_BT"):
            joined = torch.cat([getattr(one, field)[mask] for one, mask in zip(given, counted, strict=True)])
            assert torch.equal(joined, getattr(expected, field)), field
    for one in (whole, *shares):
        one.close()


def test_a_process_takes_the_gpu_of_its_number_and_all_are_refused_where_one_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    for rank in "03":
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(BadInput, match="4 processes on this machine, and 2 CUDA devices"):
            choose_device("cuda")


def test_parameters_that_take_no_part_are_known_and_nothing_is_changed_by_looking() -> None:
    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = torch.nn.Linear(POINTS, 2), torch.nn.Linear(POINTS, 2)
            self.norm, self.drop = torch.nn.BatchNorm1d(2), torch.nn.Dropout(0.5)

        def forward(self, normalized: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = self.drop(self.norm(self.used(normalized)))
            return y, y

    network = Odd()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    assert contract.idle_parameters(network, POINTS) == ["idle.weight", "idle.bias"]
    network.idle.requires_grad_(False)
    assert contract.idle_parameters(network, POINTS) == []
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


# -- real ranks ---------------------------------------------------------------------------------------------

STAR_BOMB = '''
import torch
from torch import nn
from models import register_model


@register_model("StarBomb")
class StarBomb(nn.Module):
    """Two lines, of which one is idle; stars whose first pixel is `level` or more are NaN in training."""

    def __init__(self, points: int, labels: int, level: float = 1e9, idle: bool = True) -> None:
        super().__init__()
        self.line, self.level = nn.Linear(points, labels), level
        self.idle = nn.Linear(3, 3) if idle else None

    def forward(self, normalized: torch.Tensor) -> torch.Tensor:
        y = self.line(normalized)
        bad = normalized[:, 0:1] >= (self.level if self.training else 1e9)
        return y * torch.where(bad, float("nan"), 1.0)
'''


@dataclass
class Ended:
    """A run of several processes that has ended."""

    run: RunFolder
    codes: list[int]
    told: list[told.Told]
    out: str

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = self.run.events.read_text(encoding="utf-8").splitlines()
        return [event for event in map(json.loads, lines) if event["kind"] == kind]

    @property
    def end(self) -> dict[str, Any]:
        (end,) = self.events("end")[-1:]
        return end

    def column(self, name: str) -> dict[int, float]:
        """Return a column of the steps; a step that is there twice is an error."""
        found: dict[int, float] = {}
        for event in self.events("steps"):
            for step, value in zip(event["step"], event["columns"][name], strict=True):
                assert step not in found, f"step {step} was written twice"
                found[step] = value
        return found

    def checkpoint(self, name: str = "last.pt") -> dict[str, Any]:
        whole: dict[str, Any] = torch.load(self.run.checkpoints / name, weights_only=True)
        return whole


class Nursery:
    """The process that the ranks are forked from."""

    def __init__(self, log: Path) -> None:
        home = str(Path(engine.__file__).parents[1])
        with log.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("nursery.py"))], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=err, text=True, env=os.environ | {"PYTHONPATH": home},
            )  # fmt: skip

    def ask(self, **words: Any) -> list[int]:
        assert self.process.stdin is not None
        print(json.dumps(words), file=self.process.stdin, flush=True)
        pids: list[int] = self._answer()["pids"]
        return pids

    def codes(self) -> list[int]:
        codes: list[int] = self._answer()["codes"]
        return codes

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def end(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    made = Nursery(tmp_path_factory.mktemp("nursery") / "log.txt")
    yield made
    made.end()


Together = Callable[..., Ended]
During = Callable[[RunFolder, list[int]], None]


@pytest.fixture
def together(
    nursery: Nursery, workspace: Workspace, new_run: Callable[..., RunFolder], until: Callable[..., Any]
) -> Iterator[Together]:
    """`together('training.epochs=3')` trains with two processes; `during(run, pids)` disturbs."""
    (workspace.networks / "bomb.py").write_text(STAR_BOMB)
    alive: list[int] = []

    def train(
        *sets: str, run: RunFolder | None = None, during: During | None = None, prelude: str = "",
        world: int = 2,
    ) -> Ended:  # fmt: skip
        run = run or new_run(*sets)
        alive[:] = nursery.ask(root=str(workspace.root), run=run.run_id, world=world, prelude=prelude)
        if during is not None:
            during(run, alive)
        codes = nursery.codes()
        alive.clear()
        out = "".join((workspace.root / f"rank-{rank}.out").read_text() for rank in range(world))
        return Ended(run, codes, told.heard(workspace.root / "told"), out)

    yield train
    for pid in alive:  # a test that failed half-way
        os.kill(pid, signal.SIGKILL)
    if alive:
        nursery.codes()


LONG = ("training.epochs=15", "model.dropout=0.2")
WAIT = "old = loop._wishes\nloop._wishes = lambda *a: (time.sleep(0.02), old(*a))[1]"


def at_step(step: int, then: Callable[[list[int]], None]) -> During:
    """Return what waits for a step of a run and then does something with its processes."""

    def during(run: RunFolder, pids: list[int]) -> None:
        deadline = time.monotonic() + 30
        while True:
            lines = run.events.read_text(encoding="utf-8").splitlines()
            events = [json.loads(line) for line in lines if line.endswith("}")]
            if any(event["kind"] == "steps" and event["step"][-1] >= step for event in events):
                return then(pids)
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return during


def same(one: Any, other: Any) -> bool:
    """Tell whether two checkpoints' worth of containers and tensors are the same, bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other) or (one != one and other != other)


@pytest.mark.parametrize(
    "sets",
    [
        (
            "training.batch_size=11", "training.accumulate=2", "training.gradient_clip_val=0.5",
            "training.label_weights={Teff: 3.0, FeH: 0.5}", "data.augment.noise=0.05",
        ),
        (
            "training.batch_size=13", "training.loss=huber", "training.ema_decay=0.9",
            "data.resample.strategy=balanced",
        ),
        (
            "training.batch_size=3", "training.optimizer=adamw_schedule_free", "training.schedule=constant",
            "training.monitor=val_Teff_mae",
        ),
    ],
)  # fmt: skip
def test_two_processes_are_one_process_to_ten_digits(
    train: Callable[..., Any], together: Together, sets: tuple[str, ...]
) -> None:
    sets = ("training.precision=fp64", "training.epochs=3", *sets)
    one, two = train(*sets), together(*sets)
    assert two.codes == [0, 0], two.out
    alone = Ended(one.run, [], [], "")
    mine, theirs = one.checkpoint(), two.checkpoint()
    assert theirs["world"] == 2 and mine["world"] == 1
    for name, value in mine["state"]["network"].items():
        torch.testing.assert_close(theirs["state"]["network"][name], value, rtol=1e-10, atol=1e-10)
    for name, value in mine["weights"].items():
        torch.testing.assert_close(theirs["weights"][name], value, rtol=1e-10, atol=1e-10)
    for column in ("batch_loss", "learning_rate", "gradient_norm"):
        assert two.column(column) == pytest.approx(alone.column(column), rel=1e-6)  # seven digits are written
    for ours, his in zip(two.events("epoch"), alone.events("epoch"), strict=True):
        assert ours["values"] == pytest.approx(his["values"], rel=1e-9)
    progress = [whole["state"]["progress"] for whole in (mine, theirs)]
    assert progress[1]["best_epoch"] == progress[0]["best_epoch"]
    assert progress[1]["best"] == pytest.approx(progress[0]["best"], rel=1e-10)


def test_only_the_first_process_writes_and_everything_once(together: Together) -> None:
    ran = together("training.epochs=2")
    kinds = [json.loads(line)["kind"] for line in ran.run.events.read_text().splitlines()]
    for kind in ("attempt", "data", "machine", "plan", "test", "end"):
        assert kinds.count(kind) == 1, kinds
    assert kinds.count("checkpoint") == 2 and kinds.count("epoch") == 2
    assert ran.end["outcome"] == "finished" and ran.events("machine")[0]["processes"] == 2
    assert ran.run.read_json(ran.run.process)["pid"] == ran.told[0].identity.pid
    assert ran.out.count("test errors") == 1 and ran.out.count("epoch 2/2") == 1
    assert ran.run.log.read_text().count("epoch 2/2") == 1
    assert [one.code for one in ran.told] == [0, 0]
    assert not list(ran.run.path.rglob(".*"))


def test_sigterm_to_either_process_stops_both_and_resume_is_bit_exact(together: Together) -> None:
    straight = together(*LONG)
    run: RunFolder | None = None
    for rank, step in ((1, 3), (0, 14)):
        stopped = together(
            *LONG,
            run=run,
            prelude=WAIT,
            during=at_step(step, lambda pids, rank=rank: os.kill(pids[rank], signal.SIGTERM)),
        )
        run = stopped.run
        assert stopped.codes == [0, 0], stopped.out
        assert (stopped.end["outcome"], stopped.end["exit_code"]) == ("stopped", 85)
        assert "stopped by SIGTERM" in stopped.end["message"]
        saved = stopped.checkpoint()["step"]
        assert step <= saved < 45 and max(stopped.column("batch_loss")) == saved
        assert [event["step"] for event in stopped.events("checkpoint")].count(saved) == 1
        assert [one.code for one in stopped.told] == [85, 85]
    resumed = together(run=run)
    assert resumed.codes == [0, 0] and resumed.end["outcome"] == "finished"
    assert [event["exact"] for event in resumed.events("resume")] == [True, True]
    assert same(resumed.checkpoint()["state"], straight.checkpoint()["state"])
    assert resumed.column("batch_loss") == straight.column("batch_loss")


def test_going_on_with_one_process_says_that_exactness_is_lost(
    together: Together, workspace: Workspace, train: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = together(*LONG, prelude=WAIT, during=at_step(3, lambda pids: os.kill(pids[1], signal.SIGTERM)))
    assert attempt.resume(workspace, stopped.run.run_id, attempt.Stop()) == 0
    assert "processes 2 before, 1 now" in capsys.readouterr().err
    ended = Ended(stopped.run, [], [], "")
    assert ended.events("resume")[0]["exact"] is False and ended.end["outcome"] == "finished"


@pytest.mark.parametrize("where", ["reading", "evaluating"])
def test_a_wish_to_stop_of_one_process_is_heard_away_from_the_steps(together: Together, where: str) -> None:
    stop = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    prelude = {
        "reading": f"""
old = reading.read
def read(workspace, conf, report, stop):
    if rank == 1:
        {stop}
    return old(workspace, conf, report, stop)
reading.read = read""",
        "evaluating": f"""
old = ground.evaluate
def evaluate(*words, **more):
    {stop}
    return old(*words, **more)
ground.evaluate = evaluate""",
    }[where]
    ran = together(prelude=prelude)
    assert ran.codes == [0, 0], ran.out
    assert ran.end["exit_code"] == 85 and "SIGTERM" in ran.end["message"]
    assert [event["step"] for event in ran.events("checkpoint")] == ([3] if where == "evaluating" else [])


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_other_and_no_end_is_written(together: Together, rank: int) -> None:
    ran = together(*LONG, prelude=WAIT, during=at_step(3, lambda pids: os.kill(pids[rank], signal.SIGKILL)))
    assert ran.codes[rank] == -9 and ran.codes[1 - rank] == 1
    assert not ran.events("end")
    assert ran.told[1 - rank].lost and ran.told[rank].code is None
    assert "Traceback" not in ran.out and "Traceback" in ran.run.log.read_text()


def test_a_process_that_fails_by_itself_tells_why(together: Together) -> None:
    prelude = "if rank == 1: batches.Batches._at = lambda *a: 1 / 0"
    ran = together(prelude=prelude)
    assert ran.codes == [1, 1]
    assert "ZeroDivisionError" in ran.told[1].said and not ran.told[1].lost and ran.told[0].lost
    assert not ran.events("end"), "that is for the supervisor to write"
    assert "ZeroDivisionError" in ran.run.log.read_text() and "ZeroDivisionError" not in ran.out


@pytest.mark.parametrize("share", ["first", "second"])
def test_different_tables_are_refused_by_all(together: Together, share: str) -> None:
    other = int(share == "second")
    prelude = f"""
import dataclasses
old = reading.read
def read(*words):
    stars, split = old(*words)
    return (dataclasses.replace(stars, fingerprint="other") if rank == {other} else stars), split
reading.read = read"""
    ran = together(prelude=prelude)
    assert ran.end["exit_code"] == 2 and "every machine must read the same" in ran.end["message"]
    assert [one.code for one in ran.told] == [2, 2]


# -- trouble ------------------------------------------------------------------------------------------------


def poisoned(train: Callable[..., Any]) -> tuple[str, str]:
    """Return `model.level=…` that makes one training star NaN, and the obsid of that star."""
    ran = train("model={name: StarBomb}", "training.epochs=1")
    scaler = ran.checkpoint()["scalers"]["normalized"]
    import csv

    with ran.run.split.open() as file:
        chosen = {row["obsid"] for row in csv.DictReader(file) if row["part"] == "train"}
    table = ran.run.path.parents[1] / "dataset" / "spectral" / "final_spectra_normalized.csv"
    with table.open() as file:
        rows = [row for row in csv.DictReader(file) if row["obsid"] in chosen]
    pixel = next(name for name in rows[0] if name != "obsid")
    values = sorted((float(row[pixel]) - scaler["centre"][0]) / scaler["scale"][0] for row in rows)
    worst = max(rows, key=lambda row: float(row[pixel]))
    return f"{(values[-1] + values[-2]) / 2}", worst["obsid"]


def test_a_bad_star_in_one_share_stops_all_and_is_named(
    train: Callable[..., Any], together: Together
) -> None:
    level, obsid = poisoned(train)
    ranks = set()
    for seed in range(1, 5):
        ran = together(f"model={{name: StarBomb, level: {level}}}", f"training.seed={seed}")
        assert ran.codes == [0, 0], ran.out
        assert (ran.end["outcome"], ran.end["exit_code"]) == ("diverged", 87)
        assert [one.code for one in ran.told] == [87, 87]
        (bad,) = ran.events("nonfinite")
        assert bad["obsids"] == [obsid] and obsid in ran.end["message"]
        assert bad["step"] == ran.checkpoint()["step"] + 1
        assert all(torch.isfinite(value).all() for value in ran.checkpoint()["state"]["network"].values())
        index = [obsid_of(ran, seed, rank, bad["step"]) for rank in (0, 1)]
        ranks |= {rank for rank in (0, 1) if obsid in index[rank]}
        if ranks == {0, 1}:
            break
    assert ranks == {0, 1}, "both processes had the star in one of the runs"


def obsid_of(ran: Ended, seed: int, rank: int, step: int) -> list[str]:
    """Return the stars that a rank saw at a step of the first epoch."""
    import csv

    with ran.run.split.open() as file:
        train = [row["obsid"] for row in csv.DictReader(file) if row["part"] == "train"]
    rows = Rows(
        Resident(torch.zeros(48, 1), torch.zeros(48, 1), torch.arange(48), CPU), torch.zeros(48, 1), train
    )
    batches = Batches(rows, 16, seed, ranks=Ranks(rank, 2))
    batches.position = step - 1
    return [train[i] for i in next(iter(batches)).index_B.tolist()]


@pytest.mark.parametrize("answer", ["skip", "rollback"])
def test_leaving_out_and_going_back_work_over_processes(
    train: Callable[..., Any], together: Together, answer: str
) -> None:
    level, _ = poisoned(train)
    sets = (
        f"model={{name: StarBomb, level: {level}}}", "training.epochs=3", "training.precision=fp64",
        f"training.on_nonfinite={answer}", "training.nonfinite_limit=9",
    )  # fmt: skip
    one, two = train(*sets), together(*sets)
    assert two.codes == [0, 0] and two.end["outcome"] == "finished", two.out
    told_of = [[(e["step"], e["action"], e["obsids"]) for e in ran.events("nonfinite")] for ran in (one, two)]
    assert told_of[0] == told_of[1] and len(told_of[1]) >= 3
    for name, value in one.checkpoint()["state"]["network"].items():
        torch.testing.assert_close(two.checkpoint()["state"]["network"][name], value, rtol=1e-10, atol=1e-10)


# -- what looks at the validation rows ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "sets",
    [
        ("training.patience=2", "training.learning_rate=0.3", "training.epochs=30"),
        ("training.schedule=plateau", "training.plateau_patience=1", "training.learning_rate=0.2"),
        ("training.ema_decay=0.8", "finetune.epochs=3", "finetune.freeze=[layers.0]"),
        ("training.save_steps=7", "training.epochs=5", "training.keep_checkpoints=9"),
    ],
)
def test_decisions_are_the_same_on_both(
    train: Callable[..., Any], together: Together, sets: tuple[str, ...]
) -> None:
    sets = ("training.precision=fp64", "training.epochs=6", *sets)
    one, two = train(*sets), together(*sets)
    assert two.codes == [0, 0] and two.end["outcome"] == one.events("end")[0]["outcome"] == "finished", (
        two.out
    )
    for name, value in one.checkpoint()["weights"].items():
        torch.testing.assert_close(two.checkpoint()["weights"][name], value, rtol=1e-10, atol=1e-10)
    assert two.column("learning_rate") == pytest.approx(Ended(one.run, [], [], "").column("learning_rate"))
    for kind in ("checkpoint", "early_stop", "stage"):
        told_of = [
            [event["step" if kind != "early_stop" else "epoch"] for event in ran.events(kind)]
            for ran in (one, two)
        ]
        assert told_of[0] == told_of[1], kind
