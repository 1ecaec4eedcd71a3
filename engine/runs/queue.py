"""The queue of a workspace: who waits, in which order, and what people do with it.

A queued run is a whole run folder with queued.json in it. It is started by the owner of the queue
(`engine.runs.queue_owner`), a small process of each person and host, under whose name the run then works.
Nothing here starts a run.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from engine import exit_codes
from engine.errors import BadInput
from engine.runs import devices, slots
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, user_name, write_json
from engine.runs.launch import child_environment
from engine.runs.living import Living, Stamp, here, lives, unnoted_engines
from engine.runs.process import Identity, is_alive
from engine.runs.queue_state import POLICIES, State, changing, place, read
from engine.runs.record import Record
from engine.words import say
from engine.workspace import Workspace

KEPT_ENVIRONMENT = (
    "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
    "SPECTUI_LANG", "LC_ALL", "LC_MESSAGES", "LANG",
)  # fmt: skip
"""What a run takes along from the shell in which it was queued: the owner may come from another."""
WHERE = ("first", "last", "up", "down")
_SECONDS_BETWEEN_LOOKS = 5.0
_HEARTBEAT_SECONDS = 60.0


@dataclass(frozen=True)
class Waiting:
    """One run that waits."""

    place: int
    run_id: str
    name: str
    model: str
    added: float
    by: str
    host: str
    again: bool
    """Whether it goes on with a run that had begun."""


@dataclass(frozen=True)
class Running:
    """One run that is at work on this host, and so holds a slot."""

    run_id: str
    name: str
    model: str
    device: str
    since: float
    by_queue: bool


@dataclass(frozen=True)
class Owner:
    """A process that starts the runs of one person on one host."""

    user: str
    host: str
    pid: int


@dataclass(frozen=True)
class Listing:
    """The queue as it is now."""

    paused: bool
    paused_by: str
    slots: str
    policy: str
    owners: list[Owner]
    waiting: list[Waiting]
    running: list[Running]


# -- acts ---------------------------------------------------------------------------------------------------


def add(workspace: Workspace, run_ids: Sequence[str]) -> None:
    """Let runs wait at the end of the queue: fresh folders, or runs that ended and shall go on.

    Raises:
        BadInput: one of them is at work, has finished or waits already; nothing was changed.
    """
    with changing(workspace) as state:
        written: list[Path] = []
        try:
            notes = {run_id: _note(workspace, run_id) for run_id in dict.fromkeys(run_ids)}
            for run_id, note in notes.items():
                folder = RunFolder(workspace.runs / run_id)
                written.append(folder.queued)
                write_json(folder.queued, note)
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            raise
        state.order = [run_id for run_id in state.order if run_id not in notes] + list(notes)
    ensure_owner(workspace)


def _note(workspace: Workspace, run_id: str) -> dict[str, Any]:
    """Return what queued.json says of a run, or refuse it."""
    folder = RunFolder(workspace.runs / run_id)
    record = Record(folder.path, keep_curves=False)
    if not record.identity:
        raise BadInput(say("runs.unknown", run=run_id))
    if folder.queued.exists():
        note = folder.read_json(folder.queued)
        if note.get("host") == here() or note.get("uid") != os.getuid():
            raise BadInput(say("queue.already", run=run_id))
        # it was to be started on another host: it is taken over to this one
    record.refresh()
    process = folder.read_json(folder.process)
    fresh = record.started_at is None and not process
    if not fresh and record.state in ("starting", "running"):
        raise BadInput(say("train.still_running", run=run_id, pid=record.pid))
    if record.state == "finished":
        raise BadInput(say("train.nothing_to_resume", run=run_id))
    return {
        "added": round(time.time(), 3),
        "by": user_name(),
        "uid": os.getuid(),
        "host": here(),
        "again": not fresh,
        "environment": {k: os.environ[k] for k in KEPT_ENVIRONMENT if k in os.environ},
        # what says later whether it was started: no clock is asked
        "events_size": _size(folder.events),
        "process_noted": process.get("noted"),
    }


def begun(folder: RunFolder, note: dict[str, Any]) -> bool:
    """Tell whether a run was started since it was queued: by a process that has, or had, it in hand."""
    process = folder.read_json(folder.process)
    return process.get("noted") != note.get("process_noted") or _size(folder.events) != note.get(
        "events_size"
    )


def take_out(workspace: Workspace, run_id: str) -> None:
    """Take a run out of the queue; it is then stopped, or what it was before, and may be queued again.

    Raises:
        BadInput: it does not wait (any more).
    """
    with changing(workspace) as state:
        folder = RunFolder(workspace.runs / run_id)
        note = folder.read_json(folder.queued)
        if not note:
            raise BadInput(say("queue.not_waiting", run=run_id))
        if begun(folder, note) or run_id in unnoted_engines(workspace):
            raise BadInput(say("queue.just_started", run=run_id))
        if not note.get("again"):
            events = EventLog(folder.events)
            events.append(
                "end", outcome="stopped", exit_code=exit_codes.STOPPED,
                message=say("queue.taken_out", by=user_name()),
            )  # fmt: skip
            events.close()
        folder.queued.unlink(missing_ok=True)
        state.order = [other for other in state.order if other != run_id]


def move(workspace: Workspace, run_id: str, where: str | int) -> int:
    """Give a run another place: 'first', 'last', 'up', 'down' or a number from 1; return its place.

    Raises:
        BadInput: the run does not wait, or there is no such place.
    """
    number = int(where) if str(where).isascii() and str(where).isdecimal() else 0
    if where not in WHERE and number < 1:
        raise BadInput(say("queue.bad_place", given=where))
    with changing(workspace) as state:
        living = Living(workspace)
        living.look()
        order = _in_order(state, living)
        if run_id not in order:
            raise BadInput(say("queue.not_waiting", run=run_id))
        now = order.index(run_id)
        order.remove(run_id)
        goal = {"first": 0, "last": len(order), "up": now - 1, "down": now + 1}.get(str(where), number - 1)
        goal = min(max(goal, 0), len(order))
        order.insert(goal, run_id)
        state.order = order
    return goal + 1


def pause(workspace: Workspace) -> None:
    """Start nothing more; what is at work goes on."""
    with changing(workspace) as state:
        if not state.paused:
            state.paused, state.paused_by = True, user_name()


def resume(workspace: Workspace) -> None:
    """Start what waits again."""
    with changing(workspace) as state:
        state.paused, state.paused_by = False, ""
    ensure_owner(workspace)


def set_slots(workspace: Workspace, text: str) -> str:
    """Say how many runs may be at work at once: 'auto', 'N' or 'cpu:N'; return the setting.

    Raises:
        BadInput: it is none of these.
    """
    setting = slots.parse(text)
    with changing(workspace) as state:
        state.slots = setting
    ensure_owner(workspace)
    return setting


def set_policy(workspace: Workspace, word: str) -> None:
    """Say what follows when a run failed, diverged or died: 'continue' or 'pause'.

    Raises:
        BadInput: it is neither.
    """
    if word not in POLICIES:
        raise BadInput(say("queue.bad_policy", given=word))
    with changing(workspace) as state:
        state.policy = word


# -- looking ------------------------------------------------------------------------------------------------


def listing(workspace: Workspace) -> Listing:
    """Return the queue as it is now; cheap enough for twice a second."""
    return _reader(workspace).listing()


class _Reader:
    """Keeps between two looks what does not change."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.living = Living(workspace)
        self._words: dict[str, tuple[Stamp | None, str, str]] = {}
        self._one_at_a_time = threading.Lock()

    def listing(self) -> Listing:
        with self._one_at_a_time:
            state = read(self.workspace)
            self._look(state)
            waiting = [
                self._waiting(number, run_id)
                for number, run_id in enumerate(_in_order(state, self.living), start=1)
            ]
            running = [self._running(run_id, state) for run_id in self.living.running]
            running.sort(key=lambda r: (r.since, r.run_id))
            return Listing(
                state.paused, state.paused_by, state.slots, state.policy,
                owners(self.workspace), waiting, running,
            )  # fmt: skip

    def _look(self, state: State) -> None:
        living = self.living
        if not living.looked_at or time.monotonic() - living.looked_at > _SECONDS_BETWEEN_LOOKS:
            living.look()
            return
        for run_id in {*state.order, *state.started, *living.waiting}:
            living.look_at(run_id)
        living.drop_dead()

    def _waiting(self, number: int, run_id: str) -> Waiting:
        note = self.living.waiting[run_id]
        name, model = self._told(run_id)
        return Waiting(
            number, run_id, name, model, float(note.get("added", 0.0)), str(note.get("by", "")),
            str(note.get("host", "")), bool(note.get("again")),
        )  # fmt: skip

    def _running(self, run_id: str, state: State) -> Running:
        process = self.living.running[run_id]
        name, model = self._told(run_id)
        gpu = devices.gpu_of(process)
        device = f"GPU {gpu['index']}" if gpu else slots.wanted_device(self.workspace, run_id)
        return Running(run_id, name, model, device, float(process.get("noted", 0.0)), run_id in state.started)

    def _told(self, run_id: str) -> tuple[str, str]:
        folder = RunFolder(self.workspace.runs / run_id)
        try:
            stat = folder.about.stat()
            stamp: Stamp | None = (stat.st_mtime_ns, stat.st_ino)
        except OSError:
            stamp = None
        known = self._words.get(run_id)
        if known is None or known[0] != stamp:
            record = Record(folder.path, keep_curves=False)
            known = self._words[run_id] = (stamp, record.name, record.model)
        return known[1], known[2]


@cache
def _reader(workspace: Workspace) -> _Reader:
    return _Reader(workspace)


def _in_order(state: State, living: Living) -> list[str]:
    """Return the runs that wait; those without a place by the time they came, and then none that begun."""
    known = sorted(living.waiting, key=lambda r: (float(living.waiting[r].get("added", 0.0)), r))
    return state.waiting(run_id for run_id in known if run_id not in living.running)


# -- the owner ----------------------------------------------------------------------------------------------


def owner_file(workspace: Workspace, ending: str) -> Path:
    """Return where the owner of this person and host is told ('json') or locked ('lock')."""
    return place(workspace) / f"owner-{here()}-{os.getuid()}.{ending}"


def owners(workspace: Workspace) -> list[Owner]:
    """Return who starts runs now; on another host whoever gave a sign of life in the last minute."""
    found = []
    for path in sorted(place(workspace).glob("owner-*.json")):
        data = RunFolder(path.parent).read_json(path)
        alive: bool | None = False
        with contextlib.suppress(KeyError, ValueError, OSError):  # it ended this moment
            alive = is_alive(Identity.read(data))
            if alive is None:
                alive = time.time() - path.stat().st_mtime < _HEARTBEAT_SECONDS
        if alive:
            found.append(Owner(str(data.get("user", "")), str(data["host"]), int(data["pid"])))
    return found


def ensure_owner(workspace: Workspace) -> int | None:
    """Start the owner of this person on this host when runs of theirs wait and there is none.

    Returns its pid, None when nobody is needed or it is there already.
    """
    told = RunFolder(place(workspace)).read_json(owner_file(workspace, "json"))
    if lives(told):
        return None
    state = read(workspace)
    living = Living(workspace)
    living.look(processes=False)
    if not any(is_mine(note) for note in living.waiting.values()) and not state.started:
        return None
    place(workspace).mkdir(parents=True, exist_ok=True)
    with (place(workspace) / f"log-{os.getuid()}.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "engine.runs.queue_owner", str(workspace.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
            cwd=workspace.root,
            env=child_environment(),
        ).pid


def is_mine(note: dict[str, Any]) -> bool:
    """Tell whether a waiting run is for this person's owner on this host to start."""
    return note.get("uid") == os.getuid() and note.get("host") == here()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
