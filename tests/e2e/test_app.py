"""The app in a real terminal: the main job by keys, a run that diverges, and every way the app can end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest
import yaml

# One worker runs these: each trains.
pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("app")]

ENTER, ESC, UP, DOWN, BACKSPACE = "\r", "\x1b", "\x1b[A", "\x1b[B", "\x7f"
CTRL_K, CTRL_S = "\x0b", "\x13"
LEFT_SCREEN = b"\x1b[?1049l"


class Terminal:
    """A terminal of 80x24 with one command in it: what is shown, what was written, keys to press."""

    def __init__(self, command: list[str], cwd: Path, env: dict[str, str], size: tuple[int, int]) -> None:
        self.mine, theirs = pty.openpty()
        self.cwd = cwd
        columns, rows = size
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self.written = bytearray()
        # Textual draws on stderr, and a hang-up reaches only whom the terminal controls.
        self.process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        self.theirs = theirs
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select([self.mine], [], [], 0.1)
            if ready:
                try:
                    data = os.read(self.mine, 65536)
                except OSError:
                    return
                with self._lock:
                    self.written += data
                    self._stream.feed(data)

    def rows(self) -> list[str]:
        with self._lock:
            return list(self.screen.display)

    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.rows())

    def braille(self) -> str:
        """The cells that have points of a curve."""
        return "".join(c if 0x2800 < ord(c) < 0x2900 else " " for c in self.text()).strip()

    def is_red(self, piece: str) -> bool:
        """Tell whether the first cell of a text is drawn in a colour that is mostly red."""
        with self._lock:
            for y, row in enumerate(self.screen.display):
                if piece in row:
                    colour = self.screen.buffer[y][row.index(piece)].fg
                    if colour in ("red", "brightred"):
                        return True
                    if not re.fullmatch("[0-9a-f]{6}", colour):
                        return False
                    red, green, blue = bytes.fromhex(colour)
                    return red > 150 and red > 1.4 * max(green, blue)
        raise AssertionError(f"{piece!r} is not on the screen")

    def press(self, *keys: str) -> None:
        """Press keys one by one, as a hand does: glued together they would look like pasted text."""
        for key in keys:
            os.write(self.mine, key.encode())
            time.sleep(0.02 if key != ESC else 0.2)

    def until(self, true: Callable[[], Any], seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"never came true; on the screen:\n{self.text()}"
            time.sleep(0.05)

    def sees(self, *pieces: str, seconds: float = 90.0) -> None:
        """Wait until all of these are on the screen."""
        self.until(lambda: all(piece in self.text() for piece in pieces), seconds)

    def ends(self, seconds: float = 30.0) -> int:
        """Wait for the end of the command; return its exit code."""
        code = self.process.wait(timeout=seconds)
        time.sleep(0.2)  # its last words are still in the pipe
        assert b"Traceback" not in self.written, self.text()
        if b"left-late.txt" in self.written:  # it ended as it should, but something behind it had not
            warnings.warn((self.cwd / ".cache" / "left-late.txt").read_text(), stacklevel=2)
        return code

    def hang_up(self) -> None:
        """Close the window, or lose the connection."""
        self._stop.set()
        self._reader.join()
        os.close(self.theirs)
        os.close(self.mine)
        self.theirs = self.mine = -1

    def is_restored(self) -> bool:
        """Tell whether the terminal is as the app found it: the normal screen, cooked."""
        return LEFT_SCREEN in self.written and termios.tcgetattr(self.theirs)[3] == self.before[3]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.mine >= 0:
            self.hang_up()


@pytest.fixture
def terminal(
    spectui: Any, workspace: Path, clean_environment: Callable[..., dict[str, str]]
) -> Iterator[Callable[..., Terminal]]:
    """Return open(...): `spectui` on the workspace in a terminal; what it leaves running is ended after."""
    opened: list[Terminal] = []

    def open_terminal(*words: str, size: tuple[int, int] = (80, 24), **changes: str) -> Terminal:
        env = clean_environment({"TERM": "xterm-256color", "COLORTERM": "truecolor", **changes})
        for name in ("COLUMNS", "LINES"):
            env.pop(name, None)
        opened.append(Terminal(spectui.command(*words), workspace, env, size))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()
    for pid in processes_of(workspace):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes_of(workspace: Path) -> list[int]:
    """Return the processes that were started for this workspace, which no other test has."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if str(workspace).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


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


def fill_in(shown: Terminal, key: str, text: str) -> None:
    """Walk down the form to a field and type over what is there."""
    shown.until(lambda: field_under_cursor(shown))
    for _ in range(40):
        here = field_under_cursor(shown)
        if here == key:
            break
        shown.press(DOWN)
        shown.until(lambda here=here: field_under_cursor(shown) not in ("", here))  # type: ignore[misc]
    label = key.rpartition(".")[2]
    row = next(row for row in shown.rows() if row.startswith(f"   {label} "))
    shown.press(*[BACKSPACE] * len(row.split()[1]), *text)
    shown.until(lambda: any(row.split()[:3] == ["*", label, text] for row in shown.rows()))


def field_under_cursor(shown: Terminal) -> str:
    """Return the key that the help under the form speaks of."""
    found = re.search(r"^ ([a-z_.]+): ", "\n".join(shown.rows()[-4:]), re.MULTILINE)
    return found.group(1) if found else ""


def open_form(shown: Terminal, conf: str) -> None:
    """From the runs to the launch form of a conf."""
    shown.press("n")
    shown.sees("Confs", "conf/demo.yaml")
    for _ in range(10):
        here = conf_under_cursor(shown)
        if here == conf:
            break
        shown.press(DOWN)
        shown.until(lambda here=here: conf_under_cursor(shown) not in ("", here))  # type: ignore[misc]
    shown.press(ENTER)
    shown.sees(f"Launch conf/{conf}.yaml", "learning_rate", "ctrl+s")


def conf_under_cursor(shown: Terminal) -> str:
    """Return the conf that the text under the lists is of."""
    found = re.search(r"^ conf/(\w+)\.yaml$", shown.text(), re.MULTILINE)
    return found.group(1) if found else ""


def test_the_main_job(terminal: Callable[..., Terminal], workspace: Path) -> None:
    shown = terminal()
    shown.sees("Runs", "no runs yet", "n new", "q quit")
    open_form(shown, "demo")
    fill_in(shown, "training.epochs", "25")
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
    again.sees("✓ finished", "epoch 25/25", "best val", "loss  A train", "learning rate")
    again.until(lambda: len(again.braille().split()) > 3)
    again.press("\t")
    again.sees("test errors")
    again.press("q", "q")
    assert again.ends() == 0 and again.is_restored()


def test_the_learning_rate_is_drawn_as_it_is_typed(terminal: Callable[..., Terminal]) -> None:
    shown = terminal()
    shown.sees("no runs yet")
    open_form(shown, "demo")
    fill_in(shown, "training.learning_rate", "0.02")
    shown.sees("learning rate: peak 0.02, last ", "300 steps", "30 epochs of about 10 steps")
    shown.until(lambda: len(shown.braille().split()) > 1)
    shown.press("x")
    shown.sees("✗ no preview of the learning rate:", "must be a number, got '0.02x'")
    shown.until(lambda: not shown.braille())
    shown.press(ESC, "y", "q")
    assert shown.ends() == 0 and shown.is_restored()


def test_a_run_that_diverges_is_red_marked_and_explained(
    terminal: Callable[..., Terminal], workspace: Path, spectui: Any
) -> None:
    shown = terminal()
    shown.sees("no runs yet")
    open_form(shown, "mlp")
    fill_in(shown, "training.learning_rate", "1e10")
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


def test_the_run_survives_every_way_the_app_can_end(
    terminal: Callable[..., Terminal], workspace: Path
) -> None:
    shown = terminal()
    shown.sees("no runs yet")
    open_form(shown, "demo")
    fill_in(shown, "training.epochs", "9000")
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


def test_quitting_at_once_does_not_wait_for_the_parameter_count(terminal: Callable[..., Terminal]) -> None:
    shown = terminal()
    shown.sees("no runs yet")
    shown.press("2")
    shown.sees("Networks")
    began = time.monotonic()
    shown.press("q")
    assert shown.ends() == 0 and shown.is_restored()
    assert time.monotonic() - began < 8


def test_an_idle_screen_writes_nothing(terminal: Callable[..., Terminal], spectui: Any) -> None:
    shown = terminal()
    shown.sees("no runs yet", "? help")
    time.sleep(1.0)
    before = len(shown.written)
    time.sleep(2.5)
    assert len(shown.written) == before
    shown.press("q")
    assert shown.ends() == 0


def test_a_chinese_terminal_is_spoken_to_in_chinese(terminal: Callable[..., Terminal]) -> None:
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
    what: str, workspace: Path, clean_environment: Callable[..., dict[str, str]]
) -> None:
    env = clean_environment({"TERM": "xterm-256color"})
    shown = Terminal([sys.executable, "-c", STUCK, what], workspace, env, (80, 24))
    try:
        shown.sees("? help")
        if what == "thread":
            shown.until((workspace / "stuck").exists)
        shown.press("q")
        assert shown.ends() == 0 and shown.is_restored()
        assert b"left-late.txt" in shown.written
        assert "Thread" in (workspace / ".cache" / "left-late.txt").read_text()
    finally:
        shown.close()


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_cannot_move_its_cursor_is_refused(
    term: str, terminal: Callable[..., Terminal]
) -> None:
    shown = terminal(TERM=term)
    assert shown.ends() == 2
    assert "TERM=" in shown.text() and b"\x1b[" not in shown.written


@pytest.mark.parametrize("changes", [{"TERM": "linux"}, {"NO_COLOR": "1"}, {"SSH_CONNECTION": "a 1 b 2"}])
def test_poorer_terminals_work_too(changes: dict[str, str], terminal: Callable[..., Terminal]) -> None:
    shown = terminal(**{"COLORTERM": ""} | changes)
    shown.sees("no runs yet", "? help")
    assert "\x1b[38;2" not in shown.written.decode("utf-8", "replace")
    shown.press("?")
    shown.sees("Keys")
    shown.press("q", "q")
    assert shown.ends() == 0 and shown.is_restored()
