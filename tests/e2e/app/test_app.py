"""The app in a real terminal: the main job by keys, a run that diverges, and every way the app can end."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

# One worker runs these: each trains.
pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("app")]

ENTER, ESC, UP, DOWN, BACKSPACE = "\r", "\x1b", "\x1b[A", "\x1b[B", "\x7f"
CTRL_K, CTRL_S = "\x0b", "\x13"


def the_run(workspace: Path) -> Path:
    """Return the only run folder."""
    (run,) = (p for p in (workspace / "runs").iterdir() if (p / "run.json").is_file())
    return run


def engine_of(run: Path) -> int:
    return int(json.loads((run / "process.json").read_text())["pid"])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_main_job(terminal: Callable[..., Any], workspace: Path) -> None:
    shown = terminal()
    shown.sees("Runs", "no runs yet", "n new", "q quit")
    shown.open_form("demo")
    shown.fill_in("training.epochs", "25")
    shown.press(CTRL_S)
    # At once, long before PyTorch is loaded.
    shown.sees("starting")
    shown.sees("running", "epoch", "step", seconds=90)
    shown.until(lambda: len(shown.braille().split()) > 3)
    first = shown.braille()
    shown.until(lambda: shown.braille() != first)
    run = the_run(workspace)
    assert yaml.safe_load((run / "conf.yaml").read_text())["training"]["epochs"] == 25
    pid = engine_of(run)
    assert os.getsid(pid) != os.getsid(shown.process.pid)
    # Quit while it trains: out of the run, out of the app.
    shown.press("q")
    shown.sees("1 live", run.name[-11:])
    shown.press("q")
    assert shown.ends() == 0
    assert shown.is_restored()
    assert "1 run(s) keep training" in shown.text()
    still_training = is_alive(pid)
    assert still_training or '"kind":"end"' in (run / "events.jsonl").read_text()
    # Again, and it is there.
    again = terminal()
    again.sees(run.name[-11:])
    again.until(lambda: "running" in again.text() or "finished" in again.text())
    again.sees("✓ finished", "25/25", seconds=120)
    again.press(ENTER)
    again.sees("✓ finished", "epoch 25/25", "A train", "(min", "learning rate")
    again.until(lambda: len(again.braille().split()) > 3)
    again.press("\t")
    again.sees("test errors")
    again.press("q", "q")
    assert again.ends() == 0 and again.is_restored()


def test_the_learning_rate_is_drawn_as_it_is_typed(terminal: Callable[..., Any]) -> None:
    shown = terminal()
    shown.sees("no runs yet")
    shown.open_form("demo")
    shown.fill_in("training.learning_rate", "0.02")
    shown.sees("learning rate: peak 0.02, last ", "300 steps", "30 epochs of about 10 steps")
    shown.until(lambda: len(shown.braille().split()) > 1)
    shown.press("x")
    shown.sees("✗ no preview of the learning rate:", "must be a number, got '0.02x'")
    shown.until(lambda: not shown.braille())
    # One after the other: an escape that is read together with the next key is another key.
    shown.press(ESC)
    shown.sees("y yes")
    shown.press("y")
    shown.sees("Networks", "q quit")
    shown.press("q")
    assert shown.ends() == 0 and shown.is_restored()


def test_a_run_that_diverges_is_red_marked_and_explained(
    terminal: Callable[..., Any], workspace: Path, spectui: Any
) -> None:
    shown = terminal()
    shown.sees("no runs yet")
    shown.open_form("mlp")
    shown.fill_in("training.learning_rate", "1e10")
    shown.press(CTRL_S)
    shown.sees("starting")
    shown.sees("! diverged", seconds=90)
    remedies = ["Use LayerNorm in place of BatchNorm", "Clip the inputs", "Turn gradient clipping on"]
    shown.sees(*(f"{number}. {title}" for number, title in enumerate(remedies, 1)))
    shown.sees("✗", "loss", "@", "training.gradient_clip_val: 1.0")
    assert shown.is_red("! diverged")
    shown.press(ESC)
    shown.sees("n new", "! diverged")
    shown.until(lambda: shown.is_red("! diverged") and shown.is_red("mlp-"))
    shown.press("q")
    assert shown.ends() == 0 and shown.is_restored()
    # The same words from the shell.
    here = spectui.at(workspace)
    said = here("diagnose", "@last")
    assert said.code == 0, said.err
    places = [said.out.find(f"{number}. {title}") for number, title in enumerate(remedies, 1)]
    assert -1 not in places and places == sorted(places), said.out
    finding = here("diagnose", "@last", "--json").json["findings"][0]
    assert finding["id"] in ("SP101", "SP102") and finding["severity"] == "error"
    assert [remedy["title"] for remedy in finding["remedies"][:3]] == [
        next(line for line in said.out.splitlines() if title in line).split(". ", 1)[1] for title in remedies
    ]


def test_the_run_survives_every_way_the_app_can_end(terminal: Callable[..., Any], workspace: Path) -> None:
    shown = terminal()
    shown.sees("no runs yet")
    shown.open_form("demo")
    shown.fill_in("training.epochs", "9000")
    shown.press(CTRL_S)
    shown.sees("starting")
    pid = engine_of(the_run(workspace))

    # Asked to end by a signal: it leaves the terminal as it found it.
    shown.process.send_signal(signal.SIGTERM)
    assert shown.ends() == 0 and shown.is_restored()
    assert is_alive(pid)

    # The connection is lost.
    shown = terminal()
    shown.sees("1 live")
    shown.hang_up()
    shown.process.wait(timeout=10)
    assert is_alive(pid)

    # Killed, which nothing can catch.
    shown = terminal()
    shown.sees("● running", seconds=90)
    shown.process.kill()
    shown.process.wait(timeout=10)
    assert is_alive(pid)

    # And it can be watched and stopped from a new app.
    shown = terminal()
    shown.sees("● running", "1 live")
    shown.press(ENTER)
    shown.until(lambda: len(shown.braille().split()) > 3, seconds=60)
    shown.press(CTRL_K)
    shown.sees("Stop demo-", "default")
    shown.press(ENTER)
    shown.until(lambda: "default" not in shown.text())
    assert is_alive(pid)
    shown.press(CTRL_K)
    shown.sees("Stop demo-")
    shown.press("y")
    shown.sees("■ stopped", seconds=60)
    shown.press("q", "q")
    assert shown.ends() == 0


def test_quitting_at_once_does_not_wait_for_the_parameter_count(terminal: Callable[..., Any]) -> None:
    shown = terminal()
    shown.sees("no runs yet")
    shown.press("2")
    shown.sees("Networks")
    began = time.monotonic()
    shown.press("q")
    assert shown.ends() == 0 and shown.is_restored()
    assert time.monotonic() - began < 8


def test_an_idle_screen_writes_nothing(terminal: Callable[..., Any], spectui: Any) -> None:
    shown = terminal()
    shown.sees("no runs yet", "? help")
    time.sleep(1.0)
    before = len(shown.written)
    time.sleep(2.5)
    assert len(shown.written) == before
    shown.press("q")
    assert shown.ends() == 0


def test_a_chinese_terminal_is_spoken_to_in_chinese(terminal: Callable[..., Any]) -> None:
    shown = terminal(LANG="zh_CN.UTF-8")
    # pyte leaves an empty cell after a wide character.
    wanted = ("运行", "实验", "比较", "帮助")
    shown.until(lambda: all(words in shown.text().replace(" ", "") for words in wanted))
    shown.press("q")
    assert shown.ends() == 0 and shown.is_restored()


STUCK = """
import pathlib, sys, time
from tui import boot, feeds, leaving
from tui.app import SpectuiApp
leaving.Leaving.__init__.__defaults__ = (1.0,)
if "thread" in sys.argv:
    feeds.RunFeed.run = lambda *_: (pathlib.Path("stuck").touch(), time.sleep(60))
else:
    SpectuiApp.on_unmount = lambda _: (pathlib.Path("stuck").touch(), time.sleep(60))
sys.exit(boot.run_app(None))
"""


@pytest.mark.parametrize("what", ["thread", "app"])
@pytest.mark.filterwarnings("ignore:(Current t|T)hread")
def test_quitting_does_not_wait_for_what_does_not_end(
    what: str, terminal: Callable[..., Any], workspace: Path
) -> None:
    shown = terminal(command=[sys.executable, "-c", STUCK, what])
    shown.sees("? help")
    if what == "thread":
        shown.until((workspace / "stuck").exists)
    shown.press("q")
    assert shown.ends() == 0 and shown.is_restored()
    assert b"left-late.txt" in shown.written
    assert "Thread" in (workspace / ".cache" / "left-late.txt").read_text()


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_cannot_move_its_cursor_is_told_the_runs(
    term: str, terminal: Callable[..., Any]
) -> None:
    shown = terminal(TERM=term)
    assert shown.ends() == 0
    assert "TERM=" in shown.text() and b"\x1b[" not in shown.written


@pytest.mark.parametrize("changes", [{"TERM": "linux"}, {"NO_COLOR": "1"}, {"SSH_CONNECTION": "a 1 b 2"}])
def test_poorer_terminals_work_too(changes: dict[str, str], terminal: Callable[..., Any]) -> None:
    shown = terminal(**{"COLORTERM": ""} | changes)
    shown.sees("no runs yet", "? help")
    assert "\x1b[38;2" not in shown.written.decode("utf-8", "replace")
    shown.press("?")
    shown.sees("Keys")
    shown.press("q", "q")
    assert shown.ends() == 0 and shown.is_restored()
