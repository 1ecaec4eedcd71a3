"""What a launch form tells while it is typed, and what it does with files: size, diff, save, editor."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import OptionList

import engine.size
from engine import words
from engine.conf.load import resolve
from engine.runs import queue
from tests.tui.conftest import LARGE
from tests.tui.test_launch_screen import field, go_to, open_form, retype, runs
from tui.screens.launch import LaunchScreen

pytestmark = pytest.mark.usefixtures("counted")
SMALL, WIDE = (80, 24), LARGE


@pytest.fixture
def data(workspace: Any, tables: Path) -> None:
    shutil.copytree(tables, workspace.dataset / "spectral")


@pytest.fixture
def editor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return edits(function…): what an editor does with the text of each file it is given, in turn."""
    seen: list[str] = []
    turns: list[Callable[[str], str]] = []

    def edit(_app: Any, path: Path) -> bool:
        seen.append(path.read_text())
        path.write_text(turns.pop(0)(seen[-1]))
        return True

    monkeypatch.setattr("tui.app.SpectuiApp.edit", edit)

    def edits(*functions: Callable[[str], str]) -> list[str]:
        turns.extend(functions)
        return seen

    return edits


async def test_a_mistake_stands_under_its_field_as_it_is_typed_and_goes_when_it_is_mended(
    opened: Any, data: None
) -> None:
    async with opened() as glass:
        await open_form(glass)
        await retype(glass, "training.weight_decay", "-1")
        await glass.sees("! must be 0 or more, got -1", "1 wrong (!)", "size: known when the fields are good")
        row = field(glass, "training.weight_decay").region
        assert glass.rows()[row.bottom].strip().startswith("! must be 0 or more")
        assert glass.reddish("! must be 0 or more")
        glass.fits()
        await retype(glass, "training.weight_decay", "0.5")
        await glass.until(lambda: "wrong (!)" not in glass.text())
        assert "must be 0 or more" not in glass.text()
        await retype(glass, "training.device", "gpu")
        await glass.sees("did you mean 'cuda'?")


async def test_fields_that_have_nothing_to_act_on_say_what_they_need(opened: Any, data: None) -> None:
    async with opened() as glass:
        await open_form(glass)
        await go_to(glass, "training.momentum")
        await glass.sees("(needs optimizer sgd, rmsprop)")
        assert "needs" in glass.row("momentum ")
        field(glass, "training.optimizer").set_text("sgd")
        await glass.until(lambda: not field(glass, "training.momentum").has_class("-idle"))
        assert "needs optimizer" not in glass.text()
        glass.fits()


@pytest.mark.parametrize("size", [SMALL, pytest.param(WIDE, marks=pytest.mark.slow)])
@pytest.mark.parametrize("language", [pytest.param("en", marks=pytest.mark.slow), "zh"])
async def test_size_device_and_queue_are_told(
    opened: Any, data: None, make_run: Any, size: tuple[int, int], language: str
) -> None:
    waiting = make_run("stopped", name="later")
    words.choose(language)
    async with opened(size) as glass:
        queue.pause(glass.app.workspace)  # nobody starts it
        queue.add(glass.app.workspace, [waiting.folder.run_id])
        await open_form(glass)
        await glass.sees("3,748,372", words.say("size.band.safe"))
        await glass.until(lambda: glass.app.screen.query_one("#launch-state")._waits is not None)
        told = words.say("launch.now_or_queue", waiting=1, running=0, free="").rstrip(" ,，")
        await glass.sees(told)
        await go_to(glass, "training.device")
        await glass.sees("cpu (")
        glass.fits()


async def test_a_batch_that_does_not_fit_is_a_risk_said_at_once(
    opened: Any, data: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as glass:
        await open_form(glass)
        await glass.sees("✓ SAFE")
        huge = engine.size.Measured(1, 4, 0.0, engine.size.free_memory() / 40)
        monkeypatch.setattr(engine.size, "measure", lambda *_args: huge)
        await retype(glass, "training.batch_size", "48")
        await glass.sees("✗ OOM RISK")
        assert glass.reddish("✗ OOM RISK")


@pytest.mark.slow  # for every field of the form
async def test_f4_shows_what_was_and_is_and_nothing_else(opened: Any, data: None) -> None:
    async with opened() as glass:
        await open_form(glass)
        await glass.press("f4")
        await glass.sees("nothing differs from the conf")
        await retype(glass, "training.learning_rate", "0.5")
        field(glass, "data.label_scaler").set_text("robust")
        await glass.press("f4")
        await glass.sees("2 changed (*)  the changes alone")
        assert "0.001 →" in glass.row("training.learning_rate") and "0.5" in glass.row(
            "training.learning_rate"
        )
        assert "standard →" in glass.row("data.label_scaler")
        assert "scaler_scope" not in glass.text() and "batch_size" not in glass.text()
        glass.fits()
        await glass.press("down")
        assert field(glass, "data.label_scaler").has_focus_within
        await glass.press("f4")
        await glass.sees("scaler_scope")
        assert "→" not in glass.text()


@pytest.mark.slow
async def test_against_a_parent_the_changes_are_those_since_the_run(
    opened: Any, data: None, make_run: Any
) -> None:
    make_run("finished", name="first", sets=["training.batch_size=24"])
    async with opened() as glass:
        await glass.press("x")
        await glass.until(lambda: glass.app.screen.where == "launch")
        await retype(glass, "training.batch_size", "12")
        await glass.press("f4")
        await glass.sees("1 changed (*)", "24 →")


async def test_f6_saves_a_new_conf_with_the_comments_of_the_first(opened: Any, data: None) -> None:
    async with opened() as glass:
        await open_form(glass)
        await retype(glass, "training.batch_size", "48")
        await glass.press("f6")
        await glass.sees("Save as a conf under conf/, called:")
        await glass.press(*["backspace"] * 4)
        await glass.type("wide")
        await glass.press("enter")
        await glass.sees("Launch conf/wide.yaml")
        folder = glass.app.workspace.conf
        assert resolve(glass.app.workspace, "wide").conf.training.batch_size == 48
        comments = [line for line in (folder / "demo.yaml").read_text().splitlines() if line.startswith("#")]
        saved = (folder / "wide.yaml").read_text()
        assert comments and all(line in saved for line in comments)
        assert "changed (*)" not in glass.text()
        await glass.press("escape")  # nothing is lost by leaving: it does not ask
        assert glass.app.screen.where == "runs"


@pytest.mark.slow
async def test_saving_over_a_conf_asks_and_shows_what_changes(opened: Any, data: None) -> None:
    async with opened() as glass:
        before = (glass.app.workspace.conf / "demo.yaml").read_text()
        await open_form(glass)
        await retype(glass, "training.seed", "77")
        await glass.press("f6", "enter")
        await glass.sees("Overwrite conf/demo.yaml?", "seed: 77")
        await glass.press("n")
        assert (glass.app.workspace.conf / "demo.yaml").read_text() == before
        await glass.press("f6", "enter")
        await glass.sees("Overwrite conf/demo.yaml?")
        await glass.press("y")
        await glass.until(lambda: "changed (*)" not in glass.text())
        assert resolve(glass.app.workspace, "demo").conf.training.seed == 77


async def test_what_is_wrong_is_not_saved(opened: Any, data: None) -> None:
    async with opened() as glass:
        await open_form(glass)
        field(glass, "training.epochs").set_text("many")
        await glass.press("f6")
        await glass.sees("✗ form: training.epochs: must be a whole number, got 'many'")
        assert glass.app.screen.where == "launch"


async def test_ctrl_e_edits_the_form_and_nothing_written_is_lost(
    opened: Any, data: None, editor: Any
) -> None:
    seen = editor(
        lambda text: text.replace("epochs: 31", "epochs: -3"),
        lambda text: text.replace("epochs: -3", "epochs: 13").replace("seed: 42", "seed: 43"),
    )
    async with opened() as glass:
        await open_form(glass)
        await retype(glass, "training.epochs", "31")
        await glass.press("ctrl+e")
        await glass.sees("training.epochs: must be 0 or more, got", "✗ form.yaml:", "Edit again?")
        await glass.press("escape")
        await glass.until(lambda: glass.app.screen.where == "launch")
        assert field(glass, "training.epochs").text == "31"
        await glass.press("ctrl+e")
        await glass.until(lambda: field(glass, "training.epochs").text == "13")
        assert "epochs: 31" in seen[0] and "epochs: -3" in seen[1]
        changed = {row.field.key for row in glass.app.screen.query("FieldRow") if row.changed}
        assert {"training.epochs"} <= changed <= {"training.epochs", "training.seed", "data.split.seed"}
        assert field(glass, "training.epochs").has_focus_within
        await glass.press("escape")
        await glass.sees("Leave without starting?")


async def test_two_keys_duplicate_an_experiment_from_a_run(
    opened: Any, data: None, make_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_run("finished", name="first", sets=["training.batch_size=24"])
    monkeypatch.setattr("engine.runs.launch.start", lambda *_words, **_more: 1)
    async with opened() as glass:
        await glass.press("D")
        await glass.until(lambda: isinstance(glass.app.screen, LaunchScreen))
        await glass.sees("New run with the conf of first-", "(*)")  # the batch size is not that of the conf
        await glass.press("ctrl+s")
        await glass.until(lambda: len(runs(glass)) == 2)
        (other,) = (path for path in runs(glass) if path.name != first.folder.run_id)
        made = resolve(glass.app.workspace, other / "conf.yaml").conf
        assert made == resolve(glass.app.workspace, first.folder.conf).conf
        assert '"parent": null' in (other / "run.json").read_text()
        assert "batch_size" in (other / "conf.patch").read_text()


async def test_confs_are_copied_and_edited_in_experiments(opened: Any, data: None, editor: Any) -> None:
    editor(lambda text: text + "surprise: 1\n", lambda text: text.replace("surprise: 1\n", ""))
    async with opened() as glass:
        await glass.press("2")
        await glass.until(lambda: glass.app.screen.where == "experiments")
        await glass.press("D")
        await glass.sees("Copy conf/demo.yaml to a new conf, called:")
        await glass.press("enter")
        await glass.sees("conf/demo-2.yaml: made")
        folder = glass.app.workspace.conf
        assert (folder / "demo-2.yaml").read_text() == (folder / "demo.yaml").read_text()
        await glass.until(lambda: glass.app.screen._conf() == folder / "demo-2.yaml")
        await glass.press("e")
        await glass.sees("surprise: unknown key")
        await glass.press("e")
        await glass.sees("conf/demo-2.yaml: good")
        await glass.press("D", "enter")
        await glass.sees("conf/demo-2-2.yaml: made")
        await glass.press("tab")
        await glass.until(lambda: glass.app.screen.query_one("#networks", OptionList).has_focus)
        await glass.press("D")
        await glass.sees("networks are not copied here")
        await glass.press("e")
        # a toast wraps where it likes
        await glass.until(lambda: any("own networks" in n.message for n in glass.app._notifications))
