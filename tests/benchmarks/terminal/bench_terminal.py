"""What the screen costs, beside W&B LEET and a Textual hello world: start, points, keys, bytes, memory.

    python tests/benchmarks/terminal/bench_terminal.py [--rounds 3] [--leet PYTHON] [--json] [--only NAME ...]

The same work in the same kind of terminal (a pty of 160x48 that answers like xterm), in turns (A B A B ...),
medians of the rounds; where a worst case counts, the worst of all rounds. `--leet` is the Python of an
environment with the `wandb` wheel (`python -m venv X && X/bin/pip install wandb==0.31.0`); without it one is
looked for in BENCH_LEET_PYTHON, and without that the peer is left out. Nothing asks a server for anything.

CPU and memory are those of the whole process tree; memory is PSS (shared pages count once). "First useful
frame" is the list of runs with its runs in it. "All points" is the last byte before a second of silence. Data
age is the time since the step that stands on the screen was written, at worst; for LEET, which shows no step,
the longest time for which no curve moved, which is less.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import figures
import stories

NAMES = ("start", "long", "overlay", "live", "keys", "sizes")


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    name: str
    ours: float
    unit: str
    bar: float
    peer: float | None = None

    @property
    def met(self) -> bool:
        return self.ours <= self.bar


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]} if rounds else {}


def in_turns(
    rounds: int, ours: Callable[[int], dict[str, float]], peer: Callable[[int], dict[str, float]] | None
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Do the work of both so many times, in turns."""
    a, b = [], []
    for number in range(rounds):
        a.append(ours(number))
        if peer is not None:
            b.append(peer(number))
    return a, b


class Bench:
    """The folders that are looked at, made when they are first wanted."""

    def __init__(self, folder: Path, a: argparse.Namespace, python: Path | None) -> None:
        self.folder, self.a, self.python = folder, a, python
        self.place = figures.Place(folder / "home", python)

    def ours(self, name: str, make: Callable[[Any], None]) -> Path:
        root = self.folder / name
        if not root.exists():
            make(stories.workspace(root))
        return root

    def theirs(self, name: str, runs: int, steps: int) -> Path:
        assert self.python is not None
        root = self.folder / f"leet-{name}"
        return root / "wandb" if root.exists() else stories.theirs(self.python, root, runs, steps)

    def start(self) -> list[Figure]:
        root = self.ours("few", lambda place: stories.ours(place, 12, 200))
        peer = self.theirs("few", 12, 200) if self.python else None
        hello, ours, leet = [], [], []
        figures.start_ours(self.place, root)  # what is compiled once is compiled now
        figures.start_hello(self.place)
        for _ in range(max(3, 2 * self.a.rounds)):
            hello.append(figures.start_hello(self.place))
            ours.append(figures.start_ours(self.place, root))
            if peer is not None:
                leet.append(figures.start_leet(self.place, peer))
        base = statistics.median(hello)
        ratio, seconds = statistics.median(ours) / base, statistics.median(leet) if leet else None
        return [
            Figure(
                "first useful frame, of a Textual hello world", ratio, "x", 1.25, seconds and seconds / base
            ),
            Figure("first useful frame", statistics.median(ours), "s", 1.25 * base, seconds),
        ]

    def long(self) -> list[Figure]:
        steps = self.a.steps
        root = self.ours("long", lambda place: stories.ours(place, 1, steps))
        peer = self.theirs("long", 1, steps) if self.python else None
        a, b = in_turns(
            self.a.rounds,
            lambda _: figures.long_ours(self.place, root, steps),
            None if peer is None else lambda _: figures.long_leet(self.place, peer),
        )
        ours, leet = medians(a), medians(b)
        return [
            Figure(
                f"{steps:,} steps x 4: all points, from exec", ours["seconds"], "s", 2.0, leet.get("seconds")
            ),
            Figure("memory with that run open", ours["memory"], "MB", 100.0, leet.get("memory")),
            Figure("idle, to the terminal", ours["idle_bytes"], "B/s", 0.0, leet.get("idle_bytes")),
            Figure("idle, CPU", ours["idle_cpu"], "%", 1.0, leet.get("idle_cpu")),
        ]

    def overlay(self) -> list[Figure]:
        runs = self.a.runs
        root = self.ours("overlay", lambda place: stories.ours(place, runs, 1000))
        peer = self.theirs("overlay", runs, 1000) if self.python else None
        a, b = in_turns(
            self.a.rounds,
            lambda _: figures.overlay_ours(self.place, root, runs),
            None if peer is None else lambda _: figures.overlay_leet(self.place, peer),
        )
        ours, leet = medians(a), medians(b)
        worst = max(one["worst_key"] for one in a)
        peers = max((one["worst_key"] for one in b), default=None)
        return [
            Figure(f"{runs} runs x 1,000 x 4 overlaid", ours["seconds"], "s", 3.0, leet.get("seconds")),
            Figure("worst key meanwhile", 1e3 * worst, "ms", 100.0, peers and 1e3 * peers),
            Figure("memory meanwhile", ours["memory"], "MB", 200.0, leet.get("memory")),
        ]

    def live(self) -> list[Figure]:
        seconds = self.a.seconds
        for old in self.folder.glob("*live-*"):
            shutil.rmtree(old)
        a, b = in_turns(
            self.a.rounds,
            lambda n: figures.live_ours(self.place, self.ours(f"live-{n}", lambda _: None), seconds),
            None if self.python is None else lambda n: figures.live_leet(
                self.place, self.folder / f"leet-live-{n}", seconds),
        )  # fmt: skip
        ours, leet = medians(a), medians(b)
        worst, peers = max(one["age"] for one in a), max((one["age"] for one in b), default=None)
        return [
            Figure("50 points/s: age of what is shown, at worst", worst, "s", 1.0, peers),
            Figure(
                "50 points/s: to the terminal", ours["bytes"] / 1e3, "KB/s", 3.0, _thousand(leet, "bytes")
            ),
            Figure("50 points/s: CPU", ours["cpu"], "%", 10.0, leet.get("cpu")),
        ]

    def keys(self) -> list[Figure]:
        told = []
        for kind in ("run folders", "mlflow.db"):
            root = self.ours(
                kind.split()[0], self._many_folders if kind == "run folders" else self._many_stored
            )
            took = figures.keys_ours(self.place, root, self.a.many, self.a.presses)
            told += [
                Figure(
                    f"{self.a.many:,} {kind}: key to first change", 1e3 * statistics.median(took), "ms", 50.0
                ),
                Figure(f"{self.a.many:,} {kind}: the slowest key", 1e3 * max(took), "ms", 50.0),
            ]
        return told

    def _many_folders(self, place: Any) -> None:
        stories.many(place, self.a.many)

    def _many_stored(self, place: Any) -> None:
        sys.path.append(str(Path(__file__).resolve().parents[1]))
        from bench_store import make

        make(place.root, self.a.many, 100)

    def sizes(self) -> list[Figure]:
        root = self.ours("few", lambda place: stories.ours(place, 12, 200))
        problems = figures.sizes_ours(self.place, root, self.a.storm, self.a.seed)
        for problem in problems:
            print(f"  {problem}", file=sys.stderr)
        return [Figure(f"80x24, 60x20, 200x60, {self.a.storm} resizes: lost", float(len(problems)), "", 0.0)]


def _thousand(found: dict[str, float], name: str) -> float | None:
    return found[name] / 1e3 if name in found else None


def peer_python(wanted: Path | None) -> Path | None:
    """Return the Python of the environment with wandb, None (and say why) when there is none."""
    found = wanted or (Path(os.environ["BENCH_LEET_PYTHON"]) if "BENCH_LEET_PYTHON" in os.environ else None)
    if found is None or not found.with_name("wandb").is_file():
        print("skipped: W&B LEET (no environment with the wandb wheel; see --help)", file=sys.stderr)
        return None
    return found


def table(told: list[Figure]) -> list[str]:
    lines = [f"{'':<8}{'figure':<52} {'spectui':>9} {'bar':>9} {'LEET':>9} {'LEET/ours':>9}"]
    for one in told:
        peer = "-" if one.peer is None else f"{one.peer:.2f}"
        ratio = "-" if one.peer is None or not one.ours else f"{one.peer / one.ours:.1f}x"
        lines.append(f"{'met' if one.met else 'MISSED':<8}{one.name:<52} {one.ours:>9.2f} {one.bar:>9.2f}"
                     f" {peer:>9} {ratio:>9} {one.unit}")  # fmt: skip
    return lines


def main() -> int:
    """Measure and say whether the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in (("rounds", 3), ("steps", 100_000), ("runs", 200), ("many", 10_000), ("storm", 60),
                        ("presses", 60), ("seed", 6)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seconds", type=float, default=20.0, help="of watching a live run")
    parser.add_argument("--leet", type=Path, help="the Python of an environment with wandb")
    parser.add_argument("--no-leet", action="store_true", help="leave the peer out")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--folder", type=Path, help="keep the runs that are made here, for another time")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    folder = a.folder or Path(tempfile.mkdtemp(prefix="terminal-"))
    folder.mkdir(parents=True, exist_ok=True)
    told: list[Figure] = []
    try:
        bench = Bench(folder, a, None if a.no_leet else peer_python(a.leet))
        for name in a.only:
            print(f"measuring: {name}", file=sys.stderr)
            try:
                told += getattr(bench, name)()
            except (TimeoutError, AssertionError) as error:
                print(error, file=sys.stderr)
                told.append(Figure(f"{name}: not measured", float("inf"), "", 0.0))
    finally:
        if a.folder is None:
            shutil.rmtree(folder)
    if a.json:
        print(json.dumps([asdict(one) | {"met": one.met} for one in told], indent=1))
    else:
        print("\n".join(table(told)))
    return 0 if all(one.met for one in told) else 1


if __name__ == "__main__":
    sys.exit(main())
