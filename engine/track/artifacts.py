"""The files of a run that MLflow lists: linked where the store is on this disk, sent where it is a server's.

Owns which files those are. A checkpoint of gigabytes is never copied on one disk: both names are one file.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from engine.runs.folder import RunFolder
from engine.track.store import sqlite_path


def local_folder(uri: str, artifact_uri: str) -> Path | None:
    """Return the folder of a run's artifacts when the store is on this machine, else None."""
    if sqlite_path(uri) is None:
        return None
    parsed = urlparse(artifact_uri)
    return Path(unquote(parsed.path)) if parsed.scheme in ("", "file") else None


def out_of_reach(uri: str, artifact_uri: str) -> bool:
    """Tell whether the artifacts are behind a server that this process does not speak to.

    An experiment that was made through a server says mlflow-artifacts:, whoever opens its database.
    """
    return artifact_uri.startswith("mlflow-artifacts:") and not uri.startswith(("http:", "https:"))


def log_all(api: Any, run_id: str, folder: RunFolder, place: Path | None) -> None:
    """Give MLflow what an ended run left."""
    texts = (
        folder.conf, folder.patch, folder.split, folder.log, folder.metrics, folder.metrics_feh,
        folder.confusion_feh, folder.model_text,
    )  # fmt: skip
    files = [(path, "") for path in texts]
    files += [(path, "") for path in sorted(folder.figures.glob("*.pdf"))]
    files += [(path, "predictions") for path in sorted(folder.predictions.glob("*.csv"))]
    for path, below in files:
        if not path.is_file() or not path.stat().st_size:
            continue
        if place is None:
            api.log_artifact(run_id, str(path), below or None)
        else:
            put(path, place / below)
    if place is not None:
        link_checkpoints(folder, place)
    elif (folder.checkpoints / "best.pt").is_file():
        api.log_artifact(run_id, str(folder.checkpoints / "best.pt"), "checkpoints")


def link_checkpoints(folder: RunFolder, place: Path) -> None:
    """Let MLflow list the best and the last checkpoint as they are now."""
    for name in ("best.pt", "last.pt"):
        if (folder.checkpoints / name).is_file():
            put(folder.checkpoints / name, place / "checkpoints", link=True)


def put(path: Path, into: Path, *, link: bool = False) -> None:
    """Put a file into a folder, renamed in whole; the same file under a second name with `link`."""
    target = into / path.name
    if link and target.exists() and target.samefile(path):
        return
    into.mkdir(parents=True, exist_ok=True)
    beside = into / f".{path.name}.{os.getpid()}.tmp"
    beside.unlink(missing_ok=True)
    try:
        try:
            if not link:
                raise OSError
            os.link(path, beside)
        except OSError:  # another disk, one without links, or a file that is written on
            shutil.copyfile(path, beside)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
