"""Findings while a run lives: what the conf wants about them, and what `watch` and the lists say of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from engine.diagnose import Finding, Remedy, live
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, note_process
from engine.runs.record import Record
from engine.workspace import Workspace

from ...conftest import Processes

FOUND = Finding("SP777", "warning", "a trial of 火", {"step": 3}, (2, 3), (Remedy("a", "b", {"name": "c"}),))
NAN = {
    "what": "loss", "value": math.nan, "learning_rate": 1.0, "last_finite_loss": 1.0, "gradient_norm": None,
    "obsids": [], "parameter": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("severity", "on_finding", "action"),
    [
        ("warning", {}, "nothing"),
        ("warning", {"warning": "stop"}, "stop"),
        ("error", {"warning": "stop"}, "stop"),
        ("info", {"warning": "stop"}, "nothing"),
        ("error", {"warning": "stop", "error": "lower_rate"}, "lower_rate"),
        ("error", {"SP777": "nothing", "error": "lower_rate"}, "nothing"),
        ("info", {"SP777": "stop"}, "stop"),
    ],
)
def test_an_id_goes_before_a_severity_which_covers_the_worse(
    severity: Any, on_finding: dict[str, str], action: str
) -> None:
    finding = Finding("SP777", severity, "t", {}, None)
    assert live.action_of(finding, on_finding) == action


@pytest.fixture
def living(new_run: Callable[..., RunFolder]) -> tuple[RunFolder, EventLog]:
    """A run that this process is at work on, and its log."""
    run = new_run()
    note_process(run)
    log = EventLog(run.events)
    log.append("phase", phase="training")
    return run, log


def test_what_a_run_told_of_itself_is_listed_with_it(
    workspace: Workspace, living: tuple[RunFolder, EventLog], processes: Processes
) -> None:
    run, log = living
    log.append("finding", **live.event_of(FOUND, step=5, action="nothing"))
    log.append("finding", id="SP778", of="a later version")
    record = Record(run.path)
    record.refresh()
    assert live.recorded(record) == [FOUND]
    assert live.known(workspace, record) == [FOUND]
    (listed,) = json.loads(processes.run("runs", "--json").stdout)
    assert [f["id"] for f in listed["findings"]] == ["SP777"]
    assert listed["findings"][0]["remedies"] == [{"title": "a", "why": "b", "patch": {"name": "c"}}]


def test_watch_ends_with_87_when_the_numbers_end(
    living: tuple[RunFolder, EventLog], processes: Processes
) -> None:
    run, log = living
    watching = processes.start("watch", run.run_id, "--until-bad")
    assert watching.stdout is not None
    assert watching.stdout.readline() == "training\n"
    log.append("finding", **live.event_of(FOUND, step=5, action="nothing"))
    assert "SP777" in watching.stdout.readline(), "a finding is told when it is there"
    log.append("nonfinite", step=30, epoch=1, **NAN)
    out, _ = watching.communicate(timeout=60)
    assert watching.returncode == 87
    assert "SP102" in out and out.splitlines()[-1] == f"{run.run_id} is running"


@pytest.mark.parametrize("as_json", [False, True])
def test_watch_ends_with_1_at_a_finding_as_bad_as_asked(
    living: tuple[RunFolder, EventLog], processes: Processes, as_json: bool
) -> None:
    run, log = living
    words = ["--json"] if as_json else []
    watching = processes.start("watch", run.run_id, "--until-bad", "--severity", "warning", *words)
    assert watching.stdout is not None
    watching.stdout.readline()
    log.append("finding", **live.event_of(FOUND, step=5, action="nothing"))
    out, err = watching.communicate(timeout=60)
    assert (watching.returncode, err) == (1, "")
    if as_json:
        (event,) = map(json.loads, out.splitlines())
        assert (event["kind"], event["id"]) == ("finding", "SP777")
    else:
        assert out.count("SP777") == 1 and "a trial of 火" in out


def test_a_severity_without_until_bad_is_refused(
    living: tuple[RunFolder, EventLog], processes: Processes
) -> None:
    done = processes.run("watch", living[0].run_id, "--severity", "info")
    assert (done.returncode, done.stderr) == (2, "--severity needs --until-bad\n")
