"""The store is made once whoever comes first, and another MLflow's is never touched."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.runs.events import EventLog
from engine.runs.folder import RunFolder
from engine.track import database, migrate, replicate, store
from engine.workspace import Workspace

pytestmark = pytest.mark.xdist_group("mlflow")

FIRST = """
import sys
from pathlib import Path
from engine.track import store
from engine.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
sys.stdin.readline()
uri = store.tracking_uri(workspace, None)
api, experiment = store.ensure_experiment(workspace, uri, "spectral_prediction")
print(experiment, api.get_experiment(experiment).artifact_location)
"""


def asked(path: Path, question: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(question).fetchall()


def changed(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_six_first_ones_at_once_make_one_store(workspace: Workspace, tmp_path: Path) -> None:
    """Their template is not there either: the cache is empty."""
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    six = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST, str(workspace.root)], env=environment, cwd=tmp_path, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(6)
    ]  # fmt: skip
    said = [process.communicate("go\n", timeout=200) for process in six]
    assert [process.returncode for process in six] == [0] * 6, said
    assert {out for out, _ in said} == {f"1 {workspace.root.as_uri()}/mlruns/1\n"} or {
        out for out, _ in said
    } == {f"1 {workspace.root}/mlruns/1\n"}
    rows = asked(
        workspace.mlflow_db, "select name, artifact_location from experiments order by experiment_id"
    )
    assert [name for name, _ in rows] == ["Default", "spectral_prediction"]
    assert all(str(workspace.root / "mlruns") in location for _, location in rows)
    assert asked(workspace.mlflow_db, "pragma journal_mode") == [("wal",)]
    assert not list(workspace.root.glob(".mlflow*")) and not list((tmp_path / "cache/spectui").glob(".b*"))


def test_the_schema_is_known_without_mlflow(mlflow_store: Workspace) -> None:
    code = (
        "import sys; from engine.track import database; print(database.schemas()[0]);"
        "assert not {'mlflow', 'torch', 'sqlalchemy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked(mlflow_store.mlflow_db, "select version_num from alembic_version") == [
        (done.stdout.strip(),)
    ]


@pytest.mark.parametrize(
    ("version", "kind", "words"),
    [("ffffffffffff", "newer", "Upgrade MLflow here"), ("451aebb31d03", "older", "spectui sync --upgrade")],
)
def test_another_mlflows_database_is_not_touched(
    mlflow_store: Workspace, new_run: Callable[..., RunFolder], version: str, kind: str, words: str
) -> None:
    changed(mlflow_store.mlflow_db, f"update alembic_version set version_num = '{version}'")
    before = mlflow_store.mlflow_db.read_bytes()
    (problem,) = store.problems(mlflow_store)
    assert problem.kind == "other_version"
    assert f"made by an {kind}" in problem.text.replace("a newer", "an newer") and words in problem.text
    run = new_run()
    with pytest.raises(database.OtherVersionError):
        replicate.replicate(mlflow_store, run)
    assert mlflow_store.mlflow_db.read_bytes() == before
    assert not list(mlflow_store.root.glob("mlflow.db-*"))


def test_what_is_no_database_is_told(workspace: Workspace) -> None:
    assert store.problems(workspace) == []
    workspace.mlflow_db.write_text("hello, this is no database at all, as one sees when one looks at it")
    assert [p.kind for p in store.problems(workspace)] == ["unreadable"]
    meta = workspace.root / "mlruns" / "0" / "meta.yaml"
    meta.parent.mkdir(parents=True)
    meta.write_text("experiment_id: '0'\n")
    assert [p.kind for p in store.problems(workspace)] == ["file_store", "unreadable"]


def test_an_old_database_is_upgraded_with_a_copy_kept(mlflow_store: Workspace) -> None:
    head = database.schemas()[0]
    changed(mlflow_store.mlflow_db, "create table kept (word text)", "insert into kept values ('still here')")
    undo(mlflow_store.mlflow_db)
    old = asked(mlflow_store.mlflow_db, "select version_num from alembic_version")[0][0]
    assert old != head
    with closing(sqlite3.connect(mlflow_store.mlflow_db, isolation_level=None)) as other:
        other.execute("pragma journal_mode = wal")
        other.execute("begin immediate")
        with pytest.raises(Exception, match="is in use by another program"):
            migrate.upgrade(mlflow_store)
        other.execute("rollback")
    assert head in migrate.upgrade(mlflow_store)
    assert database.schema_of(mlflow_store.mlflow_db) == head
    kept = mlflow_store.root / f"mlflow.db.{old}.bak"
    assert database.schema_of(kept) == old
    for path in (mlflow_store.mlflow_db, kept):
        assert asked(path, "select word from kept") == [("still here",)]
    assert "nothing to upgrade" in migrate.upgrade(mlflow_store)
    assert not list(mlflow_store.root.glob(".mlflow*"))


def undo(path: Path) -> None:
    """Take the newest migration back, as MLflow itself would."""
    code = (
        "import sys; from mlflow.store.db.utils import _get_alembic_config; from alembic import command;"
        "command.downgrade(_get_alembic_config('sqlite:///' + sys.argv[1]), '-1')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        newest = database.schemas()[0]
        folder = Path(__import__("mlflow").__file__).parent / "store" / "db_migrations" / "versions"
        (file,) = [
            f for f in folder.glob("*.py") if f'revision = "{newest}"' in f.read_text().split("down_")[0]
        ]
        pytest.fail(f"{file.name} cannot be taken back: {done.stderr[-300:]}")


def test_network_disks_get_no_write_ahead_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = (
        "22 1 8:1 / / rw - ext4 /dev/sda rw\n"
        "40 22 0:40 / /home rw shared:1 - nfs4 server:/home rw\n"
        "41 40 0:41 / /home/with\\040space rw - xfs /dev/sdb rw\n"
    )
    for folder, kind in (
        ("/x", "ext4"),
        ("/home/me/w", "nfs4"),
        ("/homes", "ext4"),
        ("/home/with space/a", "xfs"),
    ):
        assert database._kind(mounts, Path(folder)) == kind
    monkeypatch.setattr(database, "is_network", lambda folder: True)
    made = tmp_path / "mlflow.db"
    database.make(made, tmp_path / "mlruns")
    assert asked(made, "pragma journal_mode") == [("delete",)]
    monkeypatch.setattr(database, "is_network", lambda folder: False)
    database.settle(made)
    assert asked(made, "pragma journal_mode") == [("wal",)]


def test_sqlite_looks_at_its_tables_when_they_doubled(
    mlflow_store: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_FEW_ROWS", 10)
    path = mlflow_store.mlflow_db
    assert not database.analyze(path)
    row = "insert into metrics (key, value, timestamp, run_uuid, step, is_nan) values ('k', 1, 1, 'r', {}, 0)"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("pragma foreign_keys = off")
        for step in range(20):
            connection.execute(row.format(step))
    assert database.analyze(path)
    assert not database.analyze(path), "nothing came since"
    with closing(sqlite3.connect(path)) as connection, connection:
        for step in range(20, 40):
            connection.execute(row.format(step))
    assert database.analyze(path)


def test_experiments_of_a_server_keep_their_files_here(
    mlflow_store: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    store.ensure_experiment(mlflow_store, store.tracking_uri(mlflow_store, None), "spectral_prediction")
    changed(
        mlflow_store.mlflow_db,
        "update experiments set artifact_location = 'mlflow-artifacts:/1' where experiment_id = 1",
    )
    (problem,) = store.problems(mlflow_store)
    assert (problem.kind, "spectral_prediction" in problem.text) == ("served_artifacts", True)
    run = new_run()
    log = EventLog(run.events)
    log.append("end", outcome="finished", exit_code=0, message="")
    log.close()
    replicate.replicate(mlflow_store, run)
    assert asked(mlflow_store.mlflow_db, "select status from runs") == [("FINISHED",)]
    (where,) = asked(mlflow_store.mlflow_db, "select value from tags where key = 'spectui.artifacts'")
    assert where == (str(run.path),)
