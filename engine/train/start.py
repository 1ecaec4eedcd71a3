"""Where an attempt at a run starts from: nothing, its newest checkpoint, or the weights of another run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
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

    `written` is the last step that the event log has, `told` the step that ended its last epoch, `tested`
    whether it has the test errors, `untold` whether it does not know that these weights are the best.
    `made_with` is what the bits of the run so far depend on, None if it made no step. `notes` are what a
    person should know.
    """

    attempt: int = 1
    whole: dict[str, Any] | None = None
    file: str = ""
    written: int = 0
    told: int = 0
    tested: bool = False
    untold: bool = False
    made_with: Mapping[str, Any] | None = None
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
        return None if self.made_with is None else int(self.made_with["threads"])

    @property
    def again(self) -> bool:
        """Whether an earlier attempt came to its first step."""
        return self.made_with is not None


def of_run(run: RunFolder, record: Record, fingerprint: str) -> Start:
    """Return where this attempt at a run starts.

    Raises:
        BadInput: the tables are not those it was trained on, or its checkpoint is of an earlier version.
    """
    number = len(record.attempts) + 1 if record.started_at is not None else 1
    found = checkpoint.newest(run.checkpoints)
    notes = [
        say("checkpoint.set_aside", file=path.name)
        for path in sorted(run.checkpoints.glob("*.bad"))
        if record.ended_at is None or path.stat().st_ctime > record.ended_at
    ]
    if found is None:
        return _from_the_beginning(run, record, attempt=number, notes=notes)
    path, whole, _ = found
    missing = [name for name in _PARTS if name not in whole["state"]]
    if missing:
        raise BadInput(say("checkpoint.earlier", file=path.name, run=run.run_id))
    if whole["fingerprint"] != fingerprint:
        raise BadInput(say("train.other_tables", run=run.run_id))
    return Start(
        attempt=number, whole=whole, file=path.name, written=record.step, told=record.epoch_step,
        tested=bool(record.test), untold=bool(whole.get("best")) and record.best_step != whole["step"],
        made_with=_made_with(whole), notes=tuple(notes),
    )  # fmt: skip


def with_best(run: RunFolder, start: Start) -> Start:
    """Return the start with a `best.pt` that can be relied on. The run's lock must be held.

    A process may be killed between writing a checkpoint and naming it the best. Where the best is damaged,
    the weights that the run goes on from take its place, until an evaluation finds better ones.
    """
    if start.whole is None:
        return start
    best, path = run.checkpoints / "best.pt", run.checkpoints / start.file
    if start.whole.get("best"):
        if not (best.exists() and best.samefile(path)):
            checkpoint.link(path, best)
        return start
    progress = start.whole["state"]["progress"]
    if not progress["best_epoch"]:
        return start
    try:
        checkpoint.load(best)
    except BadInput:
        checkpoint.link(path, best)
        progress |= {"best": math.inf, "best_epoch": 0, "stale": 0}
        return replace(start, notes=(*start.notes, say("checkpoint.best_lost", file=start.file)))
    return start


def _from_the_beginning(run: RunFolder, record: Record, *, attempt: int, notes: list[str]) -> Start:
    """Return the start of a run that has no whole checkpoint: anew, or from the weights of another run."""
    before: dict[str, Any] = {}
    if record.training_at is not None and record.machine:
        machine = record.machine
        made_with = {"threads": machine["threads"], "world": machine.get("processes", 1)}
        made_with |= {"torch": machine["torch"], "device": machine["device"]}
        before = {"written": record.step, "told": record.epoch_step, "made_with": made_with}
        notes = [*notes, say("train.over_again")]
    path = run.weights
    if not path.exists():
        return Start(attempt=attempt, notes=tuple(notes), **before)
    whole = checkpoint.load(path)
    other = run.read_json(run.identity).get("from") or {}
    return Start(
        attempt=attempt, weights=checkpoint.weights_of(whole), scalers=whole["scalers"],
        targets=tuple(whole["targets"]), source=str(other.get("source", path.name)),
        partial=bool(other.get("partial")), notes=tuple(notes), **before,
    )  # fmt: skip


def _made_with(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the bits of a run depend on, from the facts of its checkpoints."""
    return {
        "threads": facts["threads"], "world": facts.get("world", 1), "torch": facts["versions"]["torch"],
        "device": facts.get("device", "cpu"),
    }  # fmt: skip


def lost_exactness(before: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """Return why going on cannot give the very bits of a run that was never stopped."""
    lost = []
    now = _made_with(facts)
    pairs = {
        "threads": (before["threads"], now["threads"]),
        "processes": (before["world"], now["world"]),
        "torch": (before["torch"], now["torch"]),
        "device": (before["device"].partition(":")[0], now["device"].partition(":")[0]),
    }
    for what, (was, is_) in pairs.items():
        if was != is_:
            lost.append(say("train.inexact", what=say(f"train.inexact_words.{what}"), was=was, now=is_))
    return lost
