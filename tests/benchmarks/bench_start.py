"""How long one waits for `spectui train`: for its help, and for the first step of a second start.

    python tests/benchmarks/bench_start.py [--rounds 11]

1. `spectui train --help` against `python -c pass`. Wanted: a median below 0.3 s.
2. From the command to the first training step, on the demo stars in the cache, against a bare script that
   imports torch, loads the cached arrays with np.load, builds the same network and makes one step. Ours ends
   with the time of the first "steps" event of the run (record_seconds=0), without tracking; what follows is
   killed. Wanted: at most 1.15x.
3. Wanted: no pandas, scipy, matplotlib, sklearn or mlflow in the process before its first step.

Processes alternate (A B A B ...) on one thread each; ratios of medians. Minima stand beside them: on a machine
with other work they say more.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = ("pandas", "scipy", "matplotlib", "sklearn", "mlflow")
SPECTUI = (sys.executable, "-m", "tui")
SETTINGS = ("tracking.enabled=false", "training.record_seconds=0", "training.epochs=1000")
BARE = """
import sys, time
import numpy as np
import torch
from models.spectral_prediction.star_net import StarNet
home = sys.argv[1]
names = ("continuum", "normalized", "labels")
continuum, normalized, labels = (torch.from_numpy(np.load(f"{home}/{name}.npy")) for name in names)
labels = (labels - labels.nanmean(0)) / 1000
torch.manual_seed(42)
network = StarNet(points=continuum.shape[1], labels=labels.shape[1])
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
index = torch.randperm(len(labels))[:32]
x, y = normalized.index_select(0, index), labels.index_select(0, index)
known = ~y.isnan()
loss = ((network(x) - y.nan_to_num()) * known).square().sum() / known.sum()
loss.backward()
torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
optimizer.step()
print(time.time(), float(loss.detach()))
"""


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def run(*command: object) -> tuple[float, str]:
    """Run to the end; return the seconds it took and what it said."""
    started = time.perf_counter()
    done = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True,
        env=environment(),
    )  # fmt: skip
    return time.perf_counter() - started, done.stdout


def bare(home: Path) -> float:
    """Return seconds to the first step of the bare script."""
    started = time.time()
    _, said = run(sys.executable, "-c", BARE, home)
    return float(said.split()[0]) - started


def train(root: Path, *, python: tuple[str, ...] = (), errors: Path) -> float:
    """Return seconds to the first step of a run, which is killed then and deleted."""
    before = set((root / "runs").glob("demo-*"))
    command = [SPECTUI[0], *python, *SPECTUI[1:], "--root", str(root), "train", str(root / "conf/demo.yaml")]
    with errors.open("w") as file:
        started = time.time()
        process = subprocess.Popen(
            [*command, *(word for setting in SETTINGS for word in ("--set", setting))],
            stdout=file, stderr=file, env=environment(),
        )  # fmt: skip
        try:
            while (first := first_steps(root, before)) is None:
                if process.poll() is not None:
                    raise SystemExit(f"the run ended before its first step:\n{errors.read_text()}")
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
    for folder in set((root / "runs").glob("demo-*")) - before:
        shutil.rmtree(folder)
    return float(first["time"]) - started


def first_steps(root: Path, before: set[Path]) -> dict[str, Any] | None:
    """Return the first "steps" event of the new run, None as long as there is none."""
    for folder in set((root / "runs").glob("demo-*")) - before:
        path = folder / "events.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        for line in lines:
            if line.startswith(b'{"kind":"steps"') and line.endswith(b"\n"):
                event: dict[str, Any] = json.loads(line)
                assert event["step"] == [1], "every step is recorded by itself"
                return event
    return None


def heavy_imports(root: Path, errors: Path) -> list[str]:
    """Return which heavy packages a run had imported when it made its first step."""
    train(root, python=("-X", "importtime"), errors=errors)
    imported = re.findall(r"^import time:.*\|\s*(\w+)[.\w]*$", errors.read_text(), re.MULTILINE)
    assert "torch" in imported, "import times are told"
    return [name for name in HEAVY if name in imported]


def main() -> int:
    """Measure and say whether the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    chosen = parser.parse_args()
    seconds: dict[str, list[float]] = {
        name: [] for name in ("spectui train --help", "python -c pass", "first step", "bare script")
    }
    with tempfile.TemporaryDirectory() as scratch:
        root, errors = Path(scratch) / "here", Path(scratch) / "errors.txt"
        run(*SPECTUI, "init", root)
        train(root, errors=errors)  # makes the cache, and the compiled modules
        (array,) = root.glob("**/continuum.npy")
        bare(array.parent)
        for _ in range(chosen.rounds):
            seconds["spectui train --help"].append(run(*SPECTUI, "train", "--help")[0])
            seconds["python -c pass"].append(run(sys.executable, "-c", "pass")[0])
            seconds["first step"].append(train(root, errors=errors))
            seconds["bare script"].append(bare(array.parent))
        heavy = heavy_imports(root, errors)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    least = {name: min(values) for name, values in seconds.items()}
    print(f"medians of {chosen.rounds} (A B A B ...), minimum to maximum:")
    for name, values in seconds.items():
        print(f"  {name:<20} {middle[name]:.3f} s ({least[name]:.3f} to {max(values):.3f})")
    aid = middle["spectui train --help"]
    ratio = middle["first step"] / middle["bare script"]
    print(f"  help / python -c pass {aid / middle['python -c pass']:.1f}; "
          f"first step / bare script of minima {least['first step'] / least['bare script']:.3f}")  # fmt: skip
    bars = {
        f"spectui train --help {aid:.3f} s < 0.3 s": aid < 0.3,
        f"first step / bare script = {ratio:.3f} <= 1.15": ratio <= 1.15,
        f"imported before the first step: {', '.join(heavy) or 'none'} of {', '.join(HEAVY)}": not heavy,
    }
    for bar, met in bars.items():
        print(f"{'met   ' if met else 'MISSED'} {bar}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
