"""The replay names what was planted: the star and the wavelength in the tables, the bad part in a network."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

import engine.words
from engine.conf.load import Resolved
from engine.diagnose import replay
from engine.runs import find
from engine.runs.events import Tail
from engine.runs.record import Record
from engine.train import attempt, outputs
from engine.train.stop import Stop
from engine.workspace import Workspace

Train = Callable[..., Record]
POISON = ("1e30", "-1e30", "3e25")
NO_CLIP = ("data.clip.normalized=null", "data.continuum_scaler=none", "training.gradient_clip_val=null")
BAD = {
    "overflow": "x * 1e38 * 1e38",
    "root": "(x - x.abs().max() - 1).sqrt()",
    "logarithm": "(x - x.abs().max() - 1).log()",
    "division": "x / (x - x)",
}
NETWORK = '''\
import torch
from torch import nn

from models import register_model


class Bad(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += self.training
        return {bad} if self.calls > {after} else x


@register_model("Planted")
class Planted(nn.Module):
    """A network with a part that goes bad."""

    def __init__(self, points: int, labels: int):
        super().__init__()
        widths = [2 * points, *[8] * {depth}]
        self.blocks = nn.ModuleDict()
        for place in range({depth}):
            parts = [nn.Linear(widths[place], 8), nn.Tanh()]
            self.blocks[f"b{{place}}"] = nn.Sequential(*parts, Bad() if place == {place} else nn.Identity())
        self.head = nn.Linear(8, labels)

    def forward(self, concatenated):
        for block in self.blocks.values():
            concatenated = block(concatenated)
        return self.head(concatenated)
'''


@pytest.fixture
def train(workspace: Workspace, tiny: Callable[..., Resolved], monkeypatch: pytest.MonkeyPatch) -> Train:
    """`train('training.epochs=3')` trains conf/tiny.yaml here and now and returns its record."""
    monkeypatch.setattr(attempt, "draw_curves", lambda record: [])
    monkeypatch.setattr(outputs, "draw", lambda *_: None)

    def train(*sets: str) -> Record:
        before = set(find.folders(workspace))
        attempt.foreground(workspace, tiny(*sets), Stop())
        (path,) = set(find.folders(workspace)) - before
        record = Record(path)
        record.refresh()
        return record

    return train


def plant(table: Path, obsid: str, column: int, value: str) -> str:
    """Write a wild flux into one pixel of one star; return the name of its column."""
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    key = rows[0].index("obsid")
    waves = [place for place in range(len(rows[0])) if place != key]
    place = waves[column]
    for row in rows[1:]:
        if row[key] == obsid:
            row[place] = value
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return rows[0][place]


def stars_of(record: Record, part: str) -> list[str]:
    with record.folder.split.open(newline="") as file:
        return [row["obsid"] for row in csv.DictReader(file) if row["part"] == part]


def find_the_star(workspace: Workspace, train: Train, healthy: Record, seed: int, part: str) -> None:
    chance = random.Random(seed)
    branch = chance.choice(["continuum", "normalized"])
    table = workspace.dataset / "spectral" / f"final_spectra_{branch}.csv"
    clean = table.read_bytes()
    obsid, value = chance.choice(stars_of(healthy, part)), chance.choice(POISON)
    wave = plant(table, obsid, chance.randrange(64), value)
    found = replay.of(train(*NO_CLIP))
    table.write_bytes(clean)
    assert found is not None, "it must really go bad"
    worst = found.seen.extremes[0]
    assert (worst["obsid"], worst["branch"]) == (obsid, branch)
    assert worst["wavelength"] == pytest.approx(float(wave))
    assert worst["flux"] == pytest.approx(float(value))
    assert obsid in found.seen.obsids
    assert obsid in found.commands()[0]


def find_the_part(workspace: Workspace, train: Train, seed: int) -> None:
    chance = random.Random(seed)
    depth = chance.randint(2, 6)
    place, after = chance.randrange(depth), chance.randint(0, 7)
    words = {"bad": BAD[chance.choice(sorted(BAD))], "after": after, "depth": depth, "place": place}
    (workspace.networks / "planted.py").write_text(NETWORK.format(**words))
    record = train("model={name: Planted}", "training.epochs=3")
    found = replay.of(record)
    assert found is not None, "it must really go bad"
    assert (found.seen.module, found.seen.direction) == (f"blocks.b{place}.2", "forward")
    assert found.seen.step == after + 1
    assert -1 <= (found.seen.input_low or 0) <= (found.seen.input_high or 0) <= 1, "what a tanh gives"
    assert [step for step, *_ in found.last] == list(range(1, after + 1))


@pytest.mark.parametrize(("seed", "part"), [(1, "train"), (2, "train"), (3, "val")])
def test_the_planted_star_and_wavelength_are_named(
    workspace: Workspace, train: Train, seed: int, part: str
) -> None:
    find_the_star(workspace, train, train(), seed, part)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_planted_part_is_named(workspace: Workspace, train: Train, seed: int) -> None:
    find_the_part(workspace, train, seed)


@pytest.mark.slow
def test_twenty_planted_stars_are_named(workspace: Workspace, train: Train) -> None:
    healthy = train()
    for seed in range(100, 120):
        find_the_star(workspace, train, healthy, seed, "val" if seed % 5 == 0 else "train")


@pytest.mark.slow
def test_twenty_planted_parts_are_named(workspace: Workspace, train: Train) -> None:
    for seed in range(200, 220):
        find_the_part(workspace, train, seed)


def test_norms_and_the_last_twenty_steps_are_kept(workspace: Workspace, train: Train) -> None:
    words = {"bad": BAD["division"], "after": 30, "depth": 2, "place": 1}
    (workspace.networks / "planted.py").write_text(NETWORK.format(**words))
    record = train("model={name: Planted}", "training.epochs=12")
    found = replay.of(record)
    assert found is not None
    assert [step for step, *_ in found.last] == list(range(11, 31))
    (event,) = (e for e in Tail(record.folder.events).poll() if e["kind"] == "nonfinite")
    assert set(event["weights"]) == set(event["gradients"]) == {"blocks", "head"}
    whole = sum(norm**2 for norm in found.seen.gradients.values()) ** 0.5
    assert found.last[-1][3] == pytest.approx(whole, rel=1e-5), "the gradient of the step before"
    assert all(norm > 0 for norm in found.seen.weights.values())
    plain: Any = json.loads(json.dumps(found.plain(), allow_nan=False))
    assert plain["module"] == "blocks.b1.2" and len(plain["last_steps"]) == 20
    assert plain["last_steps"][-1]["step"] == 30
    for language in ("en", "zh"):
        engine.words.choose(language)
        lines = found.lines()
        assert all(cell_len(line) <= 80 for line in lines)
        assert any("blocks.b1.2" in line for line in lines)
        assert len(lines) > 24


def test_a_step_that_was_left_out_is_replayed_too(workspace: Workspace, train: Train) -> None:
    words = {"bad": BAD["division"], "after": 30, "depth": 2, "place": 1}
    (workspace.networks / "planted.py").write_text(NETWORK.format(**words))
    record = train("model={name: Planted}", "training.epochs=12", "training.on_nonfinite=skip")
    assert record.bad_steps
    healthy = train()
    assert replay.of(healthy) is None
