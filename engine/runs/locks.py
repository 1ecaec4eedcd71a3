"""One lock for those who change the same thing at once: threads of this process and other processes.

`lockf` alone does not keep the threads of one process apart, and is freed at death.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

_within = threading.RLock()
_held: dict[Path, int] = {}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock at `path`; wait for it as long as somebody else has it.

    A thread that holds it may take it again.
    """
    with _within:
        if path in _held:
            yield
            return
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX)
            _held[path] = handle
            yield
        finally:
            _held.pop(path, None)
            os.close(handle)


def is_held(path: Path) -> bool:
    """Tell whether another process holds the lock at `path`; a lock that was never made is free."""
    try:
        with path.open("r+") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
