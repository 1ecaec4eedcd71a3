"""The stages of a session, training and fine-tuning: which rows each trains on, how, and from where.

Owns what differs between stages; the loop is the same for all.
"""

from __future__ import annotations

import gc
import traceback
from dataclasses import dataclass

import torch
from torch.nn.parallel import DistributedDataParallel

from engine.conf.schema import Training
from engine.course import finetuning
from engine.errors import BadInput
from engine.spectra import resample
from engine.train import checkpoint, loop, oom, trouble
from engine.train.batches import Batches
from engine.train.evaluate import Evaluation
from engine.train.filtering import finetune_rows
from engine.train.ground import Ground
from engine.train.learn import Arithmetic, Learner
from engine.train.losses import build_loss
from engine.train.network import freeze
from engine.train.optim import Rate, build_optimizer
from engine.train.recorder import Recorder
from engine.train.rows import Rows
from engine.train.state import Progress, Randomness, State, moving_average
from engine.words import say
from models import contract

BEFORE_FINETUNE = "best-before-finetune.pt"


@dataclass
class Stage:
    """One stage: its number, how it trains, and on which rows."""

    number: int
    training: Training
    batches: Batches
    val: Rows
    frozen: list[str]

    @property
    def planned(self) -> int:
        return self.training.epochs * self.batches.steps_per_epoch


def stages_of(ground: Ground) -> list[Stage]:
    """Return the stages of the conf: training, fine-tuning, or both."""
    conf = ground.conf
    stages: list[Stage] = []
    if conf.training.epochs:
        stages.append(_stage(ground, len(stages), conf.training, [], ""))
    if conf.finetune.epochs:
        training = finetuning(conf.training, conf.finetune)
        stages.append(_stage(ground, len(stages), training, conf.finetune.freeze, conf.finetune.filter))
        # a pattern that matches nothing is found now, not after the first stage
        freeze(ground.network, conf.finetune.freeze)
        freeze(ground.network, [])
    return stages


def _stage(ground: Ground, number: int, training: Training, frozen: list[str], expression: str) -> Stage:
    conf, split, stars = ground.conf, ground.split, ground.stars
    parts = {"train": split.train, "val": split.val}
    if expression:
        parts = {name: finetune_rows(stars, index_N, expression, name) for name, index_N in parts.items()}
        ground.report.line(
            say("train.filtered", filter=expression, train=len(parts["train"]), val=len(parts["val"]))
        )
    rows = ground.rows(parts["train"])
    if not len(rows):
        raise BadInput(say("train.no_points", targets=", ".join(conf.data.targets)))
    resampler = resample.plan(conf.data.resample, stars, parts["train"])
    if resampler is not None:
        ground.events.append("resample", **resampler.facts)
        ground.report.line(resample.describe(resampler.facts))
    batches = Batches(
        rows, training.batch_size, training.seed + number, resampler, augmentation=ground.augmentation,
        windows=ground.chosen.windows(rows, resampler), accumulate=training.accumulate, ranks=ground.ranks,
    )  # fmt: skip
    # Without validation rows the training rows are looked at in their place, and the plan event says so.
    val = ground.rows(parts["val"]) if len(parts["val"]) else rows
    return Stage(number, training, batches, val, frozen)


def train_stage(ground: Ground, stage: Stage) -> loop.Outcome:
    """Train one stage, from its beginning or from where the checkpoint is."""
    training, network, batches = stage.training, ground.network, stage.batches
    resumed = ground.start.whole if ground.start.stage == stage.number else None
    if resumed is None and stage.number:
        _start_from_best(ground)
    frozen = freeze(network, stage.frozen)
    idle = not ground.ranks.alone and contract.idle_parameters(network, ground.stars.continuum.shape[1])
    together = ground.ranks.wrap(network, ground.device, idle=bool(idle))
    optimizer = build_optimizer(network.parameters(), training)
    rate = Rate(optimizer, training, stage.planned, batches.steps_per_epoch)
    state = State(
        network, optimizer, rate, batches, Randomness(ground.device),
        Progress(stage=stage.number, step=ground.began.step, began_step=ground.began.step,
                 began_epoch=ground.began.began_epoch),
        torch.amp.GradScaler(ground.device.type) if training.precision == "fp16" else None,
        None if training.ema_decay is None else moving_average(network, training.ema_decay),
    )  # fmt: skip
    if resumed is not None:
        trouble.restore(state, resumed, ground.ranks.rank)
        _say_resumed(ground, state)
    progress = state.progress
    plan = loop.Plan(
        progress.began_step + stage.planned, progress.began_step, progress.began_epoch, training.patience,
        training.evaluate_every, training.monitor, training.save_seconds, training.save_steps,
        training.on_nonfinite, training.nonfinite_limit,
    )  # fmt: skip
    if stage.number:
        ground.events.append(
            "stage", stage="finetune", step=progress.step, frozen=frozen, rows=len(batches.rows)
        )
        ground.report.line(say("train.finetune", rows=len(batches.rows), frozen=len(frozen)))
    loss_of = build_loss(training, ground.conf.data.targets)
    how = Arithmetic(
        training.precision,
        training.gradient_clip_val,
        training.gradient_clip,
        training.on_nonfinite == "skip",
    )
    if isinstance(together, DistributedDataParallel):
        forward = ground.adapted(together)
        learner = Learner(state, forward, loss_of, how, ground.ranks, together, ground.forward)
    else:
        learner = Learner(state, ground.forward, loss_of, how)
    recorder = Recorder(
        ground.events, ground.report, epochs=ground.conf.training.epochs + ground.conf.finetune.epochs,
        total_steps=ground.total_steps, seconds=training.record_seconds, device=ground.device,
        written=0 if ground.lost else ground.start.written, told=0 if ground.lost else ground.start.told,
    )  # fmt: skip
    recorder.parts = loop.norms_by_part(learner)

    def look() -> Evaluation:
        with state.evaluated() as evaluated:
            return ground.look_at(evaluated, stage.val, loss_of, ground.stop)

    run = loop.Run(
        ground.events, recorder, ground.checkpoints, look, ground.stop, ground.ranks, ground.stars.wavelength
    )
    try:
        outcome = loop.train(state, plan, learner, run)
    except (RuntimeError, MemoryError) as error:
        # several processes: the others wait inside the step, and a probe would have to wait for them
        if not oom.is_out_of_memory(error) or not ground.ranks.alone:
            raise
        problem = error
        traceback.clear_frames(error.__traceback__)
    else:
        ground.began = Progress(step=progress.step, began_epoch=progress.began_epoch + batches.epoch)
        return outcome
    # outside the except: its frames hold what did not fit
    text, problem = str(problem), None  # type: ignore[assignment]
    gc.collect()
    raise oom.OutOfMemory(oom.look_into(text, learner, batches.rows, batches.batch_size))


def _start_from_best(ground: Ground) -> None:
    """Give the network the best weights of the stage before, and keep those under a name of their own."""
    if not ground.ranks.first:
        return  # they come from the first rank when the network is wrapped
    best, kept = ground.folder.checkpoints / "best.pt", ground.folder.checkpoints / BEFORE_FINETUNE
    whole = checkpoint.load(best)
    if whole["state"]["progress"]["stage"] and kept.exists():
        # An earlier attempt had begun this stage and its checkpoints are lost: best.pt is of this stage.
        whole = checkpoint.load(kept)
    else:
        checkpoint.link(best, kept)
    ground.network.load_state_dict(checkpoint.weights_of(whole))


def _say_resumed(ground: Ground, state: State) -> None:
    """Record and say from where the run goes on."""
    ground.report.line(say("train.resumed", step=state.progress.step, file=ground.start.file))
    if ground.start.untold:
        path = ground.folder.checkpoints / ground.start.file
        ground.events.append(
            "checkpoint", step=state.progress.step, epoch=state.progress.best_epoch, file=path.name,
            best=True, size=path.stat().st_size, value=None,
        )  # fmt: skip
    note_resume(ground, state.progress.step)


def note_resume(ground: Ground, step: int) -> None:
    """Record from which step the run goes on, and record and say what is lost of its exactness."""
    lost = ground.lost
    ground.events.append("resume", step=step, attempt=ground.start.attempt, exact=not lost, lost=lost)
    for line in lost:
        ground.report.line(line)
