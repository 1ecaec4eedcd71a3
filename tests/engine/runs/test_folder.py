"""A run folder is whole or not there, and its name is safe."""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Callable

import pytest
import yaml

from engine.conf.load import Resolved
from engine.runs import find, folder
from engine.runs.folder import RunFolder, create
from engine.runs.record import Record
from engine.workspace import Workspace


def test_a_new_folder_has_all_its_immutable_parts(
    workspace: Workspace, tiny: Callable[..., Resolved]
) -> None:
    resolved = tiny("training.epochs=3")
    run = create(workspace, resolved, parent="old-run", command=["spectui", "train"])
    assert re.fullmatch(r"tiny-\d{8}-\d{6}-[0-9a-f]{4}", run.run_id)
    assert yaml.safe_load(run.conf.read_text()) == resolved.conf.plain()
    assert yaml.safe_load(run.patch.read_text()) == {"training.epochs": {"was": 2, "is": 3}}
    identity = json.loads(run.identity.read_text())
    assert identity["run_id"] == run.run_id
    assert identity["source"] == "conf/tiny.yaml"
    assert (identity["parent"], identity["command"]) == ("old-run", ["spectui", "train"])
    assert run.events.read_bytes() == b""
    assert all(place.is_dir() for place in (run.checkpoints, run.figures, run.predictions))
    assert [p.name for p in workspace.runs.iterdir()] == [run.run_id]
    assert not list(run.path.rglob(".*")), "nothing half-written is left"


@pytest.mark.parametrize("fails_at", ["to_yaml", "write_json", "socket.gethostname"])
def test_a_failure_on_the_way_leaves_nothing(
    workspace: Workspace, tiny: Callable[..., Resolved], monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    resolved = tiny()
    monkeypatch.setattr(f"engine.runs.folder.{fails_at}", fail)
    with pytest.raises(KeyboardInterrupt):
        create(workspace, resolved)
    assert list(workspace.runs.iterdir()) == []


def test_nobody_sees_half_a_folder(
    workspace: Workspace, tiny: Callable[..., Resolved], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = folder.write_json

    def look(*arguments: object) -> None:
        seen.append(find.folders(workspace))
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(folder, "write_json", look)
    create(workspace, tiny())
    assert seen == [[]]


def test_run_ids_are_unique(
    workspace: Workspace, tiny: Callable[..., Resolved], monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = iter(["aaaa", "aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(folder.secrets, "token_hex", lambda _: next(draws))
    resolved = tiny()
    while True:
        first, second = create(workspace, resolved), create(workspace, resolved)
        if first.run_id[:-5] == second.run_id[:-5]:  # in one second
            break
        draws = iter(["cccc", "cccc", "dddd"])
    assert first.run_id != second.run_id


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a/b", "a-b"), ("../up", "up"), (".hidden", "hidden"), ("-rf", "rf"), ("a b;$(x)", "a-b-x"),
        ("~", "run"),        ("...", "run"), ("@last", "last"), ("光谱", "光谱"), ("v1.2+x_y", "v1.2+x_y"),
    ],
)  # fmt: skip
def test_names_become_safe_folder_names(
    workspace: Workspace, tiny: Callable[..., Resolved], name: str, safe: str
) -> None:
    run = create(workspace, tiny(f"name='{name}'"))
    assert run.path.parent == workspace.runs
    assert run.run_id.rsplit("-", 3)[0] == safe
    assert Record(run.path).name == name


def test_a_long_name_fits_a_file_system(workspace: Workspace, tiny: Callable[..., Resolved]) -> None:
    run = create(workspace, tiny("name=" + "谱" * 80))
    assert len(run.run_id.encode()) < 230
    assert Record(run.path).name == "谱" * 80


def test_a_user_without_a_name_can_train(
    workspace: Workspace, tiny: Callable[..., Resolved], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert Record(create(workspace, tiny()).path).identity["user"].isdigit()


def test_json_that_is_not_there_or_not_json_is_empty(new_run: Callable[..., RunFolder]) -> None:
    run = new_run()
    assert run.read_json(run.process) == {}
    run.process.write_text("{half")
    assert run.read_json(run.process) == {}
    run.process.write_text("[1]")
    assert run.read_json(run.process) == {}


def test_what_a_killed_process_left_is_swept_but_not_what_is_being_made(
    workspace: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    old, young = (workspace.runs / f".new-{name}" for name in ("old", "young"))
    for stray in (old, young):
        (stray / "checkpoints").mkdir(parents=True)
    os.utime(old, (0, 0))
    new_run()
    assert young.exists() and not old.exists()
