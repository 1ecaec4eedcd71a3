"""The real MLflow server shows a run: what the event log says is what it answers over HTTP."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# One worker starts the servers.
pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("mlflow ui")]

# The defaults are four workers and a dozen processes of a job runner, none of which is tested here.
LIGHT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
READY_SECONDS = 120


@dataclass
class Server:
    """A running MLflow server."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str, /, **query: str) -> bytes:
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(
            f"{url}?{urllib.parse.urlencode(query)}" if query else url, timeout=30
        ) as answer:
            return bytes(answer.read())

    def api(self, path: str, /, **query: str) -> Any:
        return json.loads(self.get(f"/api/2.0/mlflow/{path}", **query))

    def search(self, experiment: str) -> list[dict[str, Any]]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/2.0/mlflow/runs/search",
            json.dumps({"experiment_ids": [experiment]}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return list(json.loads(answer.read())["runs"])

    def wait(self) -> Server:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self.get("/health") == b"OK":
                    return self
            except OSError:
                time.sleep(0.2)
        raise AssertionError(f"no answer in {READY_SECONDS} s: {self.log.read_text()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def bare(
    trained: Any, spectui: Any, tmp_path_factory: pytest.TempPathFactory, ended: Callable[..., None]
) -> Iterator[Server]:
    """A bare `mlflow ui` in the workspace root, as a person starts it."""
    log = tmp_path_factory.mktemp("mlflow") / "ui.log"
    port = free_port()
    mlflow = type(spectui)([str(Path(sys.executable).with_name("mlflow"))], trained.root)
    process = mlflow.start("ui", "--port", str(port), "--workers", "1", log=log, env=LIGHT)
    try:
        yield Server(port, process, log).wait()
    finally:
        ended(process)


@pytest.fixture(scope="module")
def run(bare: Server, trained: Any) -> dict[str, Any]:
    """The finished run as the server has it."""
    experiment = bare.api("experiments/get-by-name", experiment_name="spectral_prediction")["experiment"]
    (found,) = bare.search(experiment["experiment_id"])
    return found


def test_the_run_is_there_finished_and_named(run: dict[str, Any], trained: Any) -> None:
    info = run["info"]
    assert (info["status"], info["run_name"]) == ("FINISHED", "demo")
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert (tags["spectui.run_id"], tags["spectui.state"]) == (trained.finished, "finished")
    first, *_, last = trained.events(trained.finished)
    assert info["start_time"] / 1000 == pytest.approx(first["time"], abs=5)
    assert info["end_time"] / 1000 == pytest.approx(last["time"], abs=0.01)


def test_every_conf_key_is_a_parameter(run: dict[str, Any], trained: Any, spectui: Any) -> None:
    stored = {param["key"]: param["value"] for param in run["data"]["params"]}
    resolved = spectui.at(trained.root)("show", trained.finished, "--json").json["params"]
    assert set(stored) == set(resolved)
    assert (stored["model.name"], stored["training.epochs"], stored["training.learning_rate"]) == (
        "StarNet",
        "4",
        "0.001",
    )


def test_metric_histories_are_the_events(run: dict[str, Any], bare: Server, trained: Any) -> None:
    expected: dict[str, list[tuple[int, float]]] = {}
    for event in trained.events(trained.finished):
        if event["kind"] == "epoch":
            for name, value in event["values"].items():
                expected.setdefault(name, []).append((event["epoch"], value))
        elif event["kind"] == "test":
            for name, value in event["values"].items():
                expected.setdefault(f"test_{name}", []).append((event["epoch"], value))
    assert {"train_loss", "val_loss", "learning_rate", "val_Teff_mae", "test_CFe_mae"} <= set(expected)
    assert len(expected["val_loss"]) == 4
    names = {metric["key"] for metric in run["data"]["metrics"]}
    assert {name for name in names if not name.startswith("step/")} == set(expected)
    for name, points in expected.items():
        history = bare.api("metrics/get-history", run_id=run["info"]["run_id"], metric_key=name)["metrics"]
        assert sorted((int(m["step"]), float(m["value"])) for m in history) == points, name
        assert all(math.isfinite(value) for _, value in points)


def test_artifacts_are_listed_and_come_back_byte_for_byte(
    run: dict[str, Any], bare: Server, trained: Any
) -> None:
    run_id, folder = run["info"]["run_id"], trained.folder(trained.finished)
    top = {file["path"] for file in bare.api("artifacts/list", run_id=run_id)["files"]}
    assert {"loss_curve.pdf", "lr_curve.pdf", "conf.yaml", "checkpoints"} <= top
    inside = {file["path"] for file in bare.api("artifacts/list", run_id=run_id, path="checkpoints")["files"]}
    assert {"checkpoints/best.pt"} <= inside <= {"checkpoints/best.pt", "checkpoints/last.pt"}
    local = {
        "loss_curve.pdf": folder / "figures" / "loss_curve.pdf",
        "conf.yaml": folder / "conf.yaml",
        "checkpoints/best.pt": folder / "checkpoints" / "best.pt",
    }
    for path, file in local.items():
        assert bare.get("/get-artifact", path=path, run_uuid=run_id) == file.read_bytes()
    assert local["loss_curve.pdf"].read_bytes().startswith(b"%PDF-")


def test_the_page_itself_is_served(bare: Server) -> None:
    assert b"<html" in bare.get("/").lower()


def test_spectui_ui_serves_the_same_and_says_how_to_reach_it(
    trained: Any, spectui: Any, run: dict[str, Any], background: Callable[..., Any], tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "ui.log"
    # From elsewhere: the artifacts and the database are those of --root all the same.
    process = background(spectui.start("--root", trained.root, "ui", "--port", str(port), log=log))
    server = Server(port, process, log).wait()
    said = log.read_text()
    assert f"http://127.0.0.1:{port}" in said and f"ssh -L {port}:127.0.0.1:{port} " in said
    (found,) = server.search(run["info"]["experiment_id"])
    assert found["info"]["run_id"] == run["info"]["run_id"]
    name = "lr_curve.pdf"
    drawn = trained.folder(trained.finished) / "figures" / name
    assert server.get("/get-artifact", path=name, run_uuid=run["info"]["run_id"]) == drawn.read_bytes()
    with pytest.raises(urllib.error.URLError):
        # Only this machine: another address of it does not answer.
        urllib.request.urlopen(f"http://127.0.0.2:{port}/health", timeout=5)
    # A second one on that port is refused at once, in one line.
    again = spectui.at(trained.root)("ui", "--port", str(port))
    assert (again.code, len(again.err.splitlines())) == (2, 1)
    assert str(port) in again.err and "--port" in again.err


def test_an_old_file_store_is_told_before_mlflow_refuses_it(workspace: Path, spectui: Any) -> None:
    meta = workspace / "mlruns" / "0" / "meta.yaml"
    meta.parent.mkdir(parents=True)
    meta.write_text("experiment_id: '0'\n")
    done = spectui.at(workspace)("ui", "--port", str(free_port()))
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "mlruns/0/meta.yaml" in done.err and "mlflow migrate-filestore" in done.err
