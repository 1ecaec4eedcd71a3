"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.train import loop

from .test_loop import Bench

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return lambda **settings: Bench(tmp_path, device="cuda", **settings)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_no_step_waits_for_the_device(bench: Callable[..., Bench], optimizer: str) -> None:
    """Under torch's sync debug mode every wait is an error; records and ends of epochs may wait."""
    ours = bench(optimizer=optimizer, record_seconds=1e6, epochs=1, save_seconds=1e6, batch_size=2)
    steps = 0

    def step(continuum: Any, normalized: Any) -> Any:
        nonlocal steps
        steps += 1
        # the first steps make the optimizer's state; the last ones end the epoch
        torch.cuda.set_sync_debug_mode("error" if 2 < steps < ours.steps else "default")
        return ours.network(continuum + normalized)

    ours.forward = step  # type: ignore[method-assign]
    try:
        assert ours.train() is loop.Outcome.DONE
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert steps == ours.steps > 6


def test_a_bad_step_is_refused_by_the_device_and_heard_of_at_the_next_record(
    bench: Callable[..., Bench],
) -> None:
    ours = bench(record_seconds=1e6)
    ours.flux[0][6, 2] = math.inf  # tanh makes it a finite loss, and a gradient that is none
    assert ours.train() is loop.Outcome.NON_FINITE
    (told,) = ours.told("nonfinite")
    assert told["obsids"][0] == "star6"
    assert all(map(math.isfinite, ours.weights()))
    assert ours.state.progress.step == told["step"] - 1
