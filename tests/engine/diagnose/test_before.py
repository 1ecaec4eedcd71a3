"""Before a launch: what a conf alone tells, each warning with a patch that loads and cures it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

import engine.words
from engine.conf.load import Resolved, flatten, from_plain, resolve, to_yaml
from engine.conf.schema import Conf
from engine.diagnose import before, network, of_conf, relaunch, shown
from engine.spectra import stars
from engine.workspace import Workspace

from ...conftest import Processes

BN = "model.normalization_settings.norm_type=bn"
NET = "freq_inception_l_net"


def patched(workspace: Workspace, conf: Conf, patch: dict[str, Any]) -> Conf:
    sets = relaunch.sets_of(patch)
    (workspace.conf / "before.yaml").write_text(to_yaml(conf.plain()))
    return resolve(workspace, "before", sets=sets).conf


CASES: list[tuple[str, str, tuple[str, ...], str]] = [
    ("SP301", NET, ("training.learning_rate=0.05",), "warning"),
    ("SP302", NET, ("training.gradient_clip_val=null",), "warning"),
    ("SP303", NET, ("data.clip.normalized=null",), "info"),
    ("SP304", NET, (BN,), "info"),
    ("SP304", NET, (BN, "training.batch_size=4"), "warning"),
    ("SP305", NET, ("training.precision=fp16",), "warning"),
    ("SP306", "mlp", ("training.schedule=type1", "training.epochs=30"), "warning"),
    ("SP306", "mlp", ("training.schedule=exponential", "training.epochs=40"), "warning"),
    ("SP308", "mlp", ("training.schedule=cosine_restarts", "training.epochs=22"), "warning"),
]


@pytest.mark.parametrize(("identity", "conf", "sets", "severity"), CASES)
def test_a_warning_comes_with_a_patch_that_loads_and_cures_it(
    workspace: Workspace, identity: str, conf: str, sets: tuple[str, ...], severity: str
) -> None:
    sick = resolve(workspace, conf, sets=sets).conf
    found = {finding.id: finding for finding in of_conf(workspace, sick)}
    assert found[identity].severity == severity
    assert found[identity].remedies
    for remedy in found[identity].remedies:
        assert set(remedy.patch) <= set(flatten(sick.plain())) | {"data.clip.continuum"}
        cured = patched(workspace, sick, remedy.patch)
        left = {f.id: f.severity for f in of_conf(workspace, cured)}
        assert left.get(identity) in (None, "info"), remedy
        assert left.get(identity) != severity


@pytest.mark.parametrize("name", ["demo", NET, "mlp", "star_net", "tiny"])
@pytest.mark.parametrize(
    "sets",
    [
        (), ("training.schedule=step", "training.epochs=40"), ("training.schedule=one_cycle",),
        ("training.schedule=plateau",), ("training.schedule=cosine_restarts", "training.epochs=20"),
        ("training.optimizer=sgd", "training.learning_rate=0.05"), ("training.precision=bf16",),
        ("training.epochs=0", "finetune.epochs=3"),
    ],
)  # fmt: skip
def test_a_sound_conf_needs_no_words(workspace: Workspace, name: str, sets: tuple[str, ...]) -> None:
    conf = resolve(workspace, name, sets=sets).conf
    assert of_conf(workspace, conf) == []


SOURCE = """\
import torch
from torch import nn
from torch.nn import functional as F
from models import register_model


@register_model("Mine")
class Mine(nn.Module):
    def __init__(self, points: int, labels: int, {field}):
        super().__init__()
        self.norm = {norm}
        self.body = nn.Linear(points, 8)
        self.head = {head}

    def forward(self, normalized):
        x = self.body(normalized)
        {forward}
"""


def mine(
    workspace: Workspace, *, field: str = "width: int = 8", norm: str = "nn.Identity()",
    head: str = "nn.Linear(8, labels)", forward: str = "return self.head(x)",
) -> Conf:  # fmt: skip
    text = SOURCE.format(field=field, norm=norm, head=head, forward=forward)
    (workspace.networks / "mine.py").write_text(text)
    return resolve(workspace, "tiny", sets=["model={name: Mine}"]).conf


@pytest.mark.parametrize(
    ("words", "last"),
    [
        ({}, None),
        ({"head": "nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, labels))"}, None),
        ({"head": "nn.Sequential(nn.Linear(8, labels), nn.Tanh())"}, "tanh"),
        ({"head": "nn.Sequential(nn.Sequential(nn.Linear(8, labels), nn.Sigmoid()))"}, "sigmoid"),
        ({"forward": "return torch.tanh(self.head(x))"}, "tanh"),
        ({"forward": "y = self.head(x)\n        return y.sigmoid()"}, "sigmoid"),
        ({"forward": "y = F.softplus(self.head(x))\n        return y"}, "softplus"),
        ({"forward": "return torch.tanh(self.head(x)) * 5"}, None),
        ({"forward": "return self.head(torch.tanh(x))"}, None),
    ],
)  # fmt: skip
def test_the_last_activation_is_read_from_the_source(
    workspace: Workspace, words: dict[str, str], last: str | None
) -> None:
    conf = mine(workspace, **words)
    told = network.of_conf(workspace, conf.plain())
    assert told.last == last
    (found,) = of_conf(workspace, conf) or [None]
    assert (found is not None) == (last is not None)
    if found is not None:
        assert (found.id, found.remedies[0].patch) == ("SP307", {"data.label_scaler": "minmax"})
        assert of_conf(workspace, patched(workspace, conf, found.remedies[0].patch)) == []


def test_a_network_that_says_batch_norm_its_own_way(workspace: Workspace) -> None:
    conf = mine(workspace, norm="nn.BatchNorm1d(8)")
    assert of_conf(workspace, conf) == [], "the batch is large enough"
    small = from_plain(
        workspace, conf.plain() | {"training": conf.plain()["training"] | {"batch_size": 4}}, "x"
    )
    (found,) = of_conf(workspace, small)
    assert (found.id, found.severity) == ("SP304", "warning")
    assert [remedy.patch for remedy in found.remedies] == [{"training.batch_size": 32}]
    named = mine(workspace, field="norm: Literal['batch', 'layer'] = 'batch'", norm="nn.BatchNorm1d(8)")
    (found,) = of_conf(workspace, named)
    assert found.remedies[0].patch == {"model.norm": "layer"}


def test_a_network_that_cannot_be_read_is_not_guessed_at(workspace: Workspace) -> None:
    conf = mine(workspace)
    (workspace.networks / "mine.py").write_text("def (")
    assert network.of_conf(workspace, conf.plain()) == network.Told()
    assert of_conf(workspace, conf) == []


@pytest.mark.parametrize("branch", ["continuum", "normalized"])
def test_wild_pixels_that_the_cache_knows_of_are_warned_about(
    workspace: Workspace, tiny: Callable[..., Resolved], branch: str
) -> None:
    table = workspace.dataset / "spectral" / f"final_spectra_{branch}.csv"
    spoil(table)
    sick = tiny("data.clip.normalized=null").conf
    assert [f.severity for f in of_conf(workspace, sick)] == ["info"], "nobody has looked at the data yet"
    stars.load(workspace, tiny().conf.data)  # as another conf reads it
    (found,) = of_conf(workspace, sick)
    assert (found.id, found.severity, found.evidence) == ("SP303", "warning", {f"wild_{branch}": 1})
    patch = found.remedies[0].patch
    assert "data.clip.normalized" in patch and ("data.clip.continuum" in patch) == (branch == "continuum")
    cured = patched(workspace, sick, patch)
    assert of_conf(workspace, cured) == []
    clipped = stars.load(workspace, cured.data)
    assert clipped.report["clipped"][branch] == 1, "the wild pixel and nothing else"
    table.write_text(table.read_text() + "\n")  # another table: the cache knows nothing of it
    assert [f.severity for f in of_conf(workspace, sick)] == ["info"]


def spoil(table: Path) -> None:
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    rows[7][9 if rows[0][9] != "obsid" else 10] = "3e11"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_every_rule_has_its_words_in_both_languages_and_fits(workspace: Workspace) -> None:
    sets = (BN, "training.learning_rate=1", "training.gradient_clip_val=null", "data.clip.normalized=null",
            "training.batch_size=4", "training.precision=fp16", "training.epochs=30")  # fmt: skip
    for language in ("en", "zh"):
        engine.words.choose(language)
        for schedule in ("type1", "cosine_restarts"):
            more = (f"training.schedule={schedule}", "training.schedule_epochs=20")
            conf = resolve(workspace, NET, sets=[*sets, *more]).conf
            findings = before.findings(workspace, conf)
            assert len(findings) == 6
            for block in shown.conf_lines("conf/x.yaml", conf.plain(), findings):
                assert all(cell_len(line) <= 80 for line in block)


def test_diagnose_of_a_conf_shows_the_fix_and_the_command(workspace: Workspace, processes: Processes) -> None:
    (workspace.conf / "sick.yaml").write_text("base: tiny.yaml\ntraining: {gradient_clip_val: null}\n")
    done = processes.run("diagnose", "conf/sick.yaml")
    assert done.returncode == 0
    assert "! SP302" in done.stdout
    assert "- training.gradient_clip_val: null\n     + training.gradient_clip_val: 1.0" in done.stdout
    assert "spectui launch conf/sick.yaml --set training.gradient_clip_val=1.0" in done.stdout
