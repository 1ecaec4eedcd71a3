"""What an attempt reads before it trains, and refuses before anything is written. No torch at import."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import catalog
from engine.errors import BadInput
from engine.train.report import Polled, Report
from engine.train.stop import Stop, Stopped
from engine.words import say
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.train.ranks import Ranks


def checked(
    workspace: Workspace, conf: Any, report: Report, stop: Stop, parent: str | None, source: Path | None,
    partial: bool,
) -> tuple[Any, Any]:  # fmt: skip
    """Read the tables, and ask torch for what only it knows, before anything is written."""
    stars, split = read(workspace, conf, report, stop)
    if _only_torch_knows(conf) or source is not None:
        report.line(say("train.loading_torch"))
        _check_with_torch(workspace, conf, stars, source, parent, partial)
    return stars, split


def read_together(ranks: Ranks | None, read: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
    """Read on every process, the first one before the others: it fills the cache that they take.

    What keeps one of them from it ends all of them.
    """
    if ranks is None:
        return read()
    result: Any = None
    problem: BadInput | Stopped | None = None
    for turn in (True, False):
        if ranks.first is turn:
            try:
                result = read()
            except (BadInput, Stopped) as error:
                problem = error
        for met in ranks.gathered(problem):
            if met is not None:
                raise met
    if len(set(ranks.gathered(result[0].fingerprint))) > 1:
        raise BadInput(say("train.other_tables_there"))
    return result


def _only_torch_knows(conf: Any) -> bool:
    """Tell whether a conf asks for something that may not be there, and that only torch can tell."""
    training = conf.training
    special = training.device not in ("auto", "cpu") or training.precision in ("tf32", "fp64")
    return bool(special or training.loss == "gaussian_nll" or (conf.finetune.epochs and conf.finetune.freeze))


def _check_with_torch(
    workspace: Workspace, conf: Any, stars: Any, source: Path | None, parent: str | None, partial: bool
) -> None:
    """Refuse a device, a network or weights that cannot be used, before a run is made of them."""
    from engine.train import checkpoint
    from engine.train.device import check_precision, choose_device
    from engine.train.network import build_network, freeze, take_weights

    check_precision(conf.training.precision, choose_device(conf.training.device))
    network = build_network(workspace, conf, stars.continuum.shape[1])
    if source is not None:
        weights = checkpoint.weights_of(checkpoint.load(source))
        take_weights(network, weights, partial=partial, source=f"{parent or '-'}/{source.name}")
    if conf.finetune.epochs:
        freeze(network, conf.finetune.freeze)


def read(workspace: Workspace, conf: Any, report: Report, stop: Stop) -> tuple[Any, Any]:
    """Check the tables by their headers, read them, split them."""
    from engine.spectra import changes, layout, resample, split, stars, stats
    from engine.train.filtering import finetune_rows

    promised = layout.preflight(workspace, conf.data)
    layout.needs(promised.branches, catalog.find(workspace, conf.model.name).inputs)
    stats.fixed(workspace, conf.data)  # a stats file that cannot be used stops here, before the long read
    shown = workspace.relative(layout.resolve(workspace, conf.data.path))

    started = time.perf_counter()
    report.rows(say("train.reading", path=shown), 0)  # in passing: an error stays the only line
    try:
        read = stars.load(workspace, conf.data, Polled(report, stop))
    finally:
        report.rows_done()
    folder = layout.resolve(workspace, conf.data.path)
    parts = split.divide(read, conf.data.split, folder, workspace.root)
    report.line(
        say(
            "train.read",
            stars=len(read.obsid),
            points=read.continuum.shape[1],
            seconds=f"{time.perf_counter() - started:.1f}",
            train=len(parts.train),
            val=len(parts.val),
            test=len(parts.test),
        )
    )
    for text in (*changes.sentences(read.report, conf.data), *split.describe(parts)):
        report.line(text)
    # a column that is not there stops before a run is made
    resample.plan(conf.data.resample, read, parts.train)
    if conf.finetune.epochs and conf.finetune.filter:
        finetune_rows(read, parts.train, conf.finetune.filter, "train")
    stop.check()
    return read, parts
