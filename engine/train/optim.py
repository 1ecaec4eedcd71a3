"""Optimizer and learning-rate schedule, both tied to the total number of steps."""

from __future__ import annotations

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR

from engine.conf.schema import Training
from engine.schedules import factor_of


def build_optimizer(network: nn.Module, training: Training) -> Optimizer:
    """Return the optimizer of the conf over every trainable parameter."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    lr, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "sgd":
        return SGD(parameters, lr=lr, weight_decay=decay, momentum=training.momentum)
    if training.optimizer == "rmsprop":
        return RMSprop(parameters, lr=lr, weight_decay=decay, momentum=training.momentum)
    kind = {"adam": Adam, "adamw": AdamW}[training.optimizer]
    return kind(parameters, lr=lr, weight_decay=decay)


def build_schedule(optimizer: Optimizer, training: Training, steps: int, per_epoch: int) -> LambdaLR:
    """Return the schedule of the conf; it is in force from the very first step."""
    return LambdaLR(optimizer, factor_of(training, steps, per_epoch))
