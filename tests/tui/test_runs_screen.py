"""The list of runs on a screen: states, cursor, marks, filter, sort, size, and names that bite."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from textual.widgets import Input

from engine import words
from engine.runs import process
from engine.runs.record import Record
from tui.theme import BAD, state_words
from tui.widgets.run_list import RunList

STATES = ("starting", "running", "finished", "stopped", "failed", "diverged", "died")


def list_of(glass: Any) -> RunList:
    return glass.app.screen.query_one(RunList)


def names(glass: Any) -> list[str]:
    return [row.name for row in list_of(glass).rows]


async def test_every_state_has_its_glyph_and_word_and_only_the_bad_ones_are_red(
    make_run: Any, opened: Any
) -> None:
    for state in STATES:
        make_run(state, name=f"{state[:4]}ing")
    async with opened() as glass:
        await glass.sees(*(state_words(state) for state in STATES))
        for state in STATES:
            row = f"{state[:4]}ing-"
            assert state_words(state) in glass.row(row)
            # Not under the cursor, which has a background of its own.
            assert glass.reddish(row, after=state_words(state)) == (state in BAD), state
            assert glass.reddish(state_words(state)) == (state in BAD), state
        glass.fits()


@pytest.mark.parametrize("language", words.LANGUAGES)
async def test_an_empty_workspace_says_what_to_press(language: str, opened: Any) -> None:
    words.choose(language)
    async with opened() as glass:
        await glass.sees(words.say("runs.empty"))
        assert " n " in words.say("runs.empty")
        for key in (
            "enter",
            "space",
            "c",
            "s",
            "escape",
            "y",
            "ctrl+k",
            "j",
            "G",
            "u",
            "v",
            "S",
            "B",
            "h",
            "l",
            "z",
        ):
            await glass.press(key)
        assert glass.app.screen.where == "runs"


async def test_cursor_and_marks_stay_with_their_run_when_runs_come_and_go(make_run: Any, opened: Any) -> None:
    for age in (400, 300, 200):
        make_run("finished", name=f"old-{age}", ago=age)
    async with opened() as glass:
        await glass.sees("old-400")
        assert names(glass) == ["old-200", "old-300", "old-400"]
        await glass.press("j", "space")
        assert list_of(glass).current.name == "old-400"
        assert glass.row("old-300").startswith("◆")
        make_run("running", name="newest")
        await glass.sees("newest")
        assert names(glass)[0] == "newest"
        assert list_of(glass).current.name == "old-400"
        assert glass.row("old-300").startswith("◆") and not glass.row("old-200").startswith("◆")
        await glass.press("S")
        assert names(glass)[0] == "old-400" and list_of(glass).cursor == 0
        assert list_of(glass).current.name == "old-400"
        gone = next(row for row in glass.app.feed.rows if row.name == "old-200")
        shutil.rmtree(gone.folder.path)
        await glass.until(lambda: "old-200" not in names(glass))
        assert list_of(glass).current.name == "old-400"
        await glass.press("u")
        assert "◆" not in glass.text()


async def test_a_run_that_moves_on_is_followed_in_its_row(make_run: Any, opened: Any) -> None:
    run = make_run("starting", name="moving")
    async with opened() as glass:
        await glass.sees("○ starting")
        run.begin().train(3)
        await glass.sees("● running", "3/10", "0.4179")
        run.train(7).end("finished", 0)
        await glass.sees("✓ finished", "10/10", "0.08567")


async def test_the_filter_box_filters_while_typing_and_esc_clears_it(make_run: Any, opened: Any) -> None:
    for state in ("running", "finished", "diverged"):
        make_run(state)
    async with opened() as glass:
        await glass.sees("a-running", "a-diverged")
        await glass.press("slash")
        assert glass.app.screen.query_one("#filter", Input).has_focus
        await glass.type("state = div")
        assert names(glass) == []
        await glass.sees(words.say("runs.none_match"))
        await glass.type("erged")
        assert names(glass) == ["a-diverged"]
        assert "1/3" in glass.text()
        await glass.press("enter")
        assert list_of(glass).has_focus and names(glass) == ["a-diverged"]
        await glass.sees("filter: state = diverged")
        await glass.press("escape")
        assert len(names(glass)) == 3 and glass.app.screen.where == "runs"
        await glass.press("slash", "q", "escape")
        assert len(names(glass)) == 3 and list_of(glass).has_focus
        assert "filter:" not in glass.text()
        glass.fits()


async def test_a_filter_with_an_unknown_key_says_so_and_shows_all(make_run: Any, opened: Any) -> None:
    make_run("finished")
    async with opened() as glass:
        await glass.sees("a-finished")
        await glass.press("slash")
        await glass.type("nosuch = 1")
        await glass.sees("nosuch: unknown key")
        assert names(glass) == ["a-finished"]


async def test_sorting_by_a_picked_key_turns_round_and_stays(make_run: Any, opened: Any) -> None:
    make_run("finished", name="good", ago=100)
    make_run("stopped", name="poor", ago=50)
    make_run("running", name="new")
    async with opened() as glass:
        await glass.sees("good", "new")
        assert names(glass) == ["new", "poor", "good"]
        await glass.press("s")
        await glass.type("best.val")
        await glass.press("enter")
        await glass.sees("by best.val_loss", "best val▲")
        assert names(glass) == ["good", "new", "poor"]
        await glass.press("S")
        await glass.sees("by -best.val_loss", "best val▼")
        assert names(glass) == ["poor", "new", "good"]
        # A key that is not in the list, but that runs may have.
        await glass.press("s")
        await glass.type("training.batch_size")
        await glass.press("enter")
        await glass.sees("by params.training.batch_size")
    async with opened() as glass:
        await glass.sees("by params.training.batch_size")
        await glass.press("s", "home", "enter")
        await glass.until(lambda: "by " not in glass.rows()[1])
        assert names(glass) == ["new", "poor", "good"]
        await glass.press("S")
        await glass.until(lambda: names(glass) == ["good", "poor", "new"])


async def test_five_thousand_rows_cost_what_is_on_the_screen(
    make_run: Any, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("finished", name="one")
    async with opened() as glass:
        await glass.sees("one")
        many = []
        for number in range(5000):
            record = Record(run.folder.path, keep_curves=False)
            record.run_id, record.name = f"run-{number:04}", f"run-{number:04}"
            record.created_at = 1e9 - number
            many.append(record)
        drawn: list[str] = []
        original = RunList._row

        def counting(self: RunList, record: Record, *rest: Any) -> Any:
            drawn.append(record.run_id)
            return original(self, record, *rest)

        monkeypatch.setattr(RunList, "_row", counting)
        runs = list_of(glass)
        runs.show(many, "")
        await glass.pilot.pause()
        assert len(set(drawn)) <= 24
        await glass.press("G")
        assert runs.current is not None and runs.current.run_id == "run-4999"
        assert "run-4999" in glass.text() and "run-0000" not in glass.text()
        # The same runs read anew (as those of MLflow are), with one more: the cursor is on its run by id.
        runs.show([copy.copy(record) for record in [many[0], *many]], "")
        assert runs.cursor == 5000 and runs.current.run_id == "run-4999"
        runs.show(many, "")
        await glass.press("g", "pagedown")
        assert "run-0019" in glass.text()
        assert len(set(drawn)) < 120
        glass.fits()


NASTY = [
    "\x1b[2J\x1b[31mred\x07 a\nb\tc\rd",
    "[bold red]markup[/] [/nope]",
    "恒星光谱大气参数网络模型甲乙丙丁 👩‍🔬 \u202eright to left e\u0301\u200bcombining",
]


async def test_names_and_messages_of_any_kind_do_no_harm(make_run: Any, opened: Any) -> None:
    for number, name in enumerate(NASTY):
        run = make_run("failed", name=f"nasty-{number}")
        data = run.folder.read_json(run.folder.identity)
        data |= {"name": name, "model": name, "source": name, "run_id": f"{name} {number}", "host": name}
        run.folder.identity.write_text(json.dumps(data), encoding="utf-8")
        run.log.append("end", outcome="failed", exit_code=1, message=name)
        run.says(name + "\n")
    async with opened((160, 48)) as glass:

        def harmless() -> None:
            text = glass.text()
            assert not any(ord(c) < 32 and c != "\n" for c in text) and "\u202e" not in text, ascii(text)
            glass.fits()

        await glass.until(lambda: len(glass.app.feed.rows) == len(NASTY))
        for _ in NASTY:
            harmless()
            await glass.press("enter")
            assert glass.app.screen.where == "run"
            for _tab in range(4):
                harmless()
                await glass.press("tab")
            await glass.press("q", "space")
        await glass.press("3")
        assert glass.app.screen.where == "compare"
        harmless()


LOG_A_RUN = """
import sys
from mlflow import MlflowClient
api = MlflowClient(f"sqlite:///{sys.argv[1]}")
experiment = api.create_experiment("of a colleague")
run = api.create_run(experiment, run_name="theirs")
api.log_param(run.info.run_id, "model.name", "Payne")
api.log_param(run.info.run_id, "training.learning_rate", "0.01")
for step in range(1, 60):
    api.log_metric(run.info.run_id, "val_loss", 1 / step, step=step)
    api.log_metric(run.info.run_id, "train_loss", 1 / step ** 2, step=step)
api.set_terminated(run.info.run_id)
"""


async def test_runs_that_only_mlflow_knows_are_listed_and_open(
    make_run: Any, opened: Any, mlflow_store: Any
) -> None:
    make_run("finished", name="ours")
    async with opened() as glass:
        await glass.sees("ours")
        # Written by MLflow itself, by another process, while the app is open.
        subprocess.run(
            [sys.executable, "-c", LOG_A_RUN, str(mlflow_store.mlflow_db)], check=True, capture_output=True,
            cwd=mlflow_store.root, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )  # fmt: skip
        await glass.sees("theirs")
        await glass.until(lambda: "finished" in glass.row("theirs"))
        glass.app.screen.query_one(RunList).cursor = names(glass).index("theirs")
        await glass.press("enter")
        await glass.until(lambda: glass.braille() > 30)
        assert "Payne" in glass.text() and "finished" in glass.text()
        await glass.press("tab", "tab")
        assert "learning_rate: 0.01" in glass.text()


async def test_a_store_that_cannot_be_read_is_said_and_hides_nothing(
    make_run: Any, opened: Any, workspace: Any
) -> None:
    make_run("finished", name="ours")
    workspace.mlflow_db.write_bytes(b"not a database, but long enough to look like one" * 50)
    async with opened((160, 48)) as glass:
        await glass.sees("ours", "mlflow.db:")


async def test_the_wide_screen_has_the_facts_of_the_run_under_the_cursor(make_run: Any, opened: Any) -> None:
    make_run("diverged", name="bad")
    make_run("finished", name="good")
    async with opened((160, 48)) as glass:
        await glass.sees("good", "conf/demo.yaml", "best epoch 10")
        await glass.press("j")
        await glass.sees("loss became")
        glass.fits()


async def test_stop_asks_by_name_and_does_nothing_by_default(make_run: Any, opened: Any) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        run = make_run("running", name="long")
        process_file = process.identify(child.pid).plain()
        run.folder.process.write_text(json.dumps(process_file))
        async with opened() as glass:
            await glass.sees("● running")
            for answer in ("enter", "n", "escape", "q"):
                await glass.press("ctrl+k")
                await glass.sees(run.run_id, "default")
                await glass.press(answer)
                assert "default" not in glass.text()
            assert child.poll() is None
            await glass.press("ctrl+k", "y")
            await glass.sees("asked to")
            assert child.wait(timeout=5) == -15
            await glass.sees("† died")
            await glass.press("ctrl+k")
            await glass.sees("is not")
    finally:
        child.kill()
        child.wait()


async def test_enter_and_a_second_click_open_the_run(make_run: Any, opened: Callable[..., Any]) -> None:
    make_run("finished", name="first", ago=10)
    make_run("finished", name="second")
    async with opened() as glass:
        await glass.sees("first", "second")
        for _ in range(2):
            await glass.pilot.click(offset=glass.place_of("first-"))
        await glass.pilot.pause()
        assert glass.app.screen.where == "run" and glass.app.screen.record.name == "first"
        await glass.press("escape", "enter")
        assert glass.app.screen.record.name == "first"
