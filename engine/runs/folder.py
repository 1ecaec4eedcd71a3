"""The layout of a run folder, made whole or not at all.

Owns names and creation. What happens in the folder later belongs to the event log and the checkpoints.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import engine
from engine.conf.tree import to_yaml
from engine.runs.process import Identity, identify
from engine.whole import whole
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.conf.load import Resolved

_LONGEST_NAME = 200
_MAKING = ".new-"
_STRAY_SECONDS = 3600.0


@dataclass(frozen=True)
class RunFolder:
    """Paths inside runs/<run_id>/."""

    path: Path

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def conf(self) -> Path:
        return self.path / "conf.yaml"

    @property
    def patch(self) -> Path:
        return self.path / "conf.patch"

    @property
    def identity(self) -> Path:
        return self.path / "run.json"

    @property
    def about(self) -> Path:
        """What people say of the run, changed at any time: name, note, tags."""
        return self.path / "about.json"

    @property
    def queued(self) -> Path:
        """There while the run waits in the queue."""
        return self.path / "queued.json"

    @property
    def process(self) -> Path:
        return self.path / "process.json"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def tracking(self) -> Path:
        """Where replication to MLflow stands: store, MLflow run id, cursor."""
        return self.path / "mlflow.json"

    @property
    def tracking_lock(self) -> Path:
        """Locked by the one process that replicates the run."""
        return self.path / "mlflow.lock"

    @property
    def tracking_log(self) -> Path:
        return self.path / "mlflow.log"

    @property
    def split(self) -> Path:
        return self.path / "split.csv"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def weights(self) -> Path:
        """The checkpoint of another run whose weights this one starts from."""
        return self.checkpoints / "from.pt"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def metrics_feh(self) -> Path:
        return self.path / "metrics_feh.csv"

    @property
    def confusion_feh(self) -> Path:
        return self.path / "confusion_feh.csv"

    @property
    def model_text(self) -> Path:
        """What the network is: fields, parameter counts, modules."""
        return self.path / "model.txt"

    def read_json(self, path: Path) -> dict[str, Any]:
        """Return a JSON file of the folder; empty when it is not there (yet)."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}


def _sweep(workspace: Workspace) -> None:
    """Take away what a process left that was killed while it made a run folder: that takes milliseconds."""
    for stray in workspace.runs.glob(f"{_MAKING}*"):
        with contextlib.suppress(OSError):  # somebody else swept it, or it is not ours to remove
            if time.time() - stray.stat().st_mtime > _STRAY_SECONDS:
                shutil.rmtree(stray)


def create(
    workspace: Workspace,
    resolved: Resolved,
    *,
    parent: str | None = None,
    command: list[str] | None = None,
    weights: Path | None = None,
    source: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Create a run folder with its immutable parts and return it.

    It is made beside its place and renamed in, so nobody ever sees half of one. `weights` is a checkpoint of
    another run that this one starts from, told about in `source`: linked or copied, so that it stays.
    """
    workspace.runs.mkdir(parents=True, exist_ok=True)
    now = datetime.now().astimezone()
    while True:
        run_id = f"{_safe(resolved.conf.name)}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        if not (workspace.runs / run_id).exists():
            break
    _sweep(workspace)
    making = workspace.runs / f"{_MAKING}{run_id}"
    making.mkdir()
    try:
        folder = RunFolder(making)
        for part in (folder.checkpoints, folder.figures, folder.predictions):
            part.mkdir()
        write_whole(folder.conf, to_yaml(resolved.conf.plain()))
        write_whole(folder.patch, to_yaml(resolved.patch) if resolved.patch else "")
        write_json(
            folder.identity,
            {
                "run_id": run_id,
                "name": resolved.conf.name,
                "model": resolved.conf.model.name,
                "created": now.isoformat(timespec="milliseconds"),
                "created_at": now.timestamp(),
                "source": resolved.source,
                "parent": parent,
                "from": None if source is None else dict(source),
                "command": command if command is not None else sys.argv,
                "user": user_name(),
                "host": socket.gethostname(),
                "git": _git(workspace.root),
                "versions": {"spectui": engine.__version__, "python": sys.version.split()[0]},
            },
        )
        if weights is not None:
            _link_or_copy(weights, folder.weights)
        folder.events.touch()
        making.rename(workspace.runs / run_id)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return RunFolder(workspace.runs / run_id)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def note_process(folder: RunFolder, *, identity: Identity | None = None, **facts: Any) -> None:
    """Write process.json: who runs this run now."""
    write_json(folder.process, {**(identity or identify()).plain(), "noted": time.time(), **facts})


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all (temporary file beside it, fsync, rename)."""
    with whole(path) as beside, beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    write_whole(path, json.dumps(data, ensure_ascii=False, indent=1) + "\n")


def _safe(name: str) -> str:
    """Return a name that is safe as a folder and in a shell, and short enough for any file system."""
    plain = re.sub(r"[^\w.+-]+", "-", name, flags=re.UNICODE).strip("-.")
    return plain.encode()[:_LONGEST_NAME].decode(errors="ignore") or "run"


def user_name() -> str:
    """Return the user's name; in a container the number may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _git(root: Path) -> dict[str, Any] | None:
    """Return the commit of the workspace and whether it was changed since; None outside a checkout."""

    def ask(*words: str) -> str | None:
        try:
            answer = subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=5, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    if commit is None:
        return None
    branch = ask("rev-parse", "--abbrev-ref", "HEAD")
    dirty = bool(ask("status", "--porcelain", "--untracked-files=no"))
    return {"commit": commit, "branch": branch, "dirty": dirty}
