"""Splits, scalers, fixed statistics and resampling as a run sees them: real processes, a few steps each."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from engine.conf.data import Resample
from engine.spectra import resample, scale
from engine.spectra.stars import Stars
from engine.spectra.synthetic import write_demo
from engine.train.batches import Batches
from engine.train.rows import Resident, Rows

ROOT = Path(__file__).resolve().parents[3]
CONF = """
version: 1
name: tiny
model: {name: MLP}
training: {epochs: 2, batch_size: 16, device: cpu, threads: 1}
tracking: {enabled: false}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("workspace")
    for name in ("conf", "models", "runs"):
        (root / name).mkdir()
    (root / "conf" / "tiny.yaml").write_text(CONF)
    write_demo(root / "dataset" / "spectral", stars=60, points=64)
    return root


def train(root: Path, *sets: str) -> tuple[int, str, Path | None]:
    """Return the exit code, what was said, and the folder of the run, if one was made."""
    before = set((root / "runs").iterdir())
    words = [word for item in sets for word in ("--set", item)]
    done = subprocess.run(
        [sys.executable, "-m", "tui", "--root", str(root), "--lang", "en", "train", "tiny", *words],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    made = set((root / "runs").iterdir()) - before
    return done.returncode, done.stdout + done.stderr, made.pop() if made else None


def events(run: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, (run / "events.jsonl").read_text().splitlines())


def kept(run: Path) -> dict[str, str]:
    with (run / "split.csv").open() as file:
        return {row["obsid"]: row["part"] for row in csv.DictReader(file)}


def state(run: Path) -> dict[str, Any]:
    whole: dict[str, Any] = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    return whole


@pytest.mark.slow
def test_random_with_pixel_scalers_and_resampling(root: Path) -> None:
    code, said, run = train(
        root, "data.scaler_scope=pixel", "data.continuum_scaler=robust", "data.normalized_scaler=minmax",
        "data.label_scaler=minmax", "data.resample.strategy=auto",
    )  # fmt: skip
    assert code == 0 and run is not None, said
    assert "split at random, seed 42" in said and "resampling (auto by FeH): 48 training stars" in said
    scalers = scale.Scalers.from_state(state(run)["scalers"])
    assert len(scalers.continuum.centre) == len(scalers.normalized.centre) == 64
    assert (scalers.continuum.kind, scalers.normalized.kind, scalers.labels.kind) == (
        "robust", "minmax", "minmax",
    )  # fmt: skip
    event = next(e for e in events(run) if e["kind"] == "resample")
    largest = max(c["stars"] for c in event["classes"].values())
    assert all(c["drawn"] == (largest if c["stars"] else 0) for c in event["classes"].values())
    plan = next(e for e in events(run) if e["kind"] == "plan")
    whole, rest = divmod(event["drawn"], 16)
    assert event["drawn"] > 48 and plan["steps_per_epoch"] == whole + (rest > 1)
    assert state(run)["state"]["batches"]["rows"] == event["drawn"]


def test_file_of_another_run_with_fixed_statistics(root: Path) -> None:
    code, said, first = train(root, "data.split.method=stratified", "data.split.bins=4", "data.split.folds=3",
                              "data.split.fold=2", "data.continuum_scaler=robust")  # fmt: skip
    assert code == 0 and first is not None, said
    assert "split alike in 4 bins of FeH" in said and "fold 2 of 3 validates" in said
    parts = kept(first)
    sizes = {"train": 36, "val": 18, "test": 6}
    assert len(parts) == 60 and Counter(parts.values()) == sizes
    data = next(e for e in events(first) if e["kind"] == "data")
    assert data["split"]["method"] == "stratified" and {name: data[name] for name in sizes} == sizes

    lines = (first / "split.csv").read_text().splitlines()[:-2]  # two stars are left out
    (root / "dataset" / "spectral" / "mine.csv").write_text("\n".join(lines) + "\n")
    labels = {"Teff": (5218.3, 663.4), "logg": (2.963, 1.03), "FeH": (-1.064, 0.973), "CFe": (0.204, 0.462)}
    blocks = {n: {"mean": m, "std_dev": s} for n, (m, s) in (labels | {"flux": (2091.0, 5463.0)}).items()}
    (root / "conf" / "stats.yaml").write_text(yaml.safe_dump(blocks | {"augs_conf": []}))
    code, said, second = train(root, "data.split.method=file", "data.split.file=mine.csv",
                               "data.stats=conf/stats.yaml", "data.resample.strategy=balanced")  # fmt: skip
    (root / "conf" / "stats.yaml").unlink()
    assert code == 0 and second is not None, said
    assert "split as mine.csv says" in said and "2 stars are in no part and left out" in said
    assert "statistics of conf/stats.yaml, not fitted: flux, Teff" in said and "augs_conf is ignored" in said
    again = kept(second)
    assert sum(part == "none" for part in again.values()) == 2
    assert all(part == parts[obsid] for obsid, part in again.items() if part != "none")
    scalers = scale.Scalers.from_state(state(second)["scalers"])
    assert (scalers.continuum.centre[0], scalers.continuum.scale[0]) == (2091.0, 5463.0)
    assert scalers.labels.centre.tolist() == [5218.3, 2.963, -1.064, 0.204]
    log = (second / "log.txt").read_text()
    assert "resampling (balanced by FeH)" in log and "statistics of conf/stats.yaml" in log


def test_group_and_a_flat_label(root: Path) -> None:
    folder = root / "dataset" / "flat"
    write_demo(folder, stars=60, points=64)
    rows = [line.split(",") for line in (folder / "removed_with_rv.csv").read_text().splitlines()]
    for number, row in enumerate(rows[1:]):
        row[1], row[4] = str(5000 + 100 * (number // 4)), "0.25"  # Teff in groups of four, CFe all one
    (folder / "removed_with_rv.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    code, said, run = train(root, "data.path=flat", "data.split.method=group", "data.split.group=Teff")
    assert code == 0 and run is not None, said
    assert "split by Teff: 15 groups" in said
    part_of_group: dict[str, set[str]] = {}
    for row in rows[1:]:
        part_of_group.setdefault(row[1], set()).add(kept(run)[row[0]])
    assert all(len(parts) == 1 for parts in part_of_group.values())
    warning = "scaling of labels: 1 of 4 columns have no spread"
    assert said.count(warning) == 1
    assert [e["text"].startswith(warning) for e in events(run) if e["kind"] == "message"] == [True]


@pytest.mark.parametrize(
    ("sets", "line"),
    [
        (["data.split.method=folder"], "data.split.method: folder needs data in train/, val/ and test/"),
        (["data.split.method=file", "data.split.file=no.csv"], "data.split.file: no.csv: no such file"),
        (["data.stats=no.yaml"], "data.stats: no.yaml: no such file"),
        (["data.resample.strategy=auto", "data.resample.column=Fe"], "no column Fe; the columns are: Teff"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(root: Path, sets: list[str], line: str) -> None:
    code, said, run = train(root, *sets)
    assert code == 2 and run is None and line in said and "Traceback" not in said


def test_batches_go_on_exactly_where_they_stood() -> None:
    feh = np.repeat([-3.5, -2.5, -1.5, 0.0], [2, 3, 6, 20]).astype(np.float32)[:, None]
    stars = Stars(np.arange(31), feh, feh, feh, ("FeH",), np.zeros(1), "f")
    sampler = resample.plan(Resample(strategy="balanced"), stars, np.arange(31))
    tensor = torch.from_numpy(feh)
    source = Resident(tensor, tensor, torch.arange(31), torch.device("cpu"))
    rows = Rows(source, tensor, [str(i) for i in range(31)])
    first = Batches(rows, 4, 9, sampler)
    walk = iter(first)
    seen = [next(walk).index_B.tolist() for _ in range(11)]
    assert first.epoch == 2 and first.per_epoch == 8
    position = first.state_dict()
    rest = [next(walk).index_B.tolist() for _ in range(20)]
    resumed = Batches(rows, 4, 0, sampler)
    resumed.load_state_dict(position)
    walk = iter(resumed)
    assert [next(walk).index_B.tolist() for _ in range(20)] == rest
    epoch = [i for batch in seen[:8] for i in batch]
    counts = np.bincount(resample.class_of(feh[epoch, 0]), minlength=4)
    assert len(epoch) == 31 and counts.tolist() == [8, 8, 8, 7]
