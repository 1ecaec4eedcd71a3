"""`queue`: what waits and what is at work, and the acts on it."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from engine import exit_codes, workspace
from engine.cli.text import age, message, print_json, print_table
from engine.errors import BadInput
from engine.runs import find, queue
from engine.words import say
from engine.workspace import Workspace


def show(arguments: argparse.Namespace) -> int:
    """Print the queue, those at work first."""
    here = workspace.find(arguments.root)
    queue.ensure_owner(here)  # after a restart of the machine nobody else would
    found = queue.listing(here)
    if arguments.json:
        print_json(asdict(found))
        return exit_codes.DONE
    headers = [
        say(f"queue.column.{name}") for name in ("place", "run", "name", "model", "state", "by", "since")
    ]
    rows = [
        ["-", r.run_id, r.name, r.model, say("queue.at_work", device=r.device), "-", age(r.since)]
        for r in found.running
    ]
    rows += [[str(w.place), w.run_id, w.name, w.model, _waits(w), w.by, age(w.added)] for w in found.waiting]
    if rows:
        print_table(headers, rows)
    counts = {"running": len(found.running), "waiting": len(found.waiting)}
    print(say("queue.summary", **counts, slots=found.slots, policy=found.policy))
    if found.paused:
        print(say("queue.is_paused", by=found.paused_by))
    for owner in found.owners:
        print(say("queue.owned", user=owner.user, host=owner.host, pid=owner.pid))
    return exit_codes.DONE


def _waits(run: queue.Waiting) -> str:
    return say("queue.waits_again" if run.again else "queue.waits", host=run.host)


def add(arguments: argparse.Namespace) -> int:
    """Queue runs that ended, to go on, or that were taken out."""
    here = workspace.find(arguments.root)
    chosen = _runs(here, arguments.runs)
    queue.add(here, chosen)
    for run_id in chosen:
        message(say("queue.added", run=run_id))
    return exit_codes.DONE


def remove(arguments: argparse.Namespace) -> int:
    """Take runs out of the queue; all of them are known to wait before one is taken."""
    here = workspace.find(arguments.root)
    chosen = _runs(here, arguments.runs)
    waiting = {run.run_id for run in queue.listing(here).waiting}
    for run_id in chosen:
        if run_id not in waiting:
            raise BadInput(say("queue.not_waiting", run=run_id))
    for run_id in chosen:
        queue.take_out(here, run_id)
        message(say("queue.removed", run=run_id))
    return exit_codes.DONE


def move(arguments: argparse.Namespace) -> int:
    """Give a run another place."""
    here = workspace.find(arguments.root)
    [run_id] = _runs(here, [arguments.run])
    message(say("queue.moved", run=run_id, place=queue.move(here, run_id, arguments.where)))
    return exit_codes.DONE


def pause(arguments: argparse.Namespace) -> int:
    """Start nothing more."""
    queue.pause(workspace.find(arguments.root))
    message(say("queue.now_paused"))
    return exit_codes.DONE


def resume(arguments: argparse.Namespace) -> int:
    """Start what waits again."""
    queue.resume(workspace.find(arguments.root))
    message(say("queue.now_going"))
    return exit_codes.DONE


def slots(arguments: argparse.Namespace) -> int:
    """Say how many runs may be at work at once."""
    message(say("queue.slots_set", slots=queue.set_slots(workspace.find(arguments.root), arguments.slots)))
    return exit_codes.DONE


def policy(arguments: argparse.Namespace) -> int:
    """Say what follows when a run failed."""
    queue.set_policy(workspace.find(arguments.root), arguments.policy)
    message(say("queue.policy_set", policy=arguments.policy))
    return exit_codes.DONE


def _runs(here: Workspace, words: list[str]) -> list[str]:
    """Return the ids of the runs that are meant, each once."""
    return list(dict.fromkeys(find.find(here, word, keep_curves=False).run_id for word in words))
