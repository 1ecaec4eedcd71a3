"""Training on a set larger than the memory it may use, and reading it in blocks against random rows.

    python tests/benchmarks/bench_beyond_memory.py [--rows 100000] [--limit-mb 2500] [--scratch DIR]

Makes two files of `--rows` x 4,700 float32 (3.8 GB for 100,000) in a scratch folder and deletes them after.

1. A process with RLIMIT_AS below the size of the set trains a linear network for some hundred steps with
   the engine's own choice of reader; its resident memory is taken at every step.
2. On a cold page cache (posix_fadvise DONTNEED before each turn): random batches through np.memmap, sorted
   inside the batch to be kind to it, against `Batches` over blocks. A B A B; medians.
Wanted: constant memory; at least 3x the samples a second.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

POINTS = 4700
NAMES = ("continuum", "normalized")


def make(folder: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    for name in NAMES:
        with (folder / f"{name}.npy").open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (rows, POINTS)}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, rows, 2000):
                count = min(2000, rows - start)
                file.write(rng.standard_normal((count, POINTS), np.float32).tobytes())
            file.flush()
            os.fsync(file.fileno())


def forget(folder: Path) -> None:
    """Take the files out of the page cache."""
    for name in NAMES:
        handle = os.open(folder / f"{name}.npy", os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def some_rows(folder: Path, rows: int):  # type: ignore[no-untyped-def]
    """Return the engine's choice for this set, and 80 % of its rows as the training part."""
    import torch

    from engine.spectra.ondisk import FluxFile
    from engine.spectra.scale import Scaler
    from engine.spectra.stars import Stars
    from engine.train import feed

    files = [FluxFile(folder / f"{name}.npy") for name in NAMES]
    labels = np.random.default_rng(1).normal(size=(rows, 4)).astype(np.float32)
    stars = Stars(
        np.arange(rows), files[0], files[1], labels, ("Teff", "logg", "FeH", "CFe"),
        3900.0 + np.arange(POINTS), "made up", home=folder,
    )  # fmt: skip
    chosen = feed.choose(stars, 0.5, torch.device("cpu"))
    part = np.sort(np.random.default_rng(2).permutation(rows)[: int(0.8 * rows)])
    scaler = Scaler("standard", np.array([0.1]), np.array([1.3]))
    none = Scaler("none", np.zeros(4), np.ones(4))
    return chosen, chosen.part(part, continuum=scaler, normalized=None, labels=none)


def train(folder: Path, rows: int, steps: int, limit: int) -> None:
    """Train under an address space limit, and print how the resident memory went."""
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    import torch

    from engine.train.batches import Batches

    torch.set_num_threads(1)
    chosen, part = some_rows(folder, rows)
    batches = Batches(part, 64, 0, windows=chosen.windows(part))
    network = torch.nn.Linear(2 * POINTS, 4)
    optimizer = torch.optim.SGD(network.parameters(), 1e-4)
    seen, losses = [], []
    started = time.perf_counter()
    for step, batch in enumerate(batches, start=1):
        predicted = network(torch.cat((batch.continuum_BL, batch.normalized_BL), dim=1))
        loss = (predicted - batch.labels_BT).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        seen.append(resident())
        if step == steps:
            break
    seconds = time.perf_counter() - started
    batches.close()
    for start in range(0, 20 * 256, 256):  # as evaluation takes them
        part.take(torch.arange(start, start + 256))
    tenth = max(1, steps // 5)
    print(
        f"reader {chosen.reader}: set {chosen.size / 1e6:,.0f} MB, limit {chosen.limit / 1e6:,.0f} MB "
        f"({chosen.limited_by}); {steps} steps of 64 in {seconds:.1f} s, epoch {batches.epoch}, "
        f"loss {losses[0]:.2f} -> {losses[-1]:.2f}"
    )
    print(
        f"resident memory: {seen[0] / 1e6:.0f} MB at step 1, {seen[tenth] / 1e6:.0f} MB at {tenth}, "
        f"{seen[-1] / 1e6:.0f} MB at {steps}; from step {tenth} on it moved within "
        f"{(max(seen[tenth:]) - min(seen[tenth:])) / 1e6:.1f} MB; peak of the process "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB"
    )


def read(folder: Path, rows: int, batches_a_turn: int, turns: int) -> None:
    """Print samples a second of random rows and of blocks, each on a cold cache."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    import torch

    from engine.spectra.ondisk import FluxFile
    from engine.train.batches import Batches
    from engine.train.blocks import Stored, Windows
    from engine.train.rows import Rows

    part = np.sort(np.random.default_rng(2).permutation(rows)[: int(0.8 * rows)])
    rates: dict[str, list[float]] = {"random rows, memmap": [], "blocks": []}
    for turn in range(turns):
        forget(folder)
        maps = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in NAMES]
        order = np.random.default_rng(turn).permutation(part)
        # few of them: the kernel reads 128 kB around each fault, and soon the rest would be there already
        few = max(1, batches_a_turn // 5)
        started = time.perf_counter()
        for start in range(0, 64 * few, 64):
            index = np.sort(order[start : start + 64])
            [torch.from_numpy(whole[index]) for whole in maps]
        rates["random rows, memmap"].append(64 * few / (time.perf_counter() - started))
        del maps

        forget(folder)
        files = tuple(FluxFile(folder / f"{name}.npy") for name in NAMES)
        stored = Stored(files, part, torch.device("cpu"))
        batches = Batches(
            Rows(stored, torch.zeros(len(part), 1), ["x"] * len(part)), 64, turn, windows=Windows(stored)
        )
        started = time.perf_counter()
        for _, _ in zip(range(batches_a_turn), batches, strict=False):
            pass
        rates["blocks"].append(64 * batches_a_turn / (time.perf_counter() - started))
        batches.close()
        print(*(f"{name}: {values[-1]:,.0f}/s" for name, values in rates.items()), sep="   ", flush=True)
    median = {name: statistics.median(values) for name, values in rates.items()}
    ratio = median["blocks"] / median["random rows, memmap"]
    print(f"median of {turns}: " + ", ".join(f"{n} {v:,.0f} samples/s" for n, v in median.items()))
    print(f"blocks / random rows = {ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in (
        ("rows", 100_000),
        ("limit-mb", 2500),
        ("steps", 400),
        ("turns", 3),
        ("batches", 300),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--only", choices=("train", "read"), help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.only == "train":
        return train(a.scratch, a.rows, a.steps, a.limit_mb * 1_000_000)
    if a.only == "read":
        return read(a.scratch, a.rows, a.batches, a.turns)
    folder = Path(tempfile.mkdtemp(prefix="beyond-", dir=a.scratch))
    try:
        if shutil.disk_usage(folder).free < 10e9 and a.rows > 20_000:
            a.rows = 20_000
            a.limit_mb = min(a.limit_mb, 1200)
            print(f"less than 10 GB free: {a.rows} rows only")
        started = time.perf_counter()
        make(folder, a.rows)
        print(f"{a.rows} x 2 x {POINTS} float32 made in {time.perf_counter() - started:.0f} s", flush=True)
        for part in ("train", "read"):
            command = [sys.executable, __file__, "--only", part, "--scratch", str(folder)]
            for name in ("rows", "limit_mb", "steps", "turns", "batches"):
                command += [f"--{name.replace('_', '-')}", str(getattr(a, name))]
            forget(folder)
            subprocess.run(command, check=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
