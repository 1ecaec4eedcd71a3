"""The advisor: silent on a healthy run, three remedies in order on a broken one, every patch a good conf."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len

import engine.words
from engine.conf.load import resolve
from engine.diagnose import Finding, Remedy, of_conf, of_run
from engine.diagnose.rules import check_patch
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, create, note_process
from engine.runs.process import identify
from engine.runs.record import Record
from engine.workspace import Workspace

TROUBLE = "freq_inception_l_net"


@pytest.fixture
def run_of(workspace: Workspace) -> Callable[..., RunFolder]:
    """`run_of('demo', 'training.epochs=3')` is a fresh run folder of a preset."""
    return lambda conf, *sets: create(workspace, resolve(workspace, conf, sets=sets))


def broken(run: RunFolder, step: int, losses: list[float], **fields: Any) -> Record:
    """Return the record of a run that became non-finite at `step` after these losses."""
    log = EventLog(run.events)
    log.append("phase", phase="training")
    if losses:
        columns = {"batch_loss": losses, "learning_rate": [1e-3] * len(losses)}
        log.append("steps", epoch=1, step=list(range(step - len(losses), step)), columns=columns)
    log.append(
        "nonfinite",
        **{"step": step, "epoch": 1, "what": "loss", "value": math.nan, "learning_rate": 1e-3,
           "last_finite_loss": losses[-1] if losses else None, "gradient_norm": math.inf,
           "obsids": ["11", "12"], "parameter": "conv.weight"} | fields,
    )  # fmt: skip
    log.append("end", outcome="diverged", exit_code=87, message="x")
    log.close()
    record = Record(run.path)
    record.refresh()
    return record


def test_a_healthy_run_needs_no_words(workspace: Workspace, run_of: Callable[..., RunFolder]) -> None:
    run = run_of("demo")
    log = EventLog(run.events)
    log.append("epoch", epoch=1, step=3, values={"train_loss": 0.5, "val_loss": 0.4})
    log.append("end", outcome="finished", exit_code=0, message="")
    log.close()
    record = Record(run.path)
    record.refresh()
    assert of_run(workspace, record) == []


@pytest.mark.parametrize(
    ("step", "losses", "identity"),
    [(1, [], "SP101"), (3, [1.0], "SP101"), (4, [1.0], "SP102"), (900, [2.0, 1.0, 80.0], "SP102")],
)
def test_nan_gets_the_three_remedies_in_order(
    workspace: Workspace, run_of: Callable[..., RunFolder], step: int, losses: list[float], identity: str
) -> None:
    sets = (
        "model.normalization_settings.norm_type=bn",
        "data.clip.normalized=null",
        "training.gradient_clip_val=null",
    )
    record = broken(run_of(TROUBLE, *sets), step, losses)
    (finding,) = of_run(workspace, record)
    assert (finding.id, finding.severity) == (identity, "error")
    assert [r.title for r in finding.remedies][:3] == [
        "Use LayerNorm in place of BatchNorm",
        "Clip the inputs, or scale them robustly",
        "Turn gradient clipping on",
    ]
    assert [r.patch for r in finding.remedies][:3] == [
        {"model.normalization_settings.norm_type": "ln"},
        {"data.clip.normalized": [-1.0, 3.0], "data.continuum_scaler": "robust"},
        {"training.gradient_clip_val": 1.0},
    ]
    climbed = losses and losses[-1] > 5 * min(losses)
    assert [r.title for r in finding.remedies][3:] == (["Lower the learning rate"] if climbed else [])
    assert finding.steps == (step - 1 if losses else 0, step)
    assert finding.evidence["what"] == "loss = nan"
    assert finding.evidence["gradient_norm"] == "inf"
    assert finding.evidence["obsids"] == ["11", "12"]
    if losses:
        assert (finding.evidence["last_finite_loss"], finding.evidence["lowest_loss"]) == (
            losses[-1],
            min(losses),
        )


@pytest.mark.parametrize("conf", [TROUBLE, "star_net", "mlp", "demo"])
@pytest.mark.parametrize(
    "sets",
    [
        (), ("training.learning_rate=0.5", "data.clip.normalized=null", "training.gradient_clip_val=null"),
        ("data.continuum_scaler=robust", "training.gradient_clip_val=0.5"),
    ],
    ids=["preset", "reckless", "careful"],
)  # fmt: skip
def test_every_patch_gives_a_good_conf_that_differs(
    workspace: Workspace, run_of: Callable[..., RunFolder], conf: str, sets: tuple[str, ...]
) -> None:
    record = broken(run_of(conf, *sets), 50, [1.0, 2.0])
    plain = record.conf()
    findings = of_run(workspace, record) + of_conf(workspace, resolve(workspace, conf, sets=sets).conf)
    for finding in findings:
        assert all(r.title and r.why for r in finding.remedies)
        for remedy in finding.remedies:
            patched = check_patch(workspace, plain, remedy.patch).plain()
            assert (patched != plain) == bool(remedy.patch)
    careful = sets and sets[0].startswith("data.continuum_scaler")
    if careful:
        assert [r.patch for r in findings[0].remedies[1:3]] == [{}, {}], (
            "what is on already is not proposed again"
        )


def test_a_network_without_such_a_setting_is_told_where_else(
    workspace: Workspace, run_of: Callable[..., RunFolder]
) -> None:
    (finding,) = of_run(workspace, broken(run_of("star_net"), 50, [1.0]))
    assert finding.remedies[0].patch == {}
    assert "FreqInceptionLNet" in finding.remedies[0].why


def test_a_setting_of_a_user_s_network_is_patched_only_with_what_it_takes(
    workspace: Workspace, run_of: Callable[..., RunFolder]
) -> None:
    (workspace.networks / "mine.py").write_text(
        "from typing import Literal\nfrom torch import nn\nfrom models import register_model\n\n\n"
        '@register_model("Mine")\nclass Mine(nn.Module):\n'
        "    def __init__(self, points: int, labels: int, norm: Literal['batch', 'layer'] = 'batch'):\n"
        "        super().__init__()\n\n    def forward(self, normalized):\n        return normalized\n"
    )
    record = broken(run_of("demo", "model={name: Mine}"), 50, [1.0])
    (finding,) = of_run(workspace, record)
    check_patch(workspace, record.conf(), finding.remedies[0].patch)


def test_a_network_that_is_gone_does_not_silence_the_advisor(
    workspace: Workspace, run_of: Callable[..., RunFolder]
) -> None:
    record = broken(run_of("demo"), 50, [1.0])
    text = record.folder.conf.read_text().replace("StarNet", "GoneNet")
    record.folder.conf.write_text(text)
    (finding,) = of_run(workspace, record)
    assert finding.remedies[0].patch == {}
    record.folder.conf.unlink()
    assert of_run(workspace, record)[0].id == "SP102"


def test_a_validation_loss_that_broke_is_told_as_such(
    workspace: Workspace, run_of: Callable[..., RunFolder]
) -> None:
    record = broken(run_of("demo"), 50, [1.0], what="val_loss", gradient_norm=None, obsids=[], parameter=None)
    (finding,) = of_run(workspace, record)
    assert finding.title == "val_loss became non-finite at step 50, after it had trained"
    assert not {"obsids", "parameter", "gradient_norm"} & set(finding.evidence)


def test_runs_that_ended_badly_are_told(workspace: Workspace, run_of: Callable[..., RunFolder]) -> None:
    died = run_of("demo")
    note_process(died, identity=replace(identify(), start_time="1"))
    failed = run_of("demo")
    log = EventLog(failed.events)
    log.append("end", outcome="failed", exit_code=86, message="out of memory\nsecond line")
    log.close()
    found = {}
    for run in (died, failed):
        record = Record(run.path)
        record.refresh()
        (found[run.run_id],) = of_run(workspace, record)
    assert found[died.run_id].id == "SP901"
    assert found[failed.run_id].id == "SP902"
    assert found[failed.run_id].evidence["exit_code"] == 86
    assert all("\n" not in line for line in found[failed.run_id].lines())


@pytest.mark.parametrize(
    ("sets", "ids"),
    [
        ((), []),
        (("training.learning_rate=0.05",), ["SP301"]),
        (("training.gradient_clip_val=null",), ["SP302"]),
        (("data.clip.normalized=null",), ["SP303"]),
        (("model.normalization_settings.norm_type=bn",), ["SP304"]),
        (("training.learning_rate=1", "data.clip.normalized=null"), ["SP301", "SP303"]),
    ],
)
def test_what_a_conf_alone_tells(workspace: Workspace, sets: tuple[str, ...], ids: list[str]) -> None:
    conf = resolve(workspace, TROUBLE, sets=sets).conf
    findings = of_conf(workspace, conf)
    assert [f.id for f in findings] == ids
    for finding in findings:
        patched = conf
        for remedy in finding.remedies:
            assert remedy.patch
            patched = check_patch(workspace, patched.plain(), remedy.patch)
        assert finding.id not in [f.id for f in of_conf(workspace, patched)], (
            "the remedy cures what it is for"
        )


def test_the_json_form_is_the_one_of_the_command_line(
    workspace: Workspace, run_of: Callable[..., RunFolder]
) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    record = broken(run_of(TROUBLE), 50, [1.0, 9.0])
    findings = of_run(workspace, record) + of_conf(workspace, resolve(workspace, TROUBLE).conf)
    for finding in findings:
        plain = json.loads(json.dumps(finding.plain()), parse_constant=refuse)
        assert list(plain) == ["id", "severity", "title", "evidence", "steps", "remedies"]
        assert plain["severity"] in ("info", "warning", "error")
        assert plain["steps"] is None or [type(s) for s in plain["steps"]] == [int, int]
        for remedy in plain["remedies"]:
            assert list(remedy) == ["title", "why", "patch"]
            assert all("." in key for key in remedy["patch"])


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [80, 40])
def test_text_fits_its_width(
    workspace: Workspace, run_of: Callable[..., RunFolder], language: str, width: int
) -> None:
    engine.words.choose(language)
    run = run_of(TROUBLE, "model.normalization_settings.norm_type=bn", "training.learning_rate=0.5")
    record = broken(run, 50, [1.0, 9.0], obsids=[str(10**8 + i) for i in range(8)])
    conf = resolve(workspace, TROUBLE, sets=["data.clip.normalized=null", "training.learning_rate=1"]).conf
    odd = Finding(
        "SP902", "error", "x" * 200, {"message": "é谱" * 90, "phase": "a\nb\tc"}, None,
        (Remedy("w" * 99, "谱 " * 60, {"a.b": "谱" * 60}),),
    )  # fmt: skip
    for finding in [*of_run(workspace, record), *of_conf(workspace, conf), odd]:
        lines = finding.lines(width)
        assert max(map(cell_len, lines)) <= width
        assert all(line and "\n" not in line for line in lines)
    text = " ".join("".join(of_run(workspace, record)[0].lines(80)).split())
    assert "model.normalization_settings.norm_type" in text
