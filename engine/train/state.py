"""Everything that changes while training, and nothing else: what a checkpoint is made of.

Each part has `state_dict` and `load_state_dict`. The random generators are a part too: dropout draws from
them, and a run that goes on must draw what it would have drawn.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from engine.train.batches import Batches
from engine.train.optim import Rate, is_schedule_free


class Part(Protocol):
    """Something that changes while training."""

    def state_dict(self) -> dict[str, Any]:
        """Return plain containers and tensors."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Take what `state_dict` gave."""


@dataclass
class Progress:
    """How far training came, its best so far, and the trouble it had.

    `stage` counts the stages (training, fine-tuning) from 0; `step` counts over all of them. `best` is lower
    for better, whatever is monitored. `began_step` and `began_epoch` are what was done before this stage.
    `loss_sum` and `loss_weight` are those of the epoch that is under way; `epochs_ended` counts the epochs of
    this stage that were looked at to their end.
    """

    stage: int = 0
    step: int = 0
    began_step: int = 0
    began_epoch: int = 0
    best: float = math.inf
    best_epoch: int = 0
    stale: int = 0
    early: bool = False
    bad_in_a_row: int = 0
    bad_steps: int = 0
    rollbacks: int = 0
    gone_back_for: list[int] = field(default_factory=list)
    epochs_ended: int = 0
    rate: float = 0.0
    loss_sum: float = 0.0
    loss_weight: float = 0.0

    def add(self, losses: list[float], weights: list[float]) -> None:
        """Add steps to the mean loss of the epoch, one by one: the sum must not depend on how they came."""
        for loss, weight in zip(losses, weights, strict=True):
            if math.isfinite(loss):
                self.loss_sum += loss * weight
                self.loss_weight += weight

    def train_loss(self) -> float:
        """Return the mean loss of the epoch so far; NaN when no step counted."""
        return self.loss_sum / self.loss_weight if self.loss_weight else math.nan

    def state_dict(self) -> dict[str, Any]:
        return {**vars(self), "gone_back_for": list(self.gone_back_for)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "gone_back_for": list(state["gone_back_for"])})


class Randomness:
    """The generators of torch, numpy and Python, on the CPU and on the device of training."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def state_dict(self) -> dict[str, Any]:
        kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
        keys = np.asarray(keys)
        version, numbers, after = random.getstate()
        return {
            "torch": torch.get_rng_state(),
            "device": self._module().get_rng_state() if self._module() else None,
            "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
            "python": [version, torch.tensor(numbers, dtype=torch.int64), after],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        torch.set_rng_state(state["torch"])
        if self._module() and state["device"] is not None:
            self._module().set_rng_state(state["device"])
        kind, keys, position, has_gauss, gauss = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
        version, numbers, after = state["python"]
        random.setstate((version, tuple(numbers.tolist()), after))

    def quick(self) -> tuple[Tensor, Tensor | None]:
        """Return torch's generators alone, in a microsecond: what a forward pass draws from."""
        module = self._module()
        return torch.get_rng_state(), module.get_rng_state() if module else None

    def rewind(self, state: tuple[Tensor, Tensor | None]) -> None:
        """Set torch's generators to what `quick` returned."""
        torch.set_rng_state(state[0])
        if self._module() and state[1] is not None:
            self._module().set_rng_state(state[1])

    def _module(self) -> Any:
        return {"cuda": torch.cuda, "mps": torch.mps}.get(self.device.type)


@dataclass
class State:
    """Everything that changes while training; `scaler` is that of fp16, `average` the moving average."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    rate: Rate
    batches: Batches
    random: Randomness
    progress: Progress = field(default_factory=Progress)
    scaler: torch.amp.GradScaler | None = None
    average: AveragedModel | None = None

    def parts(self) -> dict[str, Part]:
        return {name: part for name, part in vars(self).items() if part is not None}

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the state of a checkpoint of the same conf.

        Raises:
            KeyError: a part is missing in it.
        """
        for name, part in self.parts().items():
            part.load_state_dict(state[name])

    def averaged(self) -> None:
        """Take the weights after an update into the moving average."""
        if self.average is not None:
            self.average.update_parameters(self.network)

    @contextmanager
    def evaluated(self) -> Iterator[nn.Module]:
        """Give the network with the weights to evaluate with, and leave those of training as they were.

        Bit by bit: schedule-free optimizers turn one into the other by arithmetic that rounds, and when a run
        is looked at must not change where it ends.
        """
        if self.average is not None:
            yield self.average.module
        elif is_schedule_free(self.optimizer):
            kept = [p.detach().clone() for p in self.network.parameters()]
            self.optimizer.eval()  # type: ignore[attr-defined]
            try:
                yield self.network
            finally:
                self.optimizer.train()  # type: ignore[attr-defined]
                with torch.no_grad():
                    for parameter, value in zip(self.network.parameters(), kept, strict=True):
                        parameter.copy_(value)
        else:
            yield self.network

    def weights(self) -> dict[str, Tensor]:
        """Return the weights to evaluate with; those of training themselves where they are the same."""
        own = self.average is None and not is_schedule_free(self.optimizer)
        with self.evaluated() as network:
            state: dict[str, Tensor] = network.state_dict()
            return state if own else {name: value.detach().clone() for name, value in state.items()}


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential moving average of the weights: each update keeps `decay` of it.

    Running statistics are copied, not averaged: they are averages already.
    """
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
