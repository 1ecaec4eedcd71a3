"""One training session: from a conf and loaded stars to an outcome, test errors and predictions.

Builds what the loop needs, runs it stage by stage, then looks at the test rows once, with the best weights.
"""

from __future__ import annotations

import gc
import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import engine
from engine.conf.schema import Conf, Training
from engine.course import finetuning
from engine.errors import BadInput
from engine.runs.events import EventLog, Unheard
from engine.runs.folder import RunFolder
from engine.spectra import resample, stats
from engine.spectra.layout import needs
from engine.spectra.scale import Scalers
from engine.spectra.split import Split
from engine.spectra.stars import Stars
from engine.train import augment, checkpoint, feed, loop, model_text, oom, outputs, trouble
from engine.train.batches import Batches
from engine.train.device import (
    check_precision,
    choose_device,
    seed_everything,
    set_deterministic,
    set_threads,
)
from engine.train.evaluate import Evaluation, evaluate
from engine.train.filtering import finetune_rows
from engine.train.learn import Arithmetic, Learner, set_precision
from engine.train.losses import Loss, Predict, build_loss
from engine.train.network import build_network, compile_parts, freeze, in_double, loaded_lines, take_weights
from engine.train.optim import Rate, build_optimizer
from engine.train.ranks import Ranks
from engine.train.recorder import Recorder
from engine.train.report import Report
from engine.train.rows import Rows
from engine.train.start import Start, lost_exactness
from engine.train.state import Progress, Randomness, State, moving_average
from engine.train.stop import Stop
from engine.words import say
from engine.workspace import Workspace
from models import contract

_EVALUATION_BATCH = 256
BEFORE_FINETUNE = "best-before-finetune.pt"


@dataclass
class Ground:
    """What all stages of a session share."""

    workspace: Workspace
    conf: Conf
    folder: RunFolder
    stars: Stars
    split: Split
    events: EventLog
    report: Report
    stop: Stop
    start: Start
    device: torch.device
    ranks: Ranks
    chosen: feed.Feed
    scalers: Scalers
    network: nn.Module
    forward: Predict
    checkpoints: checkpoint.Checkpoints
    augmentation: augment.Augmentation | None
    total_steps: int = 0
    began: Progress = field(default_factory=Progress)
    lost: list[str] = field(default_factory=list)
    """Why the bits of this attempt are not those of an unbroken run."""

    def rows(self, index_N: NDArray[np.intp]) -> Rows:
        """Return rows of the set; they are scaled batch by batch."""
        return self.chosen.part(index_N, **vars(self.scalers))

    def look_at(self, network: nn.Module, rows: Rows, loss_of: Loss, stop: Stop | None) -> Evaluation:
        """Evaluate rows with a network, which may be the moving average of the one that learns."""
        forward = self.forward if network is self.network else self.adapted(network)
        return evaluate(
            network, forward, rows, loss_of, self.scalers.labels, self.conf.data.targets,
            batch_size=_EVALUATION_BATCH, stop=stop, precision=self.conf.training.precision,
        )  # fmt: skip

    def adapted(self, network: nn.Module) -> Predict:
        """Return a forward pass of the two branches for a network."""
        forward = contract.adapter(network)
        return in_double(forward) if self.conf.training.precision == "fp64" else forward


def run_session(
    workspace: Workspace,
    conf: Conf,
    folder: RunFolder,
    stars: Stars,
    split: Split,
    events: EventLog,
    report: Report,
    stop: Stop,
    start: Start | None = None,
    ranks: Ranks | None = None,
) -> loop.Outcome:
    """Train, then test with the best weights; write everything into the run folder.

    Raises:
        BadInput: device, network, weights or labels cannot be used.
        Stopped: stopping was asked before there was anything to save.
        OutOfMemory: it did not fit.
    """
    return _run(
        _prepare(
            workspace, conf, folder, stars, split, events, report, stop, start or Start(), ranks or Ranks()
        )
    )  # fmt: skip


def _prepare(
    workspace: Workspace, conf: Conf, folder: RunFolder, stars: Stars, split: Split, events: EventLog,
    report: Report, stop: Stop, start: Start, ranks: Ranks,
) -> Ground:  # fmt: skip
    """Choose, scale, build: everything before the first stage."""
    settings = conf.training
    device = choose_device(settings.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    check_precision(settings.precision, device)
    threads = set_threads(settings.threads, start.threads)
    seed_everything(settings.seed)
    set_precision(settings.precision)
    set_deterministic(settings.deterministic)
    chosen = feed.choose(stars, conf.data.memory_share, device)
    stars = chosen.stars
    scalers = _fit_scalers(workspace, conf, stars, split, events, report, start)
    network = build_network(workspace, conf, stars.continuum.shape[1]).to(device)
    needs(stars.branches, contract.inputs_of(type(contract.unwrap(network))))
    parameters = contract.count_parameters(network)
    events.append(
        "machine", device=str(device), device_name=_device_name(device), threads=threads, cpus=os.cpu_count(),
        torch=torch.__version__, parameters=parameters, processes=ranks.world, precision=settings.precision,
    )  # fmt: skip
    if ranks.first:
        model_text.write(folder, conf, network)
    if start.weights is not None:
        loaded = take_weights(network, start.weights, partial=start.partial, source=start.source)
        lines = loaded_lines(loaded)
        events.append("weights", source=start.source, **vars(loaded))
        for line in (say("train.from", source=start.source), *lines):
            report.line(line)
    augmentation = _augmentation(conf, stars, split, device, events, report)
    if augmentation is None:
        chosen = chosen.scaled(scalers.continuum, scalers.normalized)
    _note_feed(chosen, events, report)
    if settings.compile:
        parts = compile_parts(network)
        report.line(say("train.compiled", parts=", ".join(parts)))
    if ranks.rank:
        torch.manual_seed(settings.seed + ranks.rank)  # dropout; the weights are the first rank's
    facts = {**_facts(conf, stars, scalers, threads), "world": ranks.world, "device": str(device)}
    forward = contract.adapter(network)
    return Ground(
        workspace, conf, folder, stars, split, events, report, stop, start, device, ranks, chosen, scalers,
        network, in_double(forward) if settings.precision == "fp64" else forward,
        checkpoint.Checkpoints(folder.checkpoints, facts, settings.keep_checkpoints), augmentation,
        lost=lost_exactness(start.made_with, facts) if start.made_with is not None else [],
    )  # fmt: skip


def _run(ground: Ground) -> loop.Outcome:
    """Run the stages that are left, then test."""
    stages = _stages(ground)
    planned = [stage.planned for stage in stages]
    first = stages[0].batches
    val = ground.split.val
    ground.total_steps = sum(planned)
    ground.events.append(
        "plan", epochs=sum(stage.training.epochs for stage in stages), total_steps=ground.total_steps,
        steps_per_epoch=first.steps_per_epoch, monitor=ground.conf.training.monitor,
        monitored="val" if len(val) else "train",
    )  # fmt: skip
    _say_plan(ground, stages)
    ground.events.append("phase", phase="training")
    if ground.start.again and ground.start.whole is None:
        _note_resume(ground, 0)
    ground.report.begin(ground.total_steps, ground.start.step)
    outcome = loop.Outcome.DONE
    try:
        for stage in stages:
            if stage.number < ground.start.stage:
                continue
            outcome = _train_stage(ground, stage)
            if outcome is not loop.Outcome.DONE:
                break
    finally:
        for stage in stages:
            stage.batches.close()
        ground.report.close()
    if outcome is loop.Outcome.DONE and ground.ranks.first:
        _finish(ground, stages[-1])
    return outcome


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


def _stages(ground: Ground) -> list[Stage]:
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


def _train_stage(ground: Ground, stage: Stage) -> loop.Outcome:
    """Train one stage, from its beginning or from where the checkpoint is."""
    training, network, batches = stage.training, ground.network, stage.batches
    resumed = ground.start.whole if ground.start.stage == stage.number else None
    if resumed is None and stage.number:
        _start_from_best(ground)
    frozen = freeze(network, stage.frozen)
    together = ground.ranks.wrap(network, ground.device)
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
        if not oom.is_out_of_memory(error):
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


def _finish(ground: Ground, last: Stage) -> None:
    """Test with the best weights, and export them."""
    ground.events.append("phase", phase="testing")
    best = checkpoint.load(ground.folder.checkpoints / "best.pt")
    ground.network.load_state_dict(checkpoint.weights_of(best))
    loss_of = build_loss(last.training, ground.conf.data.targets)
    parts = {name: ground.rows(ground.split.part(name)) for name in ("train", "val", "test")}
    outputs.write_outputs(
        ground.conf, ground.folder, parts, ground.stars, ground.split,
        # killed after it was tested, a run gives the same errors again: they are told already
        Unheard() if ground.start.tested and not ground.lost else ground.events, ground.report,
        lambda name: ground.look_at(ground.network, parts[name], loss_of, None), best["epoch"],
        ground.scalers.labels,
    )  # fmt: skip
    checkpoint.export(ground.folder.path / "export", best)


def _say_plan(ground: Ground, stages: list[Stage]) -> None:
    text = say(
        "train.plan", model=ground.conf.model.name,
        parameters=f"{contract.count_parameters(ground.network):,}", device=ground.device,
        epochs=sum(stage.training.epochs for stage in stages), per_epoch=stages[0].batches.steps_per_epoch,
    )  # fmt: skip
    ground.report.line(text)


def _say_resumed(ground: Ground, state: State) -> None:
    """Record and say from where the run goes on."""
    ground.report.line(say("train.resumed", step=state.progress.step, file=ground.start.file))
    if ground.start.untold:
        path = ground.folder.checkpoints / ground.start.file
        ground.events.append(
            "checkpoint", step=state.progress.step, epoch=state.progress.best_epoch, file=path.name,
            best=True, size=path.stat().st_size, value=None,
        )  # fmt: skip
    _note_resume(ground, state.progress.step)


def _note_resume(ground: Ground, step: int) -> None:
    """Record from which step the run goes on, and record and say what is lost of its exactness."""
    lost = ground.lost
    ground.events.append("resume", step=step, attempt=ground.start.attempt, exact=not lost, lost=lost)
    for line in lost:
        ground.report.line(line)


def _fit_scalers(
    workspace: Workspace,
    conf: Conf,
    stars: Stars,
    split: Split,
    events: EventLog,
    report: Report,
    start: Start,
) -> Scalers:
    """Fit on the training rows, or take a stats file's numbers, or those of the run the weights come from.

    Says once which columns have no spread.
    """
    given = stats.fixed(workspace, conf.data)
    scalers = Scalers.fitted(conf.data, stars, split.train, given.scalers)
    if start.scalers is not None and not given.scalers:
        fitting = _fitting(start.scalers, scalers, conf, start)
        if fitting is not None:
            report.line(say("train.from_scalers", source=start.source))
            return fitting
        report.line(say("train.from_other_scalers", source=start.source))
    warnings = scalers.warnings(stars)
    for text in warnings:
        events.append("message", level="warning", text=text)
    for text in (*given.notes, *warnings):
        report.line(text)
    return scalers


def _fitting(state: Mapping[str, Any], fitted: Scalers, conf: Conf, start: Start) -> Scalers | None:
    """Return the scalers of another run where they are of the same kinds, sizes and labels."""
    theirs = Scalers.from_state(state)
    same = list(start.targets) == list(conf.data.targets) and all(
        mine.kind == other.kind and mine.centre.shape == other.centre.shape
        for mine, other in zip(vars(fitted).values(), vars(theirs).values(), strict=True)
    )
    return theirs if same else None


def _note_feed(chosen: feed.Feed, events: EventLog, report: Report) -> None:
    """Record where training reads from and why, and say it when it is not simply memory."""
    events.append("feed", **chosen.facts())
    line = chosen.line()
    if line is not None:
        report.line(line)


def _augmentation(
    conf: Conf, stars: Stars, split: Split, device: torch.device, events: EventLog, report: Report
) -> augment.Augmentation | None:
    """Return what changes training spectra, recorded in the run; None when nothing does."""
    snr = stars.columns.get(augment.SNR)
    built = augment.build(
        conf.data.augment, conf.training.seed, stars.wavelength,
        None if snr is None else snr[split.train], device,
    )  # fmt: skip
    if built is not None:
        settings = augment.facts(built)
        events.append("augment", **settings)
        report.line(say("augment.line", settings=", ".join(f"{k} {v:g}" for k, v in settings.items())))
    return built


def _facts(conf: Conf, stars: Stars, scalers: Scalers, threads: int) -> Mapping[str, Any]:
    """Return what makes a checkpoint usable alone: plain containers and tensors only."""
    return {
        "conf": conf.plain(),
        "scalers": scalers.to_state(),
        "targets": list(conf.data.targets),
        "wavelength": torch.from_numpy(np.asarray(stars.wavelength, dtype=np.float64)),
        "fingerprint": stars.fingerprint,
        "threads": threads,
        "versions": {"spectui": engine.__version__, "torch": str(torch.__version__), "numpy": np.__version__},
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
