"""Did it help: child against parent, kept in the parent's folder, and what it teaches about the next time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

import engine.words
from engine.conf.load import Resolved
from engine.diagnose import Finding, Remedy, outcome, shown
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, create
from engine.runs.record import Record
from engine.workspace import Workspace

TRIED = {"finding": "SP201", "number": 2, "title": "Lower the rate", "patch": {"training.seed": 3}}


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    outcome._read.clear()
    yield
    outcome._read.clear()


Ended = Callable[..., Record]


@pytest.fixture
def ended(workspace: Workspace, tiny: Callable[..., Resolved]) -> Ended:
    """`ended('diverged', 12, val_loss=0.5, parent=…, remedy=…)` is a run that ended so at step 12."""

    def ended(
        state: str, step: int, *sets: str, parent: Record | None = None, remedy: Any = None,
        losses: tuple[float, ...] = (), **values: float,
    ) -> Record:  # fmt: skip
        run: RunFolder = create(
            workspace, tiny(*sets), parent=None if parent is None else parent.run_id, remedy=remedy
        )
        log = EventLog(run.events)
        log.append("phase", phase="training")
        for epoch, loss in enumerate(losses, 1):
            log.append("epoch", epoch=epoch, step=step * epoch // len(losses), values={"val_loss": loss})
        if not losses:
            log.append("epoch", epoch=1, step=step, values=values)
        if state != "running":
            log.append("end", outcome=state, exit_code=0, message="")
        log.close()
        record = Record(run.path)
        record.refresh()
        return record

    return ended


@pytest.mark.parametrize(
    ("before", "after", "found", "verdict"),
    [
        (("diverged", 30, 0.5), ("finished", 90, 0.4), [], "helped"),
        (("diverged", 30, None), ("finished", 90, 0.9), [], "helped"),
        (("diverged", 30, 0.5), ("finished", 90, 0.54), [], "helped"),
        (("diverged", 30, 0.5), ("finished", 90, 0.9), [], "no_change"),
        (("diverged", 30, 0.5), ("diverged", 40, 0.5), ["SP201"], "no_change"),
        (("diverged", 30, 0.5), ("diverged", 9, None), ["SP201"], "worse"),
        (("finished", 90, 0.5), ("diverged", 80, 0.5), [], "worse"),
        (("finished", 90, 0.5), ("failed", 80, 0.5), [], "worse"),
        (("failed", 0, None), ("finished", 90, 0.5), [], "helped"),
        (("finished", 90, 0.5), ("finished", 90, 0.4), ["SP201"], "helped"),
        (("finished", 90, 0.5), ("finished", 90, 0.6), [], "worse"),
        (("finished", 90, 0.5), ("finished", 90, 0.502), ["SP201"], "no_change"),
        (("finished", 90, 0.5), ("finished", 90, 0.502), [], "helped"),
        (("finished", 90, 0.5), ("stopped", 90, 0.4), [], "helped"),
    ],
)
def test_the_verdict(
    ended: Ended, before: tuple[str, int, float | None], after: tuple[str, int, float | None],
    found: list[str], verdict: str,
) -> None:  # fmt: skip
    def made(state: str, step: int, best: float | None, **more: Any) -> Record:
        values = {} if best is None else {"val_loss": best}
        return ended(state, step, **values, **more)

    parent = made(*before)
    result = outcome.compared(parent, made(*after, parent=parent, remedy=TRIED), found)
    assert result is not None
    assert result.verdict == verdict
    assert (result.parent_best, result.child_best) == (before[2], after[2])
    assert result.gone == ("SP201" not in found)


@pytest.mark.parametrize(("found", "verdict"), [([], "helped"), (["SP201"], "worse")])
def test_the_best_of_a_loss_that_swings_is_luck(ended: Ended, found: list[str], verdict: str) -> None:
    parent = ended("finished", 90, losses=(0.9, 0.6, 0.7, 0.26, 0.6, 0.4))
    child = ended("finished", 90, losses=(0.9, 0.5, 0.4, 0.32, 0.31, 0.3), parent=parent, remedy=TRIED)
    result = outcome.compared(parent, child, found)
    assert result is not None
    assert (result.parent_best, result.child_best) == (0.26, 0.3)
    assert (result.parent_late, result.child_late) == (0.4, 0.31)
    assert result.verdict == verdict
    tame = ended("finished", 90, losses=(0.9, 0.5, 0.38, 0.38, 0.38, 0.37), parent=parent, remedy=TRIED)
    result = outcome.compared(parent, tame, found)
    assert result is not None and result.verdict == "worse", "steady, but not good"


def test_no_verdict_where_nothing_was_learned(ended: Ended) -> None:
    parent = ended("finished", 90, val_loss=0.5)
    assert outcome.compared(parent, ended("stopped", 40, parent=parent, remedy=TRIED, val_loss=0.4)) is None
    assert outcome.compared(parent, ended("running", 90, parent=parent, remedy=TRIED, val_loss=0.4)) is None
    assert outcome.compared(parent, ended("finished", 90, parent=parent, val_loss=0.4)) is None


def test_another_loss_is_compared_by_the_errors_of_the_labels(ended: Ended) -> None:
    parent = ended("finished", 90, val_loss=0.5, val_Teff_mae=100.0, val_FeH_mae=0.2)
    child = ended("finished", 90, "training.loss=mae", parent=parent, remedy=TRIED, val_loss=0.9,
                  val_Teff_mae=60.0, val_FeH_mae=0.16)  # fmt: skip
    result = outcome.compared(parent, child)
    assert result is not None
    assert (result.quantity, result.parent_best, result.child_best) == ("val_mae", 1.0, pytest.approx(0.7))
    assert result.verdict == "helped"


def test_an_outcome_is_kept_once_with_the_parent_and_told_from_both_ends(
    workspace: Workspace, ended: Ended
) -> None:
    parent = ended("diverged", 30, val_loss=0.5)
    child = ended("finished", 90, parent=parent, remedy=TRIED, val_loss=0.4)
    other = ended("finished", 90, parent=parent, val_loss=0.4)
    (kept,) = outcome.settle(workspace, parent)
    assert (kept.child, kept.verdict) == (child.run_id, "helped")
    (file,) = parent.folder.remedies.iterdir()
    assert file.name == f"{child.run_id}.json"
    assert json.loads(file.read_text())["verdict"] == "helped"
    assert outcome.of_child(workspace, child) == kept
    assert outcome.of_child(workspace, other) is None
    stamp = file.stat().st_mtime_ns
    assert outcome.settle(workspace, parent) == [kept]
    assert file.stat().st_mtime_ns == stamp


def test_a_parent_that_is_gone_and_a_damaged_outcome_are_no_trouble(
    workspace: Workspace, ended: Ended
) -> None:
    parent = ended("diverged", 30, val_loss=0.5)
    child = ended("finished", 90, parent=parent, remedy=TRIED, val_loss=0.4)
    outcome.keep(workspace, child)
    (parent.folder.remedies / "x.json").write_text('{"verdict": ')
    assert len(outcome.settle(workspace, parent)) == 1
    assert list(outcome.history(workspace)) == [("SP201", ("training.seed",))]
    parent.folder.path.rename(workspace.runs / ".gone")
    assert outcome.keep(workspace, child) is None


def keep(workspace: Workspace, place: Path, patch: dict[str, Any], *verdicts: outcome.Verdict) -> None:
    """Write outcomes as if children with this patch had ended so."""
    place.mkdir(parents=True, exist_ok=True)
    for verdict in verdicts:
        one = outcome.Outcome("p", f"c{len(list(place.iterdir()))}", "SP201", 1, "t", patch, verdict,
                              "val_loss", 1.0, 1.0, 1.0, 1.0, "finished", "finished", 9, 9, True)  # fmt: skip
        (place / f"{one.child}.json").write_text(json.dumps(one.plain()))
    outcome._read.clear()


def test_what_helped_moves_up_and_what_did_not_moves_down(workspace: Workspace) -> None:
    remedies = tuple(
        Remedy(name, "Why.", patch)
        for name, patch in (("a", {"x.a": 1}), ("words", {}), ("b", {"x.b": 1}), ("c", {"x.c": 1}))
    )
    finding = Finding("SP201", "warning", "t", {}, None, remedies)
    other = Finding("SP999", "warning", "t", {}, None, remedies)
    assert outcome.ranked(workspace, [finding]) == [finding]
    place = workspace.runs / "parent" / "remedies"
    keep(workspace, place, {"x.c": 5}, "helped", "helped", "no_change")
    keep(workspace, place, {"x.a": 5}, "worse")
    first, second = outcome.ranked(workspace, [finding, other])
    assert [remedy.title for remedy in first.remedies] == ["c", "words", "b", "a"]
    assert first.remedies[0].why == "Why. In this workspace it helped 2 of 3 times (worse: 0)."
    assert second == other


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("verdict", outcome.VERDICTS)
def test_an_outcome_is_told_in_both_languages_and_fits(language: str, verdict: outcome.Verdict) -> None:
    engine.words.choose(language)
    one = outcome.Outcome("p", "child-20261128-000000-abcd", "SP201", 1, "a title", {}, verdict, "val_loss",
                          None, 0.25, 0.5, None, "diverged", "finished", 9, 90, True)  # fmt: skip
    lines = shown.wrap(one.line(), "  ", 80)
    assert all(cell_len(line) <= 80 for line in lines)
    assert "child-20261128-000000-abcd" in "".join(lines) and "0.25" in one.line()
