"""The guide's cases by keys: a sick conf fails for real, its first remedy is launched, and it helped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.spectra.synthetic import write_demo

# One worker runs these: each trains.
pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("app")]

ESC, CTRL_S = "\x1b", "\x13"
HEAD = """\
version: 1
name: sick
tracking: {enabled: false}
data: {path: dataset/few, continuum_scaler: robust}
"""
NO_CLIPPING = """\
model: {name: FreqInceptionLNet}
training:
  {optimizer: sgd, learning_rate: 0.3, epochs: 8, gradient_clip_val: null, schedule: constant, device: cpu,
   threads: 1, record_seconds: 0}
"""
SMALL_BATCHES = """\
model: {name: Batches}
training: {batch_size: 2, learning_rate: 3e-3, epochs: 12, schedule: constant, device: cpu, threads: 1,
  record_seconds: 0}
"""
BATCHES = '''\
from torch import nn

from models import register_model


@register_model("Batches")
class Batches(nn.Module):
    """A perceptron with BatchNorm, which cannot be chosen."""

    def __init__(self, points: int, labels: int, width: int = 32):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(points, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width),
            nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, labels),
        )

    def forward(self, normalized):
        return self.body(normalized)
'''


def told(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "run.json").read_text()))


def relaunch_by_keys(shown: Any, workspace: Path, sick: str, state: str, finding: str) -> None:
    """From the runs: launch the sick conf, wait for its end, relaunch it with the first remedy, and look."""
    (workspace / "conf" / "sick.yaml").write_text(HEAD + sick)
    shown.sees("no runs yet")
    shown.open_form("sick")
    shown.press(CTRL_S)
    shown.sees("starting")
    shown.sees(state, "a shows numbers and remedies", seconds=180)
    (parent,) = (workspace / "runs").glob("sick-*")
    shown.press("a")
    shown.sees(finding, "R relaunch", "confidence")
    shown.press("R")
    shown.sees("Relaunch sick-", f"{finding}:", "+ ", "y yes")
    shown.press("y")
    shown.sees("starting")
    (child,) = (run for run in (workspace / "runs").glob("sick-*") if run != parent)
    assert told(child)["parent"] == parent.name and told(child)["remedy"]["finding"] == finding
    shown.sees("✓ finished", f"✓ {finding}:", "helped", seconds=180)
    # One step back the parent says so too, and both are compared by a key.
    shown.press(ESC)
    shown.sees(f"✓ {finding}:", "helped", "c compares")
    shown.press("c")
    shown.sees("b baseline", parent.name[-4:], child.name[-4:])
    shown.press("q")
    assert shown.ends() == 0 and shown.is_restored()
    (kept,) = (parent / "remedies").glob("*.json")
    assert json.loads(kept.read_text())["verdict"] == "helped"


def test_a_loss_that_is_no_number_is_cured_by_a_key(terminal: Callable[..., Any], workspace: Path) -> None:
    write_demo(workspace / "dataset" / "few", stars=60, points=64)
    relaunch_by_keys(terminal(), workspace, NO_CLIPPING, "! diverged", "SP103")


@pytest.mark.slow
def test_a_validation_loss_that_swings_is_cured_by_a_key(
    terminal: Callable[..., Any], workspace: Path
) -> None:
    write_demo(workspace / "dataset" / "few", stars=200, points=64)
    (workspace / "models" / "spectral_prediction" / "batches.py").write_text(BATCHES)
    relaunch_by_keys(terminal(), workspace, SMALL_BATCHES, "✓ finished", "SP406")
