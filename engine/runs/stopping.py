"""The ladder by which a run is stopped: ask, TERM to all of it, KILL; and which rung was reached.

Only the very processes of the run are ever signalled: each is looked at again, through a handle that pins
it, right before the signal. A run in a shell's session never costs the shell.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from engine.errors import BadInput
from engine.runs import crew, death, queue
from engine.runs.folder import write_json
from engine.runs.process import Identity, is_alive, send
from engine.runs.record import Record
from engine.words import say
from engine.workspace import Workspace

GRACE_SECONDS = 60.0
_SHORT_SECONDS = 10.0
"""What all of a run is given to end by TERM."""
_KILL_SECONDS = 15.0
"""What the kernel is given to end it: a process in the middle of a read from a dead disk cannot be killed."""
_LONGEST = 3
"""A run that goes on saving or testing is given so many times the grace."""
_POLL_SECONDS = 0.05
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Stopping:
    """How stopping a run went.

    `rung` is how far it came: none (it was not at work), queue (taken out), ask, term, kill; or why it could
    not be: elsewhere (another host), denied (another user's), left (nobody waited any longer), stuck.
    """

    run_id: str
    rung: str
    stopped: bool
    state: str
    step: int
    total_steps: int
    resumable: bool
    host: str = ""

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """Return what happened and how to go on, for people."""
        state = say(f"state.{self.state}")
        facts = {"run": self.run_id, "step": self.step, "total": self.total_steps or "?", "state": state}
        said = [say(f"stop.{self.rung}", host=self.host, **facts)]
        if self.stopped and self.rung != "queue" and self.state != "finished":
            said.append(say("stop.resumable" if self.resumable else "stop.no_checkpoint", run=self.run_id))
        return said


def stop(
    record: Record, *, now: bool = False, grace: float = GRACE_SECONDS,
    enough: Callable[[], bool] = lambda: False, tell: Tell = lambda text: None,
) -> Stopping:  # fmt: skip
    """Stop a run: ask, wait `grace` seconds, then TERM and KILL to all of it; `now` leaves the asking out.

    `enough` ends the waiting (the wish stays with the run); `tell` hears of each rung.

    Raises:
        BadInput: there is nothing to stop: only MLflow knows the run.
    """
    if record.stored is not None:
        raise BadInput(say("acts.only_in_mlflow", run=record.run_id))
    _read(record)
    if not record.live:
        return _result(record, "none", True)
    if record.state == "queued":
        try:
            queue.take_out(Workspace(record.folder.path.parent.parent), record.run_id)
        except BadInput:
            _read(record)
            if record.state == "queued":
                raise
        else:
            _read(record)
            return _result(record, "queue", True)
    host = crew.elsewhere(record.folder)
    if host is not None:
        return _result(record, "elsewhere", False, host)
    ladder = _Ladder(record, enough, tell)
    try:
        return ladder.climb(now, grace)
    except PermissionError:
        return _result(record, "denied", False)


class _Ladder:
    """One run on its way down."""

    def __init__(self, record: Record, enough: Callable[[], bool], tell: Tell) -> None:
        self.record = record
        self.enough = enough
        self.tell = tell
        self._seen: dict[Identity, None] = {}
        """All of the run that was ever seen: once their leader is gone, some are known by nothing else."""

    def climb(self, now: bool, grace: float) -> Stopping:
        record, run_id = self.record, self.record.run_id
        if not self._has_begun():
            return _result(record, "none" if not record.live else "left", not record.live)
        self._all()
        if not now:
            self.tell(say("stop.asking", run=run_id))
            if not any(send(one, signal.SIGTERM) for one in crew.named(record.folder)):
                self._send_all(signal.SIGTERM)
            if self._gone(grace, at_work=True):
                return _result(record, "ask", True)
            if self.enough():
                return _result(record, "left", False)
        self.tell(say("stop.terminating", run=run_id))
        self._send_all(signal.SIGTERM)
        if self._gone(_SHORT_SECONDS):
            return _result(record, "term", True)
        if self.enough():
            return _result(record, "left", False)
        self.tell(say("stop.killing", run=run_id))
        with contextlib.suppress(OSError):  # it is killed all the same
            killed = {"time": time.time(), "signal": "SIGKILL", "by": "spectui stop"}
            write_json(record.folder.path / death.KILLED, killed)
        deadline = time.monotonic() + _KILL_SECONDS
        while time.monotonic() < deadline:  # what was started meanwhile is found in the next round
            self._send_all(signal.SIGKILL)
            if self._gone(0.5, patient=True):
                return _result(record, "kill", True)
        return _result(record, "stuck", False)

    def _has_begun(self) -> bool:
        """Wait for the process of a run that was made this moment."""
        while self.record.live and not crew.crew(self.record.folder):
            if self.enough():
                return False
            time.sleep(_POLL_SECONDS)
            _read(self.record)
        return bool(crew.crew(self.record.folder))

    def _all(self) -> list[Identity]:
        """Return all of the run that lives."""
        self._seen.update(dict.fromkeys([*crew.named(self.record.folder), *crew.crew(self.record.folder)]))
        return [one for one in self._seen if is_alive(one)]

    def _send_all(self, number: int) -> None:
        for one in self._all():
            send(one, number)

    def _gone(self, seconds: float, *, at_work: bool = False, patient: bool = False) -> bool:
        """Wait until nothing of the run is left; what `at_work` on its end is given more time."""
        began = time.monotonic()
        deadline, last = began + seconds, began + seconds * _LONGEST
        known = self._signs()
        while True:
            if not self._all():
                _read(self.record)
                return True
            if time.monotonic() >= deadline or (self.enough() and not patient):
                return False
            time.sleep(_POLL_SECONDS)
            if at_work:
                self.record.refresh()
                signs = self._signs()
                if signs != known:
                    known, deadline = signs, min(last, time.monotonic() + seconds)

    def _signs(self) -> tuple[Any, ...]:
        """Return what changes while a run saves, tests and ends, and not while it only goes on."""
        record = self.record
        return len(record.checkpoints), bool(record.test), record.end is not None, len(record.messages)


def has_checkpoint(record: Record) -> bool:
    """Tell whether something was saved that a run can go on from."""
    with contextlib.suppress(OSError):
        return any(path.name != "from.pt" for path in record.folder.checkpoints.glob("*.pt"))
    return False


def _read(record: Record) -> None:
    while record.refresh(4_000_000):
        pass


def _result(record: Record, rung: str, stopped: bool, host: str = "") -> Stopping:
    return Stopping(
        record.run_id, rung, stopped, record.state, record.step, record.total_steps,
        resumable=record.state not in ("finished", "queued") and has_checkpoint(record), host=host,
    )  # fmt: skip
