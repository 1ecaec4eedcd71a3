"""What MLflow is told of a run: parameters, tags, points and data sets, out of the run folder's words.

Translates and nothing else: talks to no store, keeps nothing. Imports MLflow inside functions only.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.conf.tree import flatten
from engine.runs.events import number
from engine.runs.record import Record
from engine.workspace import Workspace

OURS = ("mlflow.", "spectui.")
_LONGEST_TAG = 5000
_LONGEST_DIGEST = 36


@dataclass
class Batch:
    """What a stretch of events says to MLflow."""

    metrics: list[Any] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: list[Any] = field(default_factory=list)


def key(name: str) -> str:
    """Return a name that MLflow accepts."""
    plain = "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)
    # MLflow takes names for paths: no empty, no upward part.
    return "/".join(part if part.strip(".") else "_" for part in plain.split("/"))[:250]


def parameter(value: Any) -> str:
    """Return a conf value as MLflow keeps it."""
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return "null" if value is None else str(value)[:6000]


def parameters(conf: dict[str, Any]) -> list[Any]:
    """Return a conf flat, as MLflow's parameters."""
    from mlflow.entities import Param

    return [Param(key(name), parameter(value)) for name, value in flatten(conf).items()]


def identity_tags(workspace: Workspace, record: Record) -> dict[str, str]:
    """Return what is known of a run before it trains and never changes."""
    identity = record.identity
    git = identity.get("git") or {}
    tags = {
        "mlflow.user": str(identity.get("user", "")),
        "mlflow.source.name": str(record.source or "spectui"),
        "mlflow.source.type": "LOCAL",
        "spectui.run_id": record.run_id,
        "spectui.host": str(identity.get("host", "")),
        "spectui.workspace": str(workspace.root),
        "spectui.command": shlex.join(str(word) for word in identity.get("command") or []),
        "spectui.version": str((identity.get("versions") or {}).get("spectui", "")),
        "spectui.parent": str(record.parent or ""),
        "spectui.conf_hash": _hash(record.folder.conf),
    }
    if git.get("commit"):
        tags |= {
            "mlflow.source.git.commit": git["commit"],
            "mlflow.source.git.branch": str(git.get("branch") or ""),
            "mlflow.source.git.dirty": str(bool(git.get("dirty"))).lower(),
        }
    return {name: value[:_LONGEST_TAG] for name, value in tags.items() if value}


def words_tags(record: Record, conf: dict[str, Any]) -> dict[str, str]:
    """Return what people say of a run and may change: name, note, tags of their own."""
    theirs = {key(name): value for name, value in record.tags.items() if not name.startswith(OURS)}
    note = record.note or str(conf.get("description", ""))
    words = {**theirs, "mlflow.runName": record.name, "mlflow.note.content": note}
    return {name: value[:_LONGEST_TAG] for name, value in words.items()}


def process_tags(process: dict[str, Any]) -> dict[str, str]:
    """Return who runs the run now, out of process.json."""
    names = ("pid", "start_time", "boot_id", "host", "attempt", "device")
    return {f"spectui.{name}": str(process[name]) for name in names if process.get(name) is not None}


def end_tags(record: Record) -> dict[str, str]:
    """Return how a run ended."""
    end = record.end or {}
    tags = {"spectui.state": record.state, "spectui.device": record.device}
    tags["spectui.exit_code"] = "" if end.get("exit_code") is None else str(end["exit_code"])
    tags["spectui.message"] = str(end.get("message") or "")[:_LONGEST_TAG]
    return {name: value for name, value in tags.items() if value}


def translate(events: list[dict[str, Any]], source: str, seen: dict[str, int]) -> Batch:
    """Return what events say: epoch values by epoch, step values by global step, each at its own time.

    `source` is where the data lie. `seen` holds the first step of each quantity that was no finite number,
    and takes what is new.
    """
    from mlflow.entities import Metric

    batch = Batch()
    had = len(seen)
    for event in events:
        stamp = int(event.get("time", 0) * 1000)
        for name, raw, step in _points(event):
            value = number(raw)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            batch.metrics.append(Metric(key(name), float(value), stamp, int(step)))
            if not math.isfinite(value):
                seen.setdefault(name.removeprefix("step/"), int(step))
        kind = event["kind"]
        if kind == "nonfinite":
            seen.setdefault(str(event["what"]), int(event["step"]))
            if event.get("action", "stop") == "stop":
                batch.tags["spectui.diverged"] = f"{event['what']}@{event['step']}"
        elif kind == "data":
            batch.datasets += datasets(event, source)
        elif kind == "rewind":
            batch.tags["spectui.rewound"] = f"{event.get('was')} -> {event['step']}"
        elif kind == "resume" and not event.get("exact", True):
            batch.tags["spectui.resumed_inexactly"] = f"from step {event['step']}"
        elif kind == "machine" and event.get("device"):
            batch.tags["spectui.device"] = str(event["device"])
    if len(seen) > had:
        places = [f"{name}@{step}" for name, step in seen.items()]
        batch.tags["spectui.first_nonfinite"] = places[0]
        batch.tags["spectui.nonfinite"] = ", ".join(places)[:_LONGEST_TAG]
    return batch


def _points(event: dict[str, Any]) -> list[tuple[str, Any, int]]:
    """Return (name, value, step) of every point of an event."""
    match event["kind"]:
        case "epoch":
            return [(name, value, event["epoch"]) for name, value in event["values"].items()]
        case "steps":
            return [
                (f"step/{name}", value, step)
                for name, column in event["columns"].items()
                for step, value in zip(event["step"], column, strict=False)
            ]
        case "pace":
            # MLflow shows what is called system/... on a page of its own.
            return [
                (name if name.startswith("system/") else f"step/{name}", value, event["step"])
                for name, value in event["values"].items()
            ]
        case "test":
            return [(f"test_{name}", value, event.get("epoch", 0)) for name, value in event["values"].items()]
    return []


def datasets(event: dict[str, Any], source: str) -> list[Any]:
    """Return the data a run was trained on, by their fingerprint: MLflow would read and hash them again."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    counts = {name: event[name] for name in ("stars", "points", "train", "val", "test") if name in event}
    fingerprint = str(event.get("fingerprint") or "")
    digest = fingerprint if 0 < len(fingerprint) <= _LONGEST_DIGEST else _digest(fingerprint)
    schema = {name: event[name] for name in ("targets", "wavelength") if name in event}
    made = Dataset(
        name=Path(source).name or "data", digest=digest, source_type="local",
        source=json.dumps({"uri": source}), schema=json.dumps(schema), profile=json.dumps(counts),
    )  # fmt: skip
    return [DatasetInput(made, [InputTag("mlflow.data.context", "train, val, test")])]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hash(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    except OSError:
        return ""
