"""A program under a pseudo-terminal, watched as its user sees it.

Counts what it writes and when, answers what it asks of a terminal so that it never waits for an answer, and
keeps the screen (pyte) to look for texts. Of the whole process tree: CPU seconds and memory, from /proc.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

TICKS = os.sysconf("SC_CLK_TCK")
# What a terminal like xterm answers: its colours, where its cursor is, what it is, which modes it knows.
ANSWERS: tuple[tuple[re.Pattern[bytes], bytes], ...] = (
    (re.compile(rb"\x1b\[(?:\?)?6n"), b"\x1b[1;1R"),
    (re.compile(rb"\x1b\[5n"), b"\x1b[0n"),
    (re.compile(rb"\x1b\[0?c"), b"\x1b[?62;22c"),
    (re.compile(rb"\x1b\[>0?c"), b"\x1b[>41;390;0c"),
    (re.compile(rb"\x1b\[>0?q"), b"\x1bP>|XTerm(390)\x1b\\"),
    (re.compile(rb"\x1b\[\?2026\$p"), b"\x1b[?2026;2$y"),
    (re.compile(rb"\x1b\[\?2027\$p"), b"\x1b[?2027;0$y"),
    (re.compile(rb"\x1b\[\?2048\$p"), b"\x1b[?2048;0$y"),
    (re.compile(rb"\x1b\]10;\?(?:\x07|\x1b\\)"), b"\x1b]10;rgb:e0e0/e0e0/e0e0\x1b\\"),
    (re.compile(rb"\x1b\]11;\?(?:\x07|\x1b\\)"), b"\x1b]11;rgb:1010/1010/1010\x1b\\"),
)
# Sequences that pyte takes for others: kitty keys, `CSI > ...`, and asking for modes.
FOREIGN = re.compile(rb"\x1b\[[<>=?][0-9;]*u|\x1b\[>[0-9;]*[mnq]|\x1b\[\??[0-9;]*\$p|\x1b\[>[0-9;]*c"
                     rb"|\x1bP.*?\x1b\\|\x1b_.*?\x1b\\", re.DOTALL)  # fmt: skip


class Glass:
    """One program in one terminal."""

    def __init__(
        self, command: list[str], *, cwd: Path, env: dict[str, str], size: tuple[int, int] = (160, 48)
    ) -> None:
        self.size = size
        self.began = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
                os.chdir(cwd)
                os.execvpe(command[0], command, env)
            finally:
                os._exit(127)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self.chunks: list[tuple[float, int]] = []
        """When how many bytes came."""
        self._unseen = b""
        self.tail = b""
        """The last bytes as they came."""
        self.ended = False

    def pump(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Read for so long, or until something holds after new bytes came; tell whether it does."""
        deadline = time.monotonic() + seconds
        if until is not None and until():
            return True
        while (left := deadline - time.monotonic()) > 0 and not self.ended:
            if self._read(min(left, 0.25)) and until is not None and until():
                return True
        return until is not None and until()

    def _read(self, patience: float) -> bool:
        ready, _, _ = select.select([self.fd], [], [], patience)
        if not ready:
            return False
        try:
            data = os.read(self.fd, 1 << 16)
        except OSError:
            data = b""
        if not data:
            self.ended = True
            return False
        self.chunks.append((time.monotonic(), len(data)))
        for question, answer in ANSWERS:
            for _ in question.findall(data):
                with contextlib.suppress(OSError):
                    os.write(self.fd, answer)
        self._unseen += data
        self.tail = (self.tail + data)[-20_000:]
        return True

    def rows(self) -> list[str]:
        """Return what stands on the screen, row by row."""
        if self._unseen:
            # A sequence that has not come whole yet waits for its rest.
            data, cut = self._unseen, self._unseen.rfind(b"\x1b", -64)
            if cut >= 0 and not re.match(
                rb"\x1b(\[[0-9;?<>=$ ]*[@-~]|\][^\x07\x1b]*\x07|[^\[\]P_])", data[cut:]
            ):
                data, self._unseen = data[:cut], data[cut:]
            else:
                self._unseen = b""
            self._stream.feed(FOREIGN.sub(b"", data))
        return list(self.screen.display)

    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.rows())

    def sees(self, piece: str, seconds: float) -> float:
        """Wait for a text; return the seconds from the start of the program.

        Raises:
            TimeoutError: it never came.
        """
        if not self.pump(seconds, lambda: piece in self.text()):
            raise TimeoutError(f"{piece!r} never came:\n{self.text()}")
        return self.last - self.began

    def settles(self, quiet: float, seconds: float) -> float:
        """Wait until nothing was written for so long; return when the last byte came, from the start.

        Raises:
            TimeoutError: it never fell silent.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() - (self.last or self.began) < quiet:
            if time.monotonic() > deadline:
                raise TimeoutError(f"never silent for {quiet} s:\n{self.text()}")
            self._read(0.05)
        return self.last - self.began

    @property
    def last(self) -> float:
        """When the last bytes came."""
        return self.chunks[-1][0] if self.chunks else 0.0

    @property
    def first(self) -> float:
        """Seconds from the start to the first byte."""
        return self.chunks[0][0] - self.began

    def bytes_since(self, when: float) -> int:
        return sum(count for at, count in self.chunks if at >= when)

    def press(self, keys: str) -> float:
        """Write keys; return when."""
        os.write(self.fd, keys.encode())
        return time.monotonic()

    def answered(self, keys: str, seconds: float = 10.0, until: Callable[[], bool] | None = None) -> float:
        """Press keys and return the seconds until the first bytes came, or until something holds."""
        self.pump(0.0)
        while select.select([self.fd], [], [], 0)[0] and not self.ended:
            self._read(0.0)
        before, pressed = len(self.chunks), self.press(keys)
        check = until or (lambda: len(self.chunks) > before)
        if not self.pump(seconds, check):
            raise TimeoutError(f"{keys!r} was not answered in {seconds} s:\n{self.text()}")
        return (self.chunks[before][0] if until is None else self.last) - pressed

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window, as a window manager does."""
        self.size = (columns, rows)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.rows()
        self.screen.resize(rows, columns)

    def braille(self) -> str:
        """Return the screen with only the cells that have points of a curve."""
        return "\n".join("".join(c if "\u2800" < c <= "\u28ff" else " " for c in row) for row in self.rows())

    # -- the process tree -----------------------------------------------------------------------------------

    def tree(self) -> list[int]:
        """Return the processes that belong to the program: it and all that descend from it."""
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    parents.setdefault(int(fields[1]), []).append(int(entry.name))
        found, queue = [], [self.pid]
        while queue:
            found.append(queue.pop())
            queue += parents.get(found[-1], [])
        return found

    def cpu(self) -> float:
        """Return the CPU seconds of the tree, children that have ended included."""
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(int(field) for field in fields[11:15])
        return total / TICKS

    def memory(self) -> float:
        """Return the megabytes of the tree, pages that several share counted once (PSS)."""
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
                total += int(found.group(1)) if found else 0
        return total * 1024 / 1e6

    def close(self, keys: str = "") -> int:
        """End the program, by its own keys when given; return its exit code, -9 when it had to be killed."""
        if keys and not self.ended:
            self.press(keys)
            self.pump(5.0, lambda: self.ended)
        status = None
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + 5.0
            while status is None and time.monotonic() < deadline:
                self._drain()
                done, told = os.waitpid(self.pid, os.WNOHANG)
                if done:
                    status = told
                    break
                if not keys:
                    break
                time.sleep(0.02)
            if status is not None:
                break
            keys = "asked"
            for pid in self.tree():
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
        if status is None:
            status = os.waitpid(self.pid, 0)[1]
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)

    def _drain(self) -> None:
        while not self.ended and self._read(0.0):
            pass
