"""`train` and `resume`: the foreground run, and the engine behind a detached one."""

from __future__ import annotations

import argparse
import os
import sys

from engine import exit_codes, workspace
from engine.conf.load import Resolved, resolve
from engine.conf.schema import KNOWN_FLAGS
from engine.errors import BadInput
from engine.runs import acts, find
from engine.runs.folder import RunFolder
from engine.runs.record import Record
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
    if arguments.run and processes.several:
        return supervise(here, RunFolder(here.runs / arguments.run), processes, stop, Report())
    if arguments.run:
        return attempt.detached(here, arguments.run, stop, again=arguments.again)
    weights = acts.weights_of(here, arguments.from_run) if arguments.from_run else None
    parent_id, source = (None, None) if weights is None else (weights.run_id, weights.checkpoint)
    resolved = wanted(here, arguments, arguments.conf, weights)
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


def wanted(
    here: Workspace, arguments: argparse.Namespace, conf: str | None, weights: acts.Weights | None
) -> Resolved:
    """Return the conf that a command means: the one named, or that of the run whose weights are taken."""
    flags = {name: str(v) for name in KNOWN_FLAGS if (v := getattr(arguments, name)) is not None}
    parent = None if weights is None else weights.run
    if conf is None and "model" not in flags and not arguments.model_conf and parent is None:
        raise BadInput(say("cli.nothing_to_train"))
    if conf is None and parent is not None:
        return acts.conf_of(here, Record(parent.path), arguments.sets, flags, arguments.model_conf)
    return resolve(here, conf, sets=arguments.sets, flags=flags, model_conf=arguments.model_conf)


def resume(arguments: argparse.Namespace) -> int:
    """Go on with a run from its newest checkpoint and return the exit code; several go on detached."""
    if arguments.detach or len(arguments.runs) > 1:
        from engine.cli import acting

        return acting.resume(arguments)
    stop = Stop.early()
    here = workspace.find(arguments.root)
    processes = _processes(arguments)
    if processes.node > 0:
        return take_part(here, processes, stop)
    run = find.find(here, arguments.runs[0], keep_curves=False)
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
