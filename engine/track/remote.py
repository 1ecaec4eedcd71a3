"""Read a store that only MLflow can read, in a child process: importing MLflow takes seconds and 200 MB.

    python -m engine.track.remote URI [--follow SECONDS]
    python -m engine.track.remote URI --history RUN_ID

prints JSON lines: {"run": {…}} for each run that is new or changed, {"gone": [ids]}, {"points": …},
{"whole": n} after each look, {"error": "one line"}. This module imports MLflow in the child only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from engine.runs.events import number, writable
from engine.track import read, store
from engine.track.stored import StoredRun

_PAGE = 1000
_SLOWEST_SECONDS = 300.0
_FIELDS = (
    "mlflow_run_id", "name", "experiment", "status", "started_ms", "ended_ms", "artifact_uri", "user",
    "params", "metrics", "tags",
)  # fmt: skip


class Away(Exception):  # noqa: N818 - a state of the server, not a fault
    """The store could not be read; the text is one line for people."""


def _command(uri: str, *words: str) -> subprocess.Popen[str]:
    from engine.runs.launch import child_environment  # which the app is quicker without

    return subprocess.Popen(
        [sys.executable, "-m", "engine.track.remote", uri, *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=child_environment(),
    )  # fmt: skip


def stored_runs(uri: str) -> list[StoredRun]:
    """Return the runs of a store that are not deleted.

    Raises:
        Away: it cannot be read.
    """
    found = [_run(line["run"], uri) for line in _lines(uri) if "run" in line]
    return sorted(found, key=lambda run: run.started_ms or 0, reverse=True)


def histories(uri: str, mlflow_run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Return (step, value) of every metric of a run in step order; the last of re-logged points counts.

    Raises:
        Away: the store cannot be read.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for line in _lines(uri, "--history", mlflow_run_id):
        if "points" in line:
            points = sorted(line["points"], key=lambda point: (point[0], point[2]))
            found[line["key"]] = list({step: float(number(value)) for step, value, _ in points}.items())
    return found


def _lines(uri: str, *words: str) -> Iterator[dict[str, Any]]:
    with _command(uri, *words) as child:
        whole = False
        for text in child.stdout or ():
            line = json.loads(text)
            if "error" in line:
                raise Away(line["error"])
            whole |= "whole" in line
            yield line
    if not whole:
        raise Away(f"{uri}: exit {child.returncode}")


def _run(fields: dict[str, Any], uri: str) -> StoredRun:
    run = StoredRun(**fields, uri=uri)
    run.metrics = {key: float(number(value)) for key, value in run.metrics.items()}
    return run


class RemoteFeed:
    """The runs of a store that is followed by a child process; `tick` never waits."""

    def __init__(self, uri: str, seconds: float = 5.0) -> None:
        self.uri = uri
        self.runs: dict[str, StoredRun] = {}
        self.error = ""
        self._seconds = seconds
        self._child: subprocess.Popen[str] | None = None
        self._changed = False

    def tick(self, first_page: Any = None) -> bool:
        """Tell whether something changed since the last call."""
        if self._child is None:
            self._child = _command(self.uri, "--follow", str(self._seconds))
            threading.Thread(target=self._listen, args=(self._child,), daemon=True).start()
        changed, self._changed = self._changed, False
        return changed

    def close(self) -> None:
        """End the child; it also ends by itself when this process does."""
        if self._child is not None:
            self._child.terminate()
            self._child.wait()

    def _listen(self, child: subprocess.Popen[str]) -> None:
        runs = dict(self.runs)
        for text in child.stdout or ():
            line = json.loads(text)
            if "run" in line:
                run = _run(line["run"], self.uri)
                runs[run.mlflow_run_id] = run
            for run_id in line.get("gone", ()):
                runs.pop(run_id, None)
            if "error" in line:
                self._changed |= self.error != line["error"]
                self.error = line["error"]
            elif "whole" in line:
                self._changed |= line["whole"] > 0 or bool(self.error)
                self.error, self.runs = "", dict(runs)


# -- the child --------------------------------------------------------------------------------------------


def main(argv: list[str]) -> int:
    """Print what the store has; with --follow, again and again."""
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("uri")
    parser.add_argument("--follow", type=float)
    parser.add_argument("--history")
    asked = parser.parse_args(argv)
    os.environ.update(store.QUIET)
    if asked.follow is not None:
        threading.Thread(target=_end_with_the_parent, daemon=True).start()
    known: dict[str, dict[str, Any]] = {}
    while True:
        began = time.monotonic()
        try:
            from mlflow import MlflowClient

            began = time.monotonic()  # importing it is no fault of the server's
            api = MlflowClient(tracking_uri=asked.uri)
            changes = _print_history(api, asked.history) if asked.history else _print_runs(api, known)
            _say({"whole": changes})
        except Exception as error:  # noqa: BLE001 - whatever a server says, it is told in one line
            text = " ".join(str(error).split())
            _say({"error": f"{asked.uri}: {type(error).__name__}: {text[:200]}"})
            if asked.follow is None:
                return 1
        if asked.follow is None:
            return 0
        # A server that takes long is asked seldom: a tenth of the time at most.
        time.sleep(min(_SLOWEST_SECONDS, max(asked.follow, 9 * (time.monotonic() - began))))


def _print_runs(api: Any, known: dict[str, dict[str, Any]]) -> int:
    """Print the runs that are new or changed since they were last printed; return how many changes."""
    experiments = {}
    token = None
    while True:
        page = api.search_experiments(page_token=token)
        experiments.update({e.experiment_id: e.name for e in page})
        token = page.token
        if not token:
            break
    there: dict[str, dict[str, Any]] = {}
    token, changes = None, 0
    while experiments:
        page = api.search_runs(list(experiments), max_results=_PAGE, page_token=token)
        for run in page:
            fields = _fields(run, experiments)
            run_id = fields["mlflow_run_id"]
            there[run_id] = fields
            if known.get(run_id) != fields:
                changes += 1
                _say({"run": fields})
        token = page.token
        if not token:
            break
    gone = [run_id for run_id in known if run_id not in there]
    if gone:
        _say({"gone": gone})
    known.clear()
    known.update(there)
    return changes + len(gone)


def _fields(run: Any, experiments: dict[str, str]) -> dict[str, Any]:
    info, data = run.info, run.data
    stored = StoredRun(
        info.run_id, info.run_name or info.run_id[:8], experiments.get(info.experiment_id, "?"), info.status,
        info.start_time, info.end_time, info.artifact_uri or "", info.user_id or "", dict(data.params),
        {key: read.number(value, value != value) for key, value in data.metrics.items()}, dict(data.tags),
    )  # fmt: skip
    plain = writable(asdict(stored))
    return {name: plain[name] for name in _FIELDS}


def _print_history(api: Any, run_id: str) -> int:
    keys = list(api.get_run(run_id).data.metrics)
    for key in keys:
        points = api.get_metric_history(run_id, key)
        _say({"key": key, "points": writable(
            [(p.step, read.number(p.value, p.value != p.value), p.timestamp) for p in points])})  # fmt: skip
    return len(keys)


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line, ensure_ascii=True), flush=True)


def _end_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
