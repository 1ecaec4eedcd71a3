"""`runs`, `show`, `watch`, `diagnose`: what runs say, as text and as JSON."""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from engine import diagnose as advisor
from engine import exit_codes, workspace
from engine.cli.text import age, duration, figure, message, print_json, print_table
from engine.conf.tree import flatten
from engine.errors import BadInput
from engine.runs import death
from engine.runs.about import close
from engine.runs.events import Tail, writable
from engine.runs.record import Record
from engine.runs.select import check_key, getter_of, select, sort, value
from engine.track import listing, remote, sparks
from engine.words import say

_COLUMNS = ("run_id", "state", "model", "epoch", "best.val_loss", "last.val_loss", "duration", "age")
_TESTED = ("n", "mae", "mean_mae", "sigma_mad", "bias")
_POLL_SECONDS = 0.5


def runs(arguments: argparse.Namespace) -> int:
    """List runs."""
    here = workspace.find(arguments.root)
    columns = split_keys(arguments.columns) if arguments.columns else list(_COLUMNS)
    asked = [getter_of(key) for key in columns]
    if arguments.sort:
        check_key(arguments.sort.removeprefix("-"))
    select([], arguments.filter)
    problems: list[str] = []
    found = sort(select(_candidates(here, arguments, problems), arguments.filter), arguments.sort)
    found = found[: arguments.limit] if arguments.limit else found
    for problem in problems:
        message(problem)
    if arguments.json:
        print_json([plain(here, record) for record in found])
        return 0
    if arguments.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([[ask(record) for ask in asked] for record in found])
        return 0
    if not found:
        message(say("runs.none_match") if arguments.filter else say("runs.none"))
        return 0
    print_table(columns, [[_cell(record, key) for key in columns] for record in found])
    return 0


def _candidates(
    here: workspace.Workspace, arguments: argparse.Namespace, problems: list[str]
) -> list[Record]:
    """Return the runs that the list is made of: all, or no more than a first page needs."""
    order = arguments.sort or ""
    key = check_key(order.removeprefix("-")) if order else None
    if arguments.limit and not arguments.filter and (key is None or key.kind == "metric"):
        by = "" if key is None else key.name
        return listing.first_records(here, arguments.limit, by, order.startswith("-"), problems)
    return listing.all_records(here, problems)


def split_keys(text: str) -> list[str]:
    """Return the keys of a list with commas; a comma in quotes or brackets is part of a key."""
    return [key.strip() for key in re.findall(r"(?:\"[^\"]*\"|`[^`]*`|\([^)]*\)|[^,])+", text) if key.strip()]


def show(arguments: argparse.Namespace) -> int:
    """Show one run: state, progress, errors, what is wrong, where things are."""
    here = workspace.find(arguments.root)
    record = listing.find(here, arguments.run)
    close(record)
    if arguments.json:
        print_json(plain(here, record) | _details(record))
        return 0
    for name, text in facts(here, record):
        print(f"{name:<14} {text}")
    if record.test:
        print()
        print_table(
            [say("column.label"), "n", "MAE", say("column.mean_mae"), "sigma_MAD", say("column.bias")],
            [
                [label, *(figure(record.test.get(f"{label}_{kind}")) for kind in _TESTED)]
                for label in targets(record)
            ],
        )
    for finding in advisor.of_run(here, record):
        print()
        print("\n".join(finding.lines()))
    return 0


def watch(arguments: argparse.Namespace) -> int:
    """Follow a run until it ends (or, with --until-bad, until something is wrong)."""
    here = workspace.find(arguments.root)
    record = listing.find(here, arguments.run)
    if record.stored is not None:
        return _watch_stored(here, record, arguments)
    tail = Tail(record.folder.events)
    while True:
        record.refresh()
        for event in tail.poll():
            _tell(event, record, arguments.json)
        findings = advisor.of_run(here, record)
        bad = [f for f in findings if f.severity == "error"]
        if not record.live or (arguments.until_bad and bad):
            break
        time.sleep(_POLL_SECONDS)
    if not arguments.json:
        print(say("runs.is_now", run=record.run_id, state=say(f"state.{record.state}")))
        for finding in findings:
            print("\n".join(finding.lines()))
    if record.state == "finished":
        return exit_codes.DONE
    return (
        int((record.end or {}).get("exit_code") or exit_codes.FAILED)
        if not record.live
        else exit_codes.NON_FINITE
    )


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


def diagnose(arguments: argparse.Namespace) -> int:
    """Say what is wrong with a run, or with a conf before it is run."""
    here = workspace.find(arguments.root)
    if is_conf(here, arguments.what):
        from engine.conf.load import resolve

        findings = advisor.of_conf(here, resolve(here, arguments.what).conf)
    else:
        findings = advisor.of_run(here, listing.find(here, arguments.what))
    if arguments.json:
        print_json({"findings": [f.plain() for f in findings]})
    elif not findings:
        print(say("diagnose.none"))
    else:
        print("\n\n".join("\n".join(f.lines()) for f in findings))
    return 0


def plain(here: workspace.Workspace, record: Record) -> dict[str, Any]:
    """Return a run in the JSON form of `spectui runs --json`."""
    if record.stored is not None:
        listing.set_best([record], [key for key in record.last if listing.is_loss(key)])
    return {
        "run_id": record.run_id,
        "name": record.name,
        "note": record.note,
        "tags": record.tags,
        "model": record.model,
        "state": record.state,
        "started": record.created or _iso(record.created_at),
        "duration_s": round(record.duration, 3) if record.duration is not None else None,
        "best": record.best,
        "last": record.last,
        "params": flatten(record.conf()),
        "mlflow_run_id": record.mlflow_run_id(),
        "findings": [f.plain() for f in advisor.of_run(here, record)],
    }


def facts(here: workspace.Workspace, record: Record) -> list[tuple[str, str]]:
    """Return the facts of a run as (word, text), in reading order."""
    progress = f"{record.step}/{record.total_steps or '?'}  epoch {record.epoch}/{record.epochs or '?'}"
    rows = [
        ("run", record.run_id),
        ("state", say(f"state.{record.state}")),
        ("model", record.model),
        ("conf", record.source or "-"),
        ("step", progress),
        ("eta", duration(record.eta)),
        ("duration", duration(record.duration)),
        ("started", f"{record.created or _iso(record.created_at)} ({age(record.created_at)})"),
        (
            "device",
            " ".join(filter(None, (record.device, str(record.machine.get("device_name", "")), record.host))),
        ),
        ("best", _values(record.best)),
        ("last", _values(record.last)),
        ("mlflow", record.mlflow_run_id() or "-"),
        (
            "folder",
            here.relative(record.folder.path) if record.stored is None else record.stored.artifact_uri,
        ),
    ]
    rows = [(say(f"fact.{name}"), text) for name, text in rows]
    if record.parent:
        rows.insert(4, (say("fact.parent"), record.parent))
    said = {
        "name": record.name if record.name != record.identity.get("name", record.name) else "",
        "note": record.note,
        "tags": "  ".join(f"{key}={value}" for key, value in record.tags.items()),
    }
    if record.stored is None:
        rows[1:1] = [(say(f"fact.{name}"), text) for name, text in said.items() if text]
    if record.end and record.end.get("message"):
        rows.append((say("fact.message"), str(record.end["message"]).splitlines()[0]))
    died = death.what_is_known(record)
    if died is not None:
        rows += [(say("fact.death") if not at else "", line) for at, line in enumerate(died.lines())]
    return rows


def targets(record: Record) -> list[str]:
    """Return the labels that a run learned, in order."""
    named = (record.conf().get("data") or {}).get("targets")
    return [str(t) for t in named] if isinstance(named, list) else []


def _details(record: Record) -> dict[str, Any]:
    return {
        "source": record.source,
        "parent": record.parent,
        "epoch": record.epoch,
        "epochs": record.epochs,
        "step": record.step,
        "total_steps": record.total_steps,
        "eta_s": record.eta,
        "device": record.device,
        "host": record.host,
        "test": record.test,
        "checkpoints": [{k: c.get(k) for k in ("step", "epoch", "file", "best")} for c in record.checkpoints],
        "folder": str(record.folder.path),
        "message": (record.end or {}).get("message"),
        "death": None if (died := death.what_is_known(record)) is None else died.plain(),
    }


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


def _cell(record: Record, key: str) -> str:
    if key == "age":
        return age(record.created_at)
    if key == "duration":
        return duration(record.duration)
    if key == "left":
        return duration(record.eta) if record.eta is not None else "-"
    if key == "spark":
        return sparks.told(record)
    if key == "state":
        return say(f"state.{record.state}")
    if key == "epoch":
        return f"{record.epoch}/{record.epochs}" if record.epochs else "-"
    return figure(value(record, key))


def _values(values: dict[str, float]) -> str:
    wanted = ("val_loss", "train_loss", "batch_loss", "learning_rate")
    chosen = [name for name in wanted if name in values] or list(values)[:4]
    return "  ".join(f"{name} {figure(values[name])}" for name in chosen) or "-"


def _iso(when: float) -> str:
    if not when or not math.isfinite(when):
        return "-"
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(when))


def is_conf(here: workspace.Workspace, word: str) -> bool:
    """Tell whether RUN|CONF means a conf."""
    return Path(word).suffix in (".yaml", ".yml") or (here.conf / f"{word}.yaml").is_file()
