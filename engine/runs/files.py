"""What lies in a run folder, told as a person asks for it, and copies of it elsewhere.

Reads and copies; never changes or removes anything of a run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BadInput
from engine.runs.folder import RunFolder
from engine.words import say
from engine.workspace import Workspace

GROUPS = ("checkpoints", "export", "figures", "predictions", "tables", "logs", "about")
_TABLES = ("metrics.csv", "metrics_feh.csv", "confusion_feh.csv", "split.csv")
_LOGS = ("log.txt", "events.jsonl", "mlflow.log")
_HIDDEN = ("lock", "mlflow.lock", "process.json", "queued.json")
_PIECE = 1 << 20


@dataclass(frozen=True)
class RunFile:
    """One file of a run. `inode` is the same for names of one file, whose bytes count once."""

    path: Path
    group: str
    size: int
    changed: float
    inode: int


def listed(folder: RunFolder) -> list[RunFile]:
    """Return the files of a run, grouped; the newest checkpoint first, else by name."""
    found: list[RunFile] = []
    for base, folders, names in os.walk(folder.path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(base, name)
            if name.startswith(".") or name in _HIDDEN:
                continue
            try:
                stat = path.stat()
            except OSError:
                continue  # taken away just now, or a link to nothing
            found.append(RunFile(path, _group(folder, path), stat.st_size, stat.st_mtime, stat.st_ino))
    found.sort(key=lambda f: str(f.path))
    found.sort(key=lambda f: (GROUPS.index(f.group), -f.changed if f.group == "checkpoints" else 0))
    return found


def total(files: list[RunFile]) -> int:
    """Return the bytes that files take on disk: of two names of one file, once."""
    return sum({(file.inode, file.size): file.size for file in files}.values())


def copy_out(
    files: list[RunFile],
    folder: RunFolder,
    target: Path,
    tell: Callable[[int, int], bool] = lambda done, of: True,
) -> Path:
    """Copy files of a run into a new folder, whole or not at all; `tell` says how far, and False stops it.

    Raises:
        BadInput: the folder is there already, or cannot be written.
    """
    if target.exists():
        raise BadInput(say("run_files.there", path=target))
    making = target.with_name(f".new-{target.name}-{os.getpid()}")
    whole, done = sum(file.size for file in files), 0
    try:
        making.mkdir(parents=True)
        for file in files:
            place = making / file.path.relative_to(folder.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            with file.path.open("rb") as source, place.open("xb") as copy:
                while piece := source.read(_PIECE):
                    copy.write(piece)
                    done += len(piece)
                    if not tell(done, whole):
                        raise BadInput(say("run_files.stopped", path=target))
            shutil.copystat(file.path, place)
        making.rename(target)
    except OSError as error:
        raise BadInput(say("run_files.failed", path=target, error=error.strerror or str(error))) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return target


def export_folder(workspace: Workspace, run_id: str) -> Path:
    """Return where a run is exported to when nobody says otherwise: a folder that is not there yet."""
    first = workspace.root / "exports" / run_id
    number, free = 2, first
    while free.exists():
        free = first.with_name(f"{run_id}-{number}")
        number += 1
    return free


def _group(folder: RunFolder, path: Path) -> str:
    top = path.relative_to(folder.path).parts[0]
    if top in GROUPS[:4]:
        return top
    if top in _TABLES:
        return "tables"
    return "logs" if top in _LOGS else "about"
