"""A short sample of each benchmark: it runs to its end and tells its ratios, which are not judged here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SAMPLES = {
    "bench_batches.py": (
        ("--stars", "256", "--points", "300", "--rounds", "2"),
        "Batches / bare index_select =",
    ),
    "bench_beyond_memory.py": (
        ("--rows", "20000", "--limit-mb", "1200", "--steps", "20", "--turns", "1", "--batches", "8"),
        "blocks / random rows =",
    ),
    "bench_conversion.py": (("--rows", "60", "--rounds", "1"), "cpu ratio"),
    "bench_events.py": (
        ("--steps", "3000", "--rounds", "1", "--recorded", "500", "--baseline-steps", "5"),
        "us a step <= 20",
    ),
    "bench_second_start.py": (("--rows", "60", "--rounds", "1"), "s more <= 0.2 s"),
    "bench_start.py": (("--rounds", "1"), "first step, run / bare script ="),
    "bench_store.py": (
        ("--runs", "300", "--points", "2000", "--rounds", "1", "--changes", "3", "--every", "0.5"),
        "following",
    ),
    "bench_step.py": (
        ("--points", "300", "--batch", "4", "--rounds", "1", "--tiny-steps", "30", "--tiny-rounds", "2"),
        "weights, buffers, optimizer and random numbers bit-equal",
    ),
    "terminal/bench_terminal.py": (
        ("--only", "long", "sizes", "--rounds", "1", "--steps", "2000", "--storm", "3", "--no-leet"),
        "2,000 steps x 4: all points, from exec",
    ),
    "bench_tracking.py": (
        ("--engines", "3", "--seconds", "2", "--rounds", "1", "--work-ms", "1"),
        "met    390 points, 0 missing or twice",
    ),
}


def test_every_benchmark_has_a_sample() -> None:
    assert set(SAMPLES) == {str(path.relative_to(HERE)) for path in HERE.rglob("bench_*.py")}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_short_sample_runs_and_tells(name: str, tmp_path: Path) -> None:
    words, told = SAMPLES[name]
    done = subprocess.run(
        [sys.executable, str(HERE / name), *words],
        env=os.environ | {"PYTHONPATH": str(HERE.parents[1]), "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert told in done.stdout
    left = [path.name for path in tmp_path.iterdir() if not path.name.startswith("torchinductor")]
    assert left == [], "nothing is left in the scratch folder"
