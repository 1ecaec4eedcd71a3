"""The views of the comparison, its set of runs, exports, and what is kept: every key, small and large."""

from __future__ import annotations

import csv
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine import words
from engine.runs import trash
from engine.runs.record import Record
from engine.track import store
from engine.words import say
from engine.workspace import Workspace
from tui import keys
from tui.screens.choose import Choose
from tui.screens.compare_views import VIEWS
from tui.widgets.rows import Table

SIZES = ((80, 24), (160, 48))
RUNS = 3


@pytest.fixture
def three(make_run: Any) -> dict[str, Any]:
    """Three runs; in the list the newest comes first: second, first, bad."""
    return {
        "bad": make_run("diverged", name="bad", ago=20, sets=["training.learning_rate=0.1"]),
        "first": make_run("finished", name="first", ago=10),
        "second": make_run("finished", name="second", conf="mlp", sets=["training.learning_rate=0.01"]),
    }


async def compare(glass: Any, count: int = RUNS) -> Any:
    """Compare the first runs of the list; return the screen once all are read."""
    await glass.until(lambda: len(glass.app.feed.rows) >= count)
    glass.app.marked = {row.run_id for row in glass.app.feed.rows[:count]}
    await glass.press("3")
    await glass.until(lambda: len(glass.app.screen.compared.records()) == count)
    await glass.pilot.pause()
    return glass.app.screen


async def go(glass: Any, view: str) -> None:
    """Go to a view by the key."""
    for _ in VIEWS:
        if glass.app.screen.view_name == view:
            return
        await glass.press("right_square_bracket")
    raise AssertionError(view)


@pytest.mark.parametrize("language", words.LANGUAGES)
@pytest.mark.parametrize("size", SIZES)
async def test_every_view_fits_and_says_its_own(three: Any, opened: Any, size: Any, language: str) -> None:
    words.choose(language)
    async with opened(size) as glass:
        screen = await compare(glass)
        await glass.press("j", "b")
        assert screen.compared.baseline == three["first"].run_id
        await glass.sees(say("compare.sign.baseline"), say("compare.against", name="first"))
        shown = {
            "curves": ["val_loss", say("compare.runs_header", quantity="val_loss")],
            "params": ["training.learning_rate", "0.01", "0.001", "model.name"],
            "metrics": ["best.val_loss", "0.08567*", "="],
            "labels": ["MAE (K)", "MAE (dex)", "█", say("compare.on_val")],
            "scatter": ["best.val_loss", "training.learning_rate", say("charts.log")],
            "parallel": ["training.learning_rate", "best.val_loss"],
        }
        assert tuple(shown) == VIEWS
        for view in VIEWS:
            await go(glass, view)
            await glass.sees(*shown[view])
            glass.fits()
        assert glass.braille() > 40
        await glass.press("tab")
        assert screen.view_name == "curves"
        await glass.press("shift+tab", "left_square_bracket")
        assert screen.view_name == "scatter"


@pytest.mark.parametrize("size", [pytest.param(SIZES[0], marks=pytest.mark.slow), *SIZES[1:]])
async def test_every_key_works_in_every_view(three: Any, opened: Any, size: Any) -> None:
    pressed = [k for key in keys.of("compare") for k in key.keys.split(",")]
    left_out = {"enter", "ctrl+e", "c", "M", "z", "X", "delete"}  # they open something: tested below
    moves = ["j", "k", "l", "h", "G", "g", "pagedown", "pageup", "up", "down", "left", "right", "home", "end"]
    async with opened(size) as glass:
        screen = await compare(glass)
        for view in VIEWS if size == SIZES[0] else VIEWS[1:2]:
            await go(glass, view)
            for key in [k for k in pressed if k not in left_out] + moves:
                await glass.press(key)
                assert glass.app.screen is screen, key
            glass.fits()


async def test_changes_are_measured_by_the_baseline_in_front(three: Any, opened: Any) -> None:
    async with opened() as glass:
        await compare(glass)
        await glass.press("j", "b")
        await go(glass, "metrics")
        header, row = glass.row("B [base] first"), glass.row("last.val_loss")
        assert header.index("first") < header.index("second"), "the baseline stands first"
        assert re.search(r"last\.val_loss +0\.08567\*? +0\.08567\*? +=", row), row
        assert glass.app.screen.query_one(Table).sheet.fixed == 1
        await glass.press("right", "right", "space")
        await glass.sees("C bad", "▲+558% worse")
        await go(glass, "curves")
        await glass.press("g", "j", "b")
        await glass.until(lambda: not glass.app.screen.compared.baseline)


async def test_missing_nan_and_zero_are_told_apart(make_run: Any, opened: Any) -> None:
    full, odd = make_run("running", name="full"), make_run("running", name="odd")
    full.log.append("epoch", epoch=5, step=100, values={"val_loss": 0.0, "extra_loss": 0.25})
    odd.log.append("epoch", epoch=5, step=100, values={"val_loss": math.nan})
    async with opened((160, 48)) as glass:
        await compare(glass, 2)
        await go(glass, "metrics")
        await glass.until(lambda: re.search(r"last\.val_loss +NaN +0 ", glass.row("last.val_loss")))
        assert re.search(r"last\.extra_loss +- +0\.25 ", glass.row("last.extra_loss"))


async def test_hiding_pinning_taking_out_and_adding(three: Any, opened: Any) -> None:
    async with opened() as glass:
        screen = await compare(glass)
        assert [r.name for r in screen.compared.records()] == ["second", "first", "bad"]
        before = dict(screen.compared.looks)
        await glass.press("space")
        await glass.sees("○ A", "1 hidden", "B first 0.0857")
        assert "A second 0.0857" not in glass.text()
        await glass.press("G", "p")
        await glass.sees("[pin] bad")
        assert [r.name for r in screen.compared.records()] == ["bad", "second", "first"]
        await glass.press("X")
        await glass.sees("2 runs", "bad is not compared any more")
        assert glass.app.marked == {three["first"].run_id, three["second"].run_id}
        assert three["bad"].folder.path.is_dir(), "taken out, not removed"
        assert {k: before[k] for k in screen.compared.looks} == screen.compared.looks
        await glass.press("c")
        assert isinstance(glass.app.screen, Choose)
        await glass.sees("3/3, 2 marked")
        await glass.press("slash")
        await glass.type("bad")
        await glass.sees("1/3, 2 marked")
        await glass.press("enter", "space", "enter")
        await glass.until(lambda: len(screen.compared.records()) == RUNS)
        assert three["bad"].run_id in glass.app.marked
        await glass.press("c", "escape")
        assert glass.app.screen is screen and len(glass.app.marked) == RUNS
        await glass.press("delete", "delete", "delete")
        await glass.sees("Mark two or more runs")
        assert glass.app.marked == set()
        glass.fits()


async def test_the_picker_takes_the_filter_language_and_plain_words(three: Any, opened: Any) -> None:
    async with opened() as glass:
        await compare(glass, 2)
        await glass.press("c", "slash")
        await glass.type("state = diverged")
        await glass.sees("1/3")
        await glass.press("escape")
        await glass.sees("3/3")
        await glass.press("slash")
        await glass.type("MLP")
        await glass.sees("1/3")


async def test_quantities_and_axes_are_chosen_from_lists(three: Any, opened: Any) -> None:
    async with opened() as glass:
        screen = await compare(glass)
        await glass.press("M", "slash")
        await glass.type("gradient")
        await glass.press("enter")
        assert (glass.app.screen, screen.quantity) == (screen, "gradient_norm")
        await glass.press("z")
        await glass.sees("only the scatter")
        await go(glass, "scatter")
        await glass.press("z", "slash")
        await glass.type("duration")
        await glass.press("enter")
        await glass.sees("best.val_loss  /  duration")
        now = screen.y_metric
        await glass.press("m")
        assert screen.y_metric != now
        await go(glass, "params")
        await glass.press("m")
        await glass.sees("there is no quantity")
        assert "training.seed" not in glass.text()
        await glass.press("d")
        await glass.until(lambda: "training.optimizer" in screen.table.rows)
        await glass.press("enter")
        await glass.until(lambda: glass.app.screen.where == "run")


async def test_copying_and_exporting(three: Any, opened: Any, workspace: Workspace) -> None:
    async with opened((100, 30)) as glass:
        await compare(glass)
        await go(glass, "metrics")
        await glass.press("y")
        assert glass.app.clipboard.startswith(
            "## Metrics\n\n|  | second | first | bad |\n|---|---:|---:|---:|"
        )
        for kind, downs in (("csv", 0), ("curves.csv", 1), ("md", 2), ("png", 3), ("svg", 4)):
            await glass.press("ctrl+e", *["down"] * downs, "enter")
            place = workspace.root / "exports"
            await glass.until(lambda kind=kind, place=place: list(place.glob(f"compare-*{kind}")), 60)
        files = {path.name.partition("-")[2][15:]: path for path in (workspace.root / "exports").iterdir()}
        assert files[".png"].read_bytes()[:4] == b"\x89PNG"
        assert "val_loss" in files[".svg"].read_text("utf-8"), "the screen without the dialog"
        assert "Export to" not in files[".svg"].read_text("utf-8").replace("&#160;", " ")
        with files[".csv"].open() as file:
            assert [row["name"] for row in csv.DictReader(file)] == ["second", "first", "bad"]
        with files["-curves.csv"].open() as file:
            assert {row["quantity"] for row in csv.DictReader(file)} >= {"val_loss", "batch_loss"}
        assert "best.val_loss" in files[".md"].read_text("utf-8")


async def test_an_export_that_cannot_be_written_is_one_line(
    three: Any, opened: Any, workspace: Workspace
) -> None:
    (workspace.root / "exports").write_text("in the way")
    async with opened() as glass:
        await compare(glass)
        await glass.press("ctrl+e", "enter")
        await glass.until(lambda: any(told.severity == "error" for told in glass.app._notifications))
        assert glass.app.is_running and (workspace.root / "exports").read_text() == "in the way"


async def test_runs_that_vanish_stay_as_they_were_read_and_say_so(
    three: Any, opened: Any, workspace: Workspace
) -> None:
    async with opened() as glass:
        screen = await compare(glass)
        trash.remove(workspace, Record(three["first"].folder.path))
        shutil.rmtree(three["bad"].folder.path)
        glass.app.feed.poke()
        await glass.sees(say("compare.gone"), say("compare.gone_count", count=2))
        assert len(screen.compared.records()) == RUNS, "what was read can still be compared"
        for view in VIEWS:
            await go(glass, view)
            glass.fits()
        await go(glass, "curves")
        await glass.press("g", "j", "enter")
        assert glass.app.screen is screen
        await glass.sees(say("compare.gone_hint")[:30])
        await glass.press("X", "X")
        await glass.until(lambda: not screen.compared.gone)


async def test_what_was_chosen_is_there_at_the_next_start(three: Any, opened: Any) -> None:
    async with opened() as glass:
        await compare(glass)
        await glass.press("m", "o", "j", "b", "j", "space")
        await go(glass, "metrics")
    async with opened() as glass:
        await glass.press("3")
        screen = glass.app.screen
        await glass.until(lambda: len(screen.compared.records()) == RUNS)
        assert (screen.view_name, screen.quantity) == ("metrics", "train_loss")
        assert screen.compared.baseline == three["first"].run_id
        assert screen.compared.hidden == {three["bad"].run_id}
        assert screen.grid.is_log("train_loss")


@pytest.mark.xdist_group("mlflow")
async def test_a_run_that_only_mlflow_has_is_on_the_same_axes(
    workspace: Workspace, mlflow_template: Path, make_run: Any, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(mlflow_template, workspace.mlflow_db)
    monkeypatch.chdir(workspace.root)
    api = store.client(workspace, store.tracking_uri(workspace, None))
    past = api.create_run(api.create_experiment("elsewhere"), run_name="theirs").info.run_id
    api.log_param(past, "training.learning_rate", "0.5")
    for step in range(1, 60):
        api.log_metric(past, "val_loss", 1 / step, step=step)
    api.set_terminated(past)
    live = make_run("running", name="ours")
    async with opened() as glass:
        screen = await compare(glass, 2)
        await glass.sees("theirs 0.0169", "ours 0.314")
        live.train(2)
        await glass.sees("ours 0.185")
        await go(glass, "params")
        assert 0.5 in screen.table.rows["training.learning_rate"]
        await go(glass, "metrics")
        assert screen.table.rows["best.val_loss"].count(pytest.approx(1 / 59)) == 1
        live.end("finished", 0)


async def test_many_runs_in_both_directions(make_run: Any, opened: Any) -> None:
    for number in range(40):
        make_run("stopped", name=f"run{number}", sets=[f"training.learning_rate={1e-4 * (number + 1)}"])
    async with opened() as glass:
        screen = await compare(glass, 40)
        await glass.press("G")
        await glass.sees("● AN", "run0")
        await go(glass, "params")
        table = screen.query_one(Table)
        assert table.column == 39, "the run of the cursor is the same in every view"
        row = glass.row("training.learning_rate")
        assert "0.0001" in row and "40/40" in glass.text()
        await glass.press(*["left"] * 39)
        assert "0.004" in glass.row("training.learning_rate")
        await glass.press("d", "G")
        assert table.top > 0, "more rows than fit"
        glass.fits()
        for view in VIEWS:
            await go(glass, view)
            glass.fits()


async def test_escape_sequences_in_names_do_nothing(make_run: Any, opened: Any) -> None:
    from engine.runs.folder import write_json

    for number in range(2):
        run = make_run("finished", name=f"evil{number}")
        write_json(run.folder.about, {"name": f"\x1b[31m[bold]evil{number}\x07"})
        run.log.append("epoch", epoch=11, step=220, values={"\x1b]0;x\x07_loss": 1.0})
    async with opened() as glass:
        await compare(glass, 2)
        for view in VIEWS:
            await go(glass, view)
            assert "\x1b" not in glass.text() and "\x07" not in glass.text()
            glass.fits()
