"""Samples a second of `Batches` against bare `index_select` and against the DataLoader of the old framework.

    python tests/benchmarks/bench_batches.py [--stars 4000] [--points 4700] [--batch 64] [--rounds 15]

The old way is that of the framework users come from: a Dataset gives one star at a time (both branches
joined, labels, two arrays of zeros, obsid), in float64, and a DataLoader puts batches together. Its default
of 10 workers is slower than none, which is the baseline; the same in float32 stands beside it.
`Batches` is what a run without augmentation has: scaled once. The others scale on the way, as where memory
has no room for that or spectra are augmented.
Wanted: at least 0.8x of the bare gather, at least 10x of the old way.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from engine.conf.data import Augment
from engine.spectra.scale import fit
from engine.train import augment
from engine.train.batches import Batches
from engine.train.rows import Resident, Rows, Scaling, as_tensor

CPU = torch.device("cpu")
OLD = "old DataLoader, no worker"


class PerStar(Dataset[Any]):
    def __init__(self, flux: np.ndarray, labels: np.ndarray) -> None:
        self.flux, self.labels = flux, labels

    def __len__(self) -> int:
        return len(self.flux)

    def __getitem__(self, i: int) -> Any:
        x, y = self.flux[i], self.labels[i]
        zeros = np.zeros((len(x), 1), x.dtype), np.zeros((len(y), 1), y.dtype)
        return torch.from_numpy(x), torch.from_numpy(y), *map(torch.from_numpy, zeros), i


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in (("stars", 4000), ("points", 4700), ("batch", 64), ("rounds", 15), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    warnings.filterwarnings("ignore", message="This DataLoader will create")  # that is what it does
    rng = np.random.default_rng(0)
    continuum = rng.normal(2000, 500, (a.stars, a.points)).astype(np.float32)
    normalized = rng.normal(1, 0.1, (a.stars, a.points)).astype(np.float32)
    labels = rng.normal(size=(a.stars, 4)).astype(np.float32)
    c_SL, n_SL, l_NT = as_tensor(continuum), as_tensor(normalized), as_tensor(labels)
    scaling = Scaling.of(fit("standard", continuum[:500], pooled=True), CPU)
    assert scaling is not None
    pixels = Scaling.of(fit("standard", continuum[:500]), CPU)
    source = Resident(c_SL, n_SL, torch.arange(a.stars), CPU)
    obsids = [str(i) for i in range(a.stars)]
    grid = 3900.0 + np.arange(a.points)
    noise = augment.build(Augment(noise=0.02, shift_pixels=2.0), 0, grid, None, CPU)

    def bare() -> Iterable[Any]:
        order = torch.randperm(a.stars)
        for start in range(0, a.stars, a.batch):
            index = order[start : start + a.batch]
            yield c_SL.index_select(0, index), n_SL.index_select(0, index), l_NT.index_select(0, index)

    def ours(rows: Rows, augmentation: Any = None) -> Iterable[Any]:
        batches = Batches(rows, a.batch, 0, augmentation=augmentation)
        for batch in batches:
            yield batch
            if batches.epoch_ended:
                return

    joined = np.concatenate((continuum, normalized), axis=1)
    single = PerStar(joined, labels)
    double = PerStar(joined.astype(np.float64), labels.astype(np.float64))
    ready = Rows(Resident(scaling(c_SL, in_place=False), n_SL, torch.arange(a.stars), CPU), l_NT, obsids)
    pooled = Rows(source, l_NT, obsids, scaling)
    ways: dict[str, tuple[Callable[[], Iterable[Any]], int]] = {
        "bare index_select": (bare, a.rounds),
        "Batches": (lambda: ours(ready), a.rounds),
        "Batches, continuum scaled": (lambda: ours(pooled), a.rounds),
        "Batches, scaled per pixel": (lambda: ours(Rows(source, l_NT, obsids, pixels)), a.rounds),
        "Batches, both scaled": (lambda: ours(Rows(source, l_NT, obsids, scaling, scaling)), a.rounds),
        "Batches, noise and shift": (lambda: ours(pooled, noise), max(1, a.rounds // 5)),
        OLD: (lambda: DataLoader(double, a.batch, shuffle=True), a.rounds),
        "old DataLoader, 10 workers": (lambda: DataLoader(double, a.batch, shuffle=True, num_workers=10), 3),
        "old DataLoader, float32": (lambda: DataLoader(single, a.batch, shuffle=True), a.rounds),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(a.rounds):
        for name, (way, rounds) in ways.items():
            if number < rounds:
                started = time.perf_counter()
                for _ in way():
                    pass
                rates[name].append(a.stars / (time.perf_counter() - started))
    median = {name: statistics.median(values) for name, values in rates.items()}
    print(
        f"{a.stars} stars x 2 x {a.points} float32, batch {a.batch}, {a.threads} threads, {a.rounds} rounds"
    )
    for name, rate in median.items():
        print(
            f"{name:<28} {rate:>10,.0f} samples/s  {rate / median['bare index_select']:6.2f}x bare"
            f"  {rate / median[OLD]:6.2f}x old"
        )
    ours_rate = median["Batches"]
    for bar, wanted in (("bare index_select", 0.8), (OLD, 10.0)):
        ratio = ours_rate / median[bar]
        print(f"{'met' if ratio >= wanted else 'MISSED':<6} Batches / {bar} = {ratio:.2f} >= {wanted:g}")


if __name__ == "__main__":
    main()
