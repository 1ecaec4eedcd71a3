"""The app in a real terminal: a pty whose screen is read, and keys that are pressed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyte
import pytest

ENTER, ESC, DOWN, BACKSPACE = "\r", "\x1b", "\x1b[B", "\x7f"
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

    def fill_in(self, key: str, text: str) -> None:
        """Walk down the form to a field and type over what is there."""
        here = self.standing(self.field_under_cursor)
        for _ in range(40):
            if here == key:
                break
            self.press(DOWN)
            here = self.standing(self.field_under_cursor, here)
        assert here == key, self.text()
        label = key.rpartition(".")[2]
        self.until(lambda: any(row.startswith(f"   {label} ") for row in self.rows()))  # it scrolls there
        row = next(row for row in self.rows() if row.startswith(f"   {label} "))
        self.press(*[BACKSPACE] * len(row.split()[1]), *text)
        self.until(lambda: any(row.split()[:3] == ["*", label, text] for row in self.rows()))

    def standing(self, read: Callable[[], str], other_than: str = "") -> str:
        """Wait for a word other than this one, and until it stays: a frame may be half here."""
        found = ""

        def stands() -> bool:
            nonlocal found
            found = read()
            if found in ("", other_than):
                return False
            time.sleep(0.1)
            return read() == found

        self.until(stands)
        return found

    def field_under_cursor(self) -> str:
        """Return the key that the help under the form speaks of."""
        # Not what stands over the line, where the size of the network is told in the same form.
        below = self.text().rpartition("\u2500" * 60)[2]
        found = re.search(r"^ ([a-z_.]+): ", below, re.MULTILINE)
        return found.group(1) if found else ""

    def open_form(self, conf: str) -> None:
        """From the runs to the launch form of a conf."""
        self.press("n")
        self.sees("Confs", "conf/demo.yaml")
        here = self.standing(self.conf_under_cursor)
        for _ in range(10):
            if here == conf:
                break
            self.press(DOWN)
            here = self.standing(self.conf_under_cursor, here)
        assert here == conf, self.text()
        self.press(ENTER)
        self.sees(f"Launch conf/{conf}.yaml", "learning_rate", "ctrl+s")

    def conf_under_cursor(self) -> str:
        """Return the conf that the text under the lists is of."""
        found = re.search(r"^ conf/(\w+)\.yaml$", self.text(), re.MULTILINE)
        return found.group(1) if found else ""


@pytest.fixture
def terminal(
    spectui: Any, workspace: Path, clean_environment: Callable[..., dict[str, str]]
) -> Iterator[Callable[..., Terminal]]:
    """Return open(...): `spectui` (or `command`) in a terminal; what it leaves running is ended after."""
    opened: list[Terminal] = []

    def open_terminal(
        *words: str, size: tuple[int, int] = (80, 24), command: list[str] | None = None, **changes: str
    ) -> Terminal:
        env = clean_environment({"TERM": "xterm-256color", "COLORTERM": "truecolor", **changes})
        for name in ("COLUMNS", "LINES"):
            env.pop(name, None)
        opened.append(Terminal(command or spectui.command(*words), workspace, env, size))
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
