"""The charts of a run: which stand together, how they fit the window, and what their keys do."""

from __future__ import annotations

from typing import Any

import pytest

from tui.charts import Chart, Line, Series
from tui.screens.run import RunScreen
from tui.widgets.chart_grid import ChartGrid
from tui.widgets.panels import matching, panels
from tui.widgets.run_lines import jumps

LABELS = ("Teff", "logg", "FeH", "CFe")


async def charts(glass: Any, run: Any) -> ChartGrid:
    glass.app.open_run(glass.app.record(run.run_id))
    await glass.until(lambda: isinstance(glass.app.screen, RunScreen) and glass.braille() > 30)
    return glass.app.screen.query_one(ChartGrid)


def on_page(grid: ChartGrid) -> list[str]:
    return [key for key, chart in grid.charts.items() if chart.display and chart.size]


def test_quantities_that_belong_together_share_a_chart() -> None:
    names = [
        "samples_per_second", "batch_loss", "learning_rate", "val_loss", "gradient_norm", "val_Teff_mae",
        "val_logg_mae", "val_Teff_rmse", "val_Teff_outlier_rate", "val_logg_outlier_rate",
        "gradient_norm/trunk", "gpu_percent", "cpu_percent", "train_acc", "val_acc", "step/batch_loss", "odd",
    ]  # fmt: skip
    found = panels(names, LABELS)
    assert [(p.key, p.names) for p in found[:3]] == [
        ("loss", ("batch_loss", "val_loss")),
        ("learning_rate", ("learning_rate",)),
        ("gradient_norm", ("gradient_norm",)),
    ]
    together = {p.names for p in found}
    assert ("val_Teff_outlier_rate", "val_logg_outlier_rate") in together
    assert {("val_Teff_mae", "val_logg_mae"), ("val_Teff_rmse",), ("cpu_percent", "gpu_percent")} <= together
    assert {("train_acc", "val_acc"), ("step/batch_loss",), ("gradient_norm/trunk",), ("odd",)} <= together
    assert sorted(name for p in found for name in p.names) == sorted(names)
    assert [p.key for p in found][-2:] == ["samples_per_second", "busy"]
    assert [p.key for p in matching(found, "teff")] == ["errors/mae", "errors/outlier_rate", "errors/rmse"]
    assert [p.key for p in matching(found, "val_*_rmse")] == ["errors/rmse"]
    assert matching(found, "  ") == found and matching(found, "[") == []


@pytest.mark.parametrize(("size", "across"), [((80, 24), 1), ((130, 24), 2), ((190, 30), 3)])
async def test_the_grid_fits_the_window(
    size: tuple[int, int], across: int, make_run: Any, opened: Any
) -> None:
    run = make_run("finished")
    async with opened(size) as glass:
        grid = await charts(glass, run)
        await glass.until(lambda: len(on_page(grid)) >= min(4, 2 * across))
        shown = [grid.charts[key] for key in on_page(grid)]
        assert len({chart.region.x for chart in shown}) == across
        assert all(chart.size.height >= 8 for chart in shown)
        glass.fits()


async def test_keys_go_through_charts_and_pages_and_show_one_alone(make_run: Any, opened: Any) -> None:
    run = make_run("finished")
    async with opened() as glass:
        grid = await charts(glass, run)
        await glass.sees("charts 1–2 of 4")
        assert on_page(grid) == ["loss", "learning_rate"]
        await glass.press("j")
        assert grid.current == "learning_rate" and on_page(grid) == ["loss", "learning_rate"]
        await glass.press("pagedown")
        await glass.sees("charts 3–4 of 4", "MAE by label")
        await glass.press("pagedown", "F")
        await glass.sees("chart 3 of 4")
        assert len(on_page(grid)) == 1
        await glass.press("k", "escape")
        assert grid.current == "learning_rate"
        await glass.sees("charts 1–2 of 4")
        await glass.press("escape")
        assert not isinstance(glass.app.screen, RunScreen), "one esc more steps out of the run"


async def test_the_filter_narrows_the_charts_and_is_kept(make_run: Any, opened: Any) -> None:
    run = make_run("finished")
    async with opened() as glass:
        grid = await charts(glass, run)
        await glass.press("slash")
        await glass.type("mae")
        await glass.press("enter")
        await glass.sees("filter: mae", "MAE by label")
        assert on_page(grid) == ["errors/mae"] and glass.app.view.get("charts.filter", "") == "mae"
        await glass.press("slash", "z", "enter")
        await glass.sees("no quantity matches")
        await glass.press("escape")
        await glass.until(lambda: on_page(grid)[:1] == ["loss"] or len(on_page(grid)) == 2)
        assert isinstance(glass.app.screen, RunScreen) and glass.app.view.get("charts.filter", "x") == ""


async def test_one_cursor_tells_exact_values_on_every_chart(make_run: Any, opened: Any) -> None:
    run = make_run("finished")
    async with opened() as glass:
        grid = await charts(glass, run)
        await glass.press("left")
        await glass.sees("step 200", "B val 0.085674", "C batch 0.0494432")
        before = {chart.builds for chart in grid.charts.values()}
        await glass.press("shift+left")
        assert grid.cursor.x is not None and grid.cursor.x < 200
        assert {chart.cursor for chart in grid.charts.values()} == {grid.cursor.x}
        assert {chart.builds for chart in grid.charts.values()} == before, "moving draws no curve again"
        await glass.press("right")
        where = glass.place_of("learning rate")
        await glass.pilot.click(offset=(30, where.y + 3))
        assert grid.current == "learning_rate" and grid.cursor.x < 120
        await glass.press("escape")
        assert grid.cursor.x is None and "step 200  " not in glass.row("loss")


async def test_the_x_axis_counts_in_epochs_work_and_time_of_day(
    make_run: Any, opened: Any, frozen: Any
) -> None:
    run = make_run("starting")
    run.begin()
    for _ in range(10):
        frozen.now += 3599  # an hour with the second of the event
        run.steps(20)
    async with opened() as glass:
        await charts(glass, run)
        await glass.press("T")
        await glass.sees("by epoch", "10")
        await glass.press("left")
        await glass.sees("epoch 10")
        await glass.press("T")
        await glass.sees("by time of work", "8h")
        await glass.press("T")
        await glass.sees("by time of day", "18:00")
        assert glass.app.view.get("charts.x", "") == "wall"
        await glass.press("T")
        await glass.until(lambda: "by time of day" not in glass.text())


async def test_outliers_are_clipped_and_told(make_run: Any, opened: Any) -> None:
    run = make_run("starting")
    run.begin().steps(190, lambda step: 1e6 if step == 100 else 1.0 + step / 200)
    async with opened() as glass:
        grid = await charts(glass, run)
        assert "1M" in glass.text() and "▲" not in glass.text()
        await glass.press("O")
        await glass.sees("1 clipped", "▲")
        assert "1M" not in glass.row("▲") and grid.charts["loss"].clip
        await glass.press("O")
        await glass.until(lambda: "clipped" not in glass.text())


async def test_dots_can_be_letters(make_run: Any, opened: Any, monkeypatch: Any) -> None:
    run = make_run("finished")
    async with opened() as glass:
        await charts(glass, run)
        await glass.press("B", "B")
        await glass.until(lambda: glass.braille() == 0 and "BBB" in glass.text())
    monkeypatch.setenv("LC_ALL", "C")
    assert Chart("loss").marker == "ascii"
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TERM", "linux")
    assert Chart("loss").marker == "ascii"


def test_a_learning_rate_jumps_by_a_cut_but_not_by_a_slope() -> None:
    warm = [1e-4 * step for step in range(1, 11)]
    cosine = [1e-3 * (1 - step / 60) for step in range(50)]
    rates = [*warm, *[1e-3] * 20, *[1e-4] * 20, *[1e-5] * 5]
    found = jumps(Series.of("lr", range(1, len(rates) + 1), rates))
    assert [(step, after) for step, _, after in found] == [(31.0, 1e-4), (51.0, 1e-5)]
    assert jumps(Series.of("lr", range(60), [*warm, *cosine])) == []


async def test_checkpoints_cuts_of_the_rate_and_the_best_epoch_are_marked(make_run: Any, opened: Any) -> None:
    run = make_run("starting")
    run.begin().train(4).steps(10)
    run.rate = 1e-4
    run.steps(10)
    async with opened() as glass:
        await charts(glass, run)
        axis = next(row for row in glass.rows() if "└" in row)
        assert axis.count("^") == 3 and axis.count("*") == 1 and axis.count("~") == 1
        await glass.press("j", "left")
        for _ in range(40):
            if "~ learning rate" in glass.text():
                break
            await glass.press("left")
        await glass.sees("~ learning rate 0.001 → 0.0001")


async def test_many_lines_are_drawn_off_the_ui_thread(opened: Any) -> None:
    async with opened() as glass:
        chart = Chart("overlay")
        await glass.app.screen.mount(chart)
        chart.styles.height = 15
        series = [Series.of("loss", range(50), [i + 1 / (s + 1) for s in range(50)]) for i in range(60)]
        lines = [Line(f"run {i}", one) for i, one in enumerate(series)]
        chart.show(lines, live=True)
        await glass.until(lambda: glass.braille() > 100)
        chart.look(20.0)
        await glass.sees("step 20", "A run 0 0.047619", "B run 1 1.04762")
        chart.baseline = True
        chart.look(21.0)
        await glass.sees("(+1)")
        assert len(chart.readout()) == 60 and chart.readout()[5].difference == 5.0
