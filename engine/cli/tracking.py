"""`sync`: bring into MLflow what it does not have yet; upgrade or migrate its store on request."""

from __future__ import annotations

import argparse
from collections import Counter

from engine import exit_codes, workspace
from engine.cli.text import message, print_json
from engine.runs import find
from engine.track import sync as syncing
from engine.track.sync import Behind, Outcome
from engine.words import say
from engine.workspace import Workspace


def sync(arguments: argparse.Namespace) -> int:
    """Catch up every run that is behind, or those that are named."""
    here = workspace.find(arguments.root)
    if arguments.upgrade or arguments.migrate:
        from engine.track import migrate

        said = migrate.upgrade(here) if arguments.upgrade else migrate.migrate(here)
        message(said)
    outcomes = syncing.catch_up(here, _chosen(here, arguments.runs), _nothing if arguments.json else _tell)
    if arguments.json:
        print_json([vars(outcome) for outcome in outcomes])
    elif not outcomes:
        message(say("track.all_there"))
    away = Counter(outcome.uri for outcome in outcomes if not outcome.done)
    for uri, count in away.items():
        message(say("track.store_away", count=count, uri=_plain(uri)))
    return exit_codes.FAILED if away else 0


def _chosen(here: Workspace, words: list[str]) -> list[Behind]:
    if not words:
        return syncing.behind(here)
    return syncing.behind(here, {find.find(here, word, keep_curves=False).folder.run_id for word in words})


def _tell(outcome: Outcome) -> None:
    if outcome.done:
        print(say("track.done", run=outcome.run_id, mlflow=outcome.mlflow_run_id or "-"), flush=True)
        return
    problem = outcome.problem or say("track.no_answer")
    print(say("track.waits", run=outcome.run_id, events=outcome.waiting, problem=problem), flush=True)


def _nothing(outcome: Outcome) -> None:
    """Say nothing as it comes: --json is printed whole."""


def _plain(uri: str) -> str:
    """Return a URI without the password that it may hold."""
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else uri
