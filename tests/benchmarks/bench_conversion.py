"""What converting a wide CSV costs beside plain pandas: `python tests/benchmarks/bench_conversion.py`.

Bars of issue 3: extra memory at most 300 MB at any number of rows (shown at 4,000 and 16,000), CPU time at
most 1.25x of `pandas.read_csv` of the same file. Each measurement is a process of its own; conversion and
pandas alternate (A B A B ...), and the ratio is that of the medians. Not collected by pytest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

POINTS = 4700
CHILD = """
import json, os, resource, sys, time
import numpy, pandas
from pathlib import Path
from engine.conf.data import Data
from engine.spectra import cache_tables, stars
from engine.spectra.progress import Silent
from engine.workspace import Workspace
what, path, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])

def memory(name):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(name)) / 1024

before, cpu, wall = memory("VmRSS"), time.process_time(), time.perf_counter()
if what == "pandas":
    pandas.read_csv(path)
elif what == "load":
    clip = {"normalized": (0.3, 1.7)}  # so that the set is written, not linked
    stars.load(Workspace(folder), Data.model_validate({"path": str(path.parent), "clip": clip}))
else:
    cache_tables.convert([cache_tables.source(path, path.name)], folder, Silent())
print(json.dumps({"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall,
                  "extra": memory("VmHWM") - before}))
"""


def write_table(path: Path, rows: int) -> None:
    """Write a spectra table of 8 decimals a cell."""
    rng = np.random.default_rng(0)
    form = "%d" + ",%.8f" * POINTS + "\n"
    with path.open("w") as file:
        file.write("obsid," + ",".join(f"{3900 + 0.8 * i:.2f}" for i in range(POINTS)) + "\n")
        for row in range(rows):
            file.write(form % (100_000 + row, *rng.uniform(0.2, 1.8, POINTS).tolist()))


def write_set(folder: Path, rows: int) -> Path:
    """Write a feature table and its labels; return the table's path."""
    folder.mkdir()
    write_table(folder / "feature.csv", rows)
    labels = [f"{100_000 + row},5000,4.0,-1.0,0.1,30.5" for row in range(rows)]
    (folder / "labels.csv").write_text("\n".join(["obsid,Teff,logg,FeH,CFe,snr", *labels]) + "\n")
    return folder / "feature.csv"


def measure(what: str, path: Path) -> dict[str, float]:
    """Return CPU s, wall s and extra MB of one process that does one thing."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, what, str(path), folder],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).resolve().parents[2],
        )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> int:
    """Measure and say whether the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=None, help="where 1.1 GB of tables may be written")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--rows", type=int, default=4000, help="of the small table; the large one has 4 times as many"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        small, large = (write_set(Path(folder) / str(rows), rows) for rows in (chosen.rows, 4 * chosen.rows))
        ours, plain = [], []
        for _ in range(chosen.rounds):
            ours.append(measure("convert", small))
            plain.append(measure("pandas", small))
        wide = measure("convert", large)
        whole = {
            rows: measure("load", path)["extra"]
            for rows, path in ((chosen.rows, small), (4 * chosen.rows, large))
        }

    def middle(runs: list[dict[str, float]], key: str) -> float:
        return statistics.median(run[key] for run in runs)

    ratio = middle(ours, "cpu") / middle(plain, "cpu")
    extra = max(run["extra"] for run in ours)
    print(f"{chosen.rows:,} x {POINTS + 1}, medians of {chosen.rounds} (A B A B ...):")
    for name, runs in (("conversion", ours), ("pandas.read_csv", plain)):
        print(f"  {name:16} cpu {middle(runs, 'cpu'):.2f} s, wall {middle(runs, 'wall'):.2f} s, "
              f"extra {middle(runs, 'extra'):.0f} MB")  # fmt: skip
    print(f"{4 * chosen.rows:,} rows: conversion cpu {wide['cpu']:.2f} s, wall {wide['wall']:.2f} s, "
          f"extra {wide['extra']:.0f} MB")  # fmt: skip
    print("with join and mending: extra " + ", ".join(f"{e:.0f} MB at {n:,} rows" for n, e in whole.items()))
    bars = {
        f"cpu ratio {ratio:.2f} <= 1.25": ratio <= 1.25,
        f"extra memory {extra:.0f} MB at {chosen.rows:,} rows <= 300": extra <= 300,
        f"extra memory {wide['extra']:.0f} MB at {4 * chosen.rows:,} rows <= 300": wide["extra"] <= 300,
        f"extra memory {max(whole.values()):.0f} MB with join and mending <= 300": max(whole.values()) <= 300,
    }
    for bar, met in bars.items():
        print(f"{'met   ' if met else 'MISSED'} {bar}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
