"""The keys of the filter language, and what a run says to each. Reads no store and no file but the conf.

MLflow's keys (`metrics.x`, `params.x`, `tags.x`, `attributes.x`, `datasets.x`) and ours (`state`, `best(x)`,
`duration`, …) are asked of one run, be it told by its folder, by the MLflow store, or by both.
"""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.conf.tree import SECTIONS, get
from engine.errors import BadInput
from engine.runs.changed import changed, told
from engine.runs.filter.tokens import Token, unquoted
from engine.runs.record import Record
from engine.words import say

OWN: dict[str, Callable[[Record], Any]] = {
    "run_id": lambda r: r.run_id,
    "name": lambda r: r.name,
    "model": lambda r: r.model,
    "state": lambda r: r.state,
    "host": lambda r: r.host,
    "device": lambda r: r.device,
    "age": lambda r: time.time() - r.created_at,
    "duration": lambda r: r.duration,
    "epoch": lambda r: r.epoch,
    "epochs": lambda r: r.epochs,
    "step": lambda r: r.step,
    "left": lambda r: r.eta,
    "changed": lambda r: told(changed(r)),
    "spark": lambda r: r.spark.cells() if r.spark is not None else None,
    "note": lambda r: r.note,
    "parent": lambda r: r.parent,
    "source": lambda r: r.source,
    "experiment": lambda r: getattr(r.stored or r.twin, "experiment", None),
    "mlflow_run_id": lambda r: r.mlflow_run_id(),
}
KEYS = (*OWN, "created")
FUNCTIONS = ("best", "last", "min", "max")
MLFLOW_NUMBERS = ("start_time", "end_time")
MLFLOW_TEXTS = ("run_id", "run_name", "status", "user_id", "artifact_uri")
_ALIASES = {"created": "start_time", "Created": "start_time"} | dict.fromkeys(
    ("run name", "Run name", "Run Name"), "run_name"
)
_KINDS = {
    **dict.fromkeys(("metric", "metrics", "last"), "metric"),
    **dict.fromkeys(("parameter", "parameters", "param", "params"), "param"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("attribute", "attributes", "attr", "run"), "attribute"),
    **dict.fromkeys(("dataset", "datasets"), "dataset"),
    **{kind: kind for kind in ("best", "min", "max", "test")},
}
_STATUS = {
    **dict.fromkeys(("starting", "running"), "RUNNING"),
    **dict.fromkeys(("stopped", "died"), "KILLED"),
    **dict.fromkeys(("failed", "diverged"), "FAILED"),
    "queued": "SCHEDULED",
    "finished": "FINISHED",
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it was meant: `kind` is one of those of `_KINDS`, or own."""

    kind: str
    name: str


def parse_key(text: str) -> Key:
    """Return what a written key means.

    Raises:
        BadInput: no run can have such a key; names near ones.
    """
    head, bracket, rest = text.partition("(")
    if bracket and rest.endswith(")") and head.strip().lower() in FUNCTIONS:
        name = unquoted(rest[:-1].strip())
        for start in ("metrics.", "metric."):
            name = unquoted(name.removeprefix(start))
        if not name:
            raise BadInput(say("filter.no_name", key=text))
        return Key(_KINDS[head.strip().lower()], name)
    head, dot, name = unquoted(text).partition(".") if text[:1] in "'\"" else text.partition(".")
    if not dot:
        return _bare(unquoted(text), text)
    kind, name = _KINDS.get(unquoted(head)), unquoted(unquoted(name))
    if kind is None and head in SECTIONS:
        return Key("param", text)
    if kind is None or (kind == "dataset" and name not in ("name", "digest", "context")) or not name:
        raise _unknown(text)
    return _bare(name, text, attribute=True) if kind == "attribute" else Key(kind, name)


def _bare(name: str, text: str, *, attribute: bool = False) -> Key:
    name = _ALIASES.get(name, name)
    if name in MLFLOW_NUMBERS or (name in MLFLOW_TEXTS and (attribute or name != "run_id")):
        return Key("attribute", name)
    if name in OWN:
        return Key("attribute" if name == "run_id" else "own", name)
    raise _unknown(text)


def _unknown(text: str) -> BadInput:
    known = [*KEYS, *MLFLOW_TEXTS, *MLFLOW_NUMBERS, "datasets.name", "datasets.digest", "datasets.context"]
    known += [f"{kind}.{text.partition('.')[2]}" for kind in _KINDS if "." in text]
    near = difflib.get_close_matches(text, known, n=1, cutoff=0.6)
    hint = say("conf.did_you_mean", near=near[0]) if near else ""
    if not near and "." not in text:
        hint = say("conf.near", names=f"metrics.{text}, params.{text}, tags.{text}")
    return BadInput(say("runs.bad_key", key=text, known=", ".join(KEYS)) + hint)


def key_of(token: Token) -> Key:
    """Return the key that a piece of an expression means."""
    return parse_key(token.text)


def getter(key: Key) -> Callable[[Record], Any]:
    """Return what asks a run for the key's value; None when it has none."""
    name = key.name
    if key.kind == "own":
        return OWN[name]
    if key.kind == "attribute":
        return _ATTRIBUTES[name]
    if key.kind == "metric":
        return lambda r: metric(r, name)
    if key.kind == "param":
        return lambda r: param(r, name)
    if key.kind == "tag":
        return lambda r: tag(r, name)
    if key.kind == "test":
        return lambda r: r.test.get(name, r.stored.metrics.get(f"test_{name}") if r.stored else None)
    if key.kind == "dataset":
        return lambda r: ", ".join(datasets(r, name)) or None
    return lambda r: extreme(r, key.kind, name)


def metric(record: Record, name: str) -> float | None:
    """Return the last value of a metric, by our name or by the one that it has in MLflow."""
    if record.stored is not None:
        return record.stored.metrics.get(name)
    if name in record.last:
        return record.last[name]
    value = record.test.get(name.removeprefix("test_")) if name.startswith("test_") else None
    if name.startswith("step/"):
        value = record.last.get(name.removeprefix("step/"))
    if value is None and record.twin is not None:
        value = record.twin.metrics.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def extreme(record: Record, kind: str, name: str) -> float | None:
    """Return the best, the least or the greatest value of a metric."""
    if kind == "best" and record.stored is None and name in record.best:
        return record.best[name]
    if record.stored is not None:
        low, high = record.stored.extremes(name)
    else:
        low, high = record.low.get(name), record.high.get(name)
    if kind == "best":
        value = high if higher_is_better(name) else low
        return value if value is None or math.isfinite(value) else None
    return low if kind == "min" else high


def higher_is_better(name: str) -> bool:
    """Tell whether more of a metric is better; less is, unless its name says otherwise."""
    words = name.lower().replace("/", "_").replace(".", "_").replace("-", "_").split("_")
    return any(
        word in ("acc", "accuracy", "r2", "auc", "f1", "precision", "recall", "score") for word in words
    )


def param(record: Record, name: str) -> Any:
    """Return a parameter: of a conf as it is, of MLflow as text."""
    if record.stored is not None:
        return record.stored.params.get(name)
    value = get(record.conf(), name)
    if value is None and record.twin is not None:
        return record.twin.params.get(name)
    return value


@lru_cache(maxsize=4096)
def _number_text(value: float) -> str:
    return repr(value)


def param_text(record: Record, name: str) -> str | None:
    """Return a parameter as the text that it has in MLflow; None when the run has no such one."""
    if record.stored is not None:
        found = record.stored.params.get(name)
        return None if found is None else str(found)
    tree: Any = record.conf()
    for part in name.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return None if record.twin is None else record.twin.params.get(name)
        tree = tree[part]
    if isinstance(tree, dict) and tree:
        return None
    if isinstance(tree, float) and math.isfinite(tree):
        return _number_text(tree)
    return "null" if tree is None else str(tree)[:6000]


def tag(record: Record, name: str) -> str | None:
    """Return a tag: what people said here counts before what MLflow was told."""
    if record.stored is not None:
        return record.stored.tags.get(name)
    if name in record.tags:
        return record.tags[name]
    ours = _TAGS.get(name)
    value = ours(record) if ours else None
    if not value and record.twin is not None:
        value = record.twin.tags.get(name)
    return value or None


def datasets(record: Record, what: str) -> list[str]:
    """Return the names, digests or contexts of the data sets that MLflow has of a run."""
    stored = record.stored or record.twin
    return [] if stored is None else [value for value in stored.datasets(what) if value is not None]


def run_ids(record: Record) -> tuple[str, ...]:
    """Return the ids that a run has: ours and MLflow's."""
    stored = record.stored or record.twin
    other = stored.mlflow_run_id if stored is not None else record.mlflow_run_id()
    return (record.run_id,) if other in (None, record.run_id) else (record.run_id, str(other))


def _note(record: Record) -> str:
    return record.note or str(record.conf().get("description") or "")


def _git(record: Record) -> str:
    return str((record.identity.get("git") or {}).get("commit", ""))


_TAGS: dict[str, Callable[[Record], str]] = {
    "mlflow.runName": lambda r: r.name,
    "mlflow.note.content": _note,
    "mlflow.user": lambda r: str(r.identity.get("user", "")),
    "mlflow.source.name": lambda r: str(r.source or ""),
    "mlflow.source.git.commit": _git,
    "spectui.run_id": lambda r: r.run_id,
    "spectui.host": lambda r: r.host,
    "spectui.state": lambda r: r.state,
    "spectui.parent": lambda r: r.parent or "",
}


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _status(record: Record) -> str | None:
    return record.stored.status if record.stored is not None else _STATUS.get(record.state)


def _run_name(record: Record) -> str | None:
    return record.stored.tags.get("mlflow.runName") if record.stored is not None else record.name


def _user(record: Record) -> str | None:
    return record.stored.user if record.stored is not None else str(record.identity.get("user", ""))


def _artifacts(record: Record) -> str | None:
    stored = record.stored or record.twin
    return None if stored is None else stored.artifact_uri


_ATTRIBUTES: dict[str, Callable[[Record], Any]] = {
    "run_id": OWN["run_id"],
    "run_name": _run_name,
    "status": _status,
    "user_id": _user,
    "artifact_uri": _artifacts,
    "start_time": lambda r: r.stored.started_ms if r.stored is not None else _milliseconds(r.created_at),
    "end_time": lambda r: r.stored.ended_ms if r.stored is not None else _milliseconds(r.ended_at),
}
