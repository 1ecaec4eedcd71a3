"""The page that everybody reads: one stage of training, step by step.

    fetch, forward, backward, guard, clip, step, record; at the end of an epoch evaluate, save, stop early

Owns the order of things and nothing else. Everything that changes while training is in `State`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from torch import nn

from engine.errors import BadInput
from engine.runs.events import EventLog
from engine.train import trouble
from engine.train.checkpoint import Checkpoints
from engine.train.evaluate import Evaluation
from engine.train.learn import Learner, part_norms
from engine.train.ranks import AGREE_STEPS, Ranks
from engine.train.recorder import Recorder
from engine.train.state import State
from engine.train.stop import Stop, Stopped
from engine.words import say


class Outcome(Enum):
    """Why training ended."""

    DONE = "finished"
    STOPPED = "stopped"
    NON_FINITE = "diverged"


@dataclass(frozen=True)
class Plan:
    """What does not change in a stage; `steps` and `epochs` count from the first stage on."""

    steps: int
    first_step: int = 0
    first_epoch: int = 0
    patience: int | None = None
    evaluate_every: int = 1
    monitor: str = "val_loss"
    save_seconds: float = 60.0
    save_steps: int | None = None
    on_nonfinite: str = "stop"
    nonfinite_limit: int = 3


@dataclass
class Run:
    """Where training writes, how it looks at the validation rows, and who may ask it to stop."""

    events: EventLog
    recorder: Recorder
    checkpoints: Checkpoints
    evaluate: Callable[[], Evaluation]
    stop: Stop
    ranks: Ranks = field(default_factory=Ranks)
    wavelength: np.ndarray | None = None
    saved_at: float = field(default_factory=time.monotonic)
    saved_step: int = -1


def train(state: State, plan: Plan, learner: Learner, run: Run) -> Outcome:
    """Train from `state` to `plan.steps`, recording into `run`; return why it ended."""
    progress, batches = state.progress, state.batches
    learning(state.network)
    if plan.on_nonfinite == "rollback" and progress.step == plan.first_step:
        save(state, plan, run)
    unseen = batches.epoch_ended and progress.epochs_ended < batches.epoch  # stopped while it was evaluated
    if unseen and (outcome := _end_epoch(state, plan, run)) is not None:
        return outcome
    if progress.step >= plan.steps or progress.early:
        return Outcome.DONE
    for batch in run.recorder.fetched(batches):
        learner.add(batch)
        if not batches.step_ended:
            continue
        gradient = learner.gradient()
        progress.rate = state.rate.now
        if learner.refuses(gradient):
            answer = trouble.answer(state, plan, learner, run, gradient)
            if answer is trouble.Answer.STOP:
                return Outcome.NON_FINITE
            if answer is trouble.Answer.ROLL_BACK:
                continue
        else:
            learner.update(gradient)
            progress.bad_in_a_row = 0
        state.rate.step()
        progress.step += 1
        full = run.recorder.step(progress.step, gradient, progress.rate)
        stop, due_save, full = _wishes(state, plan, run, full)
        # Before anything is looked at or saved, the host has to know what the device refused.
        if (full or stop or due_save or batches.epoch_ended) and not flush(state, plan, run, learner):
            continue
        ended = _end_epoch(state, plan, run, wanted=due_save or stop) if batches.epoch_ended else None
        if ended is not None:
            return ended
        if (due_save or stop) and run.saved_step != progress.step:
            save(state, plan, run)
        if stop:
            return Outcome.STOPPED
    raise AssertionError("batches are endless")


def _end_epoch(state: State, plan: Plan, run: Run, *, wanted: bool = False) -> Outcome | None:
    """Evaluate, remember the best, save when it is time or `wanted`; return why training ended if it did."""
    progress, epoch = state.progress, state.batches.epoch
    last = progress.step >= plan.steps
    values = {"train_loss": progress.train_loss(), "learning_rate": progress.rate}
    if due(epoch, plan.evaluate_every) or last:
        try:
            seen = run.ranks.told(_values(run) if run.ranks.first else None)
        except Stopped:
            seen = run.ranks.told(None)
        if seen is None:
            save(state, plan, run)
            return Outcome.STOPPED
        values |= seen
    progress.epochs_ended, progress.loss_sum, progress.loss_weight = epoch, 0.0, 0.0
    improved = False
    if plan.monitor not in values and "val_loss" in values:
        raise BadInput(say("train.monitor_missing", monitor=plan.monitor))
    if plan.monitor in values:
        improved = note_best(state, plan, worth(plan.monitor, values[plan.monitor]))
    run.recorder.epoch(plan.first_epoch + epoch, progress.step, values)
    if not math.isfinite(values.get("val_loss", 0.0)):
        trouble.bad_validation(state, plan, run, values["val_loss"])
        return Outcome.NON_FINITE
    progress.early = plan.patience is not None and progress.stale >= plan.patience
    (overdue,) = run.ranks.agree(time.monotonic() - run.saved_at > plan.save_seconds)
    if improved or last or progress.early or overdue or wanted:
        save(state, plan, run, best=values[plan.monitor] if improved else None)
    if progress.early and not last:
        run.events.append("early_stop", epoch=plan.first_epoch + epoch, best_epoch=progress.best_epoch)
    return Outcome.DONE if last or progress.early else None


def _values(run: Run) -> dict[str, float] | None:
    return validation_values(run.evaluate())


def _wishes(state: State, plan: Plan, run: Run, full: bool) -> tuple[bool, bool, bool]:
    """Return whether to stop, to save and to write what was recorded, the same on every rank."""
    step = state.progress.step
    save = plan.save_steps is not None and due(step, plan.save_steps)
    stop, overdue = run.stop.asked, time.monotonic() - run.saved_at > plan.save_seconds
    if not run.ranks.alone:
        if not due(step, AGREE_STEPS) and not state.batches.epoch_ended:
            return False, save, False
        # Not by each one's own clock: writing may mean going back to a step that a device refused.
        stop, overdue, full = run.ranks.agree(stop, overdue, full)
        if stop:
            run.ranks.hear(run.stop)
    return stop, save or overdue, full


def flush(state: State, plan: Plan, run: Run, learner: Learner | None = None) -> bool:
    """Write the steps that were kept; False when the host had to go back to one that the device refused."""
    lazy = learner is not None and learner.lazy
    # where fp16's scaler leaves steps out, a gradient that overflows is no trouble
    held = lazy and state.scaler is None
    kept = run.recorder.flush(plan.first_epoch + state.batches.epoch, up_to_bad=held)
    state.progress.add(kept.losses, kept.weights)
    if learner is None or not lazy or not kept.bad:
        return True
    return trouble.heard_late(state, plan, learner, run, kept.bad[0])


def save(state: State, plan: Plan, run: Run, *, best: float | None = None) -> None:
    """Save all that changes, and say so in the events; every rank takes part, the first one writes.

    `best` is the monitored value where it is the best so far.
    """
    flush(state, plan, run)
    step, epoch = state.progress.step, plan.first_epoch + state.batches.epoch
    whole = state.state_dict()
    whole["random"] = run.ranks.gathered(whole["random"])
    run.saved_at, run.saved_step = time.monotonic(), step
    if not run.ranks.first:
        return
    path = run.checkpoints.save(whole, state.weights(), step=step, epoch=epoch, best=best is not None)
    run.events.append(
        "checkpoint", step=step, epoch=epoch, file=path.name, best=best is not None,
        size=path.stat().st_size, value=best,
    )  # fmt: skip
    run.events.flush_to_disk()


def due(count: int, every: int) -> bool:
    """Tell whether something that happens every `every` times is due at `count`."""
    return count % every == 0


def learning(network: nn.Module) -> None:
    """Set the network to learn; parts that are frozen whole keep their statistics and drop nothing out."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()


def validation_values(evaluation: Evaluation) -> dict[str, float]:
    """Return val_loss and val_<label>_<error> as recorded quantities."""
    values = {"val_loss": evaluation.loss}
    for label, errors in evaluation.errors.items():
        values |= {f"val_{label}_{kind}": value for kind, value in errors.items() if kind != "n"}
    return values


def worth(monitor: str, value: float) -> float:
    """Return a monitored value so that lower is better: r2 the other way round, a bias by its size."""
    if monitor.endswith("_r2"):
        return -value
    return abs(value) if monitor.endswith("_bias") else value


def note_best(state: State, plan: Plan, value: float) -> bool:
    """Remember a new best; a value that is not finite is never one."""
    progress = state.progress
    state.rate.look(value)
    if math.isfinite(value) and value < progress.best:
        progress.best, progress.best_epoch = value, plan.first_epoch + state.batches.epoch
        progress.stale = 0
        return True
    progress.stale += 1
    return False


def norms_by_part(learner: Learner) -> Callable[[], dict[str, float]]:
    """Return a function that gives the gradient norm of each part at the step that was just made."""

    def now() -> dict[str, float]:
        if learner.norms_P is None:
            return {}
        names = [
            n for n, p in learner.state.network.named_parameters() if p.requires_grad and p.grad is not None
        ]
        norms = learner.norms_P.tolist()
        return part_norms(names, norms) if len(names) == len(norms) else {}

    return now
