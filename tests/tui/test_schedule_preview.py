"""The learning rate in the launch form: it follows what is typed, and says in words why it cannot."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.widgets import Input

import tui.plain
from engine import course, words
from engine.conf.load import resolve
from engine.conf.schema import Training
from tui.charts import Chart
from tui.charts.axes import label
from tui.screens.launch import LaunchScreen
from tui.widgets.form import FieldRow
from tui.widgets.schedule_preview import SchedulePreview, moves_the_rate

pytestmark = pytest.mark.usefixtures("counted")
SMALL, LARGE = (80, 24), (160, 48)


@pytest.fixture
def data(workspace: Any, tables: Path) -> None:
    shutil.copytree(tables, workspace.dataset / "spectral")


async def open_form(glass: Any, conf: str = "demo") -> None:
    resolved = resolve(glass.app.workspace, conf)
    glass.app.push_screen(LaunchScreen(resolved.conf, resolved.source))
    await glass.until(lambda: any(box.course for box in glass.app.screen.query(SchedulePreview)), seconds=30)


def preview(glass: Any) -> SchedulePreview:
    found: SchedulePreview = glass.app.screen.query_one(SchedulePreview)
    return found


def field(glass: Any, key: str) -> FieldRow:
    return next(row for row in glass.app.screen.query(FieldRow) if row.field.key == key)


async def go_to(glass: Any, key: str) -> None:
    field(glass, key).box.focus()
    await glass.pilot.pause()


async def retype(glass: Any, key: str, text: str) -> None:
    box = field(glass, key).query_one(Input)
    box.focus()
    await glass.press("end", *["backspace"] * len(box.value))
    await glass.type(text)


def curve(glass: Any) -> str:
    """The cells of the curve."""
    return "".join(c if 0x2800 < ord(c) < 0x2900 else " " for c in glass.text()).strip()


async def test_it_follows_what_is_typed_beside_the_form(opened: Any, data: None) -> None:
    async with opened(size=LARGE) as glass:
        await open_form(glass)
        await glass.sees(
            "learning rate: peak 0.001, last ", " steps  A warmup_cosine", "peak 0.001 in epoch 1"
        )
        per_epoch = preview(glass).course.per_epoch
        assert per_epoch != course.UNCOUNTED and preview(glass).course.counted
        await glass.sees(f"{30 * per_epoch} steps", f"30 epochs of about {per_epoch} steps")
        before = curve(glass)
        await go_to(glass, "training.schedule")
        await glass.press("s")
        await glass.sees("A step")
        await glass.until(lambda: curve(glass) not in ("", before))
        assert preview(glass).course.last == pytest.approx(1e-3 * 0.5**2)
        await retype(glass, "training.learning_rate", "0.02")
        await glass.sees("peak 0.02, last 0.005")
        await retype(glass, "training.batch_size", "2")
        # none while the batch size is half typed
        await glass.until(lambda: getattr(preview(glass).course, "per_epoch", 0) > per_epoch)
        await glass.sees(f"{30 * preview(glass).course.per_epoch} steps")
        glass.fits()


@pytest.mark.slow
async def test_a_wide_range_has_a_log_axis_and_a_cosine_has_not(opened: Any) -> None:
    async with opened(size=LARGE) as glass:
        await open_form(glass)
        chart = preview(glass).query_one(Chart)
        assert not chart.log_y
        field(glass, "training.schedule").set_text("type1")
        await glass.sees("A type1")
        assert chart.log_y and "  log  A type1" in glass.text()
        field(glass, "training.schedule").set_text("cosine")
        await glass.sees("A cosine")
        assert not chart.log_y


@pytest.mark.parametrize("size", [SMALL, pytest.param(LARGE, marks=pytest.mark.slow)])
async def test_a_half_typed_value_is_said_in_the_words_of_the_form(size: Any, opened: Any) -> None:
    async with opened(size=size) as glass:
        await open_form(glass)
        await go_to(glass, "training.learning_rate")
        await glass.until(lambda: glass.braille() > 10)
        await retype(glass, "training.learning_rate", "1e-")
        await glass.sees(
            "✗ no preview of the learning rate:", "form: training.learning_rate: must be a number"
        )
        assert glass.reddish("✗ no preview") and glass.braille() == 0
        glass.fits()
        await glass.type("2")
        await glass.sees("peak 0.01")
        assert "✗" not in glass.text() and glass.braille() > 10


@pytest.mark.slow
async def test_nothing_that_is_typed_brings_the_form_down(opened: Any) -> None:
    wrong = [
        ("training.epochs", "", "training.epochs: "),
        ("training.epochs", "1" + "0" * 400, "training.epochs: more steps than can be counted"),
        ("training.schedule_epochs", "0", "training.schedule_epochs: must be above 0"),
        ("training.learning_rate", "nan", "training.learning_rate: "),
        ("training.min_learning_rate", "1", "training.min_learning_rate: "),
        ("training.warmup_epochs", "31", "training.warmup_epochs: "),
        ("training.learning_rate", "[1", "training.learning_rate: "),
    ]
    async with opened(size=LARGE) as glass:
        await open_form(glass)
        for key, text, said in wrong:
            field(glass, key).set_text(text)
            await glass.sees("✗ no preview of the learning rate:", said)
            assert preview(glass).course is None and curve(glass) == ""
            field(glass, key).reset()
            await glass.sees("peak 0.001")


@pytest.mark.slow
@pytest.mark.parametrize(("key", "text"), [("training.schedule_epochs", "1e-300"), ("training.epochs", "1")])
async def test_odd_but_accepted_values_are_drawn_by_every_schedule(key: str, text: str, opened: Any) -> None:
    async with opened(size=LARGE) as glass:
        await open_form(glass)
        field(glass, key).set_text(text)
        for name in field(glass, "training.schedule").field.choices:
            field(glass, "training.schedule").set_text(name)
            await glass.until(
                lambda name=name: preview(glass).course and preview(glass).course.training.schedule == name
            )
            await glass.sees(f"last {label(preview(glass).course.last)}")


@pytest.mark.slow
async def test_a_mistake_elsewhere_does_not_hide_it(opened: Any, data: None) -> None:
    async with opened(size=LARGE) as glass:
        await open_form(glass)
        field(glass, "data.split.ratios").set_text("[1")
        field(glass, "model.name").set_text("MLP")
        field(glass, "training.epochs").set_text("7")
        await glass.sees("700 steps", "7 epochs of 100 steps (a guess:")
        field(glass, "data.split.ratios").reset()
        await glass.sees("7 epochs of about")


@pytest.mark.slow
async def test_the_rows_are_counted_once_for_the_same_data(
    opened: Any, data: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        "tui.widgets.schedule_preview.training_stars", lambda _here, conf: asked.append(conf.path) or 640
    )
    async with opened(size=LARGE) as glass:
        await open_form(glass)
        for epochs in (3, 4, 5):
            await retype(glass, "training.epochs", str(epochs))
            await glass.sees(f"{epochs} epochs of about 20 steps")
        assert asked == ["spectral"]
        field(glass, "data.path").set_text("elsewhere")
        await glass.until(lambda: asked == ["spectral", "elsewhere"])


async def test_on_a_small_screen_it_is_there_while_the_cursor_is_at_the_schedule(opened: Any) -> None:
    async with opened() as glass:
        await open_form(glass)
        box = preview(glass)
        assert not box.display and "peak" not in glass.text()
        for key in ("epochs", "optimizer", "schedule", "warmup_epochs"):
            await go_to(glass, f"training.{key}")
            await glass.sees("learning rate: peak 0.001", "peak 0.001 in epoch 1", f" {key} ")
            await glass.until(lambda: glass.braille() > 10)
            assert field(glass, f"training.{key}").region.bottom <= box.region.y
            assert len([row for row in glass.app.screen.query(FieldRow) if row.is_on_screen]) >= 9
            glass.fits()
        await go_to(glass, "training.loss")
        await glass.until(lambda: not box.display)
        await glass.press("up")
        await glass.until(lambda: box.display)


@pytest.mark.parametrize("size", [SMALL, pytest.param(LARGE, marks=pytest.mark.slow)])
async def test_a_key_shows_it_large_and_the_form_stays_usable(size: Any, opened: Any) -> None:
    async with opened(size=size) as glass:
        await open_form(glass)
        await go_to(glass, "data.path")
        small = preview(glass).region.area
        await glass.press("f2")
        await glass.until(lambda: preview(glass).region.area > small and glass.braille() > 30)
        await go_to(glass, "training.epochs")
        await glass.press("backspace")
        await glass.sees("3 epochs of", "* epochs")
        glass.fits()
        await glass.press("f2")
        await go_to(glass, "data.path")
        await glass.until(lambda: preview(glass).region.area == small)


@pytest.mark.slow
async def test_growing_and_shrinking_keeps_the_field_in_sight(opened: Any) -> None:
    async with opened(size=LARGE) as glass:
        await open_form(glass)
        await go_to(glass, "training.warmup_epochs")
        for size in (SMALL, (80, 14), (120, 24), LARGE):
            await glass.pilot.resize_terminal(*size)
            await glass.sees(" warmup_epochs ")
            glass.fits()


@pytest.mark.slow
async def test_in_chinese(opened: Any, data: None) -> None:
    words.choose("zh")
    for size in (SMALL, LARGE):
        async with opened(size=size) as glass:
            await open_form(glass)
            await go_to(glass, "training.schedule")
            await glass.sees("学习率：峰值 0.001，末值 ", "峰值 0.001 在第 1 轮")
            glass.fits()
            await retype(glass, "training.epochs", "-1")
            await glass.sees("✗ 无法预览学习率：", "表单: training.epochs")
            glass.fits()


async def test_leaving_while_it_is_counted_is_no_mistake(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(size=LARGE) as glass:
        await open_form(glass)
        field(glass, "training.epochs").set_text("9")
        await glass.press("escape", "y")
        assert glass.app.screen.where == "runs"
        await glass.pilot.pause(0.3)
        assert glass.app.screen.where == "runs"


def test_fields_that_move_the_rate_are_known_by_name() -> None:
    moved = ("epochs", "batch_size", "learning_rate", "min_learning_rate", "schedule", "schedule_gamma")
    assert all(moves_the_rate(f"training.{name}") for name in moved)
    assert not any(moves_the_rate(key) for key in ("training.seed", "name", "data.path", "model.epochs"))


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_plain_terminal_gets_the_same_chart(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    training = Training(epochs=30, learning_rate=1e-3, schedule="type1")
    lines = tui.plain.DRAWINGS["schedule"](course.course_of(training, 320, 500))
    assert lines[0].startswith("learning rate: peak 0.001, last 1.86e-12, 300")
    assert max(map(cell_len, lines)) <= 50
    body = "".join(lines[1:])
    assert body.isascii() == (encoding == "ascii")
    assert any(0x2800 < ord(character) < 0x2900 for character in body) == (encoding == "utf-8")
