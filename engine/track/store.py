"""The MLflow store of a workspace: where it is, and made before anyone needs it.

Owns the tracking URI and the first creation of the database and the experiment, under a lock of our own:
MLflow's migrations break when two processes create one database. Imports MLflow inside functions only.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.workspace import Workspace

# Set before MLflow is imported: no telemetry and no hints, and a server that is down is noticed in seconds.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def tracking_uri(workspace: Workspace, wanted: str | None) -> str:
    """Return the URI in force: the conf's, else MLFLOW_TRACKING_URI, else the workspace's database."""
    return wanted or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.mlflow_db}"


def old_file_store(workspace: Workspace) -> Path | None:
    """Return the file of an old file store that makes a bare `mlflow ui` refuse this folder, if any."""
    mlruns = workspace.root / "mlruns"
    if not mlruns.is_dir():
        return None
    return next(
        (p / "meta.yaml" for p in mlruns.iterdir() if p.name.isdigit() and (p / "meta.yaml").is_file()), None
    )


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
    """
    with _store_lock(workspace):
        api = client(workspace, uri)
        experiment = api.get_experiment_by_name(name)
        if experiment is None:
            return api, str(api.create_experiment(name))
        if experiment.lifecycle_stage == "deleted":
            api.restore_experiment(experiment.experiment_id)
        return api, str(experiment.experiment_id)


@contextmanager
def _store_lock(workspace: Workspace) -> Iterator[None]:
    workspace.cache.mkdir(parents=True, exist_ok=True)
    with (workspace.cache / "mlflow.lock").open("w") as handle:
        fcntl.lockf(handle, fcntl.LOCK_EX)
        yield
