"""The MLflow store of a workspace: where it is, what stands in its way, and made before anyone needs it.

Owns the tracking URI and the first creation of the database and the experiment, under a lock of our own:
MLflow's migrations break when two processes create one database. Imports MLflow inside functions only.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.track import database
from engine.words import say
from engine.workspace import Workspace

# Set before MLflow is imported: no telemetry and no hints, and a server that is down is noticed in seconds.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
_SQLITE = "sqlite:///"
_SERVED = "mlflow-artifacts:"


@dataclass(frozen=True)
class Problem:
    """Something about the store that a person has to know: a name for programs, a sentence for people."""

    kind: str
    path: Path
    text: str


def tracking_uri(workspace: Workspace, wanted: str | None) -> str:
    """Return the URI in force: the conf's, else MLFLOW_TRACKING_URI, else the workspace's database."""
    uri = wanted or os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{workspace.mlflow_db}"
    path = sqlite_path(uri)
    return uri if path is None else f"{_SQLITE}{workspace.root / path}"


def sqlite_path(uri: str) -> Path | None:
    """Return the file of an SQLite URI; None for another store."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def old_file_store(workspace: Workspace) -> Path | None:
    """Return the file of an old file store that makes a bare `mlflow ui` refuse this folder, if any."""
    mlruns = workspace.root / "mlruns"
    if not mlruns.is_dir():
        return None
    return next(
        (
            p / "meta.yaml"
            for p in sorted(mlruns.iterdir())
            if p.name.isdigit() and (p / "meta.yaml").is_file()
        ),
        None,
    )


def problems(workspace: Workspace) -> list[Problem]:
    """Return what stands between this workspace and a store that works; no MLflow, some milliseconds."""
    found: list[Problem] = []
    old = old_file_store(workspace)
    if old is not None:
        found.append(Problem("file_store", old, say("cli.old_store", file=workspace.relative(old))))
    path = sqlite_path(tracking_uri(workspace, None))
    if path is None or not path.is_file():
        return found
    name = workspace.relative(path)
    try:
        database.check(path)
        with closing(database.connect(path, seconds=2.0)) as connection:
            served = [
                str(row[0])
                for row in connection.execute(
                    "select name from experiments where artifact_location like ? and experiment_id != 0",
                    (f"{_SERVED}%",),
                )
            ]
    except database.OtherVersionError as other:
        found.append(Problem("other_version", path, other_version(workspace, other)))
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):  # else another program is just making it
            found.append(Problem("busy", path, say("track.busy", file=name, error=error)))
    except (sqlite3.DatabaseError, OSError) as error:
        found.append(Problem("unreadable", path, say("track.unreadable", file=name, error=error)))
    else:
        if served:
            words = say("track.served_artifacts", file=name, names=", ".join(served))
            found.append(Problem("served_artifacts", path, words))
    return found


def other_version(workspace: Workspace, other: database.OtherVersionError) -> str:
    """Say what to do about a database of another MLflow."""
    words = "track.newer_version" if other.newer else "track.older_version"
    return say(words, file=workspace.relative(other.path), found=other.found, head=database.schemas()[0])


def client(workspace: Workspace, uri: str) -> Any:
    """Return an MlflowClient on `uri` (imports MLflow: seconds)."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # The artifact folder of a new experiment comes from the folder MLflow is in, not from the database's.
    os.chdir(workspace.root)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def ensure_experiment(workspace: Workspace, uri: str, name: str) -> tuple[Any, str]:
    """Return a client and the id of experiment `name`, creating database and experiment once.

    The artifact folder is <root>/mlruns/<id>, the one that a bare `mlflow ui` expects.

    Raises:
        OtherVersionError: the database is of another MLflow's making and was not touched.
    """
    path = sqlite_path(uri)
    with store_lock(workspace) if path is not None else nullcontext():
        if path is not None:
            ready(workspace, path)
        api = client(workspace, uri)
        experiment = api.get_experiment_by_name(name)
        if experiment is None:
            return api, _create(api, name)
        if experiment.lifecycle_stage == "deleted":
            api.restore_experiment(experiment.experiment_id)
        return api, str(experiment.experiment_id)


def ready(workspace: Workspace, path: Path) -> None:
    """Make a database where there is none, look at the version of one that is there. Under the lock."""
    database.check(path)
    if database.schema_of(path) is None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        database.make(path, workspace.root / "mlruns")
    else:
        database.settle(path)
        if path == workspace.mlflow_db:
            database.rehome(path, workspace.root / "mlruns")


def _create(api: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    try:
        experiment = str(api.create_experiment(name))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return str(api.get_experiment_by_name(name).experiment_id)  # another one was quicker
    api.set_experiment_tag(experiment, "mlflow.experiment.primaryMetric.name", "val_loss")
    api.set_experiment_tag(experiment, "mlflow.experiment.primaryMetric.greaterIsBetter", "False")
    return experiment


@contextmanager
def store_lock(workspace: Workspace) -> Iterator[None]:
    """Hold the lock under which the workspace's store is made and changed as a whole."""
    workspace.cache.mkdir(parents=True, exist_ok=True)
    with (workspace.cache / "mlflow.lock").open("a") as handle:
        fcntl.lockf(handle, fcntl.LOCK_EX)
        yield
