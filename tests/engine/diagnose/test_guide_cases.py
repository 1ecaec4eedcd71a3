"""The guide's cases, for real: a sick conf fails, its first remedy is launched, and the child is well.

Real processes from the shell's side: train, diagnose, rerun --remedy, watch, compare.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from engine import words
from engine.workspace import Workspace

from ...conftest import Processes

BASE = """\
version: 1
name: sick
training: {device: cpu, threads: 1, record_seconds: 0, schedule: constant}
tracking: {enabled: false}
"""
CONV = '''\
from typing import Literal

from torch import nn

from models import register_model


@register_model("Conv")
class Conv(nn.Module):
    """Two convolutions with a norm that can be chosen."""

    def __init__(self, points: int, labels: int, norm: Literal["ln", "bn"] = "bn", width: int = 8):
        super().__init__()

        def normed(length):
            return nn.BatchNorm1d(width) if norm == "bn" else nn.LayerNorm(length)

        half = points // 2
        self.body = nn.Sequential(
            nn.Conv1d(1, width, 5, padding=2), normed(points), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(width, width, 5, padding=2), normed(half), nn.ReLU(), nn.Flatten(),
            nn.Linear(width * half, labels),
        )

    def forward(self, normalized):
        return self.body(normalized[:, None, :])
'''
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


def write(workspace: Workspace, text: str) -> None:
    from engine.spectra.synthetic import write_demo

    (workspace.conf / "base.yaml").write_text(BASE)
    (workspace.conf / "sick.yaml").write_text(f"base: base.yaml\n{text}")
    (workspace.networks / "conv.py").write_text(CONV)
    (workspace.networks / "batches.py").write_text(BATCHES)
    write_demo(workspace.dataset / "many", stars=200, points=64)


def relaunched(processes: Processes, key: str = "") -> tuple[dict[str, Any], dict[str, Any], str]:
    """Launch the newest run's first remedy (that changes `key`); return finding, outcome, compare's words."""
    told = processes.run("diagnose", "@last", "--json")
    finding = json.loads(told.stdout)["findings"][0]
    patched = [remedy for remedy in finding["remedies"] if remedy["patch"]]
    remedy = next(remedy for remedy in patched if not key or key in remedy["patch"])
    _, _, parent, _, address = remedy["command"].split()
    assert address == remedy["address"]
    launched = processes.run("rerun", parent, "--remedy", address)
    assert launched.returncode == 0, launched.stderr
    child = launched.stdout.strip()
    assert processes.run("watch", child).returncode == 0
    after = json.loads(processes.run("diagnose", child, "--json").stdout)
    assert finding["id"] not in [one["id"] for one in after["findings"]]
    assert [one for one in after["findings"] if one["severity"] == "error"] == []
    (outcome,) = after["outcomes"]
    assert (outcome["parent"], outcome["child"], outcome["patch"]) == (parent, child, remedy["patch"])
    assert f"{parent}/remedies/{child}.json" in [
        str(path.relative_to(processes.workspace.runs))
        for path in processes.workspace.runs.glob("*/remedies/*")
    ]
    return finding, outcome, processes.run("compare", parent, child).stdout


def poison(workspace: Workspace, star: str) -> None:
    table = workspace.dataset / "many" / "final_spectra_normalized.csv"
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    place = rows[0].index("obsid")
    for row in rows[1:]:
        if row[place] == star:
            row[9 if place != 9 else 10] = "1e30"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def stars_of(run: Path, part: str) -> list[str]:
    with (run / "split.csv").open(newline="") as file:
        return [row["obsid"] for row in csv.DictReader(file) if row["part"] == part]


SICK = {
    "half precision with a Fourier transform": (
        "model: {name: FreqInceptionLNet}\ndata: {path: many, continuum_scaler: none}\n"
        "training: {precision: fp16, epochs: 2, learning_rate: 1e-3, gradient_clip_val: null}\n"
    ),
    "no clipping": (
        "model: {name: FreqInceptionLNet}\ndata: {continuum_scaler: robust}\n"
        "training: {optimizer: sgd, learning_rate: 0.3, epochs: 8, gradient_clip_val: null}\n"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("text", SICK.values(), ids=SICK.keys())
def test_nan_is_cured_by_the_first_remedy(workspace: Workspace, processes: Processes, text: str) -> None:
    write(workspace, text)
    assert processes.run("train", "sick").returncode == 87
    finding, outcome, compared = relaunched(processes)
    assert finding["id"].startswith("SP1") and finding["severity"] == "error"
    assert (outcome["verdict"], outcome["parent_state"], outcome["child_state"]) == (
        "helped", "diverged", "finished",
    )  # fmt: skip
    assert f"{finding['id']}:1 helped" in compared or "helped" in compared.split(finding["id"])[-1]


@pytest.mark.slow
def test_an_outlier_that_batch_norm_lets_through_is_cured(workspace: Workspace, processes: Processes) -> None:
    """In training BatchNorm sees the outlier in its own batch; in validation it goes through as it is."""
    write(
        workspace,
        "model: {name: Conv, norm: bn}\ndata: {path: many, clip: {normalized: null}}\n"
        "training: {epochs: 3, learning_rate: 1e-3, gradient_clip_val: null}\n",
    )
    assert processes.run("train", "sick").returncode == 0
    (run,) = workspace.runs.glob("sick-*")
    star = stars_of(run, "val")[3]
    poison(workspace, star)
    assert processes.run("train", "sick").returncode == 87
    told = json.loads(processes.run("diagnose", "@last", "--json").stdout)
    assert told["replay"]["what"] == "val_loss"
    assert told["replay"]["stars"][0]["obsid"] == star and star in told["replay"]["obsids"]
    assert {"model.norm": "ln"} in [remedy["patch"] for remedy in told["findings"][0]["remedies"]]
    finding, outcome, compared = relaunched(processes, "data.clip.normalized")
    assert finding["evidence"]["what"] == "val_loss = inf"
    assert outcome["verdict"] == "helped" and "helped" in compared


@pytest.mark.slow
@pytest.mark.skipif(not words.has("diagnose.SP406"), reason="the rule of a validation loss that swings")
def test_a_validation_loss_that_swings_is_cured(workspace: Workspace, processes: Processes) -> None:
    """BatchNorm over batches of two stars: training and validation see other statistics."""
    write(
        workspace,
        "model: {name: Batches}\ndata: {path: many}\n"
        "training: {epochs: 12, batch_size: 2, learning_rate: 3e-3}\n",
    )
    before = json.loads(processes.run("diagnose", "conf/sick.yaml", "--json").stdout)["findings"]
    assert [(f["id"], f["severity"]) for f in before] == [("SP304", "warning")], "it was said before"
    assert processes.run("train", "sick").returncode == 0
    finding, outcome, compared = relaunched(processes)
    assert finding["id"] == "SP406"
    assert outcome["patch"] == {"training.batch_size": 32}
    assert (outcome["verdict"], outcome["gone"]) == ("helped", True)
    assert "SP406:1 helped" in compared
