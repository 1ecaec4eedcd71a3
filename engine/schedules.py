"""The learning rate as a function of the step: what training follows and what `spectui schedule` shows.

No torch, so that a form or a shell can ask it at any time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from engine.conf.schema import Training

TYPE2 = ((20, 5e-8), (15, 1e-7), (10, 5e-7), (8, 1e-6), (6, 5e-6), (4, 1e-5), (2, 5e-5))
"""Learning rate from an epoch (1-based) on, latest first: the table that the older framework calls type2."""
_RISE, _START, _END = 0.3, 1 / 25, 1e-4 / 25  # of one_cycle: share of the run, and of the peak


def factor_of(training: Training, steps: int, per_epoch: int) -> Callable[[int], float]:
    """Return learning rate / peak learning rate as a function of the step (0-based).

    With p = schedule_epochs, g = schedule_gamma, t the share of the run that is done:

    constant         1
    warmup_constant  a line up over warmup_epochs, then 1
    plateau          1 here; each drop while training multiplies it (see `engine.train.optim`)
    cosine           (1 + cos(pi t)) / 2
    warmup_cosine    a line up over warmup_epochs, then cosine over the rest
    cosine_restarts  cosine over p epochs, again and again (Loshchilov & Hutter 2017, arXiv:1608.03983)
    step             g^k after every p epochs
    exponential      g^(epochs done), step by step
    one_cycle        cosine up from 1/25 over 30 % of the run, then down to 1/250,000 (Smith 2018)
    type1            1/2 after each epoch
    type2            a table of learning rates by epoch; the peak in the first
    type3            1 in the first three epochs, then 0.9 after each

    Nothing falls below min_learning_rate; the cosines end at it. With schedule_by epoch the whole of an epoch
    has the value of its first step.
    """
    factor = _by_step(training, steps, per_epoch)
    if training.schedule_by == "step":
        return factor
    return lambda step: factor(step // per_epoch * per_epoch)


def _by_step(training: Training, steps: int, per_epoch: int) -> Callable[[int], float]:
    floor = min(1.0, training.min_learning_rate / training.learning_rate)
    shape = _shape(training, steps, per_epoch)
    if training.schedule in ("cosine", "warmup_cosine", "cosine_restarts"):
        warm = _warm_steps(training, steps, per_epoch)
        return lambda step: shape(step) if step < warm else floor + (1.0 - floor) * shape(step)
    return lambda step: max(floor, shape(step))


def _warm_steps(training: Training, steps: int, per_epoch: int) -> int:
    if not training.schedule.startswith("warmup") or steps <= 1:
        return 0
    return min(steps - 1, max(1, round(training.warmup_epochs * per_epoch)))


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def _shape(training: Training, steps: int, per_epoch: int) -> Callable[[int], float]:
    period, gamma = training.schedule_epochs * per_epoch, training.schedule_gamma
    warm = _warm_steps(training, steps, per_epoch)
    rise = max(1.0, _RISE * (steps - 1))

    def warmed(step: int) -> float:
        return (step + 1) / warm if step < warm else _cosine((step - warm) / max(1, steps - warm))

    def one_cycle(step: int) -> float:
        if step < rise:
            return _START + (1 - _START) * (1 - _cosine(step / rise))
        return _END + (1 - _END) * _cosine((step - rise) / max(1.0, steps - 1 - rise))

    def type2(step: int) -> float:
        epoch = step // per_epoch + 1
        rate = next((rate for start, rate in TYPE2 if epoch >= start), training.learning_rate)
        return rate / training.learning_rate

    shapes: dict[str, Callable[[int], float]] = {
        "constant": lambda step: 1.0,
        "plateau": lambda step: 1.0,
        "warmup_constant": lambda step: (step + 1) / warm if step < warm else 1.0,
        "cosine": warmed,
        "warmup_cosine": warmed,
        "cosine_restarts": lambda step: _cosine(step % period / period),
        "step": lambda step: gamma ** (step // period),
        "exponential": lambda step: gamma ** (step / per_epoch),
        "one_cycle": one_cycle,
        "type1": lambda step: 0.5 ** (step // per_epoch),
        "type2": type2,
        "type3": lambda step: 0.9 ** max(0, step // per_epoch - 2),
    }
    return shapes[training.schedule]
