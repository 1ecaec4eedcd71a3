"""The figures of the screen: each is a piece of work done in a terminal, for ours and for the peer.

A function here does the work once and returns what it came to; `bench_terminal` repeats, compares and judges.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import stories
from glass import Glass
from rich.cells import cell_len

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
QUIET_SECONDS = 1.0
# Marks every run that is listed and compares them; the list has no key for all, so one by one.
MARK_ALL = os.environ.get("BENCH_MARK_ALL", "")
HELLO = """
from textual.app import App
from textual.widgets import Static
class Hello(App):
    def compose(self):
        yield Static("Hello, World!")
Hello().run()
"""


class Place:
    """Where a program runs: its home, and its workspace or folder of runs."""

    def __init__(self, home: Path, python: Path | None = None) -> None:
        self.home = home
        self.python = python
        """The interpreter of the environment that has wandb; None without the peer."""
        home.mkdir(parents=True, exist_ok=True)

    def env(self) -> dict[str, str]:
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "SPECTUI_", "SSH_", "TEXTUAL"))
        }
        # Without compiled files every start compiles the whole app, which no user sees twice.
        for name in ("NO_COLOR", "MLFLOW_TRACKING_URI", "LC_ALL", "COLUMNS", "PYTHONDONTWRITEBYTECODE"):
            kept.pop(name, None)
        return kept | {
            "HOME": str(self.home), "TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT),
            "WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "TEXTUAL_ANIMATIONS": "none",
        }  # fmt: skip

    def app(self, root: Path, size: tuple[int, int] = (160, 48)) -> Glass:
        """Open spectui on a workspace, without what it remembers of the last time."""
        for kept in (root / ".cache").glob("view-*.json"):
            kept.unlink()
        return Glass([sys.executable, "-m", "tui", "--root", str(root)], cwd=root, env=self.env(), size=size)

    def hello(self) -> Glass:
        """Open the smallest app that Textual makes."""
        return Glass([sys.executable, "-c", HELLO], cwd=self.home, env=self.env())

    def leet(self, runs: Path, size: tuple[int, int] = (160, 48)) -> Glass:
        """Open LEET on a `wandb` folder, without what it remembers of the last time."""
        (runs / ".wandb-leet.json").unlink(missing_ok=True)
        assert self.python is not None
        command = [str(self.python.with_name("wandb")), "leet", str(runs)]
        return Glass(command, cwd=runs.parent, env=self.env(), size=size)


# -- starting --------------------------------------------------------------------------------------


def start_hello(place: Place) -> float:
    glass = place.hello()
    took = glass.sees("Hello, World!", 30)
    glass.close("\x11")
    return took


def start_ours(place: Place, root: Path) -> float:
    glass = place.app(root)
    took = glass.sees("run-000", 30)
    glass.close("q")
    return took


def start_leet(place: Place, runs: Path) -> float:
    glass = place.leet(runs)
    glass.pump(30, lambda: "batch_loss" in glass.text())
    took = glass.last - glass.began
    glass.close("q")
    return took


# -- one long run ----------------------------------------------------------------------------------


def long_ours(place: Place, root: Path, steps: int) -> dict[str, float]:
    """Open a run of many points: seconds until all are drawn, memory then, and what idling costs."""
    glass = place.app(root)
    glass.sees("run-000", 30)
    glass.press("\r")
    glass.sees("Charts", 60)
    glass.pump(60, lambda: f"{steps}/{steps}" in glass.text() and len(set(glass.braille())) > 5)
    found = {"seconds": glass.settles(QUIET_SECONDS, 60)}
    assert len(set(glass.braille())) > 5, f"no curve:\n{glass.text()}"
    return found | _at_rest(glass, "qq")


def long_leet(place: Place, runs: Path) -> dict[str, float]:
    glass = place.leet(runs)
    glass.pump(30, lambda: "batch_loss" in glass.text())
    found = {"seconds": glass.settles(QUIET_SECONDS, 90)}
    assert len(set(glass.braille())) > 5, f"no curve:\n{glass.text()}"
    return found | _at_rest(glass, "q")


def _at_rest(glass: Glass, keys: str, seconds: float = 8.0) -> dict[str, float]:
    glass.pump(2.0)
    began, cpu = time.monotonic(), glass.cpu()
    glass.pump(seconds)
    took = time.monotonic() - began
    found = {
        "memory": glass.memory(),
        "idle_bytes": glass.bytes_since(began) / took,
        "idle_cpu": 100 * (glass.cpu() - cpu) / took,
    }
    glass.close(keys)
    return found


# -- many runs on one chart ------------------------------------------------------------------------


def overlay_ours(place: Place, root: Path, runs: int) -> dict[str, float]:
    """Mark all runs and compare them; `o` (linear or logarithmic) is pressed meanwhile."""
    glass = place.app(root)
    glass.sees("run-", 30)
    glass.settles(QUIET_SECONDS, 60)
    if MARK_ALL:
        glass.press(MARK_ALL)
    else:
        for _ in range(runs):
            glass.press(" ")
            glass.pump(0.004)
    glass.sees(f"{runs} marked", 60)
    glass.settles(0.5, 60)
    began, waits, peak = glass.press("c"), [], 0.0
    glass.pump(30, lambda: glass.last > began)
    while time.monotonic() - began < 60:
        before = glass.braille()
        waits.append(glass.answered("o", 60, None))
        peak = max(peak, glass.memory())
        glass.pump(0.3)
        # It is whole when its curves are there and nothing more is read: the program sleeps.
        cpu = glass.cpu()
        glass.pump(0.4)
        if glass.cpu() - cpu < 0.05 and len(set(before)) > 5:
            break
    loaded = glass.last - began
    return {"seconds": loaded, "worst_key": max(waits), "memory": max(peak, glass.memory())} | _closed(glass)


def overlay_leet(place: Place, runs: Path) -> dict[str, float]:
    """Select all runs (`ctrl+a`, `y`); `down` is pressed meanwhile."""
    glass = place.leet(runs)
    glass.pump(30, lambda: "batch_loss" in glass.text())
    glass.settles(QUIET_SECONDS, 60)
    glass.press("\x01")
    glass.pump(1.0)
    began, waits, peak = glass.press("y"), [], 0.0
    while time.monotonic() - began < 90:
        waits.append(glass.answered("\x1b[B", 60))
        peak = max(peak, glass.memory())
        cpu = glass.cpu()
        glass.pump(0.7)
        if glass.cpu() - cpu < 0.1:
            break
    return {"seconds": glass.last - began, "worst_key": max(waits), "memory": peak} | _closed(glass)


def _closed(glass: Glass) -> dict[str, float]:
    glass.close("q")
    return {}


# -- live ------------------------------------------------------------------------------------------


def live_ours(place: Place, root: Path, seconds: float, rate: float = 50.0) -> dict[str, float]:
    """Open a run that is being written; the age of what is shown is known to the step."""
    writer = subprocess.Popen(
        [sys.executable, str(Path(stories.__file__)), str(root), str(rate), str(seconds + 20)], cwd=HERE,
        env=place.env(),
    )  # fmt: skip
    try:
        _wait_for(lambda: any((root / "runs").glob("live-*/events.jsonl")))
        glass = place.app(root)
        glass.sees("live-2", 30)
        glass.press("\r")
        glass.sees("Charts", 30)
        glass.pump(4.0)
        (events,) = (root / "runs").glob("live-*/events.jsonl")
        shown: list[tuple[float, int]] = []
        found = _stream(glass, seconds, lambda: shown.append((time.time(), _step(glass))))
        told = [json.loads(line) for line in events.read_text().splitlines()]
        written = {one["step"][0]: one["time"] for one in told if one["kind"] == "steps"}
        ages = [at - written[step] for at, step in shown if step in written]
        assert ages, f"no step on the screen:\n{glass.text()}"
        found["age"] = max(ages)
        glass.close("qq")
    finally:
        writer.terminate()
        writer.wait()
    return found


def live_leet(place: Place, root: Path, seconds: float, rate: float = 50.0) -> dict[str, float]:
    """The same in LEET; its age is at least the longest time for which no curve moved."""
    assert place.python is not None
    writer = stories.live_theirs(place.python, root, rate, seconds + 40)
    try:
        _wait_for(lambda: any((root / "wandb").glob("offline-run-*/*.wandb")))
        glass = place.leet(root / "wandb")
        glass.pump(30, lambda: len(set(glass.braille())) > 5)
        glass.pump(4.0)
        found = _stream(glass, seconds, lambda: None)
        found["age"] = found["still"]
        glass.close("q")
    finally:
        writer.terminate()
        writer.wait()
    return found


def _stream(glass: Glass, seconds: float, look: Callable[[], object]) -> dict[str, float]:
    began, cpu = time.monotonic(), glass.cpu()
    picture, moved, still = glass.braille(), began, 0.0
    while time.monotonic() < began + seconds:
        glass.pump(0.1)
        look()
        now = glass.braille()
        still = max(still, time.monotonic() - moved)
        if now != picture:
            picture, moved = now, time.monotonic()
    took = time.monotonic() - began
    return {
        "bytes": glass.bytes_since(began) / took,
        "cpu": 100 * (glass.cpu() - cpu) / took,
        "still": still,
        "memory": glass.memory(),
    }


def _step(glass: Glass) -> int:
    found = re.search(r"\b(\d+)/\d{3,}\b", "\n".join(glass.rows()[:6]))
    return int(found.group(1)) if found else -1


def _wait_for(true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError("the writer never began")
        time.sleep(0.05)


# -- keys and sizes --------------------------------------------------------------------------------


def keys_ours(place: Place, root: Path, many: int, presses: int) -> list[float]:
    """Press keys in a list of many runs; return the seconds to the first change of each."""
    glass = place.app(root)
    glass.sees("1 Runs", 30)
    glass.pump(120, lambda: re.search(rf"\b({many}|{many:,})\b", glass.text()) is not None)
    glass.settles(2.0, 120)
    moves = ["j", "j", "k", "\x1b[6~", "G", "k", "g", "j"]
    took = []
    for number in range(presses):
        took.append(glass.answered(moves[number % len(moves)], 10))
        glass.pump(0.08)
    glass.close("q")
    return took


def sizes_ours(place: Place, root: Path, storm: int, seed: int) -> list[str]:
    """Resize in the list and in a run, calmly and in a storm; return what was lost or wrapped."""
    problems: list[str] = []
    dice = random.Random(seed)
    glass = place.app(root, size=(80, 24))
    glass.sees("run-000", 30)
    for where in ("list", "run"):
        if where == "run":
            glass.press("\r")
            glass.sees("Charts", 30)
            glass.settles(QUIET_SECONDS, 30)
        for size in ((80, 24), (60, 20), (200, 60), (80, 24)):
            _resized(glass, size)
            problems += [f"{where} {size[0]}x{size[1]}: {words}" for words in _wrong(glass, where)]
        for _ in range(storm):
            glass.resize(dice.randint(60, 200), dice.randint(20, 60))
            os.kill(glass.pid, signal.SIGWINCH)
            glass.pump(0.01)
        _resized(glass, (80, 24))
        problems += [f"{where} after the storm: {words}" for words in _wrong(glass, where)]
    code = glass.close("qq")
    if code != 0:
        problems.append(f"it ended with {code}: {glass.tail[-400:]!r}")
    return problems


def _resized(glass: Glass, size: tuple[int, int]) -> None:
    glass.pump(0.1)
    glass.resize(*size)
    glass.pump(2.0, lambda: False)
    glass.settles(0.5, 20)


def _wrong(glass: Glass, where: str) -> list[str]:
    columns, rows = glass.size
    text, shown = glass.text(), glass.rows()
    found = []
    if not shown[0].lstrip().startswith("spectui"):
        found.append(f"the first row is {shown[0].strip()!r}")
    if "help" not in shown[-1] and "?" not in shown[-1]:
        found.append(f"the last row is {shown[-1].strip()!r}")
    if any(cell_len(row.rstrip()) > columns for row in shown):
        found.append("a row is wider than the window")
    if where == "list":
        listed = sum("finished" in row and "run-0" in row for row in shown)
        if listed < 10:
            found.append(f"{listed} of 12 runs in {rows} rows")
    elif (
        not {"loss", "learning rate"} <= set(re.findall("loss|learning rate", text))
        or len(set(glass.braille())) < 5
    ):
        found.append("a chart is gone")
    return found
