"""The launch form: every key of the conf, changes marked, mistakes said, and a real engine started."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from textual import events
from textual.widgets import Input

from engine.conf.form import form_fields
from engine.conf.load import resolve
from engine.runs import launch
from tui.screens.launch import LaunchScreen, patched
from tui.widgets.form import Choice, FieldRow

pytestmark = pytest.mark.usefixtures("counted")

TINY = """\
name: tiny
model: {name: MLP, hidden: [8]}
training: {epochs: 400, batch_size: 16, device: cpu, threads: 1}
tracking: {enabled: false}
"""


async def open_form(glass: Any, conf: str = "demo") -> None:
    resolved = resolve(glass.app.workspace, conf)
    glass.app.push_screen(LaunchScreen(resolved.conf, resolved.source))
    await glass.until(
        lambda: glass.app.screen.where == "launch" and len(glass.app.screen.query(FieldRow)) > 9
    )


def field(glass: Any, key: str) -> FieldRow:
    return next(row for row in glass.app.screen.query(FieldRow) if row.field.key == key)


async def go_to(glass: Any, key: str) -> None:
    field(glass, key).box.focus()
    await glass.pilot.pause()


async def walk_to(glass: Any, key: str) -> None:
    """Go there by the arrow keys, as a person would."""
    for _ in range(80):
        if field(glass, key).has_focus_within:
            return
        await glass.press("down")
    raise AssertionError(f"the cursor never came to {key}")


async def retype(glass: Any, key: str, text: str) -> None:
    box = field(glass, key).query_one(Input)
    box.focus()
    await glass.press("end", *["backspace"] * len(box.value))
    await glass.type(text)


def runs(glass: Any) -> list[Path]:
    return [path for path in glass.app.workspace.runs.iterdir() if not path.name.startswith(".")]


@pytest.fixture
def data(workspace: Any, tables: Path) -> None:
    """Real tables, and a conf that trains on them for some seconds."""
    shutil.copytree(tables, workspace.dataset / "spectral")
    (workspace.conf / "tiny.yaml").write_text(TINY, encoding="utf-8")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The pids of real engines that were started; ended after the test."""
    pids: list[int] = []
    original = launch.start

    def start(*words: Any, **more: Any) -> int:
        pids.append(original(*words, **more))
        return pids[-1]

    monkeypatch.setattr(launch, "start", start)
    yield pids
    for pid in pids:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(pid, 0)


async def test_the_form_has_every_field_of_the_schema_and_of_the_network(opened: Any) -> None:
    async with opened() as glass:
        await open_form(glass, "freq_inception_l_net")
        wanted = form_fields(glass.app.workspace, glass.app.screen.conf)
        assert [row.field for row in glass.app.screen.query(FieldRow)] == wanted
        keys = [row.field.key for row in glass.app.screen.query(FieldRow)]
        assert keys[:2] == ["name", "model.name"]
        assert {"training.learning_rate", "data.path", "model.normalization_settings.norm_type"} <= set(keys)
        await glass.sees("‹ FreqInceptionLNet ›", "training", "learning_rate", "0.0001")
        await go_to(glass, "training.gradient_clip_val")
        await glass.sees("training.gradient_clip_val: Largest gradient, as gradient_clip says")
        assert "*" not in glass.text()
        glass.fits()


async def test_arrows_move_between_fields_and_choose_within_one(opened: Any) -> None:
    async with opened() as glass:
        await open_form(glass)
        await walk_to(glass, "training.optimizer")
        await glass.press("right")
        assert field(glass, "training.optimizer").text == "adamw"
        assert glass.row("optimizer").lstrip().startswith("*")
        await glass.sees("1 changed (*)", "‹ adamw ›")
        await glass.press("left")
        assert "changed (*)" not in glass.text()
        await go_to(glass, "training.schedule")
        await glass.press("c")
        assert field(glass, "training.schedule").text == "cosine_restarts"
        # A letter that begins none of the words does nothing: above all it does not quit.
        await glass.press("q", "1", "colon", "question_mark")
        assert glass.app.screen.where == "launch"
        assert field(glass, "training.schedule").text == "cosine_restarts"
        await glass.press("up")
        assert field(glass, "training.momentum").has_focus_within
        await glass.press("enter")
        assert field(glass, "training.schedule").has_focus_within
        await glass.press("ctrl+r")
        assert "changed (*)" not in glass.text() and field(glass, "training.schedule").text == "warmup_cosine"
        glass.fits()


async def test_keys_that_come_faster_than_the_screen_arrive_in_their_order(
    opened: Any, started: list[int], data: None
) -> None:
    async with opened() as glass:
        await open_form(glass)
        await go_to(glass, "training.epochs")
        pressed = ["backspace"] * 2 + [
            "2",
            "5",
            "down",
            "backspace",
            "backspace",
            "6",
            "4",
            "left",
            "1",
            "ctrl+s",
        ]
        for key in pressed:
            glass.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await glass.until(lambda: started)
        (run,) = runs(glass)
        conf = yaml.safe_load((run / "conf.yaml").read_text())
        assert conf["training"]["epochs"] == 25 and conf["training"]["batch_size"] == 614


async def test_what_is_typed_is_marked_and_said(opened: Any) -> None:
    async with opened() as glass:
        await open_form(glass)
        await retype(glass, "training.learning_rate", "0.01")
        assert glass.row("learning_rate").lstrip().startswith("*")
        await glass.press("down", "up")
        await glass.sees("1 changed (*)", "(in the conf: 0.001)")
        await retype(glass, "training.learning_rate", "0.001")
        assert "changed (*)" not in glass.text()


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("training.learning_rate", "fast", "training.learning_rate: must be a number, got 'fast'"),
        ("training.epochs", "-1", "training.epochs: must be 0 or more, got -1"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                ("data.split.ratios", "[1", "data.split.ratios"),
                ("training.device", "gpu", "training.device: not one of the accepted forms"),
            ]
        ),
    ],
)
async def test_a_bad_value_is_said_in_one_line_and_starts_nothing(
    key: str, text: str, said: str, opened: Any, started: list[int], data: None
) -> None:
    async with opened() as glass:
        await open_form(glass)
        field(glass, key).set_text(text)
        await glass.press("ctrl+s")
        await glass.sees(f"✗ form: {said}")
        assert glass.text().count("✗") == 1
        assert glass.reddish("✗ form:")
        assert runs(glass) == [] and started == []
        assert glass.app.screen.where == "launch" and field(glass, key).text == text
        glass.fits()


async def test_several_mistakes_are_said_at_once_and_mending_them_clears_the_message(
    opened: Any, started: list[int]
) -> None:
    async with opened() as glass:
        await open_form(glass)
        field(glass, "training.epochs").set_text("-1")
        field(glass, "training.batch_size").set_text("many")
        await glass.press("ctrl+s")
        await glass.sees("training.epochs:", "training.batch_size:")
        field(glass, "training.epochs").set_text("3")
        field(glass, "training.batch_size").set_text("32")
        await glass.press("ctrl+s")
        # The conf is good now; the tables of this workspace are not there, which is said in the same place.
        await glass.sees("✗ data.path: spectral: no such folder")
        assert "training.epochs: must" not in glass.text()
        assert runs(glass) == [] and started == []


async def test_another_network_brings_its_fields_and_keeps_what_was_typed(opened: Any) -> None:
    async with opened() as glass:
        await open_form(glass)
        field(glass, "training.epochs").set_text("7")
        field(glass, "training.seed").set_text("not yet")
        await go_to(glass, "model.name")
        await glass.press("f")
        await glass.until(
            lambda: any(r.field.key.startswith("model.norm") for r in glass.app.screen.query(FieldRow))
        )
        assert field(glass, "model.name").has_focus_within
        assert field(glass, "training.epochs").text == "7"
        assert field(glass, "training.seed").text == "not yet"
        await glass.press("right")
        await glass.until(
            lambda: any(r.field.key == "model.hidden" for r in glass.app.screen.query(FieldRow))
        )
        keys = [row.field.key for row in glass.app.screen.query(FieldRow)]
        assert not any(key.startswith("model.norm") for key in keys)
        changed = {row.field.key for row in glass.app.screen.query(FieldRow) if row.changed}
        assert changed == {"model.name", "training.epochs", "training.seed"}
        await glass.sees("3 changed (*)")


async def test_esc_leaves_without_starting(opened: Any, started: list[int], data: None) -> None:
    async with opened() as glass:
        await open_form(glass)
        await glass.press("escape")
        assert glass.app.screen.where == "runs"
        assert runs(glass) == [] and started == []


async def test_esc_asks_before_it_drops_what_was_typed(opened: Any, started: list[int], data: None) -> None:
    async with opened() as glass:
        await open_form(glass)
        field(glass, "training.epochs").set_text("77")
        await glass.press("escape")
        await glass.sees("Leave without starting? 1 changed fields are dropped.")
        await glass.press("escape")
        assert glass.app.screen.where == "launch" and field(glass, "training.epochs").text == "77"
        await glass.press("escape")
        await glass.press("y")
        assert glass.app.screen.where == "runs"
        assert runs(glass) == [] and started == []


async def test_ctrl_s_starts_one_real_engine_in_a_session_of_its_own(
    opened: Any, started: list[int], data: None
) -> None:
    async with opened() as glass:
        await open_form(glass, "tiny")
        await retype(glass, "name", "by hand")
        # Twice, as an impatient person would.
        for _ in range(2):
            glass.app.post_message(events.Key("ctrl+s", None))
        await glass.until(lambda: glass.app.screen.where == "run")
        await glass.sees("○ starting", "MLP")
        (run,) = runs(glass)
        assert run.name.startswith("by-hand-") and run.name in glass.text()
        assert len(started) == 1
        assert os.getsid(started[0]) == started[0] != os.getsid(0)
        assert json.loads((run / "process.json").read_text())["pid"] == started[0]
        conf = yaml.safe_load((run / "conf.yaml").read_text())
        assert conf["name"] == "by hand" and conf["training"]["epochs"] == 400
        assert yaml.safe_load((run / "conf.patch").read_text()) == {"name": {"was": "tiny", "is": "by hand"}}
        assert json.loads((run / "run.json").read_text())["source"] == "conf/tiny.yaml"
        await glass.sees("● running", seconds=90)
        await glass.until(lambda: glass.braille() > 10, seconds=30)
        await glass.press("escape")
        assert glass.app.screen.where == "runs"
        await glass.sees("by-hand-")


async def test_the_form_can_be_opened_with_a_patch_that_counts_as_changed(opened: Any) -> None:
    async with opened() as glass:
        resolved = resolve(glass.app.workspace, "demo")
        patch = {"training.gradient_clip_val": 1.0, "data.clip.normalized": [0.0, 2.0]}
        glass.app.push_screen(LaunchScreen(resolved.conf, resolved.source, patch))
        await glass.until(lambda: glass.app.screen.where == "launch")
        await glass.sees("2 changed (*)")
        assert {row.field.key for row in glass.app.screen.query(FieldRow) if row.changed} == set(patch)


def test_patched_sets_dotted_keys(workspace: Any) -> None:
    conf = resolve(workspace, "demo").conf
    assert patched(conf, {}) is conf
    assert patched(conf, {"training.epochs": 3}).training.epochs == 3


def test_a_choice_has_at_least_the_value_it_shows(workspace: Any) -> None:
    for fields in (form_fields(workspace, resolve(workspace, name).conf) for name in ("demo", "mlp")):
        for entry in fields:
            if entry.kind == "choice":
                assert Choice(entry.choices, entry.text).value in entry.choices
