"""Where a comparison goes as a file, and how each kind of file is made. Owns no widget."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import IO

from engine.compare import export, picture
from engine.compare.looks import Look
from engine.errors import BadInput
from engine.runs.record import Record
from engine.words import say
from engine.workspace import Workspace

KINDS = {"csv": "csv", "curves": "csv", "markdown": "md", "png": "png", "svg": "svg"}
"""What can be exported, and the ending of the file."""

_SECONDS = 300


def place(workspace: Workspace, kind: str) -> Path:
    """Return a file that is not there yet: <workspace>/exports/compare-<stamp>.<ending>."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    what = "-curves" if kind == "curves" else ""
    folder, ending = workspace.root / "exports", KINDS[kind]
    path = folder / f"compare-{stamp}{what}.{ending}"
    number = 2
    while path.exists():
        path = folder / f"compare-{stamp}{what}-{number}.{ending}"
        number += 1
    return path


def write(
    kind: str,
    path: Path,
    records: Sequence[Record],
    names: Sequence[str],
    baseline: int | None,
    *,
    everything: bool,
) -> list[str]:
    """Write a text of the comparison; return what there is to tell."""
    if kind == "csv":
        export.write_whole(path, lambda file: export.runs_csv(records, file))
    elif kind == "curves":
        export.write_whole(path, lambda file: export.curves_csv(records, file))
    else:
        text = export.markdown(records, names, baseline=baseline, everything=everything)
        export.write_whole(path, lambda file: _put(file, text))
    return [say("compare.exported", path=path)]


def write_text(path: Path, text: str) -> list[str]:
    """Write a text that is made already, such as the picture of the screen."""
    export.write_whole(path, lambda file: _put(file, text))
    return [say("compare.exported", path=path)]


def draw(
    path: Path,
    records: Sequence[Record],
    names: Sequence[str],
    quantity: str,
    looks: dict[str, Look],
    *,
    log_y: bool,
) -> list[str]:
    """Draw the overlay in a process of its own: matplotlib would stay in this one for good."""
    order = picture.order(path, picture.drawn(records, names, quantity, looks), quantity, log_y=log_y)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "engine.compare.picture"],
            input=order, capture_output=True, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BadInput(say("compare.not_drawn", error=error)) from error
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise BadInput(say("compare.not_drawn", error=lines[-1] if lines else done.returncode))
    return [say("compare.exported", path=path)]


def _put(file: IO[str], text: str) -> None:
    file.write(text)
