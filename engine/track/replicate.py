"""Replicate one run folder into MLflow, from a process of its own.

    python -m engine.track.replicate ROOT RUN_ID

Follows the event log by a cursor kept in the folder, so nothing is logged twice and a store that was away
is caught up later. Training never waits for it and never dies of it. It outlives the engine by as long as
it takes to see how the run ended: an engine that was killed leaves an MLflow run closed as KILLED, not
RUNNING for ever.
"""

from __future__ import annotations

import fcntl
import math
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from engine.conf.load import flatten
from engine.runs.events import Tail, number
from engine.runs.folder import RunFolder, write_json
from engine.runs.launch import child_environment
from engine.runs.record import Record
from engine.track import store
from engine.workspace import Workspace

STATUS = {
    "finished": "FINISHED",
    "stopped": "KILLED",
    "died": "KILLED",
    "failed": "FAILED",
    "diverged": "FAILED",
}
_INTERVAL_SECONDS = 1.0
_POINTS_A_BATCH = 900
_TRIES = 5


def start(workspace: Workspace, folder: RunFolder) -> subprocess.Popen[bytes]:
    """Start replication of a run in its own session; its output goes to mlflow.log."""
    with folder.tracking_log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "engine.track.replicate", str(workspace.root), folder.run_id],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=workspace.root,
            env=child_environment(),
        )


def replicate(workspace: Workspace, folder: RunFolder) -> str:
    """Follow a run until it has ended and is whole in MLflow; return the MLflow run id.

    A run that is resumed at once after a kill may still have its first replicator, which goes on following
    it: two would log every point twice, so another one waits for the end of the first.
    """
    with folder.tracking_lock.open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        return _follow(workspace, folder)


def _follow(workspace: Workspace, folder: RunFolder) -> str:
    record = Record(folder.path, keep_curves=False)
    record.refresh()
    conf = record.conf()
    settings = conf.get("tracking", {})
    state = folder.read_json(folder.tracking)
    # A run stays in the store that it began in, whatever the environment says later.
    uri = str(state.get("uri") or store.tracking_uri(workspace, settings.get("uri")))
    api, experiment = store.ensure_experiment(
        workspace, uri, settings.get("experiment", "spectral_prediction")
    )
    if not state.get("run_id"):
        state = {"uri": uri, "experiment_id": experiment, "run_id": _create(api, experiment, record, conf)}
        state["cursor"] = 0
        write_json(folder.tracking, state)
    run_id = str(state["run_id"])
    if state.pop("closed", None) is not None and record.live:
        api.update_run(run_id, status="RUNNING")  # resumed: it was closed as stopped, failed or killed
    tail = Tail(folder.events, int(state.get("cursor", 0)))
    while True:
        record.refresh()
        ended = not record.live
        events = tail.poll(1_000_000)
        _log(api, run_id, events)
        if events:
            write_json(folder.tracking, state | {"cursor": tail.offset})
        elif ended:
            break
        else:
            time.sleep(_INTERVAL_SECONDS)
    _close(api, run_id, folder, record)
    write_json(folder.tracking, state | {"cursor": tail.offset, "closed": record.state})
    return run_id


def _create(api: Any, experiment: str, record: Record, conf: dict[str, Any]) -> str:
    """Make the MLflow run with its parameters and tags, all known before training; return its id."""
    from mlflow.entities import Param

    identity = record.identity
    git = identity.get("git") or {}
    tags = {
        "mlflow.runName": record.name,
        "mlflow.user": str(identity.get("user", "")),
        "mlflow.source.name": str(record.source or "spectui"),
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": str(conf.get("description", "")),
        "spectui.run_id": record.run_id,
        "spectui.host": str(identity.get("host", "")),
    }
    if git.get("commit"):
        tags["mlflow.source.git.commit"] = git["commit"]
    # A try that broke off half-way has made it already: it is filled, not made twice.
    made = api.search_runs([experiment], f"tags.`spectui.run_id` = '{record.run_id}'", max_results=1)
    run = (
        made[0]
        if made
        else api.create_run(
            experiment, start_time=int(record.created_at * 1000), tags=tags, run_name=record.name
        )
    )
    parameters = [Param(_key(key), _parameter(value)) for key, value in flatten(conf).items()]
    for first in range(0, len(parameters), 100):
        api.log_batch(run.info.run_id, params=parameters[first : first + 100], synchronous=True)
    return str(run.info.run_id)


def _log(api: Any, run_id: str, events: list[dict[str, Any]]) -> None:
    """Log what the events say: epoch values by epoch, step values (one a record) by global step."""
    from mlflow.entities import Metric, RunTag

    metrics: list[Any] = []
    tags: list[Any] = []
    for event in events:
        stamp = int(event.get("time", 0) * 1000)
        if event["kind"] == "epoch":
            pairs = [(name, value, event["epoch"]) for name, value in event["values"].items()]
        elif event["kind"] == "steps" and event["step"]:
            pairs = [
                (f"step/{name}", column[-1], event["step"][-1]) for name, column in event["columns"].items()
            ]
        elif event["kind"] == "pace":
            pairs = [(f"step/{name}", value, event["step"]) for name, value in event["values"].items()]
        elif event["kind"] == "test":
            pairs = [
                (f"test_{name}", value, event.get("epoch", 0)) for name, value in event["values"].items()
            ]
        elif event["kind"] == "nonfinite":
            tags.append(RunTag("spectui.first_nonfinite", f"{event['what']}@{event['step']}"))
            continue
        else:
            continue
        metrics += [
            Metric(_key(name), float(number(value)), stamp, step)
            for name, value, step in pairs
            if isinstance(number(value), int | float)
        ]
    for first in range(0, len(metrics), _POINTS_A_BATCH):
        api.log_batch(run_id, metrics=metrics[first : first + _POINTS_A_BATCH], synchronous=True)
    if tags:
        api.log_batch(run_id, tags=tags, synchronous=True)


def _close(api: Any, run_id: str, folder: RunFolder, record: Record) -> None:
    """Log the artifacts and set how the run ended."""
    from engine.figures import draw_curves

    full = Record(folder.path)
    full.refresh()
    drawn = {p.name for p in folder.figures.glob("*.pdf")}
    if not {"loss_curve.pdf", "lr_curve.pdf"} <= drawn:
        draw_curves(full)
    for figure in sorted(folder.figures.glob("*.pdf")):
        api.log_artifact(run_id, str(figure))
    texts = (folder.conf, folder.split, folder.log, folder.metrics, folder.metrics_feh, folder.confusion_feh)
    for path in (*texts, folder.model_text):
        if path.is_file() and path.stat().st_size:
            api.log_artifact(run_id, str(path))
    best = folder.checkpoints / "best.pt"
    if best.is_file():
        api.log_artifact(run_id, str(best), "checkpoints")
    for table in sorted(folder.predictions.glob("*.csv")):
        api.log_artifact(run_id, str(table), "predictions")
    api.set_tag(run_id, "spectui.state", record.state)
    ended = record.ended_at
    api.set_terminated(run_id, STATUS[record.state], end_time=int((ended or time.time()) * 1000))


def _key(name: str) -> str:
    """Return a name that MLflow accepts."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in name)[:250]


def _parameter(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return "null" if value is None else str(value)[:6000]


def main(argv: list[str]) -> int:
    """Replicate, trying again while the run lives and a few times after; the rest is for a later catch-up."""
    workspace = Workspace(Path(argv[0]))
    folder = RunFolder(workspace.runs / argv[1])
    failures = tries = 0
    while tries < _TRIES:
        if failures:
            time.sleep(min(30, 2 ** min(failures, 5) / 2))
        try:
            replicate(workspace, folder)
        except Exception:  # noqa: BLE001 - whatever the store does, the run must not be harmed; said in mlflow.log
            traceback.print_exc()
            record = Record(folder.path, keep_curves=False)
            record.refresh()
            failures, tries = failures + 1, tries + (not record.live)
        else:
            return 0
    print(f"not replicated after {_TRIES} tries; the events stay in {folder.events}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    os.environ.update(store.QUIET)
    sys.exit(main(sys.argv[1:]))
