"""How long one waits for `spectui train`: for its help, and for the first step of a second start.

    python tests/benchmarks/bench_start.py [--rounds 11]

1. `spectui train --help` against `python -c pass`. Wanted: a median below 0.3 s.
2. From the command to the first training step, on the demo stars in the cache, against a bare script that
   imports torch, loads the cached arrays with np.load, builds the same network and makes one step. Ours ends
   with the time of the first "steps" event of the run (record_seconds=0), without tracking; what follows is
   killed. Wanted: at most 1.15x.
3. Wanted: no pandas, scipy, matplotlib, sklearn or mlflow in the process before its first step.

Processes alternate (A B A B ...) on one thread each, and are judged by medians; minima and CPU time (ours up
to 20 ms too late) stand beside.
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
print(time.time(), time.process_time(), float(loss.detach()))
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


def bare(home: Path) -> tuple[float, float]:
    """Return seconds and CPU seconds to the first step of the bare script."""
    started = time.time()
    _, said = run(sys.executable, "-c", BARE, home)
    ended, cpu, _ = map(float, said.split())
    return ended - started, cpu


def train(root: Path, *, python: tuple[str, ...] = (), errors: Path) -> tuple[float, float]:
    """Return seconds and CPU seconds to the first step of a run, which is killed then and deleted."""
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
                time.sleep(0.02)
            cpu = cpu_seconds(process.pid)
        finally:
            process.kill()
            process.wait()
    for folder in set((root / "runs").glob("demo-*")) - before:
        shutil.rmtree(folder)
    return float(first["time"]) - started, cpu


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a living process has had."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


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
    helps: dict[str, list[float]] = {"spectui train --help": [], "python -c pass": []}
    steps: dict[str, list[tuple[float, float]]] = {"first step of a run": [], "first step, bare script": []}
    with tempfile.TemporaryDirectory() as scratch:
        root, errors = Path(scratch) / "here", Path(scratch) / "errors.txt"
        run(*SPECTUI, "init", root)
        train(root, errors=errors)  # makes the cache, and the compiled modules
        (array,) = root.glob("**/continuum.npy")
        bare(array.parent)
        for _ in range(chosen.rounds):
            helps["spectui train --help"].append(run(*SPECTUI, "train", "--help")[0])
            helps["python -c pass"].append(run(sys.executable, "-c", "pass")[0])
            steps["first step of a run"].append(train(root, errors=errors))
            steps["first step, bare script"].append(bare(array.parent))
        heavy = heavy_imports(root, errors)
    clock = {name: [seconds for seconds, _ in pairs] for name, pairs in steps.items()}
    middle = {name: statistics.median(values) for name, values in (helps | clock).items()}
    print(f"medians of {chosen.rounds} (A B A B ...), minimum to maximum:")
    for name, values in (helps | clock).items():
        print(f"  {name:<24} {middle[name]:.3f} s ({min(values):.3f} to {max(values):.3f})")
    aid, plain = middle["spectui train --help"], middle["python -c pass"]
    cpu = {name: statistics.median(seconds for _, seconds in pairs) for name, pairs in steps.items()}
    ratio, by_cpu, by_minimum = (
        of["first step of a run"] / of["first step, bare script"]
        for of in (middle, cpu, {name: min(values) for name, values in clock.items()})
    )
    print(f"  help / python -c pass = {aid / plain:.1f}; run / bare script = {by_minimum:.3f} by minima, "
          f"{by_cpu:.3f} by medians of CPU ({' and '.join(f'{v:.3f}' for v in cpu.values())} s)")  # fmt: skip
    bars = {
        f"spectui train --help {aid:.3f} s < 0.3 s": aid < 0.3,
        f"first step, run / bare script = {ratio:.3f} <= 1.15": ratio <= 1.15,
        f"imported before the first step: {', '.join(heavy) or 'none'} of {', '.join(HEAVY)}": not heavy,
    }
    for bar, met in bars.items():
        print(f"{'met   ' if met else 'MISSED'} {bar}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
