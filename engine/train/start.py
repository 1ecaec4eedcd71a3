"""Where an attempt at a run starts from: nothing, its newest checkpoint, or the weights of another run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from engine.errors import BadInput
from engine.runs.folder import RunFolder
from engine.runs.record import Record
from engine.train import checkpoint
from engine.words import say

_PARTS = ("network", "optimizer", "rate", "batches", "random", "progress")


@dataclass(frozen=True)
class Start:
    """Where an attempt starts: `whole` is a checkpoint of this run, `weights` are those of `source`.

    `written` is the last step that the event log has; `notes` are what a person should know.
    """

    attempt: int = 1
    whole: dict[str, Any] | None = None
    file: str = ""
    written: int = 0
    weights: Mapping[str, Tensor] | None = None
    scalers: Mapping[str, Any] | None = None
    targets: tuple[str, ...] = ()
    source: str = ""
    partial: bool = False
    notes: tuple[str, ...] = ()

    @property
    def stage(self) -> int:
        return 0 if self.whole is None else int(self.whole["state"]["progress"]["stage"])

    @property
    def step(self) -> int:
        return 0 if self.whole is None else int(self.whole["step"])

    @property
    def threads(self) -> int | None:
        """The threads that the bits of this run depend on."""
        return None if self.whole is None else int(self.whole["threads"])


def of_run(run: RunFolder, record: Record, fingerprint: str) -> Start:
    """Return where this attempt at a run starts.

    Raises:
        BadInput: the tables are not those it was trained on, or its checkpoint is of an earlier version.
    """
    notes: list[str] = []
    number = len(record.attempts) + 1 if record.started_at is not None else 1
    found = checkpoint.newest(run.checkpoints)
    for name in sorted(p.name for p in run.checkpoints.glob("*.bad")):
        notes.append(say("checkpoint.set_aside", file=name))
    if found is None:
        return _from_other(run, attempt=number, notes=tuple(notes))
    path, whole, _ = found
    missing = [name for name in _PARTS if name not in whole["state"]]
    if missing:
        raise BadInput(say("checkpoint.earlier", file=path.name, run=run.run_id))
    if whole["fingerprint"] != fingerprint:
        raise BadInput(say("train.other_tables", run=run.run_id))
    return Start(
        attempt=number, whole=whole, file=path.name, written=record.step,
        notes=tuple(notes),
    )  # fmt: skip


def _from_other(run: RunFolder, *, attempt: int, notes: tuple[str, ...]) -> Start:
    path = run.weights
    if not path.exists():
        return Start(attempt=attempt, notes=notes)
    whole = checkpoint.load(path)
    other = run.read_json(run.identity).get("from") or {}
    return Start(
        attempt=attempt, weights=checkpoint.weights_of(whole), scalers=whole["scalers"],
        targets=tuple(whole["targets"]), source=str(other.get("source", path.name)),
        partial=bool(other.get("partial")), notes=notes,
    )  # fmt: skip


def lost_exactness(whole: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return why going on from a checkpoint cannot give the very bits of a run that was never stopped."""
    lost = []
    pairs = {
        "threads": (whole["threads"], now["threads"]),
        "processes": (whole.get("world", 1), now["world"]),
        "torch": (whole["versions"]["torch"], now["versions"]["torch"]),
        "device": (whole.get("device", "cpu").partition(":")[0], now["device"].partition(":")[0]),
    }
    for what, (was, is_) in pairs.items():
        if was != is_:
            lost.append(say("train.inexact", what=say(f"train.inexact_words.{what}"), was=was, now=is_))
    return lost
