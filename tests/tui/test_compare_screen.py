"""Runs side by side: curves on one axis, only the parameters that differ, errors with the best marked."""

from __future__ import annotations

import math
import re
from typing import Any

from engine.words import say
from tui.charts import Chart


async def mark_all(glass: Any, count: int) -> None:
    await glass.until(lambda: len(glass.app.feed.rows) == count)
    await glass.press(*["space"] * count)


def letters(glass: Any) -> set[str]:
    """The letters that stand on the curves."""
    chart = glass.app.screen.query_one(Chart).region
    return set(re.findall(r"[A-Z]", "\n".join(glass.rows()[chart.y + 1 : chart.bottom])))


async def test_fewer_than_two_marked_runs_give_a_hint(make_run: Any, opened: Any) -> None:
    make_run("finished")
    async with opened() as glass:
        await glass.press("3")
        assert " ".join(glass.text().split()).find(say("compare.empty")[:60]) > 0
        await glass.press("1", "space", "c")
        assert glass.app.screen.where == "runs"
        await glass.sees("mark two or more runs")
        await glass.press("3", "m", "o", "i", "plus", "0")
        await glass.sees("is compared. Add another with c")
        glass.fits()


async def test_two_runs_on_one_axis_with_what_differs(make_run: Any, opened: Any) -> None:
    make_run("finished", name="first", ago=10)
    make_run("stopped", name="second", conf="mlp", sets=["training.learning_rate=0.01"])
    async with opened((160, 48)) as glass:
        await mark_all(glass, 2)
        await glass.press("c")
        assert glass.app.screen.where == "compare"
        await glass.until(lambda: glass.braille() > 40)
        # The newer run is A, as in the list.
        await glass.sees("A second 0.418", "B first 0.0857")
        assert {"A", "B"} <= letters(glass)
        await glass.press("tab")
        await glass.sees("model.name", "StarNet", "MLP", "training.learning_rate")
        assert "training.optimizer" not in glass.text() and "data.path" not in glass.text()
        assert re.search(r"training.learning_rate +0.01 +0.001", glass.text())
        await glass.press("right_square_bracket")
        await glass.sees("test.Teff_mae", "best.val_loss")
        assert re.search(r"best.val_loss +0.4179 +0.08567\*", glass.text())
        assert "mean_mae" not in glass.text()
        glass.fits()


async def test_other_quantities_and_axes(make_run: Any, opened: Any) -> None:
    make_run("finished", name="first", ago=10)
    make_run("finished", name="second")
    async with opened() as glass:
        await mark_all(glass, 2)
        await glass.press("c")
        await glass.sees("val_loss  A second")
        seen = []
        for _ in range(5):
            await glass.press("m")
            seen.append(glass.app.screen.query_one(Chart).title)
        assert seen[:4] == ["train_loss", "batch_loss", "learning_rate", "gradient_norm"]
        await glass.press("o", "i")
        await glass.sees("log", "smooth")


async def test_a_run_that_trains_goes_on_growing_and_a_bad_one_is_marked(make_run: Any, opened: Any) -> None:
    make_run("diverged", name="bad", ago=10)
    run = make_run("running", name="live")
    async with opened() as glass:
        await mark_all(glass, 2)
        await glass.press("3")
        await glass.sees("A live 0.314", "B bad 0.563", "B loss nan @41")
        assert glass.reddish("B loss nan @41")
        run.train(2)
        await glass.sees("A live 0.185")
        run.end("finished", 0)
        await glass.sees("✓ finished")


async def test_many_runs_with_one_name_are_told_apart(make_run: Any, opened: Any) -> None:
    made = [make_run("finished", name="same", ago=10 * number) for number in range(30)]
    async with opened() as glass:
        await mark_all(glass, 30)
        await glass.press("3")
        await glass.sees(f"A {made[0].run_id[-11:]}")
        glass.fits()
        await glass.press("u", "1", "u")
        assert not glass.app.marked


async def test_one_cursor_tells_every_run_and_the_difference_to_the_baseline(
    make_run: Any, opened: Any
) -> None:
    make_run("finished", name="first", ago=10)
    second = make_run("stopped", name="second")
    async with opened((160, 48)) as glass:
        await mark_all(glass, 2)
        await glass.press("3")
        await glass.until(lambda: len(glass.app.screen.compared.records()) == 2)
        screen, grid = glass.app.screen, glass.app.screen.grid
        assert grid.page == ["val_loss", "train_loss", "batch_loss", "learning_rate"], "four at once"
        await glass.until(lambda: glass.braille() > 40)
        await glass.press("j", "b", "left")
        await glass.until(lambda: grid.cursor.x == 200)
        assert {chart.cursor for chart in screen.query(Chart)} == {200}
        await glass.press(*["shift+left"] * 20)
        await glass.until(lambda: grid.cursor.x == 20)
        assert grid.reading(second.run_id).difference == 0, "they are the same up to here"
        await glass.press("l")
        await glass.until(lambda: grid.cursor.x == 40)
        value = 0.05 + math.exp(-40 / 60)
        await glass.sees(say("compare.cursor_change", quantity="val_loss", place="step 40"))
        assert re.search(rf"second +\+0 +{value:.4}", glass.text())
        await glass.press("T")
        await glass.sees(say("charts.x.epoch"))
        assert grid.cursor.x is None and grid.lead.view is None
        await glass.press("h")
        await glass.until(lambda: grid.cursor.x == 10)
        await glass.sees(say("charts.at_epoch", epoch="10"))
        await glass.press("F", "m", "o", "O")
        assert grid.page == ["train_loss"] and grid.lead.log_y and grid.lead.clip
        await glass.press("slash", *"grad")
        await glass.sees(say("charts.filtered", filter="grad"))
        assert (screen.quantity, grid.page) == ("gradient_norm", ["gradient_norm"])
        glass.fits()
        layers = [
            lambda: glass.app.screen.focused is screen.query_one("#compare-runs"),
            lambda: grid.cursor.x is None,
            lambda: not grid.full,
            lambda: len(grid.page) == 4,
        ]
        for taken_away in layers:
            assert not taken_away()
            await glass.press("escape")
            await glass.until(taken_away)
        await glass.press("tab", "T")
        await glass.sees(say("compare.only_curves"))
