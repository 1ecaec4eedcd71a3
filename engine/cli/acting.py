"""`launch`, `stop`, `resume --detach`, `rerun`, `rename`, `note`, `tag`: what people do with runs."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

from engine import exit_codes, workspace
from engine.cli.text import message, print_json
from engine.errors import BadInput
from engine.runs import acts, find
from engine.runs.record import Record
from engine.words import say
from engine.workspace import Workspace

_STOPS_AT_ONCE = 32


def launch(arguments: argparse.Namespace) -> int:
    """Start confs as detached runs and print their ids."""
    from engine.cli.training import wanted

    here = workspace.find(arguments.root)
    weights = None
    if arguments.from_run:
        weights = acts.weights_of(here, arguments.from_run, partial=arguments.partial)
    confs = _each(arguments.confs or [None], lambda conf: wanted(here, arguments, conf, weights))
    parent = None if weights is None else weights.run_id

    def start() -> list[acts.Launched]:
        return acts.launch(
            here, confs, parent=parent, weights=weights, words=_process_words(arguments),
            queue=arguments.queue, command=sys.argv,
        )  # fmt: skip

    return _launched(here, arguments, start)


def resume(arguments: argparse.Namespace) -> int:
    """Go on with runs, detached, and print their ids."""
    here = workspace.find(arguments.root)
    records = records_of(here, arguments.runs)
    words = _process_words(arguments)
    problems: list[str] = []
    for record in records:
        try:
            pid = acts.resume(here, record, words=words)
        except BadInput as error:
            problems += error.lines
        except OSError as error:
            problems.append(say("acts.not_started", run=record.run_id, error=error.strerror or error))
        else:
            print(record.run_id, flush=True)
            message(say("acts.goes_on", run=record.run_id, pid=pid))
    if problems:
        raise BadInput(problems)
    return exit_codes.DONE


def rerun(arguments: argparse.Namespace) -> int:
    """Start a child of each run: its conf with changes."""
    here = workspace.find(arguments.root)
    records = records_of(here, arguments.runs)
    if arguments.foreground and (len(records) > 1 or arguments.queue):
        raise BadInput(say("acts.one_in_foreground"))
    # all confs are looked at before the first is started
    _each(records, lambda record: acts.check_rerun(here, record, arguments.sets, arguments.from_weights))
    settings = {"name": arguments.name, "from_weights": arguments.from_weights, "command": sys.argv}
    if arguments.foreground:
        from engine.train import attempt
        from engine.train.stop import Stop

        stop = Stop.early()
        run = acts.rerun(here, records[0], arguments.sets, start=False, **settings)
        print(run.run_id, flush=True)
        return attempt.detached(here, run.run_id, stop)

    def start() -> list[acts.Launched]:
        done = []
        for record in records:
            run = acts.rerun(here, record, arguments.sets, queue=arguments.queue, **settings)
            done.append(acts.Launched(run, run.read_json(run.process).get("pid")))
        return done

    return _launched(here, arguments, start)


def stop(arguments: argparse.Namespace) -> int:
    """Stop runs, all at once, and say how far each had to be pushed."""
    here = workspace.find(arguments.root)
    records = records_of(here, arguments.runs)
    enough = threading.Event()

    def leave(_number: int, _frame: FrameType | None) -> None:
        enough.set()  # a second Ctrl-C changes nothing

    def tell(text: str) -> None:
        if not arguments.json:
            message(text)

    before = signal.signal(signal.SIGINT, leave)
    try:
        with ThreadPoolExecutor(min(len(records), _STOPS_AT_ONCE)) as pool:
            grace = acts.GRACE_SECONDS if arguments.grace is None else arguments.grace
            asked = [
                pool.submit(
                    acts.stop, record, now=arguments.now, grace=grace, enough=enough.is_set, tell=tell
                )
                for record in records
            ]
            done = _each(asked, lambda one: one.result())
    finally:
        signal.signal(signal.SIGINT, before)
    if arguments.json:
        print_json([one.plain() for one in done])
    else:
        for one in done:
            print("\n".join(one.lines()))
    for record in records:
        acts.follow_up(record)
    return exit_codes.DONE if all(one.stopped for one in done) else exit_codes.FAILED


def rename(arguments: argparse.Namespace) -> int:
    """Give a run another name."""
    here = workspace.find(arguments.root)
    (record,) = records_of(here, [arguments.run])
    acts.rename(record, arguments.name)
    message(say("acts.renamed", run=record.run_id, name=record.name))
    return exit_codes.DONE


def note(arguments: argparse.Namespace) -> int:
    """Print, set or remove the note of a run."""
    here = workspace.find(arguments.root)
    (record,) = records_of(here, [arguments.run])
    if arguments.text is not None:
        acts.note(record, sys.stdin.read() if arguments.text == "-" else arguments.text)
    if arguments.json:
        print_json({"run_id": record.run_id, "note": record.note})
    elif arguments.text is None and record.note:
        print(record.note)
    elif arguments.text is None:
        message(say("acts.no_note", run=record.run_id))
    return exit_codes.DONE


def tag(arguments: argparse.Namespace) -> int:
    """Set, remove or print tags: words with = are tags, words that end in - remove one, the rest are runs."""
    here = workspace.find(arguments.root)
    runs, changes = _tags(arguments.words)
    if not runs:
        raise BadInput(say("acts.tag_what"))
    records = records_of(here, runs)
    for record in records:
        if changes:
            acts.tag(record, changes)
    if arguments.json:
        print_json([{"run_id": record.run_id, "tags": record.tags} for record in records])
    elif not changes:
        for record in records:
            for key, value in sorted(record.tags.items()):
                print(f"{record.run_id}  {key}={value}" if len(records) > 1 else f"{key}={value}")
    return exit_codes.DONE


def records_of(here: Workspace, words: Iterable[str]) -> list[Record]:
    """Return the runs that words mean, each once, in order; those that only MLflow knows too.

    Raises:
        BadInput: every word that means none, or more than one.
    """
    found = _each(words, lambda word: _record(here, word))
    return list({record.run_id: record for record in found}.values())


def _record(here: Workspace, word: str) -> Record:
    try:
        return find.find(here, word, keep_curves=False)
    except BadInput:
        from engine.track import listing

        return listing.find(here, word)


def _each(things: Iterable[Any], act: Callable[[Any], Any]) -> list[Any]:
    """Return what `act` makes of each thing.

    Raises:
        BadInput: every line of every refusal.
    """
    done, problems = [], []
    for thing in things:
        try:
            done.append(act(thing))
        except BadInput as error:
            problems += [line for line in error.lines if line not in problems]
    if problems:
        raise BadInput(problems)
    return done


def _launched(
    here: Workspace, arguments: argparse.Namespace, start: Callable[[], Sequence[acts.Launched]]
) -> int:
    try:
        done = start()
    except OSError as error:
        message(say("train.no_folder", place=here.relative(here.runs), error=error.strerror or error))
        return exit_codes.FAILED
    if arguments.json:
        print_json([one.plain() for one in done])
    else:
        for one in done:
            print(one.folder.run_id)
    if not arguments.json:
        waits = any(one.pid is None for one in done)
        message(say("acts.follow_queue") if waits else say("acts.follow", run=done[0].folder.run_id))
    return exit_codes.DONE


def _process_words(arguments: argparse.Namespace) -> list[str]:
    """Return the options of a run of several processes as the engine takes them."""
    if (arguments.nnodes or 1) > 1 or arguments.node_rank or arguments.rdzv_endpoint:
        raise BadInput(say("acts.one_machine"))
    words = ["--nproc", str(arguments.nproc)] if (arguments.nproc or 1) > 1 else []
    return words + (["--restarts", str(arguments.restarts)] if words and arguments.restarts else [])


def _tags(words: Sequence[str]) -> tuple[list[str], dict[str, str | None]]:
    runs: list[str] = []
    changes: dict[str, str | None] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if sign:
            changes[key] = value
        elif word.endswith("-") and len(word) > 1:
            changes[word[:-1]] = None
        else:
            runs.append(word)
    return runs, changes
