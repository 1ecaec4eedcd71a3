"""`train` and `resume`: the foreground run, and the engine behind a detached one."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from engine import exit_codes, workspace
from engine.conf.load import Resolved, from_plain, resolve
from engine.conf.schema import KNOWN_FLAGS
from engine.errors import BadInput
from engine.runs import find
from engine.runs.folder import RunFolder
from engine.train import attempt, told
from engine.train.report import Report
from engine.train.stop import Stop, Stopped
from engine.train.supervise import Processes, supervise, take_part
from engine.words import say
from engine.workspace import Workspace


def train(arguments: argparse.Namespace) -> int:
    """Train a conf (or the run folder that a launcher made) and return the exit code."""
    stop = Stop.early()
    here = workspace.find(arguments.root)
    ours = os.environ.pop(told.RUN, None)
    if ours is not None:
        code = attempt.ranked(here, ours, stop)
        sys.stdout.flush()
        sys.stderr.flush()
        # Not by the front door: the threads that talk to the other processes now and then abort the
        # interpreter while it ends. All that a run writes is on the disk by now.
        os._exit(code)
    processes = _processes(arguments)
    if processes.node > 0:
        return take_part(here, processes, stop)
    if arguments.run:
        return attempt.detached(here, arguments.run, stop, again=arguments.again)
    parent, source = _source(here, arguments.from_run)
    flags = {name: str(v) for name in KNOWN_FLAGS if (v := getattr(arguments, name)) is not None}
    if arguments.conf is None and "model" not in flags and not arguments.model_conf and parent is None:
        raise BadInput(say("cli.nothing_to_train"))
    if arguments.conf is None and parent is not None:
        resolved = _conf_of(here, parent, arguments, flags)
    else:
        resolved = resolve(
            here, arguments.conf, sets=arguments.sets, flags=flags, model_conf=arguments.model_conf
        )
    parent_id = None if parent is None else parent.run_id
    if not processes.several:
        return attempt.foreground(
            here, resolved, stop, parent=parent_id, source=source, partial=arguments.partial
        )
    report = Report()
    try:
        attempt.check(here, resolved, stop, parent=parent_id, source=source, partial=arguments.partial)
    except Stopped as stopped:
        report.line(say("train.stopped_early", by=stopped))
        return exit_codes.STOPPED
    run = attempt.make_folder(here, resolved, parent=parent_id, source=source, partial=arguments.partial)
    report.keep_in(run.log)
    report.line(say("train.run_id", run_id=run.run_id))
    return supervise(here, run, processes, stop, report)


def resume(arguments: argparse.Namespace) -> int:
    """Go on with a run from its newest checkpoint and return the exit code."""
    stop = Stop.early()
    here = workspace.find(arguments.root)
    processes = _processes(arguments)
    if processes.node > 0:
        return take_part(here, processes, stop)
    run = find.find(here, arguments.run, keep_curves=False)
    if not processes.several:
        return attempt.resume(here, run.run_id, stop)
    report = Report()
    try:
        attempt.check_resume(here, run.run_id, stop)
    except Stopped as stopped:
        report.line(say("train.stopped_early", by=stopped))
        return exit_codes.STOPPED
    report.keep_in(run.folder.log)
    return supervise(here, run.folder, processes, stop, report)


def _processes(arguments: argparse.Namespace) -> Processes:
    processes = Processes(
        arguments.nproc or 1, arguments.nnodes or 1, arguments.node_rank or 0, arguments.rdzv_endpoint,
        arguments.restarts or 0,
    )  # fmt: skip
    if processes.nodes > 1 and not processes.endpoint:
        raise BadInput(say("cli.needs_endpoint"))
    if processes.node >= processes.nodes:
        raise BadInput(say("cli.node_range", node=processes.node, nodes=processes.nodes))
    return processes


def _source(here: Workspace, given: str | None) -> tuple[RunFolder | None, Path | None]:
    """Return the run and the checkpoint that `--from` means: a run's best, or a checkpoint file of a run."""
    if given is None:
        return None, None
    path = Path(given)
    if path.suffix == ".pt" and path.is_file():
        home = path.resolve().parent.parent
        return (RunFolder(home) if (home / "run.json").is_file() else None), path.resolve()
    folder = find.find(here, given, keep_curves=False).folder
    for name in ("best.pt", "last.pt"):
        if (folder.checkpoints / name).is_file():
            return folder, folder.checkpoints / name
    raise BadInput(say("train.from_nothing", run=folder.run_id))


def _conf_of(
    here: Workspace, run: RunFolder, arguments: argparse.Namespace, flags: dict[str, str]
) -> Resolved:
    """Return the conf of the run that weights come from, with this command's changes."""
    resolved = resolve(here, run.conf, sets=arguments.sets, flags=flags, model_conf=arguments.model_conf)
    return Resolved(from_plain(here, resolved.conf.plain(), str(run.conf)), resolved.source, resolved.patch)
