"""Whatever the conf asks for, a run that was killed in the middle of an epoch ends with the same bits."""

from __future__ import annotations

import csv
import signal
from collections.abc import Callable

import pytest

from engine.spectra.synthetic import FILES, write_demo

from .conftest import House, Trial, as_if_never_disturbed

pytestmark = pytest.mark.e2e

# A user's network in which everything random that there is takes part, and running statistics.
WILD = '''
import random
import numpy as np
import torch
from torch import nn
from models import register_model


@register_model("Wild")
class Wild(nn.Module):
    """Noise from three generators, dropout and a batch norm."""

    def __init__(self, points: int, labels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(points, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, labels)
        )

    def forward(self, normalized: torch.Tensor) -> torch.Tensor:
        noise = float(np.random.normal()) + random.gauss(0, 1) if self.training else 0.0
        return self.layers(normalized * (1 + 0.01 * noise))
'''

SETTINGS: dict[str, tuple[str, ...]] = {
    "every generator": ("model={name: Wild}",),
    "blocks": ("data.path=many", "data.memory_share=1e-9", "training.batch_size=24", "training.epochs=3"),
    "blocks, balanced": (
        "data.path=many", "data.memory_share=1e-9", "training.batch_size=24", "training.epochs=3",
        "data.resample.strategy=balanced", "data.augment.noise=0.05",
    ),
    "balanced": ("data.resample.strategy=balanced",),
    "augmented": ("data.augment.noise=0.05", "data.augment.shift_pixels=2", "data.augment.probability=0.7"),
    "moving average": ("training.ema_decay=0.9",),
    "accumulated": ("training.accumulate=3", "training.epochs=18"),
    "schedule-free": ("training.optimizer=adamw_schedule_free", "training.schedule=constant"),
    "plateau": (
        "training.schedule=plateau", "training.plateau_patience=1", "training.patience=4",
        "training.epochs=40", "training.learning_rate=0.03",
    ),
    "bf16": ("training.precision=bf16",),
    "sgd by value": (
        "training.optimizer=sgd", "training.gradient_clip=value", "training.gradient_clip_val=0.1",
    ),
    "rarely evaluated": ("training.evaluate_every=3", "training.monitor=val_Teff_mae"),
    "bad steps left out": ("training.on_nonfinite=skip", "model={name: Bad}"),
    "rolled back": (
        "training.on_nonfinite=rollback", "model={name: Bad}", "training.nonfinite_limit=20",
    ),
}  # fmt: skip

# Bad whenever it learns from one star, known by its flux at one pixel: once an epoch.
BAD = '''
import torch
from torch import nn
from models import register_model


@register_model("Bad")
class Bad(nn.Module):
    """A line that is no number where one star is."""

    def __init__(self, points: int, labels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(0.2), nn.Linear(points, labels))

    def forward(self, normalized: torch.Tensor) -> torch.Tensor:
        bad = self.training and bool((normalized[:, 30] - STAR).abs().min() < 1e-6)
        return self.layers(normalized) * (float("nan") if bad else 1.0)
'''


@pytest.fixture(scope="module")
def house(build: Callable[..., House]) -> House:
    made = build()
    (made.workspace.networks / "wild.py").write_text(WILD)
    (made.workspace.networks / "bad.py").write_text(BAD.replace("STAR", repr(flux_of_a_learnt_star(made))))
    write_demo(made.workspace.dataset / "many", stars=400, points=64)
    return made


def flux_of_a_learnt_star(house: House) -> float:
    """Return the normalized flux at pixel 30 of a star that is in the training part."""
    with house.train("training.epochs=1").run.split.open(newline="") as file:
        obsid = next(row["obsid"] for row in csv.DictReader(file) if row["part"] == "train")
    with (house.workspace.dataset / "spectral" / FILES[1]).open(newline="") as file:
        return next(float(row[31]) for row in csv.reader(file) if row[0] == obsid)


@pytest.mark.parametrize("name", SETTINGS)
def test_killed_mid_epoch(house: House, name: str) -> None:
    sets = SETTINGS[name]
    straight = house.train(*sets)
    if name.startswith("blocks"):
        assert {event["reader"] for event in straight.events("feed")} == {"blocks"}
    trial = house.train(*sets, kill=[("update", 7, 0.0)], code=-signal.SIGKILL)
    trial.resume(kill=[("update", 7, 0.0)], code=-signal.SIGKILL)
    assert trial.record.step not in (0, trial.record.total_steps)
    trial.resume()
    as_if_never_disturbed(trial, straight)
    if "Bad" in str(sets):
        assert straight.record.bad_steps
    if name == "bad steps left out":
        assert [e["step"] for e in trial.record.bad_steps] == [e["step"] for e in straight.record.bad_steps]


FINETUNE = (
    "training.epochs=2", "finetune.epochs=3", "finetune.freeze=[layers.0]", "finetune.filter=Teff > 4800",
    "finetune.learning_rate=1e-3", "training.keep_checkpoints=9",
)  # fmt: skip


@pytest.fixture(scope="module")
def refined(house: House) -> Trial:
    return house.train(*FINETUNE)


@pytest.mark.parametrize(
    "kill",
    [("finetune", 1, 0.0), ("update", 14, 0.0), ("update", 19, 0.0), ("epoch", 3, 0.0), ("written", 5, 0.0)],
    ids=lambda kill: f"{kill[0]}-{kill[1]}",
)
def test_killed_while_fine_tuning(house: House, refined: Trial, kill: tuple[str, int, float]) -> None:
    trial = house.train(*FINETUNE, kill=[kill], code=-signal.SIGKILL)
    assert trial.record.step >= 12
    trial.resume()
    as_if_never_disturbed(trial, refined)
    assert trial.events("stage")[-1]["frozen"] == ["layers.0.weight", "layers.0.bias"]


def test_the_best_before_fine_tuning_is_known_when_its_checkpoints_are_lost(
    house: House, refined: Trial
) -> None:
    """Thrown back into the first stage, a run begins the second from the best of the first again."""
    trial = house.train(*FINETUNE, kill=[("update", 19, 0.0)], code=-signal.SIGKILL)
    newest = sorted(trial.run.checkpoints.glob("step-*.pt"), reverse=True)
    lost = [path for path in newest if int(path.stem[5:]) > 12]
    assert lost and len(newest) > len(lost), [path.name for path in newest]
    for path in lost:
        path.with_name("cut").write_bytes(path.read_bytes()[:500])
        path.with_name("cut").replace(path)
    engine = trial.resume()
    assert "going on from step 12 " in engine.said
    as_if_never_disturbed(trial, refined)
