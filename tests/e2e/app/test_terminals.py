"""The app in terminals of every kind: poor, resized, lent to an editor, in tmux, and with hostile text."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.conf.load import resolve
from engine.runs.events import EventLog
from engine.runs.folder import create, write_json
from engine.workspace import Workspace

pytestmark = pytest.mark.e2e
ROOT = str(Path(__file__).resolve().parents[3])
# Sets a colour of the text or of the ground: 30-37, 38;…, 39 and 49 (the default) left out.
COLOUR = re.compile(rb"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")


def resize(shown: Any, columns: int, rows: int) -> None:
    """Change the size of the window as a terminal does."""
    with shown._lock:
        shown.screen.resize(rows, columns)
    fcntl.ioctl(shown.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    shown.process.send_signal(signal.SIGWINCH)


def test_a_storm_of_sizes_ends_in_a_whole_screen(terminal: Callable[..., Any]) -> None:
    shown = terminal(PYTHONPATH=ROOT)
    shown.sees("no runs yet", "? help")
    for step in range(60):
        resize(shown, 20 + 7 * (step % 20), 4 + 3 * (step % 15))
    resize(shown, 100, 30)
    shown.until(lambda: "? help" in shown.rows()[29] and "1 Runs" in shown.rows()[0])
    shown.sees("no runs yet")
    shown.press("q")
    assert shown.ends() == 0 and shown.is_restored()


@pytest.mark.parametrize(
    "changes",
    [{"NO_COLOR": "1"}, {"TERM": "linux"}, {"LANG": "C", "LC_ALL": "C"}],
    ids=["no-colour", "sixteen", "c-locale"],
)
def test_a_poor_terminal_gets_what_it_can_show(changes: dict[str, str], terminal: Callable[..., Any]) -> None:
    shown = terminal(PYTHONPATH=ROOT, **changes)
    shown.sees("no runs yet", "? help")
    shown.press("?")
    shown.sees("What has the focus")
    shown.press("q", "q")
    assert shown.ends() == 0 and shown.is_restored()
    if "NO_COLOR" in changes:
        assert COLOUR.findall(bytes(shown.written)) == []
    if "TERM" in changes:
        assert not re.search(rb"\x1b\[[0-9;]*[34]8;[25];", bytes(shown.written))
        assert b"\x1b]0;" not in shown.written, "this one would print the title"


def test_the_editor_has_the_terminal_and_gives_it_back(
    terminal: Callable[..., Any], workspace: Path, tmp_path: Path
) -> None:
    """The app lends its terminal: cooked for the editor, and its own screen again after."""
    editor = tmp_path / "editor"
    editor.write_text(
        '#!/bin/sh\nstty -a | grep -q " icanon" && echo "cooked: $1"\nread line\necho "$line" >> "$1"\n'
    )
    editor.chmod(0o755)
    note = tmp_path / "note.txt"
    note.write_text("")
    code = (
        "import sys; from pathlib import Path; from textual.binding import Binding\n"
        "from tui import app, boot\n"
        "class Lending(app.SpectuiApp):\n"
        "    CSS_PATH = str(Path(app.__file__).with_name('app.tcss'))\n"
        "    BINDINGS = [Binding('f12', 'lend')]\n"
        f"    def action_lend(self): self.notify('edited' if self.edit(Path({str(note)!r})) else 'not')\n"
        "app.SpectuiApp = Lending\n"
        "sys.exit(boot.run_app(None))\n"
    )
    shown = terminal(command=[sys.executable, "-c", code], PYTHONPATH=ROOT, EDITOR=str(editor))
    shown.sees("no runs yet", "? help")
    shown.press("\x1b[24~")
    shown.sees("cooked: ")
    shown.press("a", "b", "\r")
    shown.sees("edited", "? help")
    assert note.read_text() == "ab\n"
    shown.press("2")
    shown.sees("Confs", "conf/demo.yaml")
    shown.press("q")
    assert shown.ends() == 0 and shown.is_restored()


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")
def test_inside_tmux_the_title_is_the_panes(
    terminal: Callable[..., Any], spectui: Any, tmp_path: Path
) -> None:
    tmux = ["tmux", "-S", str(tmp_path / "socket"), "-f", "/dev/null"]
    shown = terminal(
        command=[*tmux, "-u", "new-session", " ".join(spectui.command())], PYTHONPATH=ROOT, TMUX_TMPDIR="/tmp"
    )
    try:
        shown.sees("no runs yet", "? help")
        asked = [*tmux, "display-message", "-p", "#{pane_title}"]
        shown.until(lambda: subprocess.run(asked, capture_output=True, text=True).stdout.strip() == "spectui")
        shown.press("4")
        shown.sees("? help")
        shown.press("q")
        assert shown.ends() == 0
    finally:
        subprocess.run([*tmux, "kill-server"], capture_output=True)


def test_a_hang_up_keeps_what_was_shown(terminal: Callable[..., Any], workspace: Path) -> None:
    shown = terminal(PYTHONPATH=ROOT)
    shown.sees("no runs yet", "? help")
    shown.press("2")
    shown.sees("Confs", "conf/demo.yaml")
    shown.until(
        lambda: any(
            json.loads(path.read_text()).get("app.mode") == "experiments"
            for path in (workspace / ".cache").glob("view-*.json")
        )
    )
    shown.hang_up()
    shown.process.wait(30)
    again = terminal(PYTHONPATH=ROOT)
    again.sees("Confs", "conf/demo.yaml")
    again.press("q")
    assert again.ends() == 0


def test_escape_sequences_of_others_do_nothing(terminal: Callable[..., Any], workspace: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x1b[31mEVIL\x9b2J\x1bc"
    folder = create(Workspace(workspace), resolve(Workspace(workspace), "demo"), command=["spectui"])
    write_json(folder.about, {"name": evil, "note": evil})
    with folder.log.open("w", encoding="utf-8") as file:
        file.write(f"{evil} in the log\nlast line\n")
    log = EventLog(folder.events)
    log.append("phase", phase="training")
    log.append("plan", epochs=2, total_steps=4, steps_per_epoch=2, monitor="val_loss", monitored="val")
    columns = {"batch_loss": [1.0, 0.5], evil: [1.0, 2.0]}
    log.append("steps", epoch=1, step=[1, 2], columns=columns)
    log.append("end", outcome="failed", exit_code=1, message=evil)
    log.close()
    shown = terminal(PYTHONPATH=ROOT)
    shown.sees("failed", "]0;owned")
    shown.press("\r")
    shown.sees("esc back")
    shown.press("m", "L")
    shown.sees("last line")
    shown.press("q")
    shown.sees("enter open")
    shown.press("\x07")
    shown.sees("CPU")
    shown.press("q", "q")
    assert shown.ends() == 0 and shown.is_restored()
    written = bytes(shown.written)
    assert b"owned\x07" not in written and b"\x1bc" not in written and b"\x9b2J" not in written
    assert b"\x1b]0;owned" not in written and b"\x1b[31mEVIL" not in written
