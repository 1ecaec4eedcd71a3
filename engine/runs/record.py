"""What a run folder says, kept up to date by reading only what is new.

State is derived, never stored: an end event gives its outcome; a living process means running; anything
else means died. Owns no file; never writes.
"""

from __future__ import annotations

import math
import time
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.runs.events import Tail, number
from engine.runs.folder import RunFolder
from engine.runs.points import Clock, Curve, NonFinite
from engine.runs.process import Identity, is_alive
from engine.runs.spark import LOSSES, Spark

if TYPE_CHECKING:
    from engine.track.stored import StoredRun

STATES = ("queued", "starting", "running", "finished", "stopped", "failed", "diverged", "died")
LIVE = ("queued", "starting", "running")

# A launcher writes process.json right after it made the folder; a folder older than this without one is dead.
_GRACE_SECONDS = 20.0
# A process on another host cannot be asked; its events must be younger than this.
_FOREIGN_SECONDS = 120.0
_LOWER_IS_BETTER_HINTS = ("loss", "mae", "rmse", "error")


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is replaced; None when it is not there."""
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return stat.st_mtime_ns, stat.st_ino


def _mapping(path: Path) -> dict[str, Any] | None:
    """Return what a YAML file holds; None when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return None
    import yaml  # not at the start of the app: the list needs it for a few rows at most

    try:
        data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return {}  # a colleague's, or damaged: the list shows the run all the same
    return data if isinstance(data, dict) else {}


def _doubles(column: list[Any]) -> array[float]:
    """Return a column of the event log as numbers, the words for what is none among them too."""
    try:
        return array("d", column)
    except TypeError:
        return array("d", (float(number(value)) for value in column))


class Record:
    """One run, as its folder tells it now."""

    def __init__(self, path: Path, *, keep_curves: bool = True, stored: StoredRun | None = None) -> None:
        self.folder = RunFolder(path)
        self.keep_curves = keep_curves
        self._tail = Tail(self.folder.events)
        identity = self.folder.read_json(self.folder.identity) if stored is None else {}
        self.run_id: str = identity.get("run_id", path.name)
        self.name: str = identity.get("name", path.name)
        self.note = ""
        self.tags: dict[str, str] = {}
        self.model: str = identity.get("model", "?")
        self.source: str | None = identity.get("source")
        self.parent: str | None = identity.get("parent")
        self.created: str = identity.get("created", "")
        self.created_at: float = identity.get("created_at", 0.0)
        self.identity = identity
        self.stored = stored
        """Set when the run has no folder and is told by the MLflow store."""
        self.twin: StoredRun | None = None
        """What the MLflow store has of a run that has a folder, when the store was read."""
        self._conf: dict[str, Any] | None = None
        self._patch: dict[str, Any] | None = None
        self._process: dict[str, Any] = {}
        self._process_stamp: tuple[int, int] | None = None
        self._about_stamp: tuple[int, int] | None = None
        self._queued = False
        self._alive: bool | None = False
        self._behind = False
        self._reset()
        if stored is None:
            self._look_at_words()

    def _reset(self) -> None:
        self.phase = ""
        self.phase_text = ""
        self.started_at: float | None = None
        self.training_at: float | None = None
        self.last_event_at: float | None = None
        self.idle = 0.0
        """Seconds that lay between attempts, when nothing was at work."""
        self.epoch = 0
        self.epochs = 0
        self.step = 0
        self.epoch_step = 0
        """Step at which the last epoch that is told ended."""
        self.total_steps = 0
        self.steps_per_epoch = 0
        self.curves: dict[str, Curve] = {}
        self.clock = Clock()
        self.spark: Spark | None = None
        """The loss in a few cells, also where no curves are kept."""
        self._spark_of = len(LOSSES)
        self.last: dict[str, float] = {}
        self.best: dict[str, float] = {}
        self.low: dict[str, float] = {}
        self.high: dict[str, float] = {}
        """The least and the greatest value of every quantity; what was done again later counts too."""
        self.best_epoch: int | None = None
        self.best_step: int | None = None
        self.best_value: float | None = None
        """Best of the monitored quantity, in its own sense and sign."""
        self.monitor = "val_loss"
        self.test: dict[str, Any] = {}
        self.data: dict[str, Any] = {}
        self.machine: dict[str, Any] = {}
        self.checkpoints: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self.nonfinite: NonFinite | None = None
        self.bad_steps: list[dict[str, Any]] = []
        """Steps that were no finite number and were left out or gone back from."""
        self.cuts = 0
        """How often points were dropped again, so that who took them over can tell."""
        self.attempts: list[dict[str, Any]] = []
        """What is known of each attempt at this run, the first and those that resumed it."""
        self.end: dict[str, Any] | None = None
        self._pace: list[tuple[float, int]] = []
        self._step_names: set[str] = set()

    def refresh(self, limit: int | None = None) -> bool:
        """Read what is new; tell whether anything changed."""
        if self.stored is not None:
            return False
        before = (self._tail.offset, self.state)
        renamed = self._look_at_words()
        queued = self.folder.queued.exists()
        if self.end is not None and queued == self._queued and self._unchanged():
            return renamed
        self._queued = queued
        # The process is looked at first: one that is gone has written all it will, its end event too.
        self._look_at_process()
        had = self._tail.offset
        events = self._tail.poll(limit)
        self._behind = limit is not None and bool(events)
        if self._tail.offset < had:
            self._reset()
        for event in events:
            self._take(event)
        return renamed or (self._tail.offset, self.state) != before

    def _look_at_words(self) -> bool:
        """Read name, note and tags again when somebody changed them; tell whether so."""
        stamp = _stamp(self.folder.about)
        if stamp == self._about_stamp:
            return False
        self._about_stamp = stamp
        about = self.folder.read_json(self.folder.about)
        self.name = about.get("name") or self.identity.get("name", self.folder.run_id)
        self.note = str(about.get("note", ""))
        tags = about.get("tags")
        self.tags = {str(k): str(v) for k, v in tags.items()} if isinstance(tags, dict) else {}
        return True

    def _unchanged(self) -> bool:
        try:
            return self.folder.events.stat().st_size == self._tail.offset
        except FileNotFoundError:
            return True

    # -- state ------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """One of STATES."""
        if self.stored is not None:
            return self.stored.state
        if self.end is not None and not self._queued:
            return str(self.end.get("outcome", "failed"))
        if self._queued and not self._alive:
            return "queued"
        if self._alive is None:
            fresh = time.time() - (self.last_event_at or self.created_at) < _FOREIGN_SECONDS
            return ("running" if self.training_at else "starting") if fresh else "died"
        if self._alive or self._behind:
            return "running" if self.training_at else "starting"
        if not self._process and time.time() - self.created_at < _GRACE_SECONDS:
            return "starting"
        return "died"

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def host(self) -> str:
        if self.stored is not None:
            return self.stored.tags.get("spectui.host", "")
        return str(self._process.get("host") or self.identity.get("host", ""))

    @property
    def device(self) -> str:
        return str(self.machine.get("device", ""))

    @property
    def pid(self) -> int | None:
        return self._process.get("pid")

    @property
    def ended_at(self) -> float | None:
        if self.stored is not None:
            return self.stored.ended_at
        if self.end is not None:
            return float(self.end["time"])
        return None if self.live else self.last_event_at

    @property
    def duration(self) -> float | None:
        """Seconds of work, from the first event to the end, or to now."""
        if self.started_at is None:
            return None
        return max(0.0, (self.ended_at or time.time()) - self.started_at - self.idle)

    @property
    def eta(self) -> float | None:
        """Seconds left at the pace of the last steps; None when unknown."""
        if self.state != "running" or len(self._pace) < 2 or not self.total_steps:
            return None
        (first_time, first_step), (last_time, last_step) = self._pace[0], self._pace[-1]
        if last_step <= first_step or last_time <= first_time:
            return None
        rate = (last_step - first_step) / (last_time - first_time)
        # The clock runs on between records: count down instead of freezing.
        return max(0.0, (self.total_steps - last_step) / rate - (time.time() - last_time))

    def conf(self) -> dict[str, Any]:
        """Return the resolved conf as plain data; empty when it cannot be read. It never changes."""
        if self._conf is None:
            self._conf = self._read_conf() if self.stored is None else self.stored.conf()
        return self._conf or {}

    def _read_conf(self) -> dict[str, Any] | None:
        return _mapping(self.folder.conf)

    @property
    def conf_known(self) -> bool:
        """Tell whether `conf` answers without reading a file."""
        return self._conf is not None

    def patch(self) -> dict[str, Any]:
        """Return what differs from the conf it was started from, by key: `was` and `is`. It never changes."""
        if self._patch is None:
            self._patch = _mapping(self.folder.patch) if self.stored is None else {}
        return self._patch or {}

    def mlflow_run_id(self) -> str | None:
        if self.stored is not None:
            return self.stored.mlflow_run_id
        return self.folder.read_json(self.folder.tracking).get("run_id")

    def _look_at_process(self) -> None:
        stamp = _stamp(self.folder.process)
        if stamp is None:
            self._process, self._alive = {}, False
            return
        if stamp != self._process_stamp:
            self._process = self.folder.read_json(self.folder.process)
            self._process_stamp = stamp
        try:
            self._alive = is_alive(Identity.read(self._process)) if self._process else False
        except (KeyError, ValueError):
            self._alive = False

    # -- events -----------------------------------------------------------------------------------------

    def _take(self, event: dict[str, Any]) -> None:
        if event["kind"] == "attempt" and self.last_event_at is not None:
            self.idle += max(0.0, float(event.get("time", 0.0)) - self.last_event_at)
        self.last_event_at = float(event.get("time", 0.0))
        if self.started_at is None:
            self.started_at = self.last_event_at
        handler = getattr(self, f"_take_{event['kind']}", None)
        if handler is not None:
            handler(event)

    def _take_attempt(self, event: dict[str, Any]) -> None:
        self.attempts.append(event)
        # Another attempt: how the one before ended is history.
        self.end = self.nonfinite = None

    def _take_resume(self, event: dict[str, Any]) -> None:
        if not event.get("exact", True):
            self._cut(event["step"])

    def _take_rewind(self, event: dict[str, Any]) -> None:
        self._cut(event["step"])

    def _cut(self, step: int) -> None:
        """Drop what was recorded after `step`: it is done again, and comes out otherwise."""
        for curve in self.curves.values():
            keep = bisect_right(curve.steps, step)
            del curve.steps[keep:], curve.values[keep:]
        self.clock.cut(step)
        if self.spark is not None:
            self.spark.cut(step)
        self.cuts += 1
        self.checkpoints = [c for c in self.checkpoints if c["step"] <= step]
        self.step = min(self.step, step)
        self.epoch_step = min(self.epoch_step, step)
        self._pace = []

    def _take_phase(self, event: dict[str, Any]) -> None:
        self.phase = event["phase"]
        if self.phase == "training" and self.training_at is None:
            self.training_at = event["time"]
        if self.phase == "training":
            self._anchor()

    def _take_machine(self, event: dict[str, Any]) -> None:
        self.machine = event

    def _take_data(self, event: dict[str, Any]) -> None:
        self.data = event

    def _take_plan(self, event: dict[str, Any]) -> None:
        self.epochs = event["epochs"]
        self.total_steps = event["total_steps"]
        self.steps_per_epoch = event["steps_per_epoch"]
        self.monitor = event.get("monitor", "val_loss")

    def _take_steps(self, event: dict[str, Any]) -> None:
        steps = event["step"]
        if not steps:
            return
        self.step = steps[-1]
        self.epoch = max(self.epoch, event.get("epoch", 0))
        self._pace = [*self._pace[-40:], (event["time"], self.step)]
        self._anchor()
        if self.keep_curves:
            steps = array("d", steps)
        for name, column in event["columns"].items():
            self._step_names.add(name)
            values = _doubles(column)
            self.last[name] = values[-1]
            total = sum(values)
            self._widen(name, values if total == total else [v for v in values if v == v])
            self._outline(name, steps, values)
            if self.keep_curves:
                curve = self.curves.setdefault(name, Curve())
                curve.steps.extend(steps)
                curve.values.extend(values)

    def _anchor(self) -> None:
        if self.keep_curves and self.started_at is not None and self.last_event_at is not None:
            self.clock.add(self.step, self.last_event_at, self.last_event_at - self.started_at - self.idle)

    def _take_stage(self, event: dict[str, Any]) -> None:
        # Another stage looks at other rows: its best is another thing, and the one that is kept.
        self.best = {}

    def _take_pace(self, event: dict[str, Any]) -> None:
        for name, raw in event["values"].items():
            value = float(number(raw))
            self.last[name] = value
            self._widen(name, [value] if value == value else [])
            if self.keep_curves:
                self.curves.setdefault(name, Curve()).add(event["step"], value)

    def _take_epoch(self, event: dict[str, Any]) -> None:
        self.epoch, self.step = event["epoch"], event["step"]
        self.epoch_step = self.step
        for name, raw in event["values"].items():
            value = float(number(raw))
            self.last[name] = value
            self._widen(name, [value] if value == value else [])
            if any(hint in name for hint in _LOWER_IS_BETTER_HINTS) and math.isfinite(value):
                self.best[name] = min(value, self.best.get(name, math.inf))
            self._outline(name, [self.step], [value])
            # A quantity that is recorded every step (the learning rate) needs no second, coarser curve.
            if self.keep_curves and name not in self._step_names:
                self.curves.setdefault(name, Curve()).add(self.step, value)

    def _widen(self, name: str, numbers: Sequence[float]) -> None:
        if numbers:
            self.low[name] = min(min(numbers), self.low.get(name, math.inf))
            self.high[name] = max(max(numbers), self.high.get(name, -math.inf))

    def _outline(self, name: str, steps: Sequence[float], values: Sequence[float]) -> None:
        """Draw the loss on in the sparkline: of the first quantity of LOSSES that the run records."""
        rank = LOSSES.index(name) if name in LOSSES else len(LOSSES)
        if rank < self._spark_of:
            self.spark, self._spark_of = Spark(), rank
        if rank == self._spark_of and self.spark is not None:
            self.spark.add(steps, values)

    def _take_checkpoint(self, event: dict[str, Any]) -> None:
        if self.checkpoints and self.checkpoints[-1]["step"] >= event["step"]:
            # killed after it was saved, an attempt that goes on from an earlier one saves it again
            self.checkpoints = [c for c in self.checkpoints if c["step"] != event["step"]]
        self.checkpoints.append(event)
        if event.get("best"):
            self.best_epoch, self.best_step = event["epoch"], event["step"]
            value = event.get("value")
            self.best_value = self.last.get(self.monitor) if value is None else float(number(value))

    def _take_nonfinite(self, event: dict[str, Any]) -> None:
        if self.spark is None:
            self.spark = Spark()
        self.spark.mark(event["step"])
        if event.get("action", "stop") != "stop":
            self.bad_steps.append(event)
            return

        def maybe(name: str) -> float | None:
            value = event.get(name)
            return None if value is None else float(number(value))

        self.nonfinite = NonFinite(
            step=event["step"],
            epoch=event["epoch"],
            what=event["what"],
            value=float(number(event["value"])),
            last_finite_loss=maybe("last_finite_loss"),
            learning_rate=maybe("learning_rate"),
            gradient_norm=maybe("gradient_norm"),
            obsids=[str(o) for o in event.get("obsids", [])],
            parameter=event.get("parameter"),
            module=event.get("module"),
            direction=event.get("direction"),
            input_low=maybe("input_low"),
            input_high=maybe("input_high"),
            extremes=[{k: number(v) for k, v in star.items()} for star in event.get("extremes", [])],
        )

    def _take_message(self, event: dict[str, Any]) -> None:
        self.messages.append(event)

    def _take_test(self, event: dict[str, Any]) -> None:
        self.test = {name: number(value) for name, value in event["values"].items()}

    def _take_end(self, event: dict[str, Any]) -> None:
        self.end = event
