"""Steps that are no finite number: left out, gone back from, or stopped at; what is found about them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.conf.schema import Training
from engine.train import loop, nonfinite
from engine.train.batches import Batches
from engine.train.learn import Arithmetic, Learner
from engine.train.losses import build_loss
from engine.train.optim import Rate, build_optimizer
from engine.train.rows import Resident, Rows
from engine.train.state import Randomness, State

from .test_loop import Bench

Make = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Make:
    def make(*arguments: Any, **settings: Any) -> Bench:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return Bench(folder, *arguments, **settings)

    return make


def poisoned(bench: Bench, star: int) -> Bench:
    """Give one star a flux that no network survives."""
    bench.flux[0][star, 2] = math.inf
    return bench


def test_skip_leaves_the_step_out_and_goes_on(bench: Make) -> None:
    ours = poisoned(bench(on_nonfinite="skip", epochs=3), 6)
    assert ours.train() is loop.Outcome.DONE
    told = ours.told("nonfinite")
    assert [event["action"] for event in told] == ["skip"] * 3
    assert [event["epoch"] for event in told] == [1, 2, 3]
    assert all(event["obsids"][0] == "star6" for event in told)
    assert all(map(math.isfinite, ours.weights()))
    assert ours.state.progress.step == 15
    assert ours.state.progress.bad_steps == 3
    norms = [v for event in ours.told("steps") for v in event["columns"]["gradient_norm"]]
    assert len(norms) == 15
    assert sum(value in ("nan", "inf") for value in norms) == 3, "the step is on the chart"
    assert all(math.isfinite(e["values"]["train_loss"]) for e in ours.told("epoch"))


def test_skip_gives_up_after_so_many_in_a_row(bench: Make) -> None:
    ours = bench(on_nonfinite="skip", nonfinite_limit=2)
    ours.trap = lambda bench, predicted: predicted * math.nan if bench.forwards >= 4 else predicted
    assert ours.train() is loop.Outcome.NON_FINITE
    assert [e["action"] for e in ours.told("nonfinite")] == ["skip", "skip", "stop"]
    assert [e["step"] for e in ours.told("nonfinite")] == [4, 5, 6]


def test_running_statistics_do_not_keep_a_step_that_was_left_out(bench: Make) -> None:
    ours = poisoned(bench(on_nonfinite="skip"), 6)
    norm = nn.BatchNorm1d(5)
    ours.network[1] = nn.Sequential(nn.Tanh(), norm)
    ours.forward = lambda c, n: ours.network(c.nan_to_num(posinf=math.nan) + n)  # type: ignore[method-assign]
    ours.train()
    assert ours.state.progress.bad_steps == 3
    assert norm.running_mean is not None
    assert torch.isfinite(norm.running_mean).all()


def test_rollback_goes_back_halves_the_rate_and_leaves_out_what_is_bad_again(bench: Make) -> None:
    ours = poisoned(bench(on_nonfinite="rollback", epochs=2, schedule="constant"), 6)
    assert ours.train() is loop.Outcome.DONE
    told = ours.told("nonfinite")
    # epoch 1: back, then again bad at half the rate: the data's fault; the same in epoch 2
    assert [e["action"] for e in told] == ["rollback", "skip", "rollback", "skip"]
    assert told[0]["step"] == told[1]["step"]
    (first, second) = ours.told("rewind")
    assert (first["step"], first["learning_rate"], second["learning_rate"]) == (0, 0.025, 0.0125)
    assert second["step"] == 5
    assert ours.state.rate.now == 0.0125
    steps = [step for event in ours.told("steps") for step in event["step"]]
    assert steps[-1] == 10


def test_rollback_has_an_end(bench: Make) -> None:
    ours = bench(on_nonfinite="rollback", nonfinite_limit=2, schedule="constant")
    bad = {"at": 3}

    def spoil(bench: Bench, predicted: Tensor) -> Tensor:
        # ever later, so that it is never the same step again
        return (
            predicted * math.nan if bench.state.progress.step + 1 >= bad["at"] + bench.rolled else predicted
        )

    ours.rolled = 0  # type: ignore[attr-defined]
    ours.trap = spoil
    real = ours.state.rate.lower

    def lower(factor: float) -> None:
        ours.rolled += 1  # type: ignore[attr-defined]
        real(factor)

    ours.state.rate.lower = lower  # type: ignore[method-assign]
    assert ours.train() is loop.Outcome.NON_FINITE
    assert [e["action"] for e in ours.told("nonfinite")] == ["rollback", "rollback", "stop"]


def learner_of(network: nn.Module, flux: Tensor, *, forward: Any = None) -> tuple[Learner, Batches]:
    count = len(flux)
    rows = Rows(
        Resident(flux, flux, torch.arange(count), torch.device("cpu")),
        torch.zeros(count, 1),
        [f"star{i}" for i in range(count)],
    )
    training = Training(batch_size=count)
    batches = Batches(rows, count, 1)
    optimizer = build_optimizer(network.parameters(), training)
    state = State(
        network, optimizer, Rate(optimizer, training, 9, 1), batches, Randomness(torch.device("cpu"))
    )
    return Learner(state, forward or (lambda c, n: network(c)), build_loss(training), Arithmetic()), batches


def look_into(learner: Learner, batches: Batches) -> nonfinite.NonFiniteReport:
    batch = next(iter(batches))
    learner.add(batch)
    gradient = learner.gradient()
    assert learner.refuses(gradient)
    return nonfinite.inspect(learner, gradient, batches.again(), np.array([4000.0, 4001.0, 4002.0]))


class Roots(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


def test_the_first_bad_part_its_range_the_star_and_its_pixel_are_named() -> None:
    flux = torch.full((4, 3), 2.0)
    flux[2, 1] = -3e5
    network = nn.Sequential(nn.Identity(), Roots(), nn.Linear(3, 1))
    found = look_into(*learner_of(network, flux))
    assert (found.module, found.direction, found.what, found.reproduced) == ("1", "forward", "loss", True)
    assert (found.input_low, found.input_high) == (-3e5, 2.0)
    assert found.obsids == ["star2"]
    worst = found.extremes[0]
    assert (worst["obsid"], worst["wavelength"], worst["flux"]) == ("star2", 4001.0, -3e5)


def test_a_gradient_that_breaks_on_the_way_back_names_the_part() -> None:
    """The square root of 0 is finite; its slope is not."""
    flux = torch.zeros(4, 3)
    network = nn.Sequential(nn.Linear(3, 3, bias=False), Roots(), nn.Linear(3, 1))
    nn.init.zeros_(network[0].weight)
    found = look_into(*learner_of(network, flux))
    assert (found.what, found.direction, found.module) == ("gradient_norm", "backward", "0")
    assert found.parameter == "0.weight"


def test_looking_leaves_everything_as_it_was() -> None:
    flux = torch.full((4, 3), 2.0)
    flux[1, 0] = math.inf
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 1))
    learner, batches = learner_of(network, flux)
    learner.add(next(iter(batches)))
    gradient = learner.gradient()
    generator = torch.get_rng_state()
    weights = [p.detach().clone() for p in network.parameters()]
    nonfinite.inspect(learner, gradient, batches.again())
    learner.forget()
    assert torch.equal(torch.get_rng_state(), generator), "a run that goes on draws what it would have drawn"
    assert all(torch.equal(a, b) for a, b in zip(weights, network.parameters(), strict=True))
    assert torch.equal(network[1].running_mean, torch.zeros(3)), "as before the step"
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("loss", "norm", "bad"),
    [(1.0, 2.0, False), (math.nan, 1.0, True), (1.0, math.nan, True), (math.inf, 1.0, True),
     (1.0, math.inf, True), (-math.inf, math.inf, True), (0.0, 0.0, False)],
)  # fmt: skip
def test_the_guard_sees_loss_and_gradient(loss: float, norm: float, bad: bool) -> None:
    from engine.train.learn import Gradient

    learner, _ = learner_of(nn.Linear(3, 1), torch.ones(4, 3))
    assert learner.refuses(Gradient(torch.tensor(loss), torch.tensor(1), torch.tensor(norm))) is bad


# -- where the device decides ------------------------------------------------------------------------------


def lazy(bench: Bench) -> Bench:
    """Let the fused optimizer keep bad updates from happening, as on a GPU; the host hears of it later."""
    bench.optimizer.param_groups[0]["fused"] = True
    bench.optimizer._step_supports_amp_scaling = True  # type: ignore[attr-defined]
    bench.lazy = True
    return bench


def test_heard_late_a_bad_step_ends_as_one_that_is_heard_at_once(bench: Make) -> None:
    """Star 6 comes in some batch of the first epoch; its gradient is no number, its loss is one."""
    told, ended = [], []
    for prepare in (lambda ours: ours, lazy):
        ours = prepare(poisoned(without_dropout(bench(record_seconds=1e6)), 6))
        assert ours.train() is loop.Outcome.NON_FINITE
        told.append(ours.told("nonfinite")[0])
        ended.append((ours.weights(), ours.state.progress.step, ours.state.rate.now, ours.batches.position))
        steps = [step for event in ours.told("steps") for step in event["step"]]
        assert steps == list(range(1, ours.state.progress.step + 1))
    assert ended[1][1:] == ended[0][1:]
    assert ended[1][0] == pytest.approx(ended[0][0], abs=1e-6), "fused arithmetic rounds otherwise"
    for key in ("step", "epoch", "obsids", "what", "module", "action"):
        assert told[1][key] == told[0][key]


def test_heard_late_steps_are_left_out(bench: Make) -> None:
    ours = lazy(poisoned(without_dropout(bench(record_seconds=1e6, on_nonfinite="skip")), 6))
    assert ours.train() is loop.Outcome.DONE
    assert all(map(math.isfinite, ours.weights()))
    assert len(ours.told("nonfinite")) == 3


def test_heard_late_a_rollback_goes_back(bench: Make) -> None:
    ours = lazy(poisoned(without_dropout(bench(record_seconds=1e6, on_nonfinite="rollback", epochs=2)), 6))
    assert ours.train() is loop.Outcome.DONE
    assert [event["action"] for event in ours.told("nonfinite")] == ["rollback", "skip", "rollback", "skip"]
    assert all(map(math.isfinite, ours.weights()))


def without_dropout(bench: Bench) -> Bench:
    bench.network[2].p = 0.0
    return bench
