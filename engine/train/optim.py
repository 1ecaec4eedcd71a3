"""Optimizer and learning rate, both tied to the total number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from engine.conf.schema import Training
from engine.schedules import factor_of


def build_optimizer(parameters: Iterable[nn.Parameter], training: Training) -> Optimizer:
    """Return the optimizer of the conf over those parameters that are trainable.

    On a GPU the fused forms are taken, which need no host to leave a bad update out. `adamw_schedule_free` is
    that of Defazio et al. (2024, arXiv:2405.15682), by their library.
    """
    chosen = [p for p in parameters if p.requires_grad]
    lr, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "adamw_schedule_free":
        from schedulefree import AdamWScheduleFree

        free: Optimizer = AdamWScheduleFree(chosen, lr=lr, weight_decay=decay)
        free.train()  # type: ignore[attr-defined]
        return free
    fused = True if chosen and chosen[0].device.type == "cuda" else None
    if training.optimizer == "sgd":
        return SGD(chosen, lr=lr, weight_decay=decay, momentum=training.momentum, fused=fused)
    if training.optimizer == "rmsprop":
        return RMSprop(chosen, lr=lr, weight_decay=decay, momentum=training.momentum)
    kind = {"adam": Adam, "adamw": AdamW}[training.optimizer]
    return kind(chosen, lr=lr, weight_decay=decay, fused=fused)


class Rate:
    """The learning rate of an optimizer, in force from the very first step.

    It is the conf's function of the step times `scale`, which only trouble and a plateau lower: a plateau
    after `plateau_patience` looks without a better value, by `schedule_gamma`.
    """

    def __init__(self, optimizer: Optimizer, training: Training, steps: int, per_epoch: int) -> None:
        self.optimizer = optimizer
        self.factor: Callable[[int], float] = factor_of(training, steps, per_epoch)
        self.peak = training.learning_rate
        self.floor = training.min_learning_rate
        self.patience = training.plateau_patience if training.schedule == "plateau" else None
        self.gamma = training.schedule_gamma
        self.taken = 0
        self.scale = 1.0
        self.best = math.inf
        self.stale = 0
        self._set()

    @property
    def now(self) -> float:
        """Learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self) -> None:
        """Move on by one step."""
        self.taken += 1
        self._set()

    def look(self, value: float) -> None:
        """Take note of the monitored quantity, lower being better: a plateau lowers the rate."""
        if self.patience is None:
            return
        if value < self.best:
            self.best, self.stale = value, 0
            return
        self.stale += 1
        if self.stale >= self.patience:
            self.stale = 0
            self.lower(self.gamma)

    def lower(self, factor: float) -> None:
        """Multiply this and every later rate; never below min_learning_rate."""
        self.scale *= factor
        self._set()

    def _set(self) -> None:
        rate = self.peak * self.factor(self.taken)
        if self.scale != 1.0:
            rate = max(rate * self.scale, min(rate, self.floor))
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken, "scale": self.scale, "best": self.best, "stale": self.stale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.taken, self.scale = state["taken"], state["scale"]
        self.best, self.stale = state["best"], state["stale"]
        self._set()


def is_schedule_free(optimizer: Optimizer) -> bool:
    """Tell whether the weights while training are not those to evaluate with."""
    return "train_mode" in optimizer.param_groups[0]


def holds_on_device(optimizer: Optimizer) -> bool:
    """Tell whether a flag on the device can keep this optimizer from its update."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False)) and torch.cuda.is_available()
