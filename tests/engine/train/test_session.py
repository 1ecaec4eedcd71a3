"""Whole runs in this process: every key acts, scalers see training rows only, the test takes the best."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine import exit_codes
from engine.conf.schema import ERRORS, Conf
from engine.errors import BadInput
from engine.runs import folder as folders
from engine.runs.folder import RunFolder
from engine.spectra import stars as reading
from engine.spectra.scale import Scaler
from engine.train import attempt, loop, session
from engine.train import network as networks
from engine.train.report import Report
from engine.train.stop import Stop
from engine.workspace import Workspace

from .conftest import Trained

Train = Callable[..., Trained]

# A network file as a user would drop it; it goes wrong in training at the step it is told to.
BOMB = '''
import torch
from torch import nn
from models import register_model


@register_model("Bomb")
class Bomb(nn.Module):
    """A line that becomes NaN."""

    def __init__(self, points: int, labels: int, at: int = 3) -> None:
        super().__init__()
        self.line, self.at, self.steps = nn.Linear(points, labels), at, 0

    def forward(self, normalized: torch.Tensor) -> torch.Tensor:
        self.steps += self.training
        return self.line(normalized) * (float("nan") if self.steps == self.at else 1.0)
'''


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# -- one run ------------------------------------------------------------------------------------------------


def test_a_run_leaves_all_that_it_should(train: Train) -> None:
    ran = train("training.epochs=3")
    assert ran.code == exit_codes.DONE
    record = ran.record
    assert (record.state, record.epoch, record.step, record.total_steps) == ("finished", 3, 9, 9)
    assert [e["phase"] for e in ran.events("phase")] == ["reading", "loading", "training", "testing"]
    assert set(record.curves) == {
        "batch_loss", "gradient_norm", "learning_rate", "train_loss", "val_loss",
        "samples_per_second", "data_wait", "memory_mb", "cpu_percent", "gradient_norm/layers",
        *(f"val_{target}_{kind}" for target in ("Teff", "logg", "FeH", "CFe") for kind in ERRORS),
    }  # fmt: skip
    split = table(ran.run.split)
    parts = {
        name: {row["obsid"] for row in split if row["part"] == name} for name in ("train", "val", "test")
    }
    assert [len(p) for p in parts.values()] == [48, 6, 6]
    for part in ("val", "test"):
        rows = table(ran.run.predictions / f"{part}.csv")
        assert {row["obsid"] for row in rows} == parts[part]
    assert {row["part"] for row in table(ran.run.metrics)} == {"val", "test"}
    assert record.test["Teff_n"] > 0
    assert "run " + ran.run.run_id in ran.run.log.read_text()
    assert ran.run.read_json(ran.run.process)["pid"] == os.getpid()
    assert not list(ran.run.path.rglob(".*")), "nothing half-written is left"
    for file in ran.run.checkpoints.iterdir():
        torch.load(file, weights_only=True)


def test_scalers_are_fitted_on_training_rows_only(train: Train, workspace: Workspace) -> None:
    ran = train()
    chosen = {row["obsid"] for row in table(ran.run.split) if row["part"] == "train"}
    folder = workspace.dataset / "spectral"
    rows = [r for r in table(folder / "final_spectra_continuum.csv") if r["obsid"] in chosen]
    pixels = np.array([[float(v) for k, v in row.items() if k != "obsid"] for row in rows])
    scalers = ran.checkpoint()["scalers"]
    assert scalers["continuum"]["centre"] == pytest.approx([pixels.mean()], rel=1e-6)
    assert scalers["continuum"]["scale"] == pytest.approx([pixels.std()], rel=1e-6)
    labels = [r for r in table(folder / "removed_with_rv.csv") if r["obsid"] in chosen]
    for column, name in enumerate(("Teff", "logg", "FeH", "CFe")):
        known = [float(r[name]) for r in labels if r[name] not in ("", "-9999")]
        assert len(known) < 48 or name != "Teff", "some labels are missing"
        assert scalers["labels"]["centre"][column] == pytest.approx(np.mean(known), rel=1e-5)
        assert scalers["labels"]["scale"][column] == pytest.approx(np.std(known), rel=1e-5)


def test_the_test_rows_are_predicted_with_the_best_weights(
    train: Train, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = loop.note_best
    monkeypatch.setattr(
        loop, "note_best", lambda state, plan, worth: state.batches.epoch == 1 and real(state, plan, worth)
    )
    ran = train("training.epochs=4", "training.learning_rate=0.05")
    best, last = ran.checkpoint("best.pt"), ran.checkpoint("last.pt")
    assert (best["epoch"], last["epoch"]) == (1, 4)
    assert ran.events("test")[0]["epoch"] == 1
    conf = Conf.model_validate(best["conf"])
    stars = reading.load(workspace, conf.data)
    rows = table(ran.run.predictions / "test.csv")
    places = [stars.obsid.astype(str).tolist().index(row["obsid"]) for row in rows]
    scale = {name: Scaler.from_state(state) for name, state in best["scalers"].items()}
    branches = [scale["continuum"].transform(stars.continuum[places]), stars.normalized[places]]
    inputs = torch.from_numpy(np.concatenate(branches, axis=1))
    written = np.array([[float(row[f"{t}_pred"]) for t in conf.data.targets] for row in rows])

    def predicted(weights: dict[str, Any]) -> Any:
        network = networks.build_network(workspace, conf, stars.continuum.shape[1]).eval()
        network.load_state_dict(weights)
        return scale["labels"].inverse(network(inputs).detach().numpy())

    assert predicted(best["state"]["network"]) == pytest.approx(written, rel=1e-4)
    assert predicted(last["state"]["network"]) != pytest.approx(written, rel=1e-2)


def test_the_same_seed_gives_the_same_bits(train: Train) -> None:
    first, second = train("training.epochs=2"), train("training.epochs=2")
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)
    lines = [[{**e, "time": 0} for e in ran.events("epoch")] for ran in (first, second)]
    assert lines[0] == lines[1]


def test_a_run_learns(train: Train) -> None:
    ran = train(
        "model.hidden=[64]", "data.targets=[Teff]", "training.batch_size=8", "training.epochs=30",
        "training.learning_rate=0.01",
    )  # fmt: skip
    curve = ran.record.curves["train_loss"].values
    assert curve[-1] < 0.7 * curve[0]


# -- endings ------------------------------------------------------------------------------------------------


@pytest.fixture
def bomb(workspace: Workspace) -> tuple[str, ...]:
    """Overrides for the network of a user, dropped into the workspace, that becomes NaN at step 5."""
    (workspace.networks / "bomb.py").write_text(BOMB)
    return ("model={name: Bomb, at: 5}", "training.epochs=4", "training.batch_size=12")


def test_a_run_that_diverges_says_where_and_keeps_its_best(train: Train, bomb: tuple[str, ...]) -> None:
    ran = train(*bomb)
    assert ran.code == exit_codes.NON_FINITE
    record = ran.record
    assert record.state == "diverged"
    assert record.nonfinite is not None
    assert (record.nonfinite.step, record.nonfinite.epoch) == (5, 2)
    assert record.nonfinite.last_finite_loss == record.curves["batch_loss"].values[-1]
    assert record.end is not None
    message = record.end["message"]
    for part in ("step 5 (epoch 2)", "loss became nan", "learning rate", "gradient norm", "spectui diagnose"):
        assert part in message
    assert f"Last finite loss {record.nonfinite.last_finite_loss:.4g}" in message
    assert message in ran.run.log.read_text()
    assert ran.checkpoint("best.pt")["epoch"] == 1
    assert ran.events("test") == []


def of_a_cpu() -> RuntimeError:
    """What torch itself raises when a CPU has not that much: a petabyte here."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50, dtype=torch.uint8)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), of_a_cpu()],
    ids=lambda error: type(error).__name__,
)
def test_out_of_memory_is_said_with_a_smaller_batch(
    train: Train, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr(session, "run_session", full)
    ran = train()
    assert ran.code == exit_codes.OUT_OF_MEMORY
    assert ran.record.state == "failed"
    assert ran.record.end is not None
    assert (ran.record.end["exit_code"], ran.record.end["outcome"]) == (86, "failed")
    assert "batch_size 16; try half: --batch_size 8" in ran.record.end["message"]


def test_a_fault_of_ours_still_ends_the_run(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(session, "run_session", fault)
    ran = train()
    assert ran.code == exit_codes.FAILED
    assert ran.record.end is not None
    assert ran.record.end["message"] == "failed: ZeroDivisionError: oops"
    assert "Traceback" in ran.run.log.read_text()


def test_figures_that_cannot_be_drawn_do_not_cost_the_run(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr(attempt, "draw_curves", fail)
    ran = train()
    assert (ran.code, ran.record.state) == (0, "finished")
    assert "no font" in ran.run.log.read_text()


def test_a_network_that_cannot_be_built_fails_with_its_reason(train: Train) -> None:
    ran = train("model={name: MLP, hidden: [-3]}")
    assert ran.code == exit_codes.BAD_INPUT
    assert ran.record.end is not None
    assert "MLP" in ran.record.end["message"]


def test_no_validation_rows_means_the_training_rows_are_watched(train: Train) -> None:
    ran = train("data.split=[1.0, 0.0, 0.0]", "data.max_rows=20")
    assert ran.code == 0
    assert ran.events("plan")[0]["monitored"] in ("val", "train")
    assert (ran.run.checkpoints / "best.pt").exists()


def test_two_engines_never_work_on_one_run(workspace: Workspace, new_run: Callable[..., RunFolder]) -> None:
    """The second one is refused, and the run still belongs to the first."""
    run = new_run("training.epochs=2")
    hold = (
        "import sys; from pathlib import Path; from engine.runs.process import hold_lock; "
        "hold_lock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(run.lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        folders.note_process(run, attempt=1)
        before = run.process.read_bytes()
        with pytest.raises(BadInput, match="another engine is at work"):
            attempt.detached(workspace, run.run_id, Stop())
        assert run.process.read_bytes() == before
        assert run.events.read_bytes() == b""
        first.communicate("")


def test_a_launched_run_whose_conf_became_wrong_ends_with_an_end(
    workspace: Workspace, new_run: Callable[..., RunFolder], bomb: tuple[str, ...]
) -> None:
    run = new_run(*bomb)
    (workspace.networks / "bomb.py").unlink()
    with pytest.raises(BadInput, match="unknown model 'Bomb'"):
        attempt.detached(workspace, run.run_id, Stop())
    ended = Trained(2, run).events("end")
    assert [(e["outcome"], e["exit_code"]) for e in ended] == [("failed", 2)]


def test_unknown_and_finished_runs_are_not_begun(workspace: Workspace, train: Train) -> None:
    with pytest.raises(BadInput, match="no such run"):
        attempt.detached(workspace, "nobody", Stop())
    ran = train()
    with pytest.raises(BadInput, match="already begun"):
        attempt.detached(workspace, ran.run.run_id, Stop())


# -- figures and words --------------------------------------------------------------------------------------


def test_lines_go_to_the_stream_and_the_log(tmp_path: Path) -> None:
    stream = io.StringIO()
    report = Report(stream=stream)
    report.line("before")
    report.keep_in(tmp_path / "log.txt")
    report.line("after")
    report.begin(10, 0)
    report.step(5, 10, 1.0, 0.1, 3.0)
    report.close()
    assert stream.getvalue() == "before\nafter\n", "no bar and no control codes without a terminal"
    assert (tmp_path / "log.txt").read_text() == "before\nafter\n"


def test_events_are_json_for_any_reader(train: Train, bomb: tuple[str, ...]) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    for line in train(*bomb).run.events.read_text().splitlines():
        json.loads(line, parse_constant=refuse)
