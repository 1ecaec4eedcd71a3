"""The shelf of cached things: made beside, renamed in whole, made once by whoever comes first.

Owns `.cache/spectra/`: its locks, its strays, its entries. An entry is a folder <kind>/<key> with an
index.json that knows every other file in it. Knows nothing of spectra.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from engine.spectra import cache_npy
from engine.spectra.progress import Progress
from engine.words import say
from engine.workspace import Workspace

KINDS = ("tables", "sets")
INDEX = "index.json"
_POLL_SECONDS = 0.1
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_HELD = (errno.EACCES, errno.EAGAIN)

_here = threading.Lock()  # lockf knows processes only; threads of one are kept apart by `_mine`
_mine: set[Path] = set()


@dataclass(frozen=True)
class Entry:
    """One whole entry: its folder and what its index says."""

    home: Path
    index: dict[str, Any]


class Damaged(Exception):  # noqa: N818 - says what the entry is
    """An entry is there but is not what was written."""


def shelf(workspace: Workspace) -> Path:
    """Return the folder of the cache of spectra."""
    return workspace.cache / "spectra"


def fetch(
    workspace: Workspace,
    kind: str,
    key: str,
    name: str,
    make: Callable[[Path], dict[str, Any]],
    progress: Progress,
) -> Entry:
    """Return the entry, made now if it is not there or is damaged; `name` is what a person calls it.

    `make` fills an empty folder and returns the index, whose "files" describe all it wrote. Of several
    processes that want the same entry one makes it and the others wait, and say so.

    Raises:
        BadInput: what `make` refuses; no room on the disk; a folder that cannot be written.
    """
    home = shelf(workspace) / kind / key
    try:
        entry = look(home)
    except Damaged:
        entry = None  # said below, by the one who mends it
    if entry is not None:
        _note_use(entry.home)
        return entry
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with _lock(home, name, progress) as held:
            try:
                entry = look(home)
            except Damaged as damage:
                progress.line(say("spectra.damaged", name=name, why=say(f"spectra.why.{damage}")))
                remove(home)
            return entry or _make(home, make, held)
    except OSError as error:
        raise BadInput(refusal(workspace, error)) from error


def look(home: Path, *, full: bool = False) -> Entry | None:
    """Return the entry in a folder, None when there is none; `full` reads every byte of it.

    Raises:
        Damaged: the index or a file is not what was written.
    """
    if not home.is_dir():
        return None
    try:
        index = json.loads((home / INDEX).read_text(encoding="utf-8"))
        files = dict(index["files"])
    except FileNotFoundError:
        raise Damaged("missing") from None
    except (ValueError, KeyError, TypeError):
        raise Damaged("index") from None
    for name, known in files.items():
        wrong = cache_npy.problem(home / name, known, full=full)
        if wrong:
            raise Damaged(wrong)
    return Entry(home, index)


def entries(workspace: Workspace) -> Iterator[tuple[str, Path]]:
    """Yield (kind, folder) of all entries, whole or damaged."""
    for kind in KINDS:
        folder = shelf(workspace) / kind
        if folder.is_dir():
            yield from ((kind, home) for home in sorted(folder.iterdir()) if _is_entry(home))


def remove(home: Path) -> None:
    """Take an entry away; who has it open keeps what is open."""
    aside = _beside(home)
    home.rename(aside)  # at once, so that nobody sees half of it
    shutil.rmtree(aside)


def sweep(workspace: Workspace) -> None:
    """Remove what killed conversions left, unless it belongs to one that is going on."""
    for kind in KINDS:
        folder = shelf(workspace) / kind
        for stray in sorted(folder.glob(".*.part")) if folder.is_dir() else ():
            home = folder / stray.name[1:].partition(".")[0]
            handle = _try(home)
            if handle is not None:
                if handle >= 0:
                    shutil.rmtree(stray, ignore_errors=True)
                _release(home, handle)


def _make(home: Path, make: Callable[[Path], dict[str, Any]], held: bool) -> Entry:
    if held:  # nobody else is writing these
        for stray in home.parent.glob(f".{home.name}.*.part"):
            shutil.rmtree(stray, ignore_errors=True)
    beside = _beside(home)
    beside.mkdir()
    try:
        index = make(beside) | {"made": time.time(), "made_by": os.getpid()}
        with (beside / INDEX).open("w", encoding="utf-8") as file:
            json.dump(index, file, ensure_ascii=False, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        try:
            beside.rename(home)
        except OSError as error:
            # without locks another may have been first, and its entry is as good as ours
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or held:
                raise
        _sync_folder(home.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Entry(home, index)


@contextmanager
def _lock(home: Path, name: str, progress: Progress) -> Iterator[bool]:
    """Hold the one right to make an entry; while another has it, wait and let `progress` stop the waiting.

    Yields False on a file system that has no locks.
    """
    handle = _try(home)
    if handle is None:
        progress.line(say("spectra.waiting", name=name))
    while handle is None:
        progress.rows(say("spectra.waiting", name=name), 0)
        time.sleep(_POLL_SECONDS)
        handle = _try(home)
    try:
        yield handle >= 0
    finally:
        _release(home, handle)


def _try(home: Path) -> int | None:
    """Return the lock's handle, None while another has it, -1 where the file system has no locks."""
    with _here:
        if home in _mine:
            return None
        handle = os.open(home.parent / f".{home.name}.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno in _HELD:
                return None
            handle = -1
        _mine.add(home)
        return handle


def _release(home: Path, handle: int) -> None:
    with _here:
        _mine.discard(home)
        if handle >= 0:
            os.close(handle)


def _is_entry(home: Path) -> bool:
    return home.is_dir() and not home.name.startswith(".")


def _beside(home: Path) -> Path:
    return home.parent / f".{home.name}.{os.getpid()}-{secrets.token_hex(4)}.part"


def _note_use(home: Path) -> None:
    try:
        os.utime(home / INDEX)
    except OSError:
        pass  # another's read-only cache serves as well; only the age in the list is less true


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refusal(workspace: Workspace, error: OSError) -> str:
    """Return the one line that says why the cache could not be written."""
    shown = workspace.relative(shelf(workspace))
    why = error.strerror or str(error)
    if error.filename and not Path(str(error.filename)).is_relative_to(shelf(workspace)):
        return say("data.unreadable", file=workspace.relative(Path(str(error.filename))), why=why)
    if error.errno in _FULL:
        return say("spectra.disk_full", folder=shown, why=why)
    return say("spectra.cache_unwritable", folder=shown, why=why)
