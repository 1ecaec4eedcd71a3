"""Make a workspace: presets, places for things, and a demo set to train on at once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from engine.errors import BadInput
from engine.words import say

_PLACES = ("models/spectral_prediction", "dataset/spectral", "runs")


def make_workspace(target: Path, presets: Path) -> None:
    """Fill `target` with a workspace; what the user already has there is kept.

    Raises:
        BadInput: there is a workspace already, or the folder cannot be written.
    """
    if target.exists() and not target.is_dir():
        raise BadInput(say("cli.init_file", folder=target))
    try:
        target.mkdir(parents=True, exist_ok=True)
        with _alone(target):
            _fill(target, presets)
    except OSError as error:
        raise BadInput(say("cli.init_failed", folder=target, error=error.strerror)) from error


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Hold the folder itself: of two who make a workspace at once the second finds it made."""
    handle = os.open(target, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: as good as it gets
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _fill(target: Path, presets: Path) -> None:
    from engine.spectra import synthetic

    if (target / "conf").exists():
        raise BadInput(say("cli.init_there", folder=target))
    making = target / ".conf.making"
    try:
        for place in _PLACES:
            (target / place).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(making, ignore_errors=True)
        shutil.copytree(presets, making, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
        _write_readme(target / "dataset" / "README.md", say("cli.readme_dataset"))
        _write_readme(target / "runs" / "README.md", say("cli.readme_runs"))
        _write_readme(target / "models" / "README.md", say("cli.readme_models"))
        if not any((target / "dataset" / "spectral").iterdir()):
            synthetic.write_demo(target / "dataset" / "spectral")
        # Last: a folder counts as a workspace when it has conf/, so half of one never does.
        making.rename(target / "conf")
    except OSError:
        shutil.rmtree(making, ignore_errors=True)
        raise


def _write_readme(path: Path, text: str) -> None:
    if not path.exists():
        path.write_text(text + "\n", encoding="utf-8")
