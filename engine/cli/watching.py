"""`watch`: follow a run, tell what is found while it lives, and end with what it came to."""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
import time
from typing import Any

from engine import exit_codes, workspace
from engine.cli.text import figure, message
from engine.diagnose import Finding, live
from engine.errors import BadInput
from engine.runs.events import Tail, writable
from engine.runs.record import Record
from engine.track import listing, remote
from engine.words import say

_POLL_SECONDS = 0.5
_LOOK_SECONDS = 1.0


def watch(arguments: argparse.Namespace) -> int:
    """Follow a run until it ends (or, with --until-bad, until something is wrong)."""
    here = workspace.find(arguments.root)
    if arguments.severity is not None and not arguments.until_bad:
        raise BadInput(say("advice.severity_needs"))
    record = listing.find(here, arguments.run)
    if record.stored is not None:
        return _watch_stored(here, record, arguments)
    tail = Tail(record.folder.events)
    told: set[str] = set()
    findings: list[Finding] = []
    looked_at = -math.inf
    while True:
        changed = record.refresh()
        events = tail.poll()
        for event in events:
            _tell(event, record, arguments.json)
        # what comes without an event, such as a process that stands still, is looked for now and then
        if changed or events or not record.live or time.monotonic() - looked_at > _LOOK_SECONDS:
            findings = live.known(here, record)
            looked_at = time.monotonic()
        if arguments.json:
            told |= set(record.findings)  # among the events already
        for finding in findings:
            if finding.id not in told:
                told.add(finding.id)
                _tell_finding(finding, arguments.json)
        bad = arguments.until_bad and any(
            live.at_least(finding, arguments.severity or "error") for finding in findings
        )
        if not record.live or bad:
            break
        time.sleep(_POLL_SECONDS)
    if not arguments.json:
        print(say("runs.is_now", run=record.run_id, state=say(f"state.{record.state}")))
    return _code(record, bad)


def _code(record: Record, bad: bool) -> int:
    """Return 87 where the run is no finite number any more, else 1 for a finding, else how it ended."""
    if bad and record.nonfinite is not None:
        return exit_codes.NON_FINITE
    if not record.live and record.state != "finished":
        return int((record.end or {}).get("exit_code") or exit_codes.FAILED)
    return exit_codes.FAILED if bad else exit_codes.DONE


def _tell_finding(finding: Finding, as_json: bool) -> None:
    if as_json:
        print(json.dumps(writable({"kind": "finding", **finding.plain()}), ensure_ascii=False), flush=True)
    else:
        print("\n".join(finding.lines()), flush=True)


def _tell(event: dict[str, Any], record: Record, as_json: bool) -> None:
    if as_json:
        print(json.dumps(event, ensure_ascii=False), flush=True)
    elif event["kind"] == "epoch":
        shown = "  ".join(
            f"{name} {figure(v)}"
            for name, v in event["values"].items()
            if name in ("train_loss", "val_loss", "learning_rate")
        )
        print(say("runs.epoch", epoch=event["epoch"], epochs=record.epochs or "?", values=shown), flush=True)
    elif event["kind"] == "phase":
        print(say(f"phase.{event['phase']}"), flush=True)


def _watch_stored(here: workspace.Workspace, record: Record, arguments: argparse.Namespace) -> int:
    """Follow a run that only an MLflow store has, by reading it there again until it ends."""
    told: dict[str, float] = {}
    problem = ""
    slowness = 0.0
    while True:
        news = {key: value for key, value in record.last.items() if not _same(value, told.get(key))}
        told = dict(record.last)
        if news:
            if arguments.json:
                print(
                    json.dumps({"kind": "metrics", "values": writable(news)}, ensure_ascii=False), flush=True
                )
            else:
                print("  ".join(f"{key} {figure(value)}" for key, value in news.items()), flush=True)
        bad = arguments.until_bad and any(not math.isfinite(value) for value in record.last.values())
        if not record.live or bad:
            break
        time.sleep(max(_POLL_SECONDS, 9 * slowness))
        began = time.monotonic()
        try:
            record = listing.again(here, record) or _gone(record)
            problem = ""
        except (sqlite3.Error, remote.Away) as error:
            # The store is away or locked: it is asked again; said once.
            if str(error) != problem:
                problem = str(error)
                message(problem)
        slowness = time.monotonic() - began
    if not arguments.json:
        print(say("runs.is_now", run=record.run_id, state=say(f"state.{record.state}")))
    if record.live:
        return exit_codes.NON_FINITE
    return exit_codes.DONE if record.state == "finished" else exit_codes.FAILED


def _gone(record: Record) -> Record:
    raise BadInput(say("runs.gone", run=record.run_id))


def _same(left: float, right: float | None) -> bool:
    return left == right or (left != left and right is not None and right != right)
