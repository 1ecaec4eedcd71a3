"""The ground of a session: device, tables, scaling, network, checkpoints; what all its stages share.

Owns choosing and building; it trains nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import engine
from engine.conf.schema import Conf
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder
from engine.spectra import memory, stats
from engine.spectra.layout import needs
from engine.spectra.scale import Scalers
from engine.spectra.split import Split
from engine.spectra.stars import Stars
from engine.train import augment, checkpoint, feed, model_text
from engine.train.device import (
    check_precision,
    choose_device,
    seed_everything,
    set_deterministic,
    set_threads,
)
from engine.train.evaluate import Evaluation, evaluate
from engine.train.learn import set_precision
from engine.train.losses import Loss, Predict
from engine.train.network import build_network, compile_parts, in_double, loaded_lines, take_weights
from engine.train.ranks import Ranks
from engine.train.report import Report
from engine.train.rows import Rows
from engine.train.start import Start, lost_exactness
from engine.train.state import Progress
from engine.train.stop import Stop
from engine.words import say
from engine.workspace import Workspace
from models import contract

_EVALUATION_BATCH = 256


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


def prepare(
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
    # the smallest of all machines: every process must read in the same order
    limit = min(ranks.gathered(memory.limit()))
    chosen = feed.choose(stars, conf.data.memory_share, device, limit=limit)
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
