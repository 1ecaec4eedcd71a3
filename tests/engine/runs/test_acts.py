"""What people do with runs: names, notes, tags; resume, rerun, what they refuse; launch, all or nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.conf.load import Resolved
from engine.errors import BadInput
from engine.runs import acts, devices, launch, survive
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, note_process
from engine.runs.process import identify
from engine.runs.record import Record
from engine.track import listing
from engine.workspace import Workspace

TAGGING = """
import sys
from pathlib import Path
from engine.runs import acts
from engine.runs.record import Record
record = Record(Path(sys.argv[1]))
for at in range(20):
    acts.tag(record, {f"{sys.argv[2]}{at}": "x"})
"""


def ended(run: RunFolder, outcome: str = "stopped") -> Record:
    """A run that has ended, its process gone."""
    note_process(run, identity=replace(identify(), start_time="1"))
    events = EventLog(run.events)
    events.append("attempt", number=1)
    events.append("end", outcome=outcome, exit_code=85, message="")
    events.close()
    record = Record(run.path)
    record.refresh()
    return record


# -- name, note, tags ---------------------------------------------------------------------------------------


def test_a_name_a_note_and_tags_are_kept_and_taken_back(new_run: Callable[..., RunFolder]) -> None:
    record = Record(new_run().path)
    acts.rename(record, "  the good one ")
    acts.note(record, "line one\nline two\n")
    acts.tag(record, {"a": "1", "b": "2"})
    acts.tag(record, {"a": None, "c": "3"})
    again = Record(record.folder.path)
    assert (again.name, again.note, again.tags) == (
        "the good one",
        "line one\nline two",
        {"b": "2", "c": "3"},
    )
    acts.rename(record, "")
    acts.note(record, "")
    assert (record.name, record.note) == ("tiny", "")


def test_two_who_tag_at_once_lose_nothing(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    both = [subprocess.Popen([sys.executable, "-c", TAGGING, str(run.path), who]) for who in "ab"]
    assert [one.wait(60) for one in both] == [0, 0]
    assert len(Record(run.path).tags) == 40


@pytest.mark.parametrize("key", ["", "mlflow.runName", "spectui.state", "a\nb", "x" * 251])
def test_a_tag_that_mlflow_would_not_take_is_refused(new_run: Callable[..., RunFolder], key: str) -> None:
    record = Record(new_run().path)
    with pytest.raises(BadInput, match="tag"):
        acts.tag(record, {"good": "1", key: "x"})
    assert not record.folder.about.exists()


@pytest.mark.parametrize("name", ["two\nlines", "x" * 251])
def test_what_is_no_name_is_refused(new_run: Callable[..., RunFolder], name: str) -> None:
    record = Record(new_run().path)
    with pytest.raises(BadInput, match="one line"):
        acts.rename(record, name)
    assert not record.folder.about.exists()


def test_tags_that_a_person_wrote_wrong_by_hand_stop_nobody(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    run.about.write_text('{"name": "x", "tags": ["no", "mapping"]}')
    record = Record(run.path)
    assert (record.name, record.tags) == ("x", {})
    acts.tag(record, {"k": "v"})
    assert record.tags == {"k": "v"}


# -- resume and rerun ---------------------------------------------------------------------------------------


def test_resume_refuses_what_cannot_go_on(workspace: Workspace, new_run: Callable[..., RunFolder]) -> None:
    with pytest.raises(BadInput, match="finished"):
        acts.resume(workspace, ended(new_run(), "finished"))
    live = new_run()
    note_process(live)
    with pytest.raises(BadInput, match="still at work"):
        acts.resume(workspace, Record(live.path))
    waiting = new_run()
    waiting.queued.write_text("{}")
    with pytest.raises(BadInput, match="queue"):
        acts.resume(workspace, Record(waiting.path))
    wrong = new_run()
    wrong.conf.write_text(wrong.conf.read_text().replace("epochs: 2", "epochs: none"))
    with pytest.raises(BadInput, match=r"training\.epochs"):
        acts.resume(workspace, ended(wrong))
    assert not list(workspace.runs.glob("*/log.txt")), "no engine was started"


def test_an_engine_is_not_started_beside_another(
    workspace: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    """Both have looked, and the other was faster: the last look is under a lock."""
    run = new_run()
    note_process(run)
    with pytest.raises(BadInput, match=f"pid {os.getpid()}"):
        launch.start(workspace, run, again=True)
    assert run.read_json(run.process)["pid"] == os.getpid()


def test_a_rerun_is_a_child_that_says_what_it_changed(
    workspace: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    parent = ended(new_run("training.epochs=7"))
    run = acts.rerun(workspace, parent, ["training.learning_rate=0.5"], name="kid", start=False)
    child = Record(run.path)
    assert (child.parent, child.name) == (parent.run_id, "kid")
    assert yaml.safe_load(run.patch.read_text()) == {
        "name": {"was": "tiny", "is": "kid"},
        "training.learning_rate": {"was": 0.001, "is": 0.5},
    }
    assert child.conf()["training"]["epochs"] == 7
    with pytest.raises(BadInput, match=r"training\.epocs.*epochs"):
        acts.rerun(workspace, parent, ["training.epocs=1"], start=False)
    with pytest.raises(BadInput, match="no checkpoint"):
        acts.rerun(workspace, parent, from_weights=True, start=False)
    assert len(list(workspace.runs.glob("*/run.json"))) == 2


def test_a_run_that_only_mlflow_knows_is_rerun_from_its_parameters(
    mlflow_store: Workspace, tiny: Callable[..., Resolved]
) -> None:
    from mlflow import MlflowClient

    from engine.conf.load import flatten

    api = MlflowClient(f"sqlite:///{mlflow_store.mlflow_db}")
    for name, params in (
        ("ours", flatten(tiny("training.epochs=9").conf.plain())),
        ("theirs", {"depth": "3"}),
    ):
        made = api.create_run("0", run_name=name)
        for key, value in params.items():
            api.log_param(made.info.run_id, key, "null" if value is None else value)
        api.set_terminated(made.info.run_id)
    record = listing.find(mlflow_store, "ours")
    run = acts.rerun(mlflow_store, record, ["training.seed=3"], start=False)
    child = Record(run.path)
    assert (child.parent, child.conf()["training"]["epochs"]) == (record.run_id, 9)
    assert list(yaml.safe_load(run.patch.read_text())) == ["training.seed"]
    with pytest.raises(BadInput) as refused:
        acts.rerun(mlflow_store, listing.find(mlflow_store, "theirs"), start=False)
    assert len(refused.value.lines) == 1 and "makes no conf" in refused.value.lines[0]
    for act in (lambda: acts.resume(mlflow_store, record), lambda: acts.note(record, "x")):
        with pytest.raises(BadInput, match="only MLflow"):
            act()


# -- launch -------------------------------------------------------------------------------------------------


def test_one_bad_conf_and_no_run_is_made(workspace: Workspace, tiny: Callable[..., Resolved]) -> None:
    confs = [tiny(), tiny("data.path=nowhere"), tiny("data.path=elsewhere")]
    with pytest.raises(BadInput) as refused:
        acts.launch(workspace, confs)
    assert len(refused.value.lines) == 2, "both mistakes at once"
    assert list(workspace.runs.iterdir()) == []


def test_what_cannot_be_started_is_gone_again(
    workspace: Workspace, tiny: Callable[..., Resolved], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def start(workspace: Workspace, run: RunFolder, **_: Any) -> int:
        if started:
            raise OSError(28, "No space left on device")
        started.append(run.run_id)
        return 1

    monkeypatch.setattr(launch, "start", start)
    with pytest.raises(OSError, match="No space"):
        acts.launch(workspace, [tiny(), tiny(), tiny()])
    assert [path.name for path in workspace.runs.iterdir()] == started


def test_an_engine_that_cannot_be_noted_is_not_left(
    workspace: Workspace, new_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def full(run: RunFolder, *, identity: Any, **_: Any) -> None:
        seen.append(identity.pid)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(launch, "note_process", full)
    with pytest.raises(OSError, match="No space"):
        launch.start(workspace, new_run())
    assert not Path(f"/proc/{seen[0]}").exists()


# -- where logind kills -------------------------------------------------------------------------------------


def test_each_run_of_a_launch_gets_a_gpu_of_its_own_the_freest_first(
    workspace: Workspace, tiny: Callable[..., Resolved], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "gpus"
    place.mkdir()
    rows = "".join(f"{i}, GPU-{i}, Big, 40960, {free}\\n" for i, free in enumerate((9000, 30000, 20000)))
    script = f"#!/bin/sh\ncase $1 in --query-gpu=*) printf '{rows}';; esac\n"
    (place / "nvidia-smi").write_text(script)
    (place / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(devices, "_by_nvml", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen: list[dict[str, Any]] = []

    def start(_workspace: Workspace, folder: RunFolder, **how: Any) -> int:
        seen.append(how)
        return 1

    monkeypatch.setattr(launch, "start", start)
    wanted = [tiny(f"training.device={device}") for device in ("auto", "cpu", "auto", "cuda:0")]
    acts.launch(workspace, wanted)
    given = [how["environment"].get("CUDA_VISIBLE_DEVICES") for how in seen]
    assert given == ["GPU-1", None, "GPU-2", None]
    assert [how.get("gpu", {}).get("index") for how in seen] == [1, None, 2, 0]
    assert seen[0]["gpu"]["free_bytes"] == 30000 << 20
    acts.launch(workspace, wanted[:1], words=["--nproc", "2"])
    assert seen[-1]["environment"] == {}, "several processes see all"


@pytest.fixture
def at_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survive, "killed_at_logout", lambda: True)
    survive.scope_works.cache_clear()


def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    program = tmp_path / "bin" / "systemd-run"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "asked"


@pytest.mark.usefixtures("at_login")
def test_a_scope_is_used_where_it_works_and_the_engine_is_known(
    workspace: Workspace, new_run: Callable[..., RunFolder], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any],
) -> None:  # fmt: skip
    scope = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'
    asked = pretend(tmp_path, monkeypatch, scope)
    run = new_run("training.epochs=100000")
    pid = launch.start(workspace, run)
    record = Record(run.path)
    try:
        assert asked.read_text().splitlines()[0] == "--user --scope --quiet --collect -- true"
        until(lambda: len(asked.read_text().splitlines()) == 2)
        assert f"-m engine --root {workspace.root} train --run {run.run_id}" in asked.read_text()
        until(lambda: record.refresh() and record.state == "running")
        assert (record.pid, record.attempts[0]["number"]) == (pid, 1)
    finally:
        assert acts.stop(record, now=True).stopped


@pytest.mark.usefixtures("at_login")
def test_without_a_scope_an_engine_is_started_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = pretend(tmp_path, monkeypatch, "exit 1")
    assert survive.prefix() == []
    assert survive.prefix() == []
    assert len(asked.read_text().splitlines()) == 1, "tried once"


def test_logind_is_read_with_its_drop_ins(tmp_path: Path) -> None:
    low, high = tmp_path / "usr", tmp_path / "etc"
    for place in (low, high):
        (place / "logind.conf.d").mkdir(parents=True)
    (low / "logind.conf").write_text("[Login]\nKillUserProcesses=no\n")
    (high / "logind.conf").write_text("[Login]\n#KillUserProcesses=no\nKillExcludeUsers=root\n")
    (low / "logind.conf.d" / "50-a.conf").write_text("[Login]\nKillUserProcesses=no\n")
    (high / "logind.conf.d" / "60-b.conf").write_text("[Login]\nKillUserProcesses = yes\n")
    found = survive.settings((str(low), str(high)))
    assert survive.kills_user_processes(found, "ada") is True
    assert survive.kills_user_processes(found, "root") is False
    (high / "logind.conf.d" / "60-b.conf").write_text("")
    assert survive.kills_user_processes(survive.settings((str(low), str(high))), "ada") is False


def test_facts_of_a_launcher_stay_beside_the_engine(
    workspace: Workspace, new_run: Callable[..., RunFolder], until: Callable[..., Any]
) -> None:
    run = new_run("training.epochs=100000")
    launch.start(workspace, run, environment={"CUDA_VISIBLE_DEVICES": "1"}, gpu="GPU-1")
    record = Record(run.path)
    try:
        until(lambda: record.refresh() and record.state == "running")
        noted = json.loads(run.process.read_text())
        assert (noted["gpu"], noted["attempt"]) == ("GPU-1", 1)
    finally:
        assert acts.stop(record, now=True).stopped
