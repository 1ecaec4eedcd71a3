"""What a network adds to the loss of its labels takes part in training."""

from __future__ import annotations

from collections.abc import Callable

from .conftest import Trained

MIXTURE = ("model={name: FreqInceptionConvNet, head: multi_head, experts: 4, top_k: 1}", "training.epochs=1")


def test_the_balance_of_experts_is_learned(train: Callable[..., Trained]) -> None:
    with_it, without = (train(*MIXTURE, f"model.balance={weight}") for weight in ("0.5", "0.0"))
    gate = "frequency.gate.6.3.bias"
    assert with_it.code == without.code == 0
    assert with_it.weights[gate].tolist() != without.weights[gate].tolist()
    first, second = (ran.record.curves["batch_loss"].values[0] for ran in (with_it, without))
    assert first - second >= 0.5 - 1e-4, "evenly used experts add the weight itself, others more"
