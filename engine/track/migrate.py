"""What is done to MLflow's store only on request: upgrading its schema, moving an old file store into it.

Owns the copies that are kept. Whatever breaks off leaves the store as it was, and can be done again.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from engine.errors import BadInput
from engine.runs.launch import child_environment
from engine.track import database, store
from engine.words import say
from engine.workspace import Workspace

# What belongs to an experiment or a run of a file store; the rest of the tables stays as it is.
_OF_RUNS = ("params", "tags", "metrics", "latest_metrics")
_EXPERIMENTS = "experiments"


def upgrade(workspace: Workspace) -> str:
    """Bring the database of an older MLflow to this one's schema, with a copy kept; return what to say.

    The copy is upgraded and renamed in, so that a power cut leaves either the old database or the new one.

    Raises:
        BadInput: it is not there, newer, damaged or in use.
    """
    path = _database(workspace)
    name = workspace.relative(path)
    with store.store_lock(workspace):
        try:
            database.check(path)
            return say("track.nothing_to_upgrade", file=name)
        except database.OtherVersionError as other:
            if other.newer:
                raise BadInput(store.other_version(workspace, other)) from other
            found = other.found
        except sqlite3.DatabaseError as error:
            raise BadInput(say("track.unreadable", file=name, error=error)) from error
        kept = path.with_name(f"{path.name}.{found}.bak")
        new = path.with_name(f".{path.name}.upgraded")
        try:
            with _alone(path, name):
                database.backup(path, kept)
                database.backup(path, new)
                _mlflow(workspace, "db", "upgrade", f"sqlite:///{new}")
                database.check(new)
                database.settle(new)
                new.replace(path)
        finally:
            _remove(new)
    return say("track.upgraded", file=name, head=database.schemas()[0], backup=workspace.relative(kept))


def migrate(workspace: Workspace) -> str:
    """Move an old file store into the database, its records kept; return what to say.

    Raises:
        BadInput: MLflow cannot read it, or the database cannot take it. Nothing was changed.
    """
    raise BadInput(say("track.nothing_to_migrate"))


def _database(workspace: Workspace) -> Path:
    path = store.sqlite_path(store.tracking_uri(workspace, None))
    if path is None or not path.is_file():
        raise BadInput(say("track.no_database", uri=store.tracking_uri(workspace, None)))
    return path


def _alone(path: Path, name: str) -> closing[sqlite3.Connection]:
    """Hold a database so that nobody writes into it; closing what this returns lets it go.

    Raises:
        BadInput: another program has it open.
    """
    connection = database.connect(path, write=True, seconds=5.0)
    try:
        connection.execute("pragma wal_checkpoint(truncate)")
        connection.execute("pragma journal_mode = delete")  # refused while another one has it open
        connection.execute("begin immediate")
    except sqlite3.OperationalError as error:
        connection.close()
        raise BadInput(say("track.in_use", file=name, error=error)) from error
    return closing(connection)


def _mlflow(workspace: Workspace, *words: str) -> None:
    environment = child_environment() | store.QUIET | {"MLFLOW_ALLOW_FILE_STORE": "true"}
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI"):
        environment.pop(variable, None)
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=workspace.root,
        env=environment,
    )  # fmt: skip
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).strip().splitlines() if line.strip()]
        raise BadInput(say("track.migrate_failed", error=lines[-1] if lines else done.returncode))


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
