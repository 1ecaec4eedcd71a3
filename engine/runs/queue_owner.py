"""The owner of the queue: `python -m engine.runs.queue_owner ROOT`, one process of a person on a host.

It starts the runs that this person queued on this host, in the common order, whenever a slot is free, and
ends when nothing waits and nothing it started is at work. It holds no truth: killed at any moment, the next
one finds everything in the run folders, and starts nothing twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from engine.runs import devices, launch, queue, slots
from engine.runs.folder import RunFolder, note_process, user_name, write_json
from engine.runs.living import Living, here, unnoted_engines
from engine.runs.process import hold_lock, identify
from engine.runs.queue_state import State, changing, place, read
from engine.words import say
from engine.workspace import Workspace

POLL_SECONDS = 0.5
LOOK_SECONDS = 5.0
IDLE_SECONDS = 10.0
_HEARTBEAT_SECONDS = 15.0
_AGAIN_SECONDS = 30.0
_TAIL_BYTES = 1 << 16
BAD = ("failed", "diverged", "died")


class OwnerOfQueue:
    """What the owner remembers between two looks; none of it is needed by the next owner."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.living = Living(workspace)
        self._seen: tuple[Any, ...] = ()
        self._looked = 0.0
        self._refused: dict[str, float] = {}
        """Runs that could not be started, and when."""

    def busy(self, state: State) -> bool:
        """Tell whether anything waits for this owner, or it has yet to see how something ended."""
        mine = any(queue.is_mine(note) for note in self.living.waiting.values())
        return mine or any(_is_mine(entry) for entry in state.started.values())

    def due(self) -> bool:
        """Tell whether anything changed since the last look; costs a few calls of the system."""
        _reap()
        now = (_mtime(place(self.workspace) / "queue.json"), _mtime(self.workspace.runs))
        before = set(self.living.running)
        self.living.drop_dead()
        changed = now != self._seen or before != set(self.living.running)
        self._seen = now
        return changed or time.monotonic() - self._looked >= LOOK_SECONDS

    def step(self) -> None:
        """Look at everything, note what ended and start what may start."""
        self._looked = time.monotonic()
        with changing(self.workspace) as state:
            self.living.look()
            self._settle(state)
            self._note_ends(state)
            if not state.paused:
                self._start(state)
            state.order = [r for r in state.waiting(self._order(state)) if r in self.living.waiting]

    def _order(self, state: State) -> list[str]:
        waiting = self.living.waiting
        return state.waiting(sorted(waiting, key=lambda r: (float(waiting[r].get("added", 0.0)), r)))

    def _settle(self, state: State) -> None:
        """Finish what an owner that was killed had begun: a run that has, or had, a process waits no more."""
        mine = {r: note for r, note in self.living.waiting.items() if queue.is_mine(note)}
        engines = unnoted_engines(self.workspace) if mine else {}
        for run_id, note in mine.items():
            folder = RunFolder(self.workspace.runs / run_id)
            if run_id in engines and folder.read_json(folder.process).get("pid") != engines[run_id].pid:
                note_process(folder, identity=engines[run_id])
            if run_id in engines or queue.begun(folder, note):
                self._mark_started(state, run_id)

    def _mark_started(self, state: State, run_id: str) -> None:
        folder = RunFolder(self.workspace.runs / run_id)
        # First that its end is to be seen, then that it waits no more: killed in between, it is found again.
        state.started[run_id] = {"at": round(time.time(), 3), "host": here(), "uid": os.getuid()}
        _write_now(self.workspace, state)
        with contextlib.suppress(FileNotFoundError):
            folder.queued.unlink()
        self.living.look_at(run_id)

    def _note_ends(self, state: State) -> None:
        for run_id, entry in list(state.started.items()):
            if not _is_mine(entry) or run_id in self.living.running:
                continue
            del state.started[run_id]
            how = outcome(RunFolder(self.workspace.runs / run_id))
            _log(say("queue.log_ended", run=run_id, state=say(f"state.{how}")))
            if how in BAD and state.policy == "pause" and not state.paused:
                state.paused, state.paused_by = True, run_id
                _log(say("queue.log_paused", run=run_id))

    def _start(self, state: State) -> None:
        order = self._order(state)
        if not any(queue.is_mine(self.living.waiting[r]) for r in order):
            return
        if state.slots.isdecimal() and len(self.living.running) >= int(state.slots):
            return  # no need to ask for the GPUs
        free = slots.Slots(self.workspace, state.slots, self.living.running, devices.gpus())
        others = {(o.host, o.user) for o in queue.owners(self.workspace)}
        for run_id in order:
            note = self.living.waiting[run_id]
            mine = queue.is_mine(note)
            if note.get("host") != here() or (not mine and (here(), note.get("by")) not in others):
                continue  # for another host; or nobody is there to start it, who would hold others up
            if time.monotonic() - self._refused.get(run_id, -_AGAIN_SECONDS) < _AGAIN_SECONDS:
                continue
            given = note.get("environment")
            kept = {str(k): str(v) for k, v in given.items()} if isinstance(given, dict) else {}
            wanted = slots.wanted_device(self.workspace, run_id)
            slot = free.take(wanted, kept.get("CUDA_VISIBLE_DEVICES"))
            if slot is None or not mine:
                continue  # it waits; or the slot is for the owner of another person, who takes it in a moment
            self._start_one(state, run_id, note, kept, slot)

    def _start_one(
        self, state: State, run_id: str, note: dict[str, Any], kept: dict[str, str], slot: slots.Slot
    ) -> None:
        folder = RunFolder(self.workspace.runs / run_id)
        try:
            pid = launch.start(
                self.workspace, folder, again=bool(note.get("again")),
                environment=kept | dict(slot.environment), **slot.facts,
            )  # fmt: skip
        except OSError as error:
            self._refused[run_id] = time.monotonic()
            _log(say("queue.log_not_started", run=run_id, error=error))
            return
        self._mark_started(state, run_id)
        gpu = devices.gpu_of(slot.facts)
        _log(say("queue.log_started", run=run_id, pid=pid, device=f"GPU {gpu['index']}" if gpu else "-"))


def outcome(folder: RunFolder) -> str:
    """Return how a run ended, from the last lines of its events: an outcome, or 'died' without one."""
    try:
        with folder.events.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return "died"
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if event.get("kind") == "end":
                return str(event.get("outcome", "failed"))
            if event.get("kind") == "attempt":
                return "died"
    return "died"


def own(workspace: Workspace, *, idle_seconds: float = IDLE_SECONDS) -> int:
    """Be the owner until there is nothing to do; return at once when there is one already."""
    place(workspace).mkdir(parents=True, exist_ok=True)
    lock = hold_lock(queue.owner_file(workspace, "lock"))
    if lock is None:
        return 0
    told = queue.owner_file(workspace, "json")
    write_json(told, {**identify().plain(), "user": user_name(), "since": round(time.time(), 3)})
    _log(say("queue.log_owner", pid=os.getpid()))
    owner = OwnerOfQueue(workspace)
    complained = -_AGAIN_SECONDS
    idle_since = beat = time.monotonic()
    while True:
        now = time.monotonic()
        try:
            if owner.due():
                owner.step()
            if owner.busy(read(workspace)):
                idle_since = now
            elif now - idle_since >= idle_seconds and _leave(workspace, owner, lock, told):
                return 0
        except OSError as error:  # a full disk, a server that is away: it may come back
            if now - complained >= _AGAIN_SECONDS:
                complained = now
                _log(say("queue.log_trouble", error=error))
        if now - beat >= _HEARTBEAT_SECONDS:
            beat = now
            with contextlib.suppress(OSError):
                os.utime(told)
        if not workspace.runs.is_dir():
            return 0  # the workspace is gone, or was moved: its runs go on, another owner is started there
        time.sleep(POLL_SECONDS)


def _leave(workspace: Workspace, owner: OwnerOfQueue, lock: int, told: Path) -> bool:
    """End when there is still nothing to do; whoever queues a run later finds that nobody is there."""
    with changing(workspace) as state:
        owner.living.look()
        if owner.busy(state):
            return False
        told.unlink(missing_ok=True)
        os.close(lock)
    _log(say("queue.log_idle"))
    return True


def _is_mine(entry: dict[str, Any]) -> bool:
    return entry.get("uid") == os.getuid() and entry.get("host") == here()


def _write_now(workspace: Workspace, state: State) -> None:
    """Write the state in the middle of a change; the lock is held."""
    write_json(place(workspace) / "queue.json", vars(state))


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _reap() -> None:
    """Let the ended children go, lest they stay as zombies."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _log(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", flush=True)


def main(words: list[str]) -> int:
    """Own the queue of the workspace in `words`."""
    try:
        return own(Workspace(Path(words[0]).resolve()))
    except BadInput as error:
        for line in error.lines:
            _log(line)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
