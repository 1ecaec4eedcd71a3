"""The chart on a screen."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.geometry import Region
from textual.pilot import Pilot
from textual.screen import Screen

from engine import words
from tui.charts import Chart, Line, Mark, Series, render, warm_up


@pytest.fixture(autouse=True)
def english_and_warm() -> Iterator[None]:
    words.choose("en")
    warm_up()
    yield
    words.choose(None)


class Stage(App[None]):
    """One chart on a screen of its own."""

    def __init__(self, chart: Chart) -> None:
        super().__init__()
        self.chart = chart
        self.box = Vertical(chart)

    def compose(self) -> ComposeResult:
        yield self.box


class Recorder(Chart):
    """Keeps the regions that were asked to be repainted."""

    regions: tuple[Region, ...] = ()

    def refresh(self, *regions: Region, **how: bool) -> Recorder:
        if regions:
            self.regions += regions
        super().refresh(*regions, **how)
        return self


def screen_text(app: App[None]) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def curve(name: str, count: int) -> Series:
    return Series.of(name, range(count), [math.exp(-i / 100) for i in range(count)])


def braille(text: str) -> int:
    return sum(0x2800 < ord(character) < 0x2900 for character in text)


async def settle(pilot: Pilot[None]) -> None:
    await pilot.pause()
    await pilot.pause()


async def test_a_curve_is_drawn_grows_and_repaints_little() -> None:
    chart = Recorder("loss", unit="dex")
    app, series = Stage(chart), curve("train", 310)
    async with app.run_test(size=(80, 24)) as pilot:
        assert "no points yet" in screen_text(app)
        lines = [Line("train", series)]
        chart.show(lines, live=True)
        await settle(pilot)
        before = screen_text(app)
        assert braille(before) > 40
        assert "loss (dex)" in before and "A train 0.0455 (min 0.0455)" in before
        chart.regions, builds = (), chart.builds
        series.append(range(310, 330), [0.05] * 20)
        for _ in range(5):
            chart.show(lines, live=True)
        await settle(pilot)
        after = screen_text(app)
        assert before != after and chart.builds == builds + 1
        assert 0 < sum(region.area for region in chart.regions) < 80 * 24 / 8
        pairs = enumerate(zip(before.split("\n"), after.split("\n"), strict=True))
        changed = {row for row, (old, new) in pairs if old != new}
        assert changed == {region.y for region in chart.regions}


async def test_nan_is_marked_without_being_asked() -> None:
    chart = Chart("loss")
    app, series = Stage(chart), curve("train", 200)
    series.append([200, 201], [math.nan, math.nan])
    async with app.run_test(size=(80, 24)) as pilot:
        chart.show([Line("train", series)], live=False)
        await settle(pilot)
        assert "✗ train nan @200" in screen_text(app)
        chart.show([Line("train", Series.of("train", [1], [math.nan]))], live=True)
        await settle(pilot)
        assert "✗ train nan @1" in screen_text(app) and "no points" not in screen_text(app)


async def test_toggles_zoom_and_pan_change_the_picture_and_say_so() -> None:
    chart = Chart("loss")
    app = Stage(chart)
    series = curve("train", 400)
    series.append([400, 401, 402], [0.0, -1.0, 0.0])
    async with app.run_test(size=(80, 24)) as pilot:
        chart.show([Line("train", series)], [Mark(100, "best", "best")], live=False)
        await settle(pilot)
        seen = {screen_text(app)}
        for act in (chart.toggle_smooth, chart.toggle_log, lambda: chart.zoom(4), lambda: chart.pan(0.5)):
            act()
            await settle(pilot)
            assert screen_text(app) not in seen
            seen.add(screen_text(app))
        title = screen_text(app).split("\n")[0]
        assert all(word in title for word in ("log", "smooth", "zoomed"))
        assert chart.log_y and chart.smooth and chart.view is not None
        chart.pan(99)
        assert chart.view[1] == 402
        chart.fit()
        await settle(pilot)
        assert "3 ≤ 0 left out" in screen_text(app).split("\n")[0] or chart.smooth
        chart.toggle_smooth()
        chart.zoom(0.01)
        await settle(pilot)
        assert "3 ≤ 0 left out" in screen_text(app).split("\n")[0]
        assert chart.view is None
        chart.show([Line("train", Series.of("train", [1, 2], [0.0, -1.0]))], live=False)
        await settle(pilot)
        assert "no value above 0" in screen_text(app)


async def test_nothing_is_built_while_hidden_and_all_is_caught_up_when_shown() -> None:
    chart = Chart("loss")
    app = Stage(chart)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.box.display = False
        await settle(pilot)
        builds = chart.builds
        chart.show([Line("train", curve("train", 300))], live=True)
        await settle(pilot)
        assert chart.builds == builds
        app.box.display = True
        await settle(pilot)
        assert braille(screen_text(app)) > 40
        await app.push_screen(Screen())
        builds = chart.builds
        chart.show([Line("train", curve("train", 900))], live=True)
        await settle(pilot)
        assert chart.builds == builds
        app.pop_screen()
        await settle(pilot)
        assert chart.builds == builds + 1 and "1k" in screen_text(app)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (7, 3), (30, 5), (200, 60)])
async def test_any_size_keeps_every_row_at_its_width(size: tuple[int, int]) -> None:
    chart = Chart("损失 loss", unit="dex")
    app = Stage(chart)
    lines = [Line(f"学习率 {i}", curve("lr", 50)) for i in range(9)]
    async with app.run_test(size=size) as pilot:
        chart.show(lines, [Mark(3, "nonfinite", "✗ 损失 nan @3")], live=True)
        await settle(pilot)
        rows = [chart.render_line(y) for y in range(size[1])]
        assert [cell_len(row.text) for row in rows] == [size[0]] * size[1]
        await pilot.resize_terminal(33, 9)
        await settle(pilot)
        assert [cell_len(chart.render_line(y).text) for y in range(9)] == [33] * 9


async def test_a_cold_chart_says_so_and_draws_itself_once_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    render._ready.clear()
    chart = Chart("loss")
    app = Stage(chart)
    async with app.run_test(size=(80, 24)) as pilot:
        chart.show([Line("train", curve("train", 300))], live=True)
        await settle(pilot)
        assert "loading charts…" in screen_text(app) and braille(screen_text(app)) == 0
        warm_up()
        await pilot.pause(0.3)
        await settle(pilot)
        assert braille(screen_text(app)) > 40
        monkeypatch.setattr(render, "_failure", ["no wheel for this machine"])
        chart.fit()
        await settle(pilot)
        assert "charts are not available: no wheel for this machine" in screen_text(app)


def test_both_languages_have_every_sentence() -> None:
    english, chinese = (
        {key for key in words.catalogue(name) if key.startswith("charts.")} for name in words.LANGUAGES
    )
    assert english == chinese and len(english) >= 11
