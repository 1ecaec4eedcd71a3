"""The Data mode on real tables: a list, a report in words, figures of the labels, and the spectrum viewer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from engine import words
from engine.spectra import synthetic
from engine.workspace import Workspace
from tui.app import SpectuiApp
from tui.charts import Chart, warm_up
from tui.screens.data import DataScreen
from tui.screens.spectrum import SpectrumScreen
from tui.widgets.label_figures import bars, classes, kiel
from tui.widgets.spectrum_curves import line_marks

STARS = 40


@pytest.fixture(autouse=True)
def english_and_warm() -> Iterator[None]:
    words.choose("en")
    warm_up()
    yield
    words.choose(None)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    for name in ("conf", "runs", "dataset"):
        (tmp_path / name).mkdir()
    return Workspace(tmp_path)


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    """A sound set, one with a wild pixel, a hole and a zero in its first star, and one that lacks a table."""
    for name in ("good", "wild"):
        synthetic.write_demo(workspace.dataset / name, stars=STARS, points=120)
    table = workspace.dataset / "wild" / "final_spectra_normalized.csv"
    lines = table.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    first = min(rows[1:], key=lambda row: int(row[0]))
    first[10], first[20], first[30] = "4e11", "", "0"
    table.write_text("\n".join(",".join(row) for row in rows) + "\n")
    (workspace.dataset / "broken").mkdir()
    (workspace.dataset / "broken" / "removed_with_rv.csv").write_text("obsid,Teff\n1,5000\n")
    return workspace


def screen_text(app: Any) -> str:
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


async def wait_for(pilot: Pilot[None], what: Callable[[], bool]) -> None:
    for _ in range(400):
        await pilot.pause(0.05)
        if what():
            await pilot.pause(0.05)
            return
    raise AssertionError(f"never came to pass; the screen:\n{screen_text(pilot.app)}")


async def open_data(pilot: Pilot[None], name: str) -> DataScreen:
    """Go to the Data mode and wait for the report on a set."""
    await pilot.press("4")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, DataScreen) and pilot.app.screen.looked)
    screen = pilot.app.screen
    assert isinstance(screen, DataScreen)
    names = [dataset.name for dataset in screen.sets]
    screen.query_one("#sets", OptionList).highlighted = names.index(name)
    await wait_for(pilot, lambda: screen.reading is not None and screen.reading.report is not None)
    return screen


async def open_spectra(pilot: Pilot[None], name: str) -> SpectrumScreen:
    await open_data(pilot, name)
    await pilot.press("enter")
    await wait_for(pilot, lambda: isinstance(pilot.app.screen, SpectrumScreen))
    await wait_for(pilot, lambda: braille(screen_text(pilot.app)) > 40)
    screen = pilot.app.screen
    assert isinstance(screen, SpectrumScreen)
    return screen


def braille(text: str) -> int:
    return sum(0x2800 < ord(character) < 0x2900 for character in text)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_problems_stand_first_in_words(filled: Workspace, size: tuple[int, int]) -> None:
    app = SpectuiApp(filled)
    async with app.run_test(size=size) as pilot:
        screen = await open_data(pilot, "wild")
        await wait_for(pilot, lambda: "0 errors, 2 warnings" in screen_text(app))
        shown = screen_text(app)
        assert "1 wild pixels" in shown and "data.clip.normalized" in shown
        assert f"{STARS} stars x 120 points" in shown and "4 Data" in shown
        screen.query_one("#sets", OptionList).highlighted = 0
        await wait_for(pilot, lambda: "final_spectra_continuum.csv" in screen_text(app))
        assert "✗" in screen_text(app)
        await pilot.press("enter")
        assert app.screen is screen  # nothing to see in a set that cannot be read


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_labels_are_drawn(filled: Workspace, size: tuple[int, int]) -> None:
    app = SpectuiApp(filled)
    async with app.run_test(size=size) as pilot:
        await open_data(pilot, "good")
        if size[0] > 140:
            await wait_for(pilot, lambda: "Kiel diagram" in screen_text(app))
        assert ("Kiel diagram" in screen_text(app)) == (size[0] > 140)
        await pilot.press("tab", "tab")
        await wait_for(pilot, lambda: "Kiel diagram" in screen_text(app))
        assert app.focused is not None and app.focused.id == "data-figures"
        await pilot.press("end")
        await wait_for(pilot, lambda: "CFe" in screen_text(app) and "█" in screen_text(app))


async def test_an_empty_workspace_says_what_to_do(workspace: Workspace) -> None:
    app = SpectuiApp(workspace)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("4")
        await wait_for(pilot, lambda: "spectui data demo" in screen_text(app))
        await pilot.press("enter", "r", "y", "tab", "question_mark")
        await wait_for(pilot, lambda: "open the spectra of this data set" in screen_text(app))


async def test_stepping_searching_and_leaving(filled: Workspace) -> None:
    app = SpectuiApp(filled)
    async with app.run_test(size=(100, 30)) as pilot:
        screen = await open_spectra(pilot, "good")
        assert screen.facts is not None
        assert f"1/{STARS}" in screen_text(app) and str(screen.facts.obsid[0]) in screen_text(app)
        await pilot.press("j", "n", "k")
        await wait_for(pilot, lambda: f"2/{STARS}" in screen_text(app))
        await pilot.press("G", "j")  # at the end it says so and stays
        assert screen.place == STARS - 1
        poor = int((screen.facts.columns["FeH"] < -0.5).sum())
        await search(pilot, "FeH < -0.5")
        await wait_for(pilot, lambda: "chosen: FeH < -0.5" in screen_text(app))
        assert f"/{poor}" in screen_text(app)
        assert 0 < poor < STARS and all(screen.facts.number("FeH", row) < -0.5 for row in screen.rows)
        await search(pilot, "FeH < low")
        assert len(screen.rows) == poor  # a wrong expression changes nothing
        obsid = str(screen.facts.obsid[17])
        await search(pilot, obsid)
        assert screen.star == 17
        await search(pilot, "Teff > 1 and logg > 0")
        await pilot.press("escape")
        await wait_for(pilot, lambda: len(screen.rows) == STARS)
        await pilot.press("escape")
        await wait_for(pilot, lambda: isinstance(app.screen, DataScreen))


async def search(pilot: Pilot[None], text: str) -> None:
    await pilot.press("slash")
    await pilot.pause()
    box = pilot.app.screen.query_one("#star-search", Input)
    assert box.has_focus
    box.value = text
    await pilot.press("enter")
    await pilot.pause()


async def test_lines_frames_overlay_and_zoom(filled: Workspace) -> None:
    app = SpectuiApp(filled)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await open_spectra(pilot, "good")
        assert screen.facts is not None
        await wait_for(pilot, lambda: "Hβ" in screen_text(app))
        assert "lines in vacuum" in screen_text(app) and "┊" in screen_text(app)
        assert "5000" in screen_text(app) and "5k" not in screen_text(app)
        await pilot.press("v")
        await wait_for(pilot, lambda: "lines in air" in screen_text(app))
        await pilot.press("l")
        await wait_for(pilot, lambda: "Hβ" not in screen_text(app) and "lines off" in screen_text(app))
        first = screen.facts.obsid[0]
        await pilot.press("o", "j")
        await wait_for(pilot, lambda: f"B {first}" in screen_text(app) and f"B = {first}" in screen_text(app))
        charts = list(screen.query(Chart))
        assert [len(chart._chart_lines) for chart in charts] == [2, 2]
        await pilot.press("plus", "plus", "greater_than_sign", "j")
        views = [chart.view for chart in charts]
        whole = float(screen.facts.wavelength[-1] - screen.facts.wavelength[0])
        assert views[0] == views[1] is not None
        assert views[0][1] - views[0][0] == pytest.approx(whole / 4, rel=0.02)
        await pilot.press("0", "o")
        await wait_for(pilot, lambda: f"B = {first}" not in screen_text(app))
        assert all(chart.view is None for chart in charts)


async def test_bad_pixels_are_marked(filled: Workspace) -> None:
    app = SpectuiApp(filled)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_spectra(pilot, "wild")
        await wait_for(pilot, lambda: "✗ 1 not finite" in screen_text(app))
        shown = screen_text(app)
        assert "! 1 clipped" in shown and "o 1 zero" in shown
        axis = next(line for line in shown.splitlines() if line.lstrip().startswith("└"))
        assert [axis.count(sign) for sign in "✗!o"] == [1, 1, 1]
        assert axis.index("!") < axis.index("✗") < axis.index("o")
        await pilot.press("j")
        await wait_for(pilot, lambda: "no bad pixel" in screen_text(app))


async def test_keys_answer_while_a_set_is_read(filled: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from engine.spectra import facts

    go, read = threading.Event(), facts.read

    def slow(*what: Any) -> Any:
        what[2]("reading", 7, 80)
        assert go.wait(20)
        return read(*what)

    monkeypatch.setattr(facts, "read", slow)
    app = SpectuiApp(filled)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("4")
        await wait_for(pilot, lambda: isinstance(app.screen, DataScreen) and app.screen.looked)
        app.screen.query_one("#sets", OptionList).highlighted = 1
        await pilot.press("enter")
        await wait_for(pilot, lambda: "reading: 7/80 rows" in screen_text(app))
        assert isinstance(app.screen, SpectrumScreen)
        await pilot.press("j", "slash", "escape", "plus", "v", "o", "G", "question_mark")
        await wait_for(pilot, lambda: "go to an obsid" in screen_text(app))
        await pilot.press("escape")
        go.set()
        await wait_for(pilot, lambda: f"1/{STARS}" in screen_text(app))


def test_lines_are_marked_in_the_frame_that_was_asked() -> None:
    for frame, at in (("vacuum", 4862.68), ("air", 4861.33)):
        marks = line_marks(4800, 4900, frame)  # type: ignore[arg-type]
        assert [(mark.x, mark.label) for mark in marks] == [(at, "Hβ")]
    first, *_, band = line_marks(4270, 4330, "vacuum")
    assert (first.label, band.label) == ("", "CH G") and first.until is not None
    assert first.x == pytest.approx(4281.2, abs=0.1) and first.until == pytest.approx(4321.2, abs=0.1)


def test_bars_show_the_rare_too() -> None:
    rows = bars([1, 1000, 0, 500], 8)
    assert [len(row) <= 8 for row in rows] == [True] * 4
    assert rows[0] == "  ██" and rows[-1] == "▁▁██  ██"


def test_the_kiel_diagram_shows_giants_on_top_and_poor_stars_by_their_marks() -> None:
    n = 200
    stars = {
        "Teff": np.concatenate([np.full(n, 6000.0), np.full(n, 4500.0), [5200.0, np.nan]]),
        "logg": np.concatenate([np.full(n, 4.5), np.full(n, 1.0), [2.6, 3.0]]),
        "FeH": np.concatenate([np.full(n, 0.0), np.full(n, -1.5), [-3.2, 0.0]]),
    }
    rows = kiel(stars, 60, 20).plain.splitlines()
    body = rows[1 : rows.index(next(row for row in rows if row.lstrip().startswith("└")))]
    dwarfs, giants, poor = (next(i for i, row in enumerate(body) if mark in row) for mark in "#@x")
    assert giants < poor < dwarfs
    assert body[dwarfs].index("#") < body[poor].index("x") < body[giants].index("@")
    assert classes(np.array([0.1, -1.0, -2.5, -3.0, np.nan])).tolist() == [0, 1, 2, 3, 4]
    assert "no star has both" in kiel({"Teff": np.array([np.nan])}, 60, 20).plain
