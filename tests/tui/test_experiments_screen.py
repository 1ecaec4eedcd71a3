"""What can be run, on a screen: confs as they were written, networks as their files say, both kept true."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import OptionList

from engine import catalog
from engine.words import say

NETWORK = '''
from torch import nn
from models import register_model

@register_model("Dropped")
class Dropped(nn.Module):
    """A network that was dropped in.

    Args:
        width: units in the middle.
    """

    def __init__(self, points: int, labels: int, width: int = 3) -> None:
        super().__init__()
        self.layers = nn.Linear(2 * points, labels)

    def forward(self, x):
        return self.layers(x)
'''


def entries(glass: Any, name: str) -> list[str]:
    options = glass.app.screen.query_one(f"#{name}", OptionList)
    return [str(options.get_option_at_index(i).prompt) for i in range(options.option_count)]


def row_of(glass: Any, name: str) -> str | None:
    options = glass.app.screen.query_one(f"#{name}", OptionList)
    return None if options.highlighted is None else entries(glass, name)[options.highlighted]


@pytest.mark.usefixtures("counted")
async def test_confs_and_networks_stand_side_by_side_with_comments(opened: Any, workspace: Any) -> None:
    async with opened() as glass:
        await glass.press("2")
        await glass.sees("Confs", "Networks", "demo", "star_net", "FreqInceptionLNet", "MLP", "StarNet")
        # The conf under the cursor as it was written.
        await glass.sees("conf/demo.yaml", "# A first run: learns from the synthetic stars", "learning_rate")
        await glass.press("down")
        await glass.sees("conf/freq_inception_l_net.yaml")
        glass.fits()


@pytest.mark.usefixtures("counted")
async def test_a_network_shows_its_docstring_parameters_and_fields(opened: Any) -> None:
    async with opened((160, 48)) as glass:
        await glass.press("2", "tab")
        await glass.sees("FreqInceptionLNet", "3,748,372 parameters at 4700 points, 4 labels")
        network = next(n for n in catalog.networks(glass.app.workspace) if n.name == "FreqInceptionLNet")
        assert network.doc.splitlines()[0][:40] in glass.text()
        assert "Fields (model.*)" in glass.text()
        glass.fits()


async def test_real_counts_come_from_a_child_and_torch_stays_out(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[list[str]] = []
    original = catalog.counts.subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        children.append(command)
        return original(command, **options)

    monkeypatch.setattr(catalog.counts.subprocess, "run", run)
    async with opened((160, 48)) as glass:
        await glass.press("2", "tab")
        await glass.sees(say("experiments.counting"))
        await glass.sees("3,748,372 parameters", seconds=90)
    assert len(children) == 1 and "models.count" in children[0]


async def test_quitting_does_not_wait_for_the_count(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "parameter_counts", lambda *_args, **_options: time.sleep(20) or {})
    began = time.monotonic()
    async with opened() as glass:
        await glass.press("2")
        await glass.sees("demo")
    assert time.monotonic() - began < 10


@pytest.mark.usefixtures("counted")
async def test_files_that_come_change_and_go_are_seen(opened: Any, workspace: Any) -> None:
    async with opened() as glass:
        await glass.press("2", "down")
        await glass.sees("conf/freq_inception_l_net.yaml")
        mine = workspace.conf / "a_new_one.yaml"
        mine.write_text("# mine\nname: mine\nmodel: {name: MLP}\n", encoding="utf-8")
        await glass.until(lambda: "a_new_one" in entries(glass, "confs"))
        assert row_of(glass, "confs") == "freq_inception_l_net", "the cursor must stay on its conf"
        await glass.press("up", "up")
        await glass.sees("# mine")
        mine.write_text("# mine\nname: mine\nmodel: {name: MLP}\ntraining:\n  batch_sise: 3\n")
        await glass.sees("✗ conf/a_new_one.yaml:5:3: training.batch_sise: unknown key", "batch_size")
        assert glass.reddish("✗ conf/a_new_one.yaml:5:3")
        mine.unlink()
        await glass.until(lambda: "a_new_one" not in entries(glass, "confs"))
        (workspace.networks / "dropped.py").write_text(NETWORK, encoding="utf-8")
        await glass.until(lambda: "Dropped" in entries(glass, "networks"))
        (workspace.networks / "broken.py").write_text("def broken(:\n", encoding="utf-8")
        await glass.until(lambda: any("✗" in name for name in entries(glass, "networks")))


@pytest.mark.usefixtures("counted")
async def test_a_conf_made_while_another_mode_is_shown_is_there_on_the_way_back(
    opened: Any, workspace: Any
) -> None:
    async with opened() as glass:
        await glass.press("2")
        await glass.sees("demo")
        await glass.press("1")
        (workspace.conf / "made_meanwhile.yaml").write_text("name: x\n", encoding="utf-8")
        await glass.pilot.pause(0.3)
        await glass.press("2")
        await glass.sees("made_meanwhile")


@pytest.mark.usefixtures("counted")
async def test_a_broken_conf_shows_its_line_and_is_not_launched(opened: Any, workspace: Any) -> None:
    (workspace.conf / "a_broken.yaml").write_text("name: x\ntraining:\n  epochs: [1\n", encoding="utf-8")
    async with opened() as glass:
        await glass.press("2")
        await glass.sees("✗ conf/a_broken.yaml:", "not YAML", "epochs: [1")
        await glass.press("n")
        assert glass.app.screen.where == "experiments"
        await glass.sees("not YAML")


@pytest.mark.usefixtures("counted")
async def test_a_workspace_without_confs_says_so(opened: Any, workspace: Any) -> None:
    for path in Path(workspace.conf).glob("*.yaml"):
        path.unlink()
    async with opened() as glass:
        await glass.press("2")
        await glass.sees(say("experiments.no_confs"))
        await glass.press("enter", "n", "down", "up")
        assert glass.app.screen.where == "experiments"


@pytest.mark.usefixtures("counted")
async def test_a_network_can_be_launched_without_a_conf(opened: Any) -> None:
    async with opened() as glass:
        await glass.press("2", "tab")
        await glass.sees("parameters")
        await glass.press("enter")
        await glass.until(lambda: glass.app.screen.where == "launch")
        await glass.sees("Launch FreqInceptionLNet")
