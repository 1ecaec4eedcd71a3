"""Optimizer and learning-rate schedule, both tied to the total number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from engine.conf.schema import Training


def build_optimizer(network: nn.Module, training: Training) -> Optimizer:
    """Return the optimizer of the conf over every trainable parameter."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    kind = {"adam": Adam, "adamw": AdamW}[training.optimizer]
    return kind(parameters, lr=training.learning_rate, weight_decay=training.weight_decay)


def build_schedule(optimizer: Optimizer, training: Training, steps: int, per_epoch: int) -> LambdaLR:
    """Return the schedule of the conf; it is in force from the very first step."""
    return LambdaLR(optimizer, factor_of(training, steps, per_epoch))


def factor_of(training: Training, steps: int, per_epoch: int) -> Callable[[int], float]:
    """Return learning rate / peak learning rate as a function of the step (0-based)."""
    warm = 0
    if training.schedule == "warmup_cosine":
        warm = min(steps - 1, max(1, round(training.warmup_epochs * per_epoch))) if steps > 1 else 0

    def factor(step: int) -> float:
        if training.schedule == "constant":
            return 1.0
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))

    return factor
