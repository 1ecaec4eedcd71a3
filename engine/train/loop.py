"""The page that everybody reads: one training run, step by step.

    fetch, forward, backward, guard, clip, step, record; at the end of an epoch evaluate, save, stop early

Owns the order of things and nothing else. Everything that changes while training is in `State`, whose
parts have `state_dict`; a checkpoint is a comprehension over them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm

from engine.runs.events import EventLog
from engine.train import nonfinite
from engine.train.batches import Batches
from engine.train.checkpoint import Checkpoints
from engine.train.evaluate import Evaluation, Forward
from engine.train.losses import Loss
from engine.train.recorder import Recorder
from engine.train.rows import Batch
from engine.train.stop import Stop, Stopped

_SAVE_SECONDS = 60.0


class Outcome(Enum):
    """Why training ended."""

    DONE = "finished"
    STOPPED = "stopped"
    NON_FINITE = "diverged"


@dataclass
class Progress:
    """How far training came, and its best so far."""

    step: int = 0
    best: float = math.inf
    best_epoch: int = 0
    stale: int = 0

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


@dataclass
class State:
    """Everything that changes while training."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    batches: Batches
    progress: Progress = field(default_factory=Progress)

    def state_dict(self) -> dict[str, Any]:
        parts = {name: part.state_dict() for name, part in vars(self).items()}
        return parts | {"random": {"torch": torch.get_rng_state()}}


@dataclass(frozen=True)
class Plan:
    """What does not change while training."""

    epochs: int
    steps: int
    gradient_clip_val: float | None
    gradient_clip: str
    patience: int | None
    evaluate_every: int


@dataclass(frozen=True)
class Run:
    """Where training writes, and how it looks at the validation rows."""

    events: EventLog
    recorder: Recorder
    checkpoints: Checkpoints
    evaluate: Callable[[], Evaluation]
    stop: Stop


def train(state: State, plan: Plan, forward: Forward, loss_of: Loss, run: Run) -> Outcome:
    """Train from `state` to `plan.steps`, recording into `run`; return why it ended."""
    state.network.train()
    epoch_sum = epoch_count = torch.zeros((), device=next(state.network.parameters()).device)
    saved_at = time.monotonic()
    for batch in state.batches:
        predicted_BT = forward(batch.continuum_BL, batch.normalized_BL)
        loss, count = loss_of(predicted_BT, batch.labels_BT)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = get_total_norm([p.grad for p in state.network.parameters() if p.grad is not None])
        rate = float(state.schedule.get_last_lr()[0])
        # Before clipping: a norm that is NaN would spread over every gradient and hide the bad one.
        if nonfinite.is_bad(loss, norm):
            _report_nonfinite(state, run, batch, loss, norm, predicted_BT, rate)
            return Outcome.NON_FINITE
        clip(state.network, plan, norm)
        state.optimizer.step()
        state.schedule.step()
        state.progress.step += 1
        run.recorder.step(state.progress.step, state.batches.epoch, loss, norm, rate)
        epoch_sum, epoch_count = epoch_sum + loss.detach() * count, epoch_count + count

        if state.batches.epoch_ended:
            run.recorder.flush(state.batches.epoch)
            values = {"train_loss": float(epoch_sum / epoch_count), "learning_rate": rate}
            epoch_sum = epoch_count = torch.zeros_like(epoch_sum)
            improved = False
            if due(state.batches.epoch, plan.evaluate_every) or state.progress.step >= plan.steps:
                try:
                    values |= validation_values(run.evaluate())
                except Stopped:
                    _save(state, run, best=False)
                    return Outcome.STOPPED
                improved = _note_best(state, values["val_loss"])
            run.recorder.epoch(state.batches.epoch, values)
            if not math.isfinite(values.get("val_loss", 0.0)):
                _report_bad_validation(state, run, values["val_loss"], rate)
                return Outcome.NON_FINITE
            patient = plan.patience is None or state.progress.stale < plan.patience
            ended = state.progress.step >= plan.steps or not patient
            if improved or ended or time.monotonic() - saved_at > _SAVE_SECONDS:
                _save(state, run, best=improved)
                saved_at = time.monotonic()
            if ended:
                if not patient:
                    run.events.append(
                        "early_stop", epoch=state.batches.epoch, best_epoch=state.progress.best_epoch
                    )
                return Outcome.DONE
        if run.stop.asked:
            run.recorder.flush(state.batches.epoch)
            _save(state, run, best=False)
            return Outcome.STOPPED
    raise AssertionError("batches are endless")


def due(count: int, every: int) -> bool:
    """Tell whether something that happens every `every` times is due at `count`."""
    return count % every == 0


def validation_values(evaluation: Evaluation) -> dict[str, float]:
    """Return val_loss and val_<label>_<error> as recorded quantities."""
    values = {"val_loss": evaluation.loss}
    for label, errors in evaluation.errors.items():
        values |= {
            f"val_{label}_{kind}": errors[kind] for kind in ("mae", "bias", "sigma_mad") if kind in errors
        }
    return values


def clip(network: nn.Module, plan: Plan, norm: Tensor) -> None:
    """Clip the gradients as planned, by their global norm, which is known, or each element."""
    if plan.gradient_clip_val is None:
        return
    if plan.gradient_clip == "value":
        clip_grad_value_(network.parameters(), plan.gradient_clip_val)
    else:
        clip_grads_with_norm_(network.parameters(), plan.gradient_clip_val, norm)


def _note_best(state: State, value: float) -> bool:
    """Remember a new best; a value that is not finite is never one."""
    if math.isfinite(value) and value < state.progress.best:
        state.progress.best, state.progress.best_epoch, state.progress.stale = value, state.batches.epoch, 0
        return True
    state.progress.stale += 1
    return False


def _save(state: State, run: Run, *, best: bool) -> None:
    step, epoch = state.progress.step, state.batches.epoch
    path = run.checkpoints.save(state.state_dict(), step=step, epoch=epoch, best=best)
    run.events.append(
        "checkpoint", step=step, epoch=epoch, file=path.name, best=best, size=path.stat().st_size,
        value=state.progress.best if best else None,
    )  # fmt: skip
    run.events.flush_to_disk()


def _report_nonfinite(
    state: State, run: Run, batch: Batch, loss: Tensor, norm: Tensor, predicted_BT: Tensor, rate: float
) -> None:
    run.recorder.flush(state.batches.epoch)
    found = nonfinite.inspect(
        state.network, loss, norm, predicted_BT,
        [state.batches.rows.obsids[i] for i in batch.index_B.tolist()],
        torch.cat((batch.continuum_BL, batch.normalized_BL), dim=1),
    )  # fmt: skip
    run.events.append(
        "nonfinite",
        step=state.progress.step + 1,
        epoch=state.batches.epoch,
        last_finite_loss=run.recorder.last_finite_loss,
        learning_rate=rate,
        **vars(found),
    )
    run.events.flush_to_disk()


def _report_bad_validation(state: State, run: Run, value: float, rate: float) -> None:
    run.events.append(
        "nonfinite", step=state.progress.step, epoch=state.batches.epoch, what="val_loss", value=value,
        last_finite_loss=run.recorder.last_finite_loss, learning_rate=rate, gradient_norm=None, obsids=[],
        parameter=None,
    )  # fmt: skip
    run.events.flush_to_disk()
