"""Which process a run is, and whether that very process still lives.

A pid alone is not an identity: pids are reused and zombies answer. Identity here is pid + start time (from
/proc) + boot id + host. Where there is no /proc (macOS), the start time is asked of `ps`.
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
from dataclasses import asdict, dataclass
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


def _start_time(pid: int) -> str | None:
    """Return the start time of a process, None when it is gone or a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            # The command name may hold spaces and brackets: count fields after the last ')'.
            after = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if after[0] in "ZX" else after[19]
    answer = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    state, _, started = answer.partition(" ")
    return None if not answer or state.startswith("Z") else started.strip()


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
