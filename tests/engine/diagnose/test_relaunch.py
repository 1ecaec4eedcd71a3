"""A remedy becomes a child run: the one that is meant, its patch, its start, and what run.json keeps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.diagnose import Finding, Remedy, of_run, relaunch, shown
from engine.diagnose.relaunch import Choice, beginning, chosen, proposed
from engine.errors import BadInput
from engine.runs import acts
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder
from engine.runs.record import Record
from engine.workspace import Workspace

from ...conftest import Processes

RATE = Remedy("Lower the rate", "because", {"training.learning_rate": 1e-4})
NORM = Remedy("Another norm", "because", {"model.hidden": [4]})
BATCH = Remedy("Larger batch", "because", {"training.batch_size": 32})
WORDS_ONLY = Remedy("Look at the stars", "no key does that")
FOUND = Finding("SP102", "error", "broke", {}, (29, 30), (WORDS_ONLY, NORM, RATE, BATCH))


def sick(run: RunFolder, losses: list[float], bad: int | None, saved: dict[int, bool]) -> Record:
    """Return the record of a run of 10 steps an epoch with these losses and checkpoints (step: best?)."""
    log = EventLog(run.events)
    log.append("plan", epochs=9, total_steps=90, steps_per_epoch=10)
    log.append("phase", phase="training")
    log.append("steps", epoch=1, step=list(range(1, len(losses) + 1)), columns={"batch_loss": losses})
    for step, best in saved.items():
        name = f"step-{step:08d}.pt"
        (run.checkpoints / name).write_bytes(b"x")
        if best:
            (run.checkpoints / "best.pt").write_bytes(b"x")
        log.append("checkpoint", step=step, epoch=1, file=name, best=best, size=1, value=0.5)
    if bad is not None:
        log.append("nonfinite", step=bad, epoch=3, what="loss", value=math.nan, learning_rate=1e-3, obsids=[],
                   last_finite_loss=losses[-1], gradient_norm=math.inf, parameter=None)  # fmt: skip
    log.append("end", outcome="finished" if bad is None else "diverged", exit_code=0, message="")
    log.close()
    record = Record(run.path)
    record.refresh()
    return record


@pytest.mark.parametrize(
    ("word", "number"), [("SP102:2", 2), ("sp102:4", 4), (" SP102:3 ", 3), ("SP102", 2), ("SP102: 2", 2)]
)
def test_a_remedy_is_meant_by_its_finding_and_its_place(word: str, number: int) -> None:
    assert chosen([FOUND], word).number == number


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("SP102:1", "SP102:1: no key of the conf does that: no key does that"),
        ("SP102:9", "there are: SP102:"),
        ("SP201:2", "there are: SP102:2"),
        ("SP102:", "there are: SP102:"),
        ("nonsense", "there are: SP102:2, SP102:3, SP102:4"),
    ],
)
def test_what_means_no_remedy_is_told_the_near_misses(word: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        chosen([FOUND], word)
    assert said in caught.value.lines[0]


def test_where_there_is_no_remedy_none_is_named() -> None:
    with pytest.raises(BadInput, match="no finding of this run has a remedy"):
        chosen([], "SP102:1")


def pick(remedy: Remedy) -> Choice:
    return Choice(FOUND, FOUND.remedies.index(remedy) + 1, remedy)


@pytest.mark.parametrize(
    ("remedy", "losses", "bad", "saved", "how", "step"),
    [
        (NORM, [1.0] * 29, 30, {20: True, 29: False}, "scratch", None),
        (BATCH, [1.0] * 29, 30, {20: True, 29: False}, "scratch", None),
        (RATE, [1.0] * 29, 30, {20: True, 29: False}, "last", 29),
        (RATE, [1.0] * 20 + [9.0] * 9, 30, {20: True, 29: False}, "best", 20),
        (RATE, [1.0] * 29, None, {20: True, 29: False}, "best", 20),
        (RATE, [1.0] * 5, 6, {5: False}, "scratch", None),
        (RATE, [1.0] * 29, 30, {}, "scratch", None),
        (RATE, [1.0] * 29, 30, {40: False}, "scratch", None),
    ],
    ids=["network", "batch", "isolated", "climbed", "healthy", "first epoch", "nothing saved", "after it"],
)
def test_the_start_that_is_proposed(
    new_run: Callable[..., RunFolder], remedy: Remedy, losses: list[float], bad: int | None,
    saved: dict[int, bool], how: str, step: int | None,
) -> None:  # fmt: skip
    begin = proposed(sick(new_run(), losses, bad, saved), pick(remedy))
    assert (begin.how, begin.step) == (how, step)
    assert begin.reason and (begin.checkpoint is None) == (how == "scratch")
    assert begin.checkpoint is None or begin.checkpoint.is_file()


def test_a_start_that_is_asked_for_is_given_or_refused(new_run: Callable[..., RunFolder]) -> None:
    record = sick(new_run(), [1.0] * 29, 30, {20: True, 29: False})
    assert beginning(record, pick(RATE), "scratch").checkpoint is None
    assert beginning(record, pick(RATE), "best").step == 20
    assert beginning(record, pick(BATCH), "last").step == 29
    with pytest.raises(BadInput, match=r"SP102:2 changes model\.hidden"):
        beginning(record, pick(NORM), "best")
    bare = sick(new_run(), [1.0] * 29, 30, {})
    for how in ("best", "last"):
        with pytest.raises(BadInput, match="use --from scratch"):
            beginning(bare, pick(RATE), how)  # type: ignore[arg-type]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that an engine was started on, in place of the engines."""
    begun: list[Path] = []
    monkeypatch.setattr(acts.launching, "start", lambda _w, run, **_: begun.append(run.path) or 1)
    return begun


def test_children_are_launched_with_their_patch_and_know_why(
    workspace: Workspace, new_run: Callable[..., RunFolder], started: list[Path]
) -> None:
    record = sick(new_run(), [1.0] * 29, 30, {20: True, 29: False})
    done = relaunch.relaunch(workspace, record, [pick(RATE), pick(BATCH)], sets=["training.seed=3"])
    assert started == [one.folder.path for one in done]
    first, second = (Record(one.folder.path) for one in done)
    assert first.parent == second.parent == record.run_id
    changed = {"training.learning_rate": {"was": 1e-3, "is": 1e-4}, "training.seed": {"was": 42, "is": 3}}
    assert first.patch() == changed
    remedy = first.identity["remedy"]
    assert (remedy["finding"], remedy["number"], remedy["from"], remedy["from_step"]) == (
        "SP102",
        3,
        "last",
        29,
    )
    assert remedy["patch"] == RATE.patch
    assert first.folder.weights.is_file() and not second.folder.weights.exists()
    assert "remedy" not in record.identity


def test_one_patch_that_will_not_do_and_none_is_launched(
    workspace: Workspace, new_run: Callable[..., RunFolder], started: list[Path]
) -> None:
    record = sick(new_run(), [1.0] * 29, 30, {})
    wrong = Choice(FOUND, 9, Remedy("Wrong", "because", {"training.batch_size": -1}))
    before = sorted(workspace.runs.iterdir())
    with pytest.raises(BadInput, match="SP102:9: "):
        relaunch.relaunch(workspace, record, [pick(RATE), wrong])
    assert started == [] and sorted(workspace.runs.iterdir()) == before


def test_a_remedy_is_shown_as_a_diff_with_the_command_that_does_it(
    workspace: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    record = sick(new_run("training.gradient_clip_val=null"), [1.0] * 29, 30, {29: False})
    findings = of_run(workspace, record)
    text = "\n".join(shown.run_lines(record, findings)[0])
    assert "- training.gradient_clip_val: null\n     + training.gradient_clip_val: 1.0" in text
    number = next(n for n, r in enumerate(findings[0].remedies, 1) if "training.gradient_clip_val" in r.patch)
    assert f"spectui rerun {record.run_id} --remedy SP102:{number}" in text
    plain: dict[str, Any] = shown.plain(record, findings[0])["remedies"][number - 1]
    assert plain["diff"] == {"training.gradient_clip_val": {"was": None, "is": 1.0}}
    assert plain["start"]["from"] == "last" and plain["address"] == f"SP102:{number}"
    assert chosen(findings, plain["command"].split()[-1]).remedy.patch == {"training.gradient_clip_val": 1.0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--remedy", "SP999:1"), "SP999:1: no such remedy of this run; there are: SP102:"),
        (("--remedy", "CLIP", "--from", "best"), "no best checkpoint was saved; use --from scratch"),
        (("--from", "best"), "--from needs --remedy"),
        (("--remedy", "CLIP", "--from-weights"), "--remedy takes --from scratch, last or best"),
        (("--remedy", "CLIP", "--set", "training.batch_sise=3"), "did you mean 'batch_size'"),
        (("--remedy", "CLIP", "--remedy", "SP102", "--foreground"), "--foreground trains one run"),
    ],
)
def test_what_cannot_be_launched_is_refused_in_one_line(
    workspace: Workspace, new_run: Callable[..., RunFolder], processes: Processes, words: tuple[str, ...],
    said: str,
) -> None:  # fmt: skip
    record = sick(new_run(), [1.0] * 29, 30, {})
    able = relaunch.choices(of_run(workspace, record))
    clip = next(one.address for one in able if "training.gradient_clip_val" in one.remedy.patch)
    done = processes.run("rerun", record.run_id, *(clip if word == "CLIP" else word for word in words))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and len(done.stderr.splitlines()) == 1
    assert len(list(workspace.runs.glob("tiny-*"))) == 1


def test_several_remedies_are_a_small_race(
    workspace: Workspace, new_run: Callable[..., RunFolder], processes: Processes, until: Callable[..., Any]
) -> None:
    record = sick(new_run("training.gradient_clip_val=null"), [1.0] * 29, 30, {})
    remedies = [
        f"SP102:{number}"
        for number, remedy in enumerate(of_run(workspace, record)[0].remedies, 1)
        if remedy.patch
    ][:2]
    done = processes.run(
        "rerun", record.run_id, *(w for one in remedies for w in ("--remedy", one)), "--json"
    )
    launched = json.loads(done.stdout)
    assert [one["remedy"] for one in launched] == remedies
    children = [Record(workspace.runs / one["run_id"]) for one in launched]
    until(lambda: all(child.refresh() or child.end is not None for child in children) and not any(
        child.live for child in children))  # fmt: skip
    assert {child.state for child in children} == {"finished"}
    told = json.loads(processes.run("diagnose", record.run_id, "--json").stdout)
    assert sorted(one["child"] for one in told["outcomes"]) == sorted(one["run_id"] for one in launched)
    assert {one["verdict"] for one in told["outcomes"]} == {"helped"}
