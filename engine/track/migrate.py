"""What is done to MLflow's store only on request: upgrading its schema, moving an old file store into it.

Owns the copies that are kept. Whatever breaks off leaves the store as it was, and can be done again.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from engine.errors import BadInput
from engine.runs.launch import child_environment
from engine.track import database, store
from engine.words import say
from engine.workspace import Workspace

# Of the database itself, not of what was recorded; experiments are matched by their names.
_NOT_RECORDED = ("alembic_version", "workspaces", "experiments")
# Whole, or the migration is taken back: what a file store is kept for.
_COUNTED = {
    "runs": "run_uuid",
    "params": "run_uuid, key, value",
    "tags": "run_uuid, key",
    "metrics": "run_uuid, key, step, timestamp, value, is_nan",
}


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

    MLflow's own migration makes a new file only: its rows are merged from there, in one transaction. Last of
    all the old records get other names, so that a bare `mlflow ui` opens the database. Whatever breaks off
    before can be done again.

    Raises:
        BadInput: MLflow cannot read it, or the database cannot take it. Nothing was changed.
    """
    if store.old_file_store(workspace) is None:
        return say("track.nothing_to_migrate")
    mlruns = workspace.root / "mlruns"
    path = workspace.mlflow_db
    new = path.with_name(f".{path.name}.migrated")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    with store.store_lock(workspace):
        try:
            _remove(new)
            _mlflow(workspace, "migrate-filestore", "--source", str(mlruns), "--target", f"sqlite:///{new}")
            _all_read(workspace, mlruns, new)
            kept = _keep_records(mlruns, stamp)
            if path.exists():
                store.ready(workspace, path)
                database.backup(path, path.with_name(f"{path.name}.{stamp}.bak"))
            else:
                store.ready(workspace, path)
            runs, experiments = _merge(new, path)
        except database.OtherVersionError as other:
            raise BadInput(store.other_version(workspace, other)) from other
        except (sqlite3.Error, OSError) as error:
            raise BadInput(say("track.migrate_failed", error=error)) from error
        finally:
            _remove(new)
        for meta in mlruns.glob("*/meta.yaml"):
            if meta.parent.name.isdigit():
                meta.rename(meta.with_name("meta.yaml.migrated"))
    file, backup = workspace.relative(path), workspace.relative(kept)
    return say("track.migrated", runs=runs, experiments=experiments, file=file, backup=backup)


def _all_read(workspace: Workspace, mlruns: Path, new: Path) -> None:
    """See that MLflow took every record: one that it cannot read it leaves out without a word.

    Raises:
        BadInput: names the record that it left out.
    """
    with closing(database.connect(new)) as connection:
        taken = {str(row[0]) for row in connection.execute("select experiment_id from experiments")}
        taken |= {str(row[0]) for row in connection.execute("select run_uuid from runs")}
    for meta in sorted([*mlruns.glob("*/meta.yaml"), *mlruns.glob("*/*/meta.yaml")]):
        number = meta.relative_to(mlruns).parts[0]
        if number.isdigit() and meta.parent.name not in (*taken, "models", "traces", "datasets", "tags"):
            raise BadInput(say("track.migrate_failed", error=workspace.relative(meta)))


def _keep_records(mlruns: Path, stamp: str) -> Path:
    """Copy all that the file store recorded; the artifacts stay where they are."""
    kept = mlruns.with_name(f"mlruns.{stamp}.bak")
    beside = mlruns.with_name(f".{kept.name}.{os.getpid()}.tmp")
    try:
        shutil.copytree(mlruns, beside, ignore=shutil.ignore_patterns("artifacts"), symlinks=True)
        beside.rename(kept)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return kept


def _merge(source: Path, target: Path) -> tuple[int, int]:
    """Copy what is recorded in one database into another of the same schema; return runs and experiments.

    An experiment joins the one of its name, and gets another number where its own is taken. What is there
    already is left as it is, so doing it twice does nothing.
    """
    with closing(database.connect(target, write=True)) as connection:
        connection.execute("pragma foreign_keys = off")
        connection.execute("attach database ? as old", (str(source),))
        connection.execute("begin immediate")
        numbers = _match_experiments(connection)
        for (table,) in connection.execute(
            "select name from old.sqlite_master where type = 'table'"
        ).fetchall():
            if table in _NOT_RECORDED or table.startswith("sqlite_"):
                continue
            columns = [row[1] for row in connection.execute(f'pragma old.table_info("{table}")')]
            names = ", ".join(f'"{name}"' for name in columns)
            values = ", ".join(
                f'(select new from numbers n where n.old = t."{name}")'
                if name == "experiment_id"
                else f't."{name}"'
                for name in columns
            )
            connection.execute(
                f'insert or ignore into main."{table}" ({names}) select {values} from old."{table}" t'
            )
        for table in _COUNTED:
            key = _COUNTED[table]
            missing = connection.execute(
                f"select count(*) from (select {key} from old.{table} except select {key} from main.{table})"
            ).fetchone()[0]
            if missing:
                connection.execute("rollback")
                raise sqlite3.IntegrityError(f"{missing} of the {table} would be lost")
        runs = connection.execute("select count(*) from old.runs").fetchone()[0]
        connection.execute("commit")
        return int(runs), numbers


def _match_experiments(connection: sqlite3.Connection) -> int:
    """Say in the table `numbers` which experiment of the database each old one is; return how many."""
    connection.execute("create temp table numbers (old integer primary key, new integer)")
    there = {
        (name, place): number
        for number, name, place in connection.execute(
            "select experiment_id, name, workspace from main.experiments"
        )
    }
    columns = [row[1] for row in connection.execute("pragma old.table_info(experiments)")]
    rows = [
        dict(zip(columns, row, strict=True)) for row in connection.execute("select * from old.experiments")
    ]
    taken = set(there.values())
    free = max([*taken, *(row["experiment_id"] for row in rows), 0]) + 1
    for row in rows:
        old = row["experiment_id"]
        new = there.get((row["name"], row["workspace"]))
        if new is None:
            new, free = (free, free + 1) if old in taken else (old, free)
            taken.add(new)
            values = {**row, "experiment_id": new}
            marks = ", ".join("?" * len(columns))
            names = ", ".join(f'"{name}"' for name in columns)
            connection.execute(
                f"insert into main.experiments ({names}) values ({marks})", [values[name] for name in columns]
            )
        connection.execute("insert into numbers values (?, ?)", (old, new))
    return len(rows)


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
