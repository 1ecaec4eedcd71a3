"""`spectui train` shows the conversion on a terminal, opens the cache next time, and asks for branches."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from engine import exit_codes
from engine.spectra import synthetic

REPOSITORY = Path(__file__).resolve().parents[3]
CONF = """
version: 1
name: quick
model: {name: StarNet}
training: {epochs: 1, batch_size: 8, device: cpu, threads: 1}
tracking: {enabled: false}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "quick.yaml").write_text(CONF)
    synthetic.write_demo(tmp_path / "dataset" / "spectral", stars=24, points=60)
    return tmp_path


def train(root: Path, *words: str) -> tuple[int, str]:
    """Train with stderr on a terminal; return the exit code and what the terminal saw."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "engine", "train", "conf/quick.yaml", "--root", str(root), *words],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "SPECTUI_LANG": "en", "COLUMNS": "200"},
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: the other side is gone
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    return child.wait(timeout=60), seen.decode()


@pytest.mark.e2e
def test_the_second_start_converts_nothing(root: Path) -> None:
    code, seen = train(root)
    assert code == exit_codes.DONE
    for table in synthetic.FILES[:2]:
        assert f"converting dataset/spectral/{table}" in seen
    assert "24 of about 24 rows" in seen and "rows/s" in seen
    code, seen = train(root)
    assert code == exit_codes.DONE and "converting" not in seen and "24 stars x 60 points" in seen


@pytest.mark.e2e
def test_a_network_that_takes_two_branches_needs_them(root: Path) -> None:
    one = ("--set", "model.name=MLP", "--set", "data.branches=normalized")
    code, seen = train(root, *one)
    assert code == exit_codes.BAD_INPUT and "takes the continuum branch and the data has only" in seen
    code, _ = train(root, *one, "--set", "data.missing_branch=copy")
    assert code == exit_codes.DONE
