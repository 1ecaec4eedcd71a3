"""What is known of a run that died unseen: no end event, and its process is gone.

Nobody waits for a detached engine, so nobody is told the signal. What is left: its last words, what the
kernel says of its OOM killer, whether the machine was restarted, whether the disk was full. Only reads.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.runs import crew
from engine.runs.events import Tail
from engine.runs.folder import RunFolder
from engine.runs.process import Identity
from engine.runs.record import Record
from engine.words import say

KILLED = "killed.json"
"""Left in the run folder by whoever ended a run by KILL."""
_LOG_BYTES = 16_000
_LOG_LINES = 8
_EVENT_BYTES = 64_000
_EARLY_SECONDS = 30.0
"""Clocks of the kernel and of the run folder may differ by so much."""
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.|[\x00-\x08\x0b-\x1f\x7f]"
)
_OOM = re.compile(
    r"(?:[Oo]ut of memory|oom_reaper|oom-kill).*?(?:[Kk]illed process |reaped process |\bpid=)(\d+)"
)
_FATAL = re.compile(r"Fatal Python error: (.+)|^(Segmentation fault|Bus error|Illegal instruction)", re.M)
_FULL = ("No space left on device", "Disk quota exceeded")


@dataclass(frozen=True)
class Death:
    """How a run died, as far as it is known; `reason` is the most that can be said."""

    reason: str
    """One of killed, restarted, oom, crash, disk_full, oom_group, never_began, early, unknown."""
    detail: str = ""
    last_event: str | None = None
    last_event_at: float | None = None
    log: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    def line(self) -> str:
        """Return the reason as one sentence."""
        return say(f"death.{self.reason}", detail=self.detail)

    def lines(self) -> list[str]:
        """Return all that is known, for people: the reason, the last event, the end of the log."""
        lines = [self.line()]
        if self.last_event is not None and self.last_event_at is not None:
            lines.append(say("death.last_event", kind=self.last_event, when=_clock(self.last_event_at)))
        return lines + ([say("death.log"), *(f"  {line}" for line in self.log)] if self.log else [])


def what_is_known(record: Record) -> Death | None:
    """Return what is known of a death; None for a run that lives or ended in a way that it told itself."""
    if record.stored is not None or record.state != "died":
        return None
    folder = record.folder
    log = _last_lines(folder.log)
    reason, detail = _reason(record, folder, log)
    return Death(reason, detail, _last_kind(folder), record.last_event_at, log[-_LOG_LINES:])


def memory_facts() -> dict[str, Any]:
    """Return what tells later whether the kernel killed in this process' group: the count until now."""
    count = _oom_kills(place := _memory_group())
    return {} if place is None or count is None else {"memory_group": str(place), "oom_kills": count}


def _reason(record: Record, folder: RunFolder, log: list[str]) -> tuple[str, str]:
    process = folder.read_json(folder.process)
    killed = folder.read_json(folder.path / KILLED)
    # it may have written on for a moment; one that was gone on with since has a later note
    if float(killed.get("time", 0.0)) > max(process.get("noted", 0.0), (record.last_event_at or 0.0) - 10):
        return "killed", str(killed.get("by", ""))
    if crew.another_boot(folder):
        booted = _booted_at()
        return "restarted", "" if booted is None else _clock(booted)
    people = crew.named(folder)
    said = next((line for one in people if (line := _kernel_says(one, process))), None)
    if said is not None:
        return "oom", said
    text = "\n".join(log)
    fatal = _FATAL.search(text)
    if fatal is not None:
        return "crash", (fatal[1] or fatal[2]).strip()
    if any(words in text for words in _FULL) or (record.attempts and _was_full(folder)):
        return "disk_full", ""
    place, before = process.get("memory_group"), process.get("oom_kills")
    now = _oom_kills(Path(str(place))) if place else None
    if now is not None and isinstance(before, int) and now > before:
        return "oom_group", str(now - before)
    if not people:
        return "never_began", ""
    if record.started_at is None:
        return "early", ""
    return "unknown", ""


def _was_full(folder: RunFolder) -> bool:
    """Tell whether the room that an engine keeps for its end was not there: it could not be, or was used."""
    return not (folder.path / ".room-for-the-end").exists()


def _last_kind(folder: RunFolder) -> str | None:
    """Return the kind of the last whole event, from the end of the log alone."""
    with contextlib.suppress(OSError):
        events = Tail(folder.events, max(0, folder.events.stat().st_size - _EVENT_BYTES)).poll()
        return str(events[-1]["kind"]) if events else None
    return None


def _last_lines(path: Path) -> list[str]:
    """Return the last lines of a log, as a terminal would have left them."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = (_CONTROL.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in text.split("\n"))
    return [line for line in lines if line]


# -- the kernel ------------------------------------------------------------------------------------------


def _kernel_says(identity: Identity, process: dict[str, Any]) -> str | None:
    """Return the kernel's own line that it killed this process for want of memory, when it may be read."""
    since = float(process.get("noted", 0.0)) - _EARLY_SECONDS
    for when, text in kernel_log():
        said = _OOM.search(text)
        if said is not None and int(said[1]) == identity.pid and when >= since:
            return text
    return None


def kernel_log() -> list[tuple[float, str]]:
    """Return the kernel's messages with their times, oldest first; none where they may not be read."""
    try:
        handle = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return []
    booted = time.time() - time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
    found: list[tuple[float, str]] = []
    try:
        while True:
            try:
                record = os.read(handle, 8192).decode("utf-8", "replace")
            except BrokenPipeError:  # it was overwritten while we read
                continue
            except OSError:
                break
            head, _, text = record.partition(";")
            fields = head.split(",")
            if len(fields) > 2 and fields[0].isdecimal() and int(fields[0]) >> 3 == 0:  # the kernel's own
                found.append((booted + int(fields[2]) / 1e6, text.partition("\n")[0]))
    finally:
        os.close(handle)
    return found


def _memory_group() -> Path | None:
    """Return the folder of this process' memory control group."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            place = Path("/sys/fs/cgroup") / path.lstrip("/")
        elif "memory" in controllers.split(","):
            place = Path("/sys/fs/cgroup/memory") / path.lstrip("/")
        else:
            continue
        if _oom_kills(place) is not None:
            return place
    return None


def _oom_kills(place: Path | None) -> int | None:
    """Return how often the kernel killed for want of memory in a control group."""
    if place is None:
        return None
    for name in ("memory.events", "memory.oom_control"):
        with contextlib.suppress(OSError, ValueError):
            for line in (place / name).read_text().splitlines():
                key, _, count = line.partition(" ")
                if key == "oom_kill":
                    return int(count)
    return None


def _booted_at() -> float | None:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/stat").read_text().splitlines():
            if line.startswith("btime "):
                return float(line.split()[1])
    return None


def _clock(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))
