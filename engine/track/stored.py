"""A run as an MLflow store has it, and what of it is read only when somebody asks.

Reads nothing by itself: `read` and `remote` make these. No MLflow here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from engine.runs.process import Identity, is_alive

STATES = {
    "RUNNING": "running",
    "SCHEDULED": "queued",
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "stopped",
}
_ENDS = ("finished", "stopped", "failed", "diverged", "died")

Loader = Callable[[str, str], dict[str, Any]]
"""`load("extremes", metric)` and `load("datasets", "")`: what every run of a store has of it, by run id."""


class Late:
    """What is read of a whole store when it is asked for: extremes of a metric, data sets.

    `waits`: read at once, in the thread that asks. Otherwise it is noted as wanted, and the thread that
    follows the store calls `catch_up`: the screen never waits for a scan of all points.
    """

    def __init__(self, load: Loader, *, waits: bool = True) -> None:
        self._load = load
        self._waits = waits
        self._known: dict[tuple[str, str], dict[str, Any]] = {}
        self._wanted: dict[tuple[str, str], None] = {}
        self._lock = threading.Lock()

    def get(self, what: str, name: str = "") -> dict[str, Any]:
        """Return what the runs have of it, by run id; nothing yet when it is still to be read."""
        asked = (what, name)
        found = self._known.get(asked)
        if found is None and self._waits:
            found = self._known[asked] = self._load(what, name)
        elif found is None:
            with self._lock:
                self._wanted[asked] = None
        return found or {}

    def wants(self) -> bool:
        """Tell whether something was asked for that is not read."""
        return bool(self._wanted)

    def grow_stale(self) -> None:
        """The store changed: what was read is read again at the next `catch_up`."""
        with self._lock:
            self._wanted.update(dict.fromkeys(self._known))

    def catch_up(self) -> int:
        """Read what is wanted; return how many things."""
        with self._lock:
            wanted, self._wanted = self._wanted, {}
        for what, name in wanted:
            self._known[what, name] = self._load(what, name)
        return len(wanted)


@dataclass(slots=True)
class StoredRun:
    """One run of a store."""

    mlflow_run_id: str
    name: str
    experiment: str
    status: str
    started_ms: int | None
    ended_ms: int | None
    artifact_uri: str = ""
    user: str = ""
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    late: Late | None = field(default=None, compare=False, repr=False)
    uri: str = ""

    @property
    def started_at(self) -> float:
        return (self.started_ms or 0) / 1000

    @property
    def ended_at(self) -> float | None:
        return self.ended_ms / 1000 if self.ended_ms and self.status not in ("RUNNING", "SCHEDULED") else None

    @property
    def state(self) -> str:
        """The run's state in our words; one that claims to run, by a process that is gone, died."""
        state = STATES.get(self.status, "failed")
        if state in _ENDS:
            told = self.tags.get("spectui.state", "")
            return told if told in _ENDS else state
        return "died" if state == "running" and self.alive() is False else state

    def alive(self) -> bool | None:
        """Tell whether the process that its tags name lives; None when nobody here can tell."""
        told = {key: self.tags.get(f"spectui.{key}") for key in ("pid", "start_time", "boot_id", "host")}
        if not all(told.values()):
            return None
        try:
            return is_alive(Identity.read(told))
        except (ValueError, OSError):
            return None

    @property
    def model(self) -> str:
        return self.params.get("model.name") or self.params.get("model") or "?"

    def conf(self) -> dict[str, Any]:
        """Turn MLflow's flat text parameters back into sections and values."""
        tree: dict[str, Any] = {}
        for key, text in self.params.items():
            *parents, last = key.split(".")
            place = tree
            for part in parents:
                below = place.get(part)
                if not isinstance(below, dict):
                    below = place[part] = {}
                place = below
            place[last] = _value(text)
        return tree

    def extremes(self, name: str) -> tuple[float | None, float | None]:
        """Return the least and the greatest value of a metric, NaN left out."""
        found = self.late.get("extremes", name).get(self.mlflow_run_id) if self.late is not None else None
        return found or (None, None)

    def datasets(self, what: str) -> list[str | None]:
        """Return the names, digests or contexts of its data sets."""
        if self.late is None:
            return []
        rows = self.late.get("datasets").get(self.mlflow_run_id, ())
        return [row[("name", "digest", "context").index(what)] for row in rows]


@lru_cache(maxsize=1 << 14)
def _value(text: str) -> Any:
    # Runs repeat their values; YAML is slow (to import too), and reads an empty text as null.
    from engine.conf.marks import parse_value

    return parse_value(text) if text else ""
