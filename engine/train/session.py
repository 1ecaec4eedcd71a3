"""One training session: from a conf and loaded stars to an outcome, test errors and predictions.

Builds what the loop needs, runs it, then looks at the test rows once, with the best weights.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import engine
from engine.conf.schema import Conf
from engine.errors import BadInput
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder
from engine.spectra import resample, stats
from engine.spectra.layout import needs
from engine.spectra.scale import Scalers
from engine.spectra.split import Split
from engine.spectra.stars import Stars
from engine.train import augment, checkpoint, feed, loop, model_text, outputs
from engine.train.batches import Batches
from engine.train.device import choose_device, seed_everything, set_threads
from engine.train.evaluate import Evaluation, evaluate
from engine.train.losses import build_loss
from engine.train.optim import build_optimizer, build_schedule
from engine.train.recorder import Recorder
from engine.train.report import Report
from engine.train.rows import Rows
from engine.train.stop import Stop
from engine.words import say
from engine.workspace import Workspace
from models import contract, registry
from models.errors import ContractError, DuplicateModel, ModelError, UnknownModel

_EVALUATION_BATCH = 256


def build_network(workspace: Workspace, conf: Conf, points: int) -> nn.Module:
    """Build the network of a conf for `points` per branch, with real parameters in every layer.

    Raises:
        BadInput: the network is unknown or refuses its fields.
    """
    registry.discover(workspace.networks)
    try:
        labels = len(conf.data.targets)
        network = registry.build(conf.model.name, points=points, labels=labels, fields=conf.model.fields)
        contract.materialise(network, points, labels, name=conf.model.name)
    except ModelError as error:
        raise BadInput(worded(error)) from error
    except (TypeError, ValueError, RuntimeError) as error:
        problem = str(error).splitlines()[0]
        raise BadInput(
            say("train.no_network", model=conf.model.name, points=points, problem=problem)
        ) from error
    return network


def worded(error: ModelError) -> list[str]:
    """Return what is wrong with a network in the user's language, a line each."""
    if isinstance(error, UnknownModel):
        near = ", ".join(f"'{name}'" for name in error.near)
        text = (
            say("models.unknown_near", name=error.name, near=near)
            if near
            else say("models.unknown", name=error.name)
        )
        known = say("models.known", names=", ".join(error.known))
        return [text, known, *(say("models.broken", file=b.path, error=b.error) for b in error.broken)]
    if isinstance(error, DuplicateModel):
        return [say("models.duplicate", name=error.name, first=error.files[0], second=error.files[1])]
    reason = error.reason if isinstance(error, ContractError) else str(error)
    return [say("models.contract", name=getattr(error, "name", ""), reason=reason)]


def run_session(
    workspace: Workspace,
    conf: Conf,
    folder: RunFolder,
    stars: Stars,
    split: Split,
    events: EventLog,
    report: Report,
    stop: Stop,
) -> loop.Outcome:
    """Train, then test with the best weights; write everything into the run folder.

    Raises:
        BadInput: device, network or labels cannot be used.
        Stopped: stopping was asked before there was anything to save.
        torch.OutOfMemoryError: it did not fit.
    """
    settings = conf.training
    device = choose_device(settings.device)
    threads = set_threads(settings.threads)
    seed_everything(settings.seed)
    chosen = feed.choose(stars, conf.data.memory_share, device)
    stars = chosen.stars
    scalers = _fit_scalers(workspace, conf, stars, split, events, report)
    network = build_network(workspace, conf, stars.continuum.shape[1]).to(device)
    needs(stars.branches, contract.inputs_of(type(contract.unwrap(network))))
    parameters = contract.count_parameters(network)
    events.append(
        "machine", device=str(device), device_name=_device_name(device), threads=threads, cpus=os.cpu_count(),
        torch=torch.__version__, parameters=parameters,
    )  # fmt: skip
    model_text.write(folder, conf, network)
    augmentation = _augmentation(conf, stars, split, device, events, report)
    if augmentation is None:
        chosen = chosen.scaled(scalers.continuum, scalers.normalized)
    _note_feed(chosen, events, report)
    parts = {name: _rows(chosen, split.part(name), scalers) for name in ("train", "val", "test")}
    if not len(parts["train"]):
        raise BadInput(say("train.no_points", targets=", ".join(conf.data.targets)))

    resampler = resample.plan(conf.data.resample, stars, split.train)
    if resampler is not None:
        events.append("resample", **resampler.facts)
        report.line(resample.describe(resampler.facts))
    batches = Batches(
        parts["train"], settings.batch_size, settings.seed, resampler,
        augmentation=augmentation, windows=chosen.windows(parts["train"], resampler),
    )  # fmt: skip
    steps = settings.epochs * batches.per_epoch
    optimizer = build_optimizer(network, settings)
    state = loop.State(
        network, optimizer, build_schedule(optimizer, settings, steps, batches.per_epoch), batches
    )
    plan = loop.Plan(
        settings.epochs, steps, settings.gradient_clip_val, settings.gradient_clip, settings.patience,
        settings.evaluate_every,
    )  # fmt: skip
    loss_of = build_loss(settings, conf.data.targets)
    forward = contract.adapter(network)

    def look_at(name: str, stop: Stop | None = stop) -> Evaluation:
        return evaluate(
            network, forward, parts[name], loss_of, scalers.labels, conf.data.targets,
            batch_size=_EVALUATION_BATCH, stop=stop,
        )  # fmt: skip

    checkpoints = checkpoint.Checkpoints(folder.checkpoints, _facts(conf, stars, scalers, threads))
    recorder = Recorder(
        events, report, epochs=settings.epochs, total_steps=steps, seconds=settings.record_seconds
    )
    events.append(
        "plan", epochs=settings.epochs, total_steps=steps, steps_per_epoch=batches.per_epoch,
        monitor="val_loss", monitored="val" if len(parts["val"]) else "train",
    )  # fmt: skip
    report.line(
        say(
            "train.plan",
            model=conf.model.name,
            parameters=f"{parameters:,}",
            device=device,
            epochs=settings.epochs,
            per_epoch=batches.per_epoch,
        )
    )
    events.append("phase", phase="training")
    report.begin(steps, state.progress.step)
    # Without validation rows the training rows are looked at in their place, and the plan event says so.
    monitored = "val" if len(parts["val"]) else "train"
    run = loop.Run(events, recorder, checkpoints, lambda: look_at(monitored), stop)
    try:
        outcome = loop.train(state, plan, forward, loss_of, run)
    finally:
        batches.close()
    report.close()
    if outcome is loop.Outcome.DONE:
        events.append("phase", phase="testing")
        best = checkpoint.load(folder.checkpoints / "best.pt")
        network.load_state_dict(best["state"]["network"])
        outputs.write_outputs(
            conf, folder, parts, stars, split, events, report, lambda name: look_at(name, None),
            best["epoch"], scalers.labels,
        )  # fmt: skip
    return outcome


def _fit_scalers(
    workspace: Workspace, conf: Conf, stars: Stars, split: Split, events: EventLog, report: Report
) -> Scalers:
    """Fit on the training rows, or take a stats file's numbers; say once which columns have no spread."""
    given = stats.fixed(workspace, conf.data)
    scalers = Scalers.fitted(conf.data, stars, split.train, given.scalers)
    warnings = scalers.warnings(stars)
    for text in warnings:
        events.append("message", level="warning", text=text)
    for text in (*given.notes, *warnings):
        report.line(text)
    return scalers


def _rows(chosen: feed.Feed, index_N: NDArray[np.intp], scalers: Scalers) -> Rows:
    """Return the rows of one part; they are scaled batch by batch."""
    return chosen.part(index_N, **vars(scalers))


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
