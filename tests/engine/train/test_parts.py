"""The parts of the loop by themselves: batches, losses, schedules, errors, the guard."""

from __future__ import annotations

import itertools
import math
import signal
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engine.conf.schema import Training
from engine.errors import BadInput
from engine.schedules import factor_of
from engine.train.batches import Batches
from engine.train.device import choose_device, set_threads
from engine.train.losses import build_loss
from engine.train.metrics import label_errors
from engine.train.optim import Rate, build_optimizer
from engine.train.rows import Resident, Rows
from engine.train.stop import Stop, Stopped

NAN = math.nan


def rows(count: int) -> Rows:
    values = torch.arange(count, dtype=torch.float32)[:, None].expand(count, 3).contiguous()
    source = Resident(values, values, torch.arange(count), torch.device("cpu"))
    return Rows(source, values[:, :2].contiguous(), [str(i) for i in range(count)])


def epoch_of(batches: Batches) -> list[list[int]]:
    """Return the row numbers of the batches of one epoch."""
    given = []
    for batch in batches:
        given.append(batch.index_B.tolist())
        assert batch.continuum_BL[:, 0].tolist() == [float(i) for i in given[-1]]
        if batches.epoch_ended:
            return given
    raise AssertionError


def flat(given: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(given))


# -- batches ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "size"), [(10, 3), (9, 3), (8, 3), (5, 8), (2, 2), (64, 32), (66, 32)])
def test_every_row_comes_once_an_epoch(count: int, size: int) -> None:
    batches = Batches(rows(count), size, seed=1)
    for epoch in range(1, 4):
        given = epoch_of(batches)
        assert batches.epoch == epoch
        assert len(given) == batches.per_epoch
        alone = count % min(size, count) == 1  # the last star would be a batch of one: it waits for its turn
        assert len(set(flat(given))) == len(flat(given)) == count - alone
        assert min(map(len, given)) >= 2


def test_a_star_left_over_is_another_one_each_epoch() -> None:
    batches = Batches(rows(10), 3, seed=1)
    left = {(set(range(10)) - set(flat(epoch_of(batches)))).pop() for _ in range(20)}
    assert len(left) > 3


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    first, again, other = (Batches(rows(20), 4, seed) for seed in (1, 1, 2))
    orders = [epoch_of(first) for _ in range(3)]
    assert [epoch_of(again) for _ in range(3)] == orders
    assert epoch_of(other) != orders[0]
    assert orders[0] != orders[1]
    torch.manual_seed(99)
    torch.rand(1000)
    third = Batches(rows(20), 4, 1)
    third.load_state_dict(third.state_dict() | {"epoch": 3})
    assert epoch_of(third) == orders[2], "whatever was drawn before"


@pytest.mark.parametrize("steps", range(1, 12))
def test_a_saved_position_goes_on_exactly(steps: int) -> None:
    straight = Batches(rows(14), 4, seed=3)
    given = [batch.index_B.tolist() for batch in itertools.islice(straight, 25)]
    stopped = Batches(rows(14), 4, seed=3)
    head = [batch.index_B.tolist() for batch in itertools.islice(stopped, steps)]
    resumed = Batches(rows(14), 4, seed=0)
    resumed.load_state_dict(stopped.state_dict())
    tail = [batch.index_B.tolist() for batch in itertools.islice(resumed, 25 - steps)]
    assert head + tail == given


KINDS = ["mse", "mae", "smooth_l1", "huber", "log_cosh", "focal", "focal_easy"]


# -- losses -------------------------------------------------------------------------------------------------


PREDICTED = [[1.0, 5.0], [0.0, -2.0], [3.0, 0.5]]
TRUTH = [[0.0, NAN], [0.5, 1.0], [NAN, 0.0]]
ERRORS = [1.0, -0.5, -3.0, 0.5]  # where the truth is known


@pytest.mark.parametrize(
    ("settings", "of_error"),
    [
        ({"loss": "mse"}, lambda e: e * e),
        ({"loss": "mae"}, abs),
        (
            {"loss": "smooth_l1", "huber_delta": 0.75},
            lambda e: e * e / 1.5 if abs(e) < 0.75 else abs(e) - 0.375,
        ),
        ({"loss": "log_cosh"}, lambda e: math.log(math.cosh(e))),
        ({"loss": "focal"}, lambda e: abs(e) ** 2.5),
        ({"loss": "focal", "focal_gamma": 0.5}, lambda e: abs(e) ** 1.5),
        (
            {"loss": "focal_easy", "focal_threshold": 2.0},
            lambda e: (1 - min(e * e / 2, 1 - 1e-12)) ** 1.5 * e * e,
        ),
        (
            {"loss": "huber", "huber_delta": 0.75},
            lambda e: e * e / 2 if abs(e) <= 0.75 else 0.75 * (abs(e) - 0.375),
        ),
        ({"loss": "huber", "huber_delta": 2.0}, lambda e: e * e / 2 if abs(e) <= 2 else 2 * (abs(e) - 1)),
    ],
)
def test_losses_are_the_formulas_over_known_labels(settings: dict[str, Any], of_error: Any) -> None:
    predicted = torch.tensor(PREDICTED, requires_grad=True)
    loss, count = build_loss(Training(**settings))(predicted, torch.tensor(TRUTH))
    assert int(count) == 4
    assert loss.item() == pytest.approx(sum(map(of_error, ERRORS)) / 4)
    loss.backward()
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()
    assert predicted.grad[0, 1] == predicted.grad[2, 0] == 0
    assert (predicted.grad[[0, 1, 1, 2], [0, 0, 1, 1]] != 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_any_label_is_no_loss_and_no_gradient(kind: Any) -> None:
    predicted = torch.tensor(PREDICTED, requires_grad=True)
    loss, count = build_loss(Training(loss=kind))(predicted, torch.full((3, 2), NAN))
    loss.backward()
    assert (loss.item(), int(count)) == (0.0, 0)
    assert predicted.grad is not None
    assert not predicted.grad.any()


def test_log_cosh_of_large_errors_is_finite_and_almost_the_error() -> None:
    predicted = torch.tensor([[1e4, -1e4, 1e-4]], requires_grad=True)
    loss, _ = build_loss(Training(loss="log_cosh"))(predicted, torch.zeros(1, 3))
    loss.backward()
    assert loss.item() == pytest.approx((2e4 - 2 * math.log(2)) / 3)
    assert predicted.grad is not None
    assert predicted.grad[0].tolist() == pytest.approx([1 / 3, -1 / 3, 1e-4 / 3], rel=1e-2)


def test_label_weights_weigh_the_mean_of_what_is_known() -> None:
    training = Training(loss="mse", label_weights={"b": 3.0, "a": 0.5})
    loss, weight = build_loss(training, ["a", "b"])(torch.tensor(PREDICTED), torch.tensor(TRUTH))
    errors = {"a": [1.0, -0.5], "b": [-3.0, 0.5]}
    total = 0.5 * sum(e * e for e in errors["a"]) + 3.0 * sum(e * e for e in errors["b"])
    assert float(weight) == 2 * 0.5 + 2 * 3.0
    assert loss.item() == pytest.approx(total / 7)
    nothing, weight = build_loss(training, ["a", "b"])(torch.tensor(PREDICTED), torch.full((3, 2), NAN))
    assert (nothing.item(), float(weight)) == (0.0, 0.0)


def test_a_prediction_that_is_not_a_number_is_not_hidden() -> None:
    loss, _ = build_loss(Training())(torch.tensor([[NAN]]), torch.tensor([[1.0]]))
    assert math.isnan(float(loss))


# -- learning rate ------------------------------------------------------------------------------------------


def rates(steps: int = 100, per_epoch: int = 10, **settings: Any) -> list[float]:
    """Return the rate in force at each step of a real optimizer."""
    training = Training(epochs=10, learning_rate=0.5, **settings)
    optimizer = build_optimizer(nn.Linear(2, 2).parameters(), training)
    schedule = Rate(optimizer, training, steps, per_epoch)
    seen = []
    for _ in range(steps):
        assert schedule.now == optimizer.param_groups[0]["lr"]
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_constant_is_the_peak_throughout() -> None:
    assert set(rates(schedule="constant")) == {0.5}


def test_cosine_starts_at_the_peak_and_ends_near_nothing() -> None:
    seen = rates(schedule="cosine")
    assert seen[0] == 0.5
    assert seen[50] == pytest.approx(0.25)
    assert seen == sorted(seen, reverse=True)
    assert 0 <= seen[-1] < 0.5 * 0.001


def test_warmup_is_in_force_from_the_first_step() -> None:
    seen = rates(schedule="warmup_cosine", warmup_epochs=2.0)
    assert seen[0] == pytest.approx(0.5 / 20)
    assert seen[:20] == pytest.approx([0.5 * (i + 1) / 20 for i in range(20)])
    assert max(seen) == seen[19] == pytest.approx(0.5)
    assert seen[20:] == sorted(seen[20:], reverse=True)
    assert seen[-1] < 0.5 * 0.001


@pytest.mark.parametrize("steps", [1, 2, 3, 10])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 1.0, 10.0])
def test_warmup_never_leaves_the_run_without_a_rate(steps: int, warmup: float) -> None:
    training = Training(epochs=10, schedule="warmup_cosine", warmup_epochs=warmup)
    factor = factor_of(training, steps, per_epoch=1)
    seen = [factor(step) for step in range(steps)]
    assert all(0 < f <= 1 for f in seen)
    assert max(seen) == 1


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_the_optimizer_is_the_one_named_over_what_can_be_trained(name: Any, kind: type) -> None:
    network = nn.Linear(2, 2)
    network.bias.requires_grad_(False)
    optimizer = build_optimizer(
        network.parameters(), Training(optimizer=name, weight_decay=0.25, learning_rate=0.5)
    )
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["weight_decay"] == 0.25
    assert [p is network.weight for p in optimizer.param_groups[0]["params"]] == [True]


# -- errors -------------------------------------------------------------------------------------------------


def test_errors_per_label_are_the_textbook_s() -> None:
    truth = np.array([[1.0, NAN], [2.0, NAN], [4.0, NAN], [NAN, NAN]])
    predicted = np.array([[1.5, 0.0], [2.0, 0.0], [1.0, 0.0], [9.0, 0.0]])
    found = label_errors(predicted, truth, ["a", "b"])
    error = np.array([0.5, 0.0, -3.0])
    spread = (4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2
    assert found["a"] == pytest.approx({
        "n": 3, "mae": 3.5 / 3, "rmse": math.sqrt(9.25 / 3), "bias": -2.5 / 3,
        "sigma_mad": 1.4826 * np.median(np.abs(error - 0.0)), "r2": 1 - 9.25 / spread, "outlier_rate": 1 / 3,
    })  # fmt: skip
    assert found["b"] == {"n": 0}
    assert math.isnan(label_errors(np.ones((2, 1)), np.ones((2, 1)), ["c"])["c"]["r2"])


# -- device -------------------------------------------------------------------------------------------------


def test_devices_that_are_not_there_are_refused() -> None:
    assert choose_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(BadInput, match="cuda:7 is not there"):
            choose_device("cuda:7")
    if not torch.backends.mps.is_available():
        with pytest.raises(BadInput, match="mps is not there"):
            choose_device("mps")


def test_threads_are_set() -> None:
    assert set_threads(2) == torch.get_num_threads() == 2
    assert set_threads(None) >= 1


# -- stopping -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_are_a_wish_that_is_noted(number: signal.Signals) -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    try:
        stop = Stop().install()
        stop.check()
        signal.raise_signal(number)
        assert (stop.asked, stop.by) == (True, number.name)
        with pytest.raises(Stopped, match=number.name):
            stop.check()
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
