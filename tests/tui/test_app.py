"""The app as a whole: modes, help, palette, ways out, sizes, and what is never imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.command import CommandPalette

from engine import words
from engine.words import say
from tui import boot, keys
from tui.theme import state_words
from tui.widgets.bars import TopBar

pytestmark = pytest.mark.usefixtures("counted")
STATES = ("starting", "running", "finished", "stopped", "failed", "diverged", "died")


async def test_number_keys_go_to_the_modes_and_keep_their_place(make_run: Any, opened: Any) -> None:
    make_run("finished", ago=10)
    make_run("running")
    async with opened() as glass:
        await glass.sees("a-running")
        await glass.press("j", "2")
        assert glass.app.screen.where == "experiments"
        await glass.press("3")
        assert glass.app.screen.where == "compare"
        await glass.press("1")
        assert glass.app.screen.where == "runs"
        assert glass.app.screen.query_one("RunList").current.name == "a-finished"
        await glass.sees("1 live")


@pytest.mark.parametrize("place", ["runs", "run", "experiments", "compare", "launch"])
async def test_help_lists_every_key_of_the_place(place: str, make_run: Any, opened: Any) -> None:
    make_run("finished")
    way = {"runs": [], "run": ["enter"], "experiments": ["2"], "compare": ["3"], "launch": ["2", "n"]}
    async with opened((160, 48)) as glass:
        await glass.until(lambda: glass.app.feed.rows)
        await glass.press(*way[place])
        await glass.until(lambda: glass.app.screen.where == place)
        await glass.press("f1")
        await glass.sees(say("help.title"), say(f"help.about.{place}")[:40])
        read: list[str] = []
        while glass.text() not in read:
            read.append(glass.text())
            glass.fits()
            await glass.press("down")
        # A long sentence goes on in the next row.
        text = " ".join(" ".join(read).replace("│", " ").split())
        for key in [*keys.of(place), *keys.of("app")]:
            assert say(f"help.{key.id}") in text and keys.pretty(key.keys.split(",")[0]) in text
        await glass.press("escape")
        assert glass.app.screen.where == place


async def test_help_opens_once_and_closes_by_its_own_key(opened: Any) -> None:
    async with opened() as glass:
        await glass.press("question_mark")
        depth = len(glass.app.screen_stack)
        await glass.press("2", "3")
        assert len(glass.app.screen_stack) == depth, "a dialog in front takes the keys"
        await glass.press("question_mark")
        assert len(glass.app.screen_stack) == depth - 1 and glass.app.screen.where == "runs"


@pytest.mark.parametrize("opens", ["colon", "ctrl+p"])
async def test_the_palette_finds_and_runs_an_action_of_the_place(
    opens: str, make_run: Any, opened: Any
) -> None:
    make_run("finished")
    async with opened() as glass:
        await glass.sees("a-finished")
        await glass.press(opens)
        await glass.until(lambda: isinstance(glass.app.screen, CommandPalette))
        await glass.type("reverse")
        await glass.sees("turn the order round")
        await glass.press("enter")
        if isinstance(glass.app.screen, CommandPalette):
            await glass.press("enter")
        await glass.sees("by created")
        await glass.press(opens)
        await glass.type("confs and net")
        await glass.sees("go to confs and networks")
        await glass.press("enter")
        if isinstance(glass.app.screen, CommandPalette):
            await glass.press("enter")
        await glass.until(lambda: glass.app.screen.where == "experiments")


async def test_esc_never_quits_and_q_steps_out_and_then_quits(make_run: Any, opened: Any) -> None:
    make_run("finished")
    async with opened() as glass:
        await glass.sees("a-finished")
        await glass.press("escape", "escape")
        assert glass.app.is_running and glass.app.screen.where == "runs"
        await glass.press("enter", "question_mark", "q")
        assert glass.app.screen.where == "run"
        await glass.press("q")
        assert glass.app.screen.where == "runs"
        await glass.press("q")
        await glass.pilot.pause()
        assert glass.app._exit


async def test_letters_in_a_form_are_text(opened: Any) -> None:
    async with opened() as glass:
        await glass.press("2", "n")
        await glass.until(lambda: glass.app.screen.where == "launch")
        await glass.type("q1")
        assert glass.app.screen.where == "launch"
        assert glass.app.screen.query("FieldRow").first().text == "demoq1"


@pytest.mark.parametrize(
    ("size", "language"),
    [
        ((80, 24), "zh"),
        ((60, 16), "zh"),
        *(
            pytest.param(size, language, marks=pytest.mark.slow)
            for size, language in [((80, 24), "en"), ((160, 48), "en"), ((160, 48), "zh")]
        ),
    ],
    ids=str,
)
async def test_everything_fits_every_size(
    size: tuple[int, int], language: str, make_run: Any, opened: Callable[..., Any]
) -> None:
    words.choose(language)
    for state in STATES:
        make_run(state)
    async with opened(size) as glass:
        await glass.until(lambda: len(glass.app.feed.rows) == len(STATES))
        glass.fits()
        await glass.press("slash")
        glass.fits()
        await glass.press("escape")
        for state in ("starting", "running", "diverged"):
            glass.app.open_run(next(row for row in glass.app.feed.rows if row.state == state))
            await glass.sees(state_words(state))
            glass.fits()
            await glass.press("a", "escape", "space")
        for key in ("3", "2", "f1", "escape", "tab", "n"):
            await glass.press(key)
            glass.fits()
        await glass.until(lambda: glass.app.screen.where == "launch")
        glass.fits()


async def test_the_screen_follows_a_change_of_size(make_run: Any, opened: Any) -> None:
    make_run("diverged")
    async with opened((160, 48)) as glass:
        await glass.until(lambda: glass.app.feed.rows)
        await glass.press("enter")
        await glass.until(lambda: glass.braille() > 30)
        for size in ((80, 24), (200, 60), (81, 25)):
            await glass.pilot.resize_terminal(*size)
            await glass.pilot.pause()
            await glass.sees("! diverged", "step 40/200", "? help")
            glass.fits()
            assert glass.braille() > 20


async def test_the_top_bar_names_the_workspace_as_a_shell_would(opened: Any, workspace: Any) -> None:
    async with opened() as glass:
        await glass.sees("~/stars")
        bar = glass.app.screen.query_one(TopBar)
        bar.tell("runs", "/somewhere/very/deep/" + "x" * 100 + "/end", 3)
        await glass.sees("/end", "3 live")
        glass.fits()


def test_the_app_needs_a_terminal_for_all_three_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    boot.refuse_without_terminal()
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        with monkeypatch.context() as patch:
            patch.setattr(stream, "isatty", lambda: False, raising=False)
            with pytest.raises(boot.BadInput, match="needs a terminal"):
                boot.refuse_without_terminal()


@pytest.mark.parametrize("term", ["dumb", "", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_is_told_the_runs_as_text(
    term: str, monkeypatch: pytest.MonkeyPatch, capsys: Any, make_run: Any, workspace: Any
) -> None:
    run = make_run("finished")
    monkeypatch.setenv("SPECTUI_ROOT", str(workspace.root))
    monkeypatch.setattr(boot, "refuse_without_terminal", lambda: None)
    monkeypatch.setenv("TERM", term)
    assert boot.run_app(str(workspace.root)) == 0
    said = capsys.readouterr()
    assert run.run_id in said.out and "\x1b" not in said.out
    assert "xterm-256color" in said.err


def test_the_app_imports_nothing_that_takes_seconds() -> None:
    asked = (
        "import sys, tui.app, tui.screens.run, tui.screens.launch, tui.screens.experiments; "
        "import tui.screens.compare; "
        "print([name for name in ('torch', 'mlflow', 'numpy', 'plotext', 'pandas', 'matplotlib', 'scipy') "
        "if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
