"""Every conf that is shipped can be read, says what it is in two languages, and trains as it is."""

from __future__ import annotations

import math
import re

import pytest

from engine import presets_folder
from engine.conf.load import resolve
from engine.runs import find
from engine.runs.folder import RunFolder
from engine.train import attempt, outputs
from engine.train.network import build_network
from engine.train.stop import Stop
from engine.workspace import Workspace
from models import contract, registry

from .conftest import Trained

PRESETS = sorted(path.stem for path in presets_folder().glob("*.yaml"))
SMALL = ("training.epochs=2", "training.device=cpu", "training.threads=1", "tracking.enabled=false")


def test_every_network_has_a_preset(workspace: Workspace) -> None:
    assert {resolve(workspace, name).conf.model.name for name in PRESETS} == set(registry.names())


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_read_and_says_what_it_is(workspace: Workspace, name: str) -> None:
    conf = resolve(workspace, name).conf
    assert conf.name == name and conf.description
    comments = [line for line in (presets_folder() / f"{name}.yaml").read_text().splitlines() if "#" in line]
    assert any(re.search(r"[\u4e00-\u9fff]", line) for line in comments), "nothing in Chinese"
    assert any(re.match(r"# [A-Za-z_]+.* [a-z]+ ", line) for line in comments), "nothing in English"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_the_right_size(workspace: Workspace, name: str) -> None:
    conf = resolve(workspace, name).conf
    said = re.search(r"\(([\d.]+) M parameters\)", conf.description or "")
    if said is None:
        pytest.skip("it does not say its size")
    network = build_network(workspace, conf, 4700)
    assert contract.count_parameters(network) / 1e6 == pytest.approx(float(said[1]), abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains_as_it_is(workspace: Workspace, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "draw_curves", lambda record: [])
    monkeypatch.setattr(outputs, "draw", lambda *_: None)
    assert attempt.foreground(workspace, resolve(workspace, name, sets=SMALL), Stop()) == 0
    (path,) = find.folders(workspace)
    losses = Trained(0, RunFolder(path)).record.curves["train_loss"].values
    assert len(losses) == 2 and all(math.isfinite(loss) for loss in losses)
