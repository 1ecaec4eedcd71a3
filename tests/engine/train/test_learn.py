"""From batches to updates: passes that add up, averages, freezing, and the words about weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.conf.schema import Training
from engine.errors import BadInput
from engine.train import network as networks
from engine.train.learn import part_norms
from engine.train.loop import Outcome, learning, worth
from engine.train.losses import build_loss
from engine.train.optim import Rate, build_optimizer, is_schedule_free
from engine.train.state import Randomness

from .test_loop import Bench

NAN = math.nan


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    def make(*arguments: Any, **settings: Any) -> Bench:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        return Bench(folder, *arguments, **settings)

    return make


def without_dropout(bench: Bench) -> Bench:
    bench.network[2].p = 0.0
    return bench


# -- accumulation -------------------------------------------------------------------------------------------


def test_passes_of_a_step_add_up_to_one_large_batch(bench: Callable[..., Bench]) -> None:
    """Also where the passes know different numbers of labels, and at the short end of an epoch."""
    large = without_dropout(bench(batch_size=8, epochs=2))
    small = without_dropout(bench(batch_size=4, accumulate=2, epochs=2))
    assert (large.steps, small.steps, small.batches.per_epoch) == (6, 6, 5)
    large.train()
    small.train()
    assert small.weights() == pytest.approx(large.weights(), abs=1e-6)
    both = [[v for e in one.told("steps") for v in e["columns"]["batch_loss"]] for one in (large, small)]
    assert both[0] == pytest.approx(both[1], rel=1e-5)
    assert small.forwards == 10


# -- averages -----------------------------------------------------------------------------------------------


def test_the_moving_average_is_the_formula_and_is_what_is_kept_to_evaluate(
    bench: Callable[..., Bench],
) -> None:
    ours = bench(ema_decay=0.9, epochs=1)
    seen: list[Tensor] = []
    ours.optimizer.register_step_post_hook(
        lambda *_: seen.append(torch.cat([p.detach().flatten() for p in ours.network.parameters()]))
    )
    ours.train()
    average = seen[0]
    for weights in seen[1:]:
        average = 0.9 * average + 0.1 * weights
    kept = torch.cat([value.flatten() for value in ours.state.weights().values()])
    assert kept.tolist() == pytest.approx(average.tolist(), abs=1e-6)
    assert kept.tolist() != ours.weights()


def test_looking_at_a_schedule_free_run_does_not_change_its_weights(bench: Callable[..., Bench]) -> None:
    ours = bench(optimizer="adamw_schedule_free", schedule="constant")
    assert is_schedule_free(ours.optimizer)
    ours.train()
    before = ours.weights()
    with ours.state.evaluated() as network:
        looked = torch.cat([p.detach().flatten() for p in network.parameters()]).tolist()
    assert looked != before
    assert ours.weights() == before
    ours.optimizer.step()  # it is in its training mode again, or this raises


def test_schedule_free_wants_no_schedule() -> None:
    with pytest.raises(ValueError, match="schedule_free"):
        Training(optimizer="adamw_schedule_free")
    assert Training(optimizer="adamw_schedule_free", schedule="warmup_constant").schedule == "warmup_constant"


# -- the learning rate that listens -------------------------------------------------------------------------


def test_a_plateau_lowers_the_rate_and_never_below_the_floor() -> None:
    training = Training(
        schedule="plateau", learning_rate=1.0, schedule_gamma=0.1, plateau_patience=2, min_learning_rate=0.05
    )
    rate = Rate(build_optimizer(nn.Linear(1, 1).parameters(), training), training, 100, 10)
    seen = []
    for value in (3.0, 2.0, 2.0, 2.5, 1.0, 1.1, 1.2, 0.5):
        rate.look(value)
        seen.append(round(rate.now, 6))
    assert seen == [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.05, 0.05]


def test_a_rate_goes_on_where_it_was() -> None:
    training = Training(schedule="plateau", learning_rate=1.0, plateau_patience=1)
    rates = [Rate(build_optimizer(nn.Linear(1, 1).parameters(), training), training, 9, 3) for _ in range(2)]
    for value in (1.0, 2.0):
        rates[0].look(value)
    rates[0].step()
    rates[1].load_state_dict(rates[0].state_dict())
    assert rates[1].now == rates[0].now == 0.5
    for rate in rates:
        rate.look(0.9)
        rate.look(1.0)
    assert rates[1].now == rates[0].now == 0.25


# -- early stopping on any quantity -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("monitor", "value", "expected"),
    [("val_loss", 2.0, 2.0), ("val_FeH_r2", 0.9, -0.9), ("val_FeH_bias", -3.0, 3.0), ("val_a_mae", 1.5, 1.5)],
)
def test_lower_is_better_whatever_is_monitored(monitor: str, value: float, expected: float) -> None:
    assert worth(monitor, value) == expected


def test_patience_listens_to_the_monitored_quantity(bench: Callable[..., Bench]) -> None:
    ours = bench([5.0, 4.0, 6.0, 3.0, 2.0], epochs=5, patience=1, monitor="val_a_mae")
    assert ours.train() is Outcome.DONE
    assert len(ours.told("epoch")) == 3
    missing = bench([1.0], epochs=2, monitor="val_b_mae")
    with pytest.raises(BadInput, match="no validation star has that label"):
        missing.train()


# -- sigmas -------------------------------------------------------------------------------------------------


def test_gaussian_nll_is_the_formula_and_leaves_holes_out() -> None:
    mean = torch.tensor([[1.0, 5.0], [0.0, -2.0]], requires_grad=True)
    log_sigma = torch.tensor([[0.5, 0.0], [-1.0, 9.0]], requires_grad=True)
    truth = torch.tensor([[0.0, NAN], [0.5, -2.0]])
    loss, count = build_loss(Training(loss="gaussian_nll"))((mean, log_sigma), truth)
    each = [0.5 + 1.0 / (2 * math.exp(1.0)), -1.0 + 0.25 / (2 * math.exp(-2.0)), 9.0]
    assert int(count) == 3
    assert loss.item() == pytest.approx(sum(each) / 3, rel=1e-5)
    loss.backward()
    assert mean.grad is not None
    assert log_sigma.grad is not None
    assert mean.grad[0, 1] == log_sigma.grad[0, 1] == 0
    assert torch.isfinite(mean.grad).all()


@pytest.mark.parametrize("kind", ["mse", "huber"])
def test_other_losses_take_the_labels_of_a_network_with_sigmas(kind: Any) -> None:
    mean, truth = torch.tensor([[1.0]]), torch.tensor([[0.0]])
    loss_of = build_loss(Training(loss=kind))
    assert loss_of((mean, torch.tensor([[3.0]])), truth)[0] == loss_of(mean, truth)[0]


# -- parts of a network -------------------------------------------------------------------------------------


class Two(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Dropout(0.5))
        self.head = nn.Linear(width, 1)


def test_what_is_frozen_does_not_learn_and_keeps_its_statistics() -> None:
    network = Two()
    assert networks.freeze(network, ["body"]) == [
        "body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias",
    ]  # fmt: skip
    learning(network)
    before = network.body[1].running_mean.clone()
    optimizer = build_optimizer(network.parameters(), Training())
    for _ in range(3):
        network.head(network.body(torch.randn(8, 2) + 5)).sum().backward()
        optimizer.step()
    assert torch.equal(network.body[1].running_mean, before)
    assert not network.body.training
    assert network.head.training
    assert networks.freeze(network, []) == []
    assert all(p.requires_grad for p in network.parameters())


def test_patterns_that_freeze_nothing_or_all_are_refused() -> None:
    with pytest.raises(BadInput, match="'boddy' matches no parameter; the parts are: body, head"):
        networks.freeze(Two(), ["boddy"])
    with pytest.raises(BadInput, match="leaves nothing to learn"):
        networks.freeze(Two(), ["*"])
    assert networks.freeze(Two(), ["*.bias"]) == ["body.0.bias", "body.1.bias", "head.bias"]


def test_weights_of_another_network_are_taken_whole_or_not_at_all() -> None:
    network, other = Two(3), Two(4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    weights = other.state_dict() | {"tail.weight": torch.ones(1)}
    del weights["head.bias"]
    with pytest.raises(BadInput) as caught:
        networks.take_weights(network, weights, partial=False, source="run/best.pt")
    said = "\n".join(caught.value.lines)
    for words in ("--partial", "head.bias", "tail.weight", "body.0.weight [4, 2] -> [3, 2]"):
        assert words in said
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    loaded = networks.take_weights(network, weights, partial=True, source="run/best.pt")
    assert loaded.matched == ["body.1.num_batches_tracked"]
    assert networks.take_weights(network, Two(3).state_dict(), partial=False, source="x").whole


def test_norms_are_told_by_part() -> None:
    assert part_norms(["a.x", "b.y", "a.z", "c"], [3.0, 2.0, 4.0, 1.0]) == {"a": 5.0, "b": 2.0, "c": 1.0}


# -- generators ---------------------------------------------------------------------------------------------


def test_every_generator_goes_on_where_it_was() -> None:
    import random

    import numpy as np

    generators = Randomness(torch.device("cpu"))
    state = generators.state_dict()

    def draw() -> list[float]:
        return [torch.rand(1).item(), np.random.rand(), random.random()]

    first = draw()
    assert draw() != first
    generators.load_state_dict(state)
    assert draw() == first
