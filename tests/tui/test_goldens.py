"""Screens as text at 80x24, in both languages, to be read in review like any other text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine import words

LANGUAGES = ("en", "zh")


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    words.choose(request.param)
    return str(request.param)


@pytest.fixture
def history(frozen: Any, make_run: Callable[..., Any]) -> dict[str, Any]:
    """A run in every state, made one after another."""
    made = {}
    for state in ("finished", "stopped", "failed", "died", "diverged", "running", "starting"):
        made[state] = make_run(state, conf="mlp" if state == "finished" else "demo")
        frozen.now += 200
    made["running"].steps(7)
    return made


async def test_runs(language: str, history: Any, opened: Any, golden: Any, frozen: Any) -> None:
    async with opened() as glass:
        await glass.press("j", "space", "space")
        golden(f"runs.{language}", glass.text())


@pytest.mark.parametrize("state", ["finished", "diverged", "running", "starting"])
async def test_run(state: str, language: str, history: Any, opened: Any, golden: Any) -> None:
    async with opened() as glass:
        glass.app.open_run(glass.app.record(history[state].run_id))
        await glass.sees(history[state].run_id)
        golden(f"run-{state}.{language}", glass.text())


async def test_advice(language: str, history: Any, opened: Any, golden: Any) -> None:
    async with opened() as glass:
        glass.app.open_run(glass.app.record(history["diverged"].run_id))
        await glass.press("a")
        golden(f"run-advice.{language}", glass.text())


async def test_conf_of_a_run(language: str, history: Any, opened: Any, golden: Any) -> None:
    async with opened() as glass:
        glass.app.open_run(glass.app.record(history["finished"].run_id))
        await glass.press("tab", "tab")
        golden(f"run-conf.{language}", glass.text())


@pytest.mark.usefixtures("counted")
async def test_experiments(language: str, opened: Any, golden: Any) -> None:
    async with opened() as glass:
        await glass.press("2")
        await glass.sees("demo")
        golden(f"experiments.{language}", glass.text())


@pytest.mark.usefixtures("counted")
async def test_launch(language: str, opened: Any, golden: Any) -> None:
    async with opened() as glass:
        await glass.press("n", "n")
        await glass.until(lambda: glass.app.screen.where == "launch")
        await glass.press("backspace", "x")
        golden(f"launch.{language}", glass.text())


async def test_compare(language: str, history: Any, opened: Any, golden: Any) -> None:
    async with opened() as glass:
        glass.app.marked = {history["finished"].run_id, history["diverged"].run_id}
        await glass.press("3")
        await glass.until(lambda: glass.braille() > 20)
        golden(f"compare.{language}", glass.text())


async def test_help(language: str, opened: Any, golden: Any) -> None:
    async with opened() as glass:
        await glass.press("question_mark")
        golden(f"help.{language}", glass.text())
