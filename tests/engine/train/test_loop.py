"""The loop by itself: equal to a plain loop bit by bit, and what stops it."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.conf.schema import Training
from engine.runs.events import EventLog, Tail
from engine.train import loop
from engine.train.batches import Batches
from engine.train.checkpoint import Checkpoints, load
from engine.train.evaluate import Evaluation
from engine.train.learn import Arithmetic, Learner
from engine.train.losses import build_loss
from engine.train.optim import Rate, build_optimizer
from engine.train.recorder import Recorder
from engine.train.report import Report
from engine.train.rows import Resident, Rows
from engine.train.state import Randomness, State, moving_average
from engine.train.stop import Stop

ROWS, POINTS, LABELS = 18, 4, 2


def seen(loss: float) -> Evaluation:
    """Return what a look at the validation rows gave."""
    nothing = np.zeros((0, LABELS), np.float32)
    return Evaluation(loss, nothing, nothing, {"a": {"n": 3, "mae": loss}, "b": {"n": 0}})


class Bench:
    """A small network on random rows, and everything the loop wants around it."""

    def __init__(
        self, folder: Path, losses: Sequence[float] = (), *, device: str = "cpu", **settings: Any
    ) -> None:
        self.training = Training(
            **{"epochs": 3, "batch_size": 4, "learning_rate": 0.05, "schedule": "cosine"} | settings
        )
        generator = torch.Generator().manual_seed(1)
        values = [torch.randn(ROWS, n, generator=generator) for n in (POINTS, POINTS, LABELS)]
        values[2][3, 1] = math.nan
        values = [value.to(device) for value in values]
        self.flux = values[:2]
        source = Resident(values[0], values[1], torch.arange(ROWS, device=device), torch.device(device))
        self.rows = Rows(source, values[2], [f"star{i}" for i in range(ROWS)])
        torch.manual_seed(7)
        self.network = nn.Sequential(nn.Linear(POINTS, 5), nn.Tanh(), nn.Dropout(0.1), nn.Linear(5, LABELS))
        self.network.to(device)
        settled = self.training
        self.batches = Batches(self.rows, settled.batch_size, settled.seed, accumulate=settled.accumulate)
        self.steps = settled.epochs * self.batches.steps_per_epoch
        self.optimizer = build_optimizer(self.network.parameters(), settled)
        rate = Rate(self.optimizer, settled, self.steps, self.batches.steps_per_epoch)
        average = None if settled.ema_decay is None else moving_average(self.network, settled.ema_decay)
        randomness = Randomness(torch.device(device))
        self.state = State(self.network, self.optimizer, rate, self.batches, randomness, average=average)
        self.folder, self.stop, self.forwards, self.looks = folder, Stop(), 0, 0
        self.losses, self.lazy = losses, False
        self.events = EventLog(folder / "events.jsonl")
        self.trap: Callable[[Bench, Tensor], Tensor] = lambda bench, predicted: predicted

    def evaluate(self) -> Evaluation:
        self.looks += 1
        return seen(self.losses[self.looks - 1] if self.losses else 1 / self.looks)

    def forward(self, continuum: Tensor, normalized: Tensor) -> Tensor:
        self.forwards += 1
        predicted: Tensor = self.network(continuum + normalized)
        return self.trap(self, predicted)

    def train(self) -> loop.Outcome:
        settings = self.training
        plan = loop.Plan(
            self.steps,
            patience=settings.patience,
            evaluate_every=settings.evaluate_every,
            monitor=settings.monitor,
            save_seconds=settings.save_seconds,
            save_steps=settings.save_steps,
            on_nonfinite=settings.on_nonfinite,
            nonfinite_limit=settings.nonfinite_limit,
        )
        report = Report(stream=io.StringIO())
        recorder = Recorder(
            self.events,
            report,
            epochs=settings.epochs,
            total_steps=self.steps,
            seconds=settings.record_seconds,
        )
        how = Arithmetic("fp32", settings.gradient_clip_val, settings.gradient_clip)
        learner = Learner(self.state, self.forward, build_loss(settings), how)
        learner.lazy = learner.lazy or self.lazy
        recorder.parts = loop.norms_by_part(learner)
        run = loop.Run(self.events, recorder, Checkpoints(self.folder, {}), self.evaluate, self.stop)
        return loop.train(self.state, plan, learner, run)

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in Tail(self.folder / "events.jsonl").poll() if event["kind"] == kind]

    def weights(self) -> list[float]:
        return torch.cat([p.detach().flatten() for p in self.network.parameters()]).tolist()  # type: ignore[no-any-return]


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return lambda *arguments, **settings: Bench(tmp_path, *arguments, **settings)


@pytest.mark.parametrize("clip", [None, 0.05, 20.0])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_the_weights_are_those_of_a_plain_loop_bit_by_bit(
    bench: Callable[..., Bench], clip: float | None, optimizer: str
) -> None:
    ours = bench(gradient_clip_val=clip, optimizer=optimizer, weight_decay=0.1)
    start = {name: value.clone() for name, value in ours.network.state_dict().items()}
    torch.manual_seed(3)  # dropout
    assert ours.train() is loop.Outcome.DONE
    ended = ours.weights()

    network, rows = ours.network, ours.rows
    network.load_state_dict(start)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer]
    plain = kind(network.parameters(), lr=0.05, weight_decay=0.1)
    torch.manual_seed(3)
    step = 0
    for epoch in range(1, 4):
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(42 * 1_000_003 + epoch))
        for index in order.split(4):
            plain.param_groups[0]["lr"] = 0.05 * (0.5 * (1 + math.cos(math.pi * step / ours.steps)))
            truth = rows.labels_NT[index]
            known = ~truth.isnan()
            error = network(ours.flux[0][index] + ours.flux[1][index]) - truth.nan_to_num()
            plain.zero_grad()
            ((error * known) ** 2).sum().div(known.sum()).backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(network.parameters(), clip)
            plain.step()
            step += 1
    assert step == ours.steps
    assert ours.weights() == ended


def test_there_is_one_update_a_batch(bench: Callable[..., Bench]) -> None:
    ours = bench()
    updates: list[int] = []
    ours.optimizer.register_step_post_hook(lambda *_: updates.append(ours.forwards))
    ours.train()
    assert updates == list(range(1, ours.steps + 1))
    assert ours.steps == 15


def test_steps_epochs_and_rates_are_recorded(bench: Callable[..., Bench]) -> None:
    ours = bench([3.0, 1.0, 2.0], record_seconds=0.0)
    ours.train()
    steps = [step for event in ours.told("steps") for step in event["step"]]
    rates = [rate for event in ours.told("steps") for rate in event["columns"]["learning_rate"]]
    losses = [loss for event in ours.told("steps") for loss in event["columns"]["batch_loss"]]
    assert steps == list(range(1, 16))
    assert rates[0] == 0.05
    assert rates[-1] < 0.001
    epochs = ours.told("epoch")
    assert [(e["epoch"], e["step"]) for e in epochs] == [(1, 5), (2, 10), (3, 15)]
    assert [e["values"]["val_loss"] for e in epochs] == [3.0, 1.0, 2.0]
    assert [e["values"]["val_a_mae"] for e in epochs] == [3.0, 1.0, 2.0]
    assert "val_b_mae" not in epochs[0]["values"], "no star has the label"
    # The mean over labels, not over batches: the last batch has two stars, and one label is missing.
    counts = torch.tensor([8.0, 8.0, 8.0, 8.0, 4.0])
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(42 * 1_000_003 + 1))
    missing = [int(3 in index) for index in order.split(4)]
    counts -= torch.tensor(missing)
    expected = float((torch.tensor(losses[:5]) * counts).sum() / 35)
    assert epochs[0]["values"]["train_loss"] == pytest.approx(expected)


def test_records_are_not_written_every_step(bench: Callable[..., Bench]) -> None:
    ours = bench(record_seconds=1000.0)
    ours.train()
    assert [event["step"] for event in ours.told("steps")] == [
        [1, 2, 3, 4, 5],
        [6, 7, 8, 9, 10],
        [11, 12, 13, 14, 15],
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_stops_before_the_update(bench: Callable[..., Bench], value: float) -> None:
    before: list[float] = []

    def spoil(ours: Bench, predicted: Tensor) -> Tensor:
        if ours.forwards == 8:
            before.extend(ours.weights())
        if ours.forwards >= 8:  # the batch is run again to look into it
            return predicted * torch.tensor([[1.0, 1.0], [value, 1.0], [1.0, 1.0], [1.0, 1.0]])
        return predicted

    ours = bench()
    ours.trap = spoil
    assert ours.train() is loop.Outcome.NON_FINITE
    assert ours.weights() == before
    assert ours.state.progress.step == 7
    (told,) = ours.told("nonfinite")
    assert (told["step"], told["epoch"], told["what"]) == (8, 2, "loss")
    assert told["value"] in ("nan", "inf")
    last = [loss for event in ours.told("steps") for loss in event["columns"]["batch_loss"]]
    assert len(last) == 7
    assert told["last_finite_loss"] == last[-1]
    assert told["learning_rate"] == pytest.approx(0.05 * 0.5 * (1 + math.cos(math.pi * 7 / 15)))
    assert told["gradient_norm"] in ("nan", "inf")
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(42 * 1_000_003 + 2))
    assert told["obsids"] == [f"star{order[9]}"], "the star that was spoiled"
    assert (told["module"], told["direction"], told["reproduced"]) == ("loss", "forward", True)
    assert [told["step"] for told in ours.told("checkpoint")] == [5, 7], "the state just before it is kept"
    last_saved = load(ours.folder / "last.pt")["state"]
    assert torch.cat([v.flatten() for v in last_saved["network"].values()]).tolist() == before
    assert (last_saved["batches"]["epoch"], last_saved["batches"]["position"]) == (2, 2)


def test_a_gradient_that_is_no_number_stops_too_and_its_parameter_is_named(
    bench: Callable[..., Bench],
) -> None:
    ours = bench()
    bias = ours.network[3].bias

    def spoil(bench: Bench, predicted: Tensor) -> Tensor:
        if bench.forwards == 3:
            bias.register_hook(lambda gradient: gradient * math.nan)  # for good: also when it is run again
        return predicted

    ours.trap = spoil
    assert ours.train() is loop.Outcome.NON_FINITE
    (told,) = ours.told("nonfinite")
    assert (told["what"], told["step"], told["parameter"]) == ("gradient_norm", 3, "3.bias")
    assert (told["module"], told["direction"]) == ("3", "backward")
    assert all(map(math.isfinite, ours.weights()))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_validation_loss_that_is_no_number_is_never_the_best(
    bench: Callable[..., Bench], value: float
) -> None:
    ours = bench([1.0, value])
    assert ours.train() is loop.Outcome.NON_FINITE
    assert ours.state.progress.best == 1.0
    assert load(ours.folder / "best.pt")["epoch"] == 1
    assert ours.told("nonfinite")[0]["what"] == "val_loss"
    assert ours.told("epoch")[-1]["values"]["val_loss"] in ("nan", "inf"), "the point itself is on record"


def test_training_stops_when_nothing_gets_better(bench: Callable[..., Bench]) -> None:
    ours = bench([5.0, 4.0, 4.0, 6.0, 1.0, 1.0], epochs=6, patience=2)
    assert ours.train() is loop.Outcome.DONE
    assert len(ours.told("epoch")) == 4
    (told,) = ours.told("early_stop")
    assert (told["epoch"], told["best_epoch"]) == (4, 2)
    assert load(ours.folder / "best.pt")["epoch"] == 2
    assert load(ours.folder / "last.pt")["epoch"] == 4


def test_patience_counts_evaluations_and_starts_again_after_a_better_one(bench: Callable[..., Bench]) -> None:
    ours = bench([5.0, 6.0, 4.0, 6.0, 3.0, 6.0], epochs=6, patience=2)
    ours.train()
    assert len(ours.told("epoch")) == 6
    assert ours.told("early_stop") == []


def test_evaluation_is_really_skipped_but_not_at_the_end(bench: Callable[..., Bench]) -> None:
    ours = bench(epochs=5, evaluate_every=2)
    ours.train()
    assert ours.looks == 3
    assert ["val_loss" in e["values"] for e in ours.told("epoch")] == [False, True, False, True, True]


@pytest.mark.parametrize("step", [1, 5, 7])
def test_a_wish_to_stop_is_kept_after_the_step_and_saved(bench: Callable[..., Bench], step: int) -> None:
    def wish(ours: Bench, predicted: Tensor) -> Tensor:
        ours.stop.asked = ours.forwards == step
        return predicted

    ours = bench()
    ours.trap = wish
    assert ours.train() is loop.Outcome.STOPPED
    last = load(ours.folder / "last.pt")
    assert last["step"] == ours.told("checkpoint")[-1]["step"] == step
    assert last["state"]["progress"]["step"] == step
    assert last["state"]["batches"]["position"] == (step - 1) % 5 + 1
    saved = torch.cat([value.flatten() for value in last["state"]["network"].values()])
    assert saved.tolist() == ours.weights()
    assert [s for event in ours.told("steps") for s in event["step"]] == list(range(1, step + 1))


@pytest.mark.parametrize("step", [5, 10])
def test_a_wish_to_stop_at_the_end_of_an_epoch_is_saved_also_where_nothing_is_evaluated(
    bench: Callable[..., Bench], step: int
) -> None:
    ours = bench(evaluate_every=3)

    def wish(ours: Bench, predicted: Tensor) -> Tensor:
        ours.stop.asked = ours.forwards == step
        return predicted

    ours.trap = wish
    assert ours.train() is loop.Outcome.STOPPED
    assert load(ours.folder / "last.pt")["step"] == step
    assert ours.looks == 0


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({"save_steps": 4}, [4, 5, 8, 10, 12, 15]), ({"save_seconds": 1e-9}, list(range(1, 16)))],
)
def test_checkpoints_come_by_step_and_by_time(
    bench: Callable[..., Bench], settings: dict[str, Any], steps: list[int]
) -> None:
    ours = bench(**settings)
    ours.train()
    assert [event["step"] for event in ours.told("checkpoint")] == steps
    assert len(list(ours.folder.glob("step-*.pt"))) == 2


def test_a_wish_to_stop_while_evaluating_is_kept_at_once(bench: Callable[..., Bench]) -> None:
    ours = bench()

    def look() -> Evaluation:
        ours.stop.asked = True
        ours.stop.check()
        raise AssertionError

    ours.evaluate = look  # type: ignore[method-assign]
    assert ours.train() is loop.Outcome.STOPPED
    assert load(ours.folder / "last.pt")["step"] == 5
    assert not (ours.folder / "best.pt").exists()


def test_every_checkpoint_holds_all_that_changes(bench: Callable[..., Bench]) -> None:
    ours = bench()
    ours.train()
    state = load(ours.folder / "last.pt")["state"]
    assert set(state) == {"network", "optimizer", "rate", "batches", "progress", "random"}
    known = {"step": 15, "best": 1 / 3, "best_epoch": 3, "stale": 0, "epochs_ended": 3}
    assert {name: state["progress"][name] for name in known} == known
    assert float(state["optimizer"]["state"][0]["step"]) == 15
    (generators,) = state["random"]
    assert torch.equal(generators["torch"], torch.get_rng_state())
