"""Every mode as text, at three sizes and in both languages, to be read in review like any other text.

One app a size and language walks through them: `goldens/<columns>x<rows>/<screen>.<language>.txt`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine import words
from engine.words import say

LANGUAGES = ("en", "zh")
SIZES = ((80, 24), (100, 30), (160, 48))


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    words.choose(request.param)
    return str(request.param)


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return (int(request.param[0]), int(request.param[1]))


@pytest.fixture
def drawn(golden: Any, language: str, size: tuple[int, int]) -> Callable[[Any, str], None]:
    """Return drawn(glass, name): the screen is as it was when last read, and as large as the terminal."""

    def check(glass: Any, name: str) -> None:
        golden(f"{size[0]}x{size[1]}/{name}.{language}", glass.text())
        glass.fits()

    return check


@pytest.fixture
def history(frozen: Any, make_run: Callable[..., Any]) -> dict[str, Any]:
    """A run in every state, made one after another."""
    made = {}
    for state in ("finished", "stopped", "failed", "died", "diverged", "running", "starting"):
        made[state] = make_run(state, conf="mlp" if state == "finished" else "demo")
        frozen.now += 200
    made["running"].steps(7)
    return made


async def test_runs_and_their_tabs(history: Any, opened: Any, drawn: Any, size: tuple[int, int]) -> None:
    async with opened(size) as glass:
        await glass.press("j", "space", "space")
        await glass.sees(say("state.finished"))
        drawn(glass, "runs")
        for state in ("starting", "running", "finished", "diverged"):
            glass.app.open_run(glass.app.record(history[state].run_id))
            await glass.sees(history[state].run_id)
            if state != "starting":
                await glass.until(lambda: glass.braille() > 10)
            drawn(glass, f"run-{state}")
            if state == "diverged":
                for tab in ("log", "conf", "advice", "predictions", "files"):
                    glass.app.screen.action_show_tab(tab)
                    await glass.until(lambda tab=tab: glass.app.screen.tab == tab)
                    if tab != "files":  # which says how old each is, by the files' own stamps
                        drawn(glass, f"run-{tab}")
            glass.app.pop_screen()
            await glass.pilot.pause()


async def test_the_other_modes(
    history: Any, counted: None, opened: Any, drawn: Any, size: tuple[int, int]
) -> None:
    async with opened(size) as glass:
        glass.app.marked = {history["finished"].run_id, history["diverged"].run_id}
        await glass.press("3")
        await glass.until(lambda: glass.braille() > 20)
        drawn(glass, "compare")
        await glass.press("2")
        await glass.sees("demo")
        drawn(glass, "experiments")
        await glass.press("Q")
        await glass.until(lambda: glass.app.screen.where == "queue")
        drawn(glass, "queue")
        await glass.press("escape", "1", "ctrl+t")
        await glass.until(lambda: glass.app.screen.where == "trash")
        drawn(glass, "trash")
        await glass.press("escape")


@pytest.mark.slow
async def test_the_form(counted: None, opened: Any, drawn: Any, size: tuple[int, int]) -> None:
    async with opened(size) as glass:
        await glass.press("2", "n")
        await glass.until(lambda: glass.app.screen.where == "launch")
        await glass.press("backspace", "x")
        await glass.sees("3,748,372")
        drawn(glass, "launch")


async def test_with_nothing_there(opened: Any, drawn: Any, size: tuple[int, int]) -> None:
    async with opened(size) as glass:
        drawn(glass, "empty-runs")
        await glass.press("question_mark")
        drawn(glass, "help")
        await glass.press("escape", "3")
        drawn(glass, "empty-compare")
        await glass.press("4")
        await glass.until(lambda: glass.app.screen.where == "data")
        drawn(glass, "empty-data")
