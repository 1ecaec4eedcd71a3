"""Which process a run is, and whether that very process still lives.

A pid alone is not an identity: pids are reused and zombies answer. Identity here is pid + start time (from
/proc) + boot id + host. Where there is no /proc (macOS), the start time is asked of `ps`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Identity:
    """One process of one boot of one host."""

    pid: int
    start_time: str
    boot_id: str
    host: str

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, data: dict[str, Any]) -> Identity:
        """Build from the fields of process.json."""
        return cls(int(data["pid"]), str(data["start_time"]), str(data["boot_id"]), str(data["host"]))


def identify(pid: int | None = None) -> Identity:
    """Return the identity of a living process (this one by default)."""
    number = pid or os.getpid()
    return Identity(number, _start_time(number) or "", _boot_id(), socket.gethostname())


def is_alive(identity: Identity) -> bool | None:
    """Tell whether that process lives; None when it is on another host and cannot be asked."""
    if identity.host != socket.gethostname():
        return None
    if identity.boot_id != _boot_id():
        return False
    started = _start_time(identity.pid)
    return started is not None and started == identity.start_time


def send(identity: Identity, number: int) -> bool:
    """Send a signal to that very process; False when it is gone or on another host.

    Where the system has handles for processes, no other process can take the pid in between.

    Raises:
        PermissionError: it belongs to another user.
    """
    if not hasattr(os, "pidfd_open"):
        if not is_alive(identity):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, number)
            return True
        return False
    try:
        handle = os.pidfd_open(identity.pid)
    except OSError:
        return False
    try:
        if not is_alive(identity):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def leads_session(identity: Identity) -> bool:
    """Tell whether a living process leads a session of its own (a shell's child does not)."""
    try:
        return os.getsid(identity.pid) == identity.pid
    except OSError:
        return False


def session_of(pid: int) -> int | None:
    """Return the session of a living process."""
    after = _stat(pid)
    return None if after is None else int(after[3])


def all_pids() -> Iterator[int]:
    """Return every pid of this machine; none where there is no /proc."""
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208 - hundreds of names, many times a second
            if name.isdecimal():
                yield int(name)


def started_at(identity: Identity) -> float | None:
    """Return when a process of this boot began, in seconds since 1970; None where that is not known."""
    if not identity.start_time.isdecimal():
        return None
    try:
        stat = Path("/proc/stat").read_text()
    except OSError:
        return None
    booted = next((line.split()[1] for line in stat.splitlines() if line.startswith("btime ")), None)
    ticks = os.sysconf("SC_CLK_TCK")
    return None if booted is None else int(booted) + int(identity.start_time) / ticks


def boot_id() -> str:
    """Return what names this boot of this machine."""
    return _boot_id()


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on; None for a process that is gone or a zombie."""
    try:
        # The command name may hold spaces and brackets: count fields after the last ')'.
        after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if not after or after[0] in "ZX" else after


def _start_time(pid: int) -> str | None:
    """Return the start time of a process, None when it is gone or a zombie."""
    if Path("/proc/self").exists():
        after = _stat(pid)
        return None if after is None else after[19]
    answer = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    state, _, started = answer.partition(" ")
    return None if not answer or state.startswith("Z") else started.strip()


@cache  # another one is another process
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return subprocess.run(
            ["sysctl", "-n", "kern.boottime"], capture_output=True, text=True, check=False
        ).stdout.strip()


def hold_lock(path: Path) -> int | None:
    """Take the exclusive lock of a run for the life of this process; None when another engine has it.

    `lockf` and not `flock`: it is freed at death even when a forked child lives on.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle
