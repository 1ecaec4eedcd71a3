"""Soft-delete or restore a run that only MLflow knows, from a process of its own.

    python -m engine.track.soft_delete URI MLFLOW_RUN_ID delete|restore

Runs that have a folder are followed by their replicator, which sees where the folder is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from engine.runs.launch import child_environment
from engine.track import store


def start(uri: str, mlflow_run_id: str, act: str, log: Path) -> subprocess.Popen[bytes]:
    """Do it detached; what goes wrong is said in `log`."""
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "engine.track.soft_delete", uri, mlflow_run_id, act],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=log.parent,
            env=child_environment(),
        )


def main(argv: list[str]) -> int:
    """Do it here."""
    from mlflow import MlflowClient

    uri, run_id, act = argv
    client = MlflowClient(tracking_uri=uri)
    (client.restore_run if act == "restore" else client.delete_run)(run_id)
    return 0


if __name__ == "__main__":
    os.environ.update(store.QUIET)
    sys.exit(main(sys.argv[1:]))
