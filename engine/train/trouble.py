"""What a run does about a step that is no finite number: stop, leave it out, or go back.

Whatever it does, weights never saw that step, and the events say what was found.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from engine.train import checkpoint, nonfinite
from engine.train.learn import Gradient, Learner
from engine.train.state import State

if TYPE_CHECKING:
    from engine.train.loop import Plan, Run

_SLOWER = 0.5  # what a rollback multiplies the learning rate by


class Answer(Enum):
    """How to go on."""

    STOP = "stop"
    SKIP = "skip"
    ROLL_BACK = "rollback"


def answer(state: State, plan: Plan, learner: Learner, run: Run, gradient: Gradient) -> Answer:
    """Look into a step that was refused, do what the conf wants about it, and record both."""
    from engine.train.loop import flush, save

    progress = state.progress
    flush(state, plan, run)
    found = nonfinite.inspect(learner, gradient, state.batches.again(), run.wavelength)
    learner.forget()
    todo = _choice(state, plan)
    step = progress.step + 1
    # each rank looked at its own share of the batch
    every = run.ranks.gathered(vars(found))
    told = next((one for one in every if one["reproduced"]), every[0])
    _tell(state, plan, run, step, todo, **told)
    if todo is Answer.STOP:
        # Saved as it was before that step: what comes to look finds the state that led to it.
        state.batches.back()
        state.random.rewind(learner.began)
        save(state, plan, run)
    elif todo is Answer.SKIP:
        progress.bad_in_a_row += 1
        progress.bad_steps += 1
    else:
        roll_back(state, run, step)
    return todo


def roll_back(state: State, run: Run, step: int) -> None:
    """Go back to the newest checkpoint and on from there at half the learning rate."""
    rollbacks, gone_back_for = state.progress.rollbacks + 1, [*state.progress.gone_back_for, step]
    found = run.ranks.told(checkpoint.newest(run.checkpoints.folder) if run.ranks.first else None)
    if found is None:
        raise AssertionError("a run that may roll back saves before its first step")
    restore(state, found[1], run.ranks.rank)
    state.progress.rollbacks, state.progress.gone_back_for = rollbacks, gone_back_for
    # Saved scales know of earlier rollbacks only: each one halves what the checkpoint had.
    state.rate.lower(_SLOWER**rollbacks / _SLOWER ** found[1]["state"]["progress"]["rollbacks"])
    run.recorder.rewound(state.progress.step)
    run.saved_step = -1
    run.events.append("rewind", step=state.progress.step, was=step, learning_rate=state.rate.now)


def restore(state: State, whole: dict[str, Any], rank: int = 0) -> None:
    """Take the state of a checkpoint."""
    saved = dict(whole["state"])
    generators = saved["random"]
    saved["random"] = generators[rank] if rank < len(generators) else generators[0]
    state.load_state_dict(saved)


def heard_late(state: State, plan: Plan, learner: Learner, run: Run, step: int) -> bool:
    """Hear from the device that it refused a step some time ago; False when that step is to be done again.

    The weights are still those before it, unless steps are left out, by the conf or by fp16's scaler: then
    training went on, and all there is to do is to ask the device at every step from now on.
    """
    learner.lazy = False
    learner.held = None
    state.optimizer.found_inf = None  # type: ignore[attr-defined]
    if plan.on_nonfinite == "skip" or state.scaler is not None:
        _tell(state, plan, run, step, Answer.SKIP, what="loss", value=float("nan"), obsids=[], parameter=None,
              gradient_norm=None)  # fmt: skip
        return True
    state.progress.step = step - 1
    state.rate.taken = step - 2 - plan.first_step
    state.rate.step()
    state.batches.seek(step - plan.first_step)
    run.recorder.rewound(step - 1)
    return False


def bad_validation(state: State, plan: Plan, run: Run, value: float) -> None:
    """Record that the validation loss is no finite number."""
    _tell(
        state, plan, run, state.progress.step, Answer.STOP, what="val_loss", value=value, gradient_norm=None,
        obsids=[], parameter=None,
    )  # fmt: skip


def _choice(state: State, plan: Plan) -> Answer:
    progress = state.progress
    if progress.bad_in_a_row < plan.nonfinite_limit and (
        # bad again at a lower learning rate: it is the data of that step
        plan.on_nonfinite == "skip" or progress.step + 1 in progress.gone_back_for
    ):
        return Answer.SKIP
    if plan.on_nonfinite == "rollback" and progress.rollbacks < plan.nonfinite_limit:
        return Answer.ROLL_BACK
    return Answer.STOP


def _tell(state: State, plan: Plan, run: Run, step: int, todo: Answer, **found: Any) -> None:
    if todo is Answer.SKIP and step <= run.recorder.written:
        return  # an attempt that was killed has told it
    run.events.append(
        "nonfinite", step=step, epoch=plan.first_epoch + state.batches.epoch, action=todo.value,
        last_finite_loss=run.recorder.last_finite_loss, learning_rate=state.progress.rate, **found,
    )  # fmt: skip
    run.events.flush_to_disk()
