"""The advisor on the screen: findings, replay and remedies, every key that acts on them, and how it went."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from rich.cells import cell_len

from engine import diagnose, words
from engine.diagnose import relaunch
from engine.runs import queue
from engine.runs.record import Record
from engine.words import say
from tests.tui.conftest import LARGE, SMALL
from tui.advising import Told
from tui.widgets.advice_pane import AdvicePane
from tui.widgets.advice_rows import laid_out, stops

SICK = ["training.gradient_clip_val=null", "data.clip.normalized=null"]


async def open_advice(glass: Any) -> AdvicePane:
    """Open the run under the cursor, and its advice once there is some."""
    await glass.until(lambda: glass.app.feed.rows)
    await glass.press("enter")
    await glass.until(lambda: glass.app.screen.where == "run" and glass.app.screen.findings)
    await glass.press("a")
    pane = glass.app.screen.query_one(AdvicePane)
    await glass.until(lambda: pane.has_focus and pane.stop is not None)
    return pane


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was launched: folders are made for real, processes are not started."""
    done: list[dict[str, Any]] = []

    def start(_workspace: Any, folder: Any, **_options: Any) -> int:
        done.append(folder.read_json(folder.identity))
        return 1

    monkeypatch.setattr("engine.runs.launch.start", start)
    monkeypatch.setattr("engine.runs.acts.prepare", lambda *_: None)
    monkeypatch.setattr("engine.runs.queue.ensure_owner", lambda *_: None)
    return done


@pytest.mark.parametrize(("size", "language"), [(SMALL, "en"), (SMALL, "zh"), (LARGE, "en")])
async def test_a_finding_is_told_with_numbers_replay_and_remedies_as_diffs(
    make_run: Any, opened: Any, size: tuple[int, int], language: str
) -> None:
    words.choose(language)
    run = make_run("running", sets=SICK)
    run.log.append(
        "nonfinite", step=81, epoch=5, last_finite_loss=0.3, learning_rate=1e-3, what="loss", value=math.nan,
        gradient_norm=math.nan, obsids=["1001"], module="layers.2", direction="forward", reproduced=True,
        input=[-3.0, 7e4], extremes=[{"obsid": "1001", "branch": "normalized", "flux": 1e6, "scaled": 9e5,
        "wavelength": 4101.7}],
    )  # fmt: skip
    run.end("diverged", 87)
    async with opened(size) as glass:
        pane = await open_advice(glass)
        (finding, *_), conf = pane.told.findings, pane.told.conf
        await glass.sees(f"✗ {say('advice_tab.severity.error')} {finding.id}", f"{finding.confidence:.0%}")
        shown = "\n".join(line.plain for line in pane._rows.lines)
        assert "layers.2" in shown and "1001" in shown and "4101.70" in shown
        patched = [remedy for remedy in finding.remedies if remedy.patch]
        for remedy in patched:
            for line in diagnose.shown.diff_lines(conf, remedy.patch):
                assert line in shown
        assert [stop.kind for stop in stops(pane.told)][:3] == ["finding", "star", "remedy"]
        for _ in range(1 + len(finding.remedies)):
            await glass.press("j")
            assert glass.row("▸").strip().startswith("▸")
            glass.fits()
        assert max(cell_len(row) for row in glass.rows()) == size[0]


async def test_space_marks_and_a_remedy_that_no_key_does_says_so(make_run: Any, opened: Any) -> None:
    make_run("diverged", sets=SICK)
    async with opened() as glass:
        pane = await open_advice(glass)
        await glass.press("space")
        await glass.sees("this is no remedy")
        await glass.press("j", "space")
        (address,) = pane.marked
        assert address == "SP102:1" and pane.stop is not None and pane.stop.number == 2
        await glass.press("k", "space")
        assert not pane.marked
        await glass.press("end", "space", "R", "enter")
        await glass.sees("no key of the conf")
        assert not pane.marked and glass.app.screen.where == "run"


async def test_enter_opens_the_form_with_the_patch_in_place(
    make_run: Any, opened: Any, counted: None, started: Any
) -> None:
    parent = make_run("diverged", sets=SICK)
    async with opened() as glass:
        pane = await open_advice(glass)
        await glass.press("j")
        choice = pane.choice()
        assert choice is not None
        await glass.press("enter")
        await glass.until(lambda: glass.app.screen.where == "launch")
        rows = {row.field.key: row for row in glass.app.screen.rows}
        assert {key for key, row in rows.items() if row.changed} == set(choice.remedy.patch)
        await glass.press("ctrl+s")
        await glass.until(lambda: started)
        assert started[0]["parent"] == parent.run_id
        assert started[0]["remedy"]["patch"] == choice.remedy.patch
        assert started[0]["remedy"]["finding"] == "SP102"


async def test_a_form_whose_remedy_was_taken_back_is_no_trial_of_it(
    make_run: Any, opened: Any, counted: None, started: Any
) -> None:
    make_run("diverged", sets=SICK)
    async with opened() as glass:
        await open_advice(glass)
        await glass.press("j", "enter")
        await glass.until(lambda: glass.app.screen.where == "launch")
        await glass.press("ctrl+r", "ctrl+s")
        await glass.until(lambda: started)
        assert started[0].get("remedy") is None and started[0]["parent"]


async def test_shift_r_asks_with_the_diff_and_launches_a_child(
    make_run: Any, opened: Any, started: Any
) -> None:
    parent = make_run("diverged", sets=SICK)
    async with opened() as glass:
        pane = await open_advice(glass)
        first = pane.told.choices()[0]
        key, value = next(iter(first.remedy.patch.items()))
        await glass.press("R")
        await glass.sees(parent.run_id, first.address, f"+ {key}: {json.dumps(value)}", "from scratch")
        await glass.press("n")
        assert not started
        await glass.press("R", "y")
        await glass.until(lambda: started)
        child = started[0]
        assert (child["parent"], child["remedy"]["number"]) == (parent.run_id, first.number)
        assert child["remedy"]["from"] == relaunch.proposed(Record(parent.folder.path), first).how
        # the child is shown; one step back is its parent
        await glass.until(lambda: glass.app.screen.run_id == child["run_id"])
        await glass.press("escape")
        await glass.sees(say("advice_tab.trying", address=first.address, title="", child="", state="")[:20])


async def test_marked_remedies_race_through_the_queue(
    make_run: Any, opened: Any, started: Any, workspace: Any
) -> None:
    make_run("diverged", sets=SICK)
    async with opened() as glass:
        pane = await open_advice(glass)
        await glass.press("j", "space", "space")
        marked = list(pane.marked)
        assert len(marked) == 2
        await glass.press("R")
        await glass.sees(*marked)
        await glass.press("y")
        await glass.until(lambda: len(queue.listing(workspace).waiting) == 2)
        tried = [
            Record(workspace.runs / run.run_id).identity["remedy"] for run in queue.listing(workspace).waiting
        ]
        assert [f"{one['finding']}:{one['number']}" for one in tried] == marked
        assert not started and not pane.marked


async def test_when_the_child_has_ended_both_say_how_it_went_and_c_compares(
    make_run: Any, opened: Any, workspace: Any
) -> None:
    parent = make_run("diverged", name="sick", sets=SICK, ago=100)
    child = make_run("running", name="child")
    record = Record(parent.folder.path)
    record.refresh()
    choice = relaunch.choices(diagnose.of_run(workspace, record))[0]
    identity = child.folder.read_json(child.folder.identity)
    noted = relaunch.noted(record, choice, relaunch.proposed(record, choice))
    child.folder.identity.write_text(json.dumps(identity | {"parent": parent.run_id, "remedy": noted}))
    async with opened() as glass:
        glass.app.open_run(glass.app.record(parent.run_id))
        await glass.until(lambda: glass.app.screen.where == "run" and glass.app.screen.findings)
        await glass.press("a")
        await glass.sees(f"● {choice.address} is being tried")
        child.train(6).test().end("finished", 0)
        await glass.sees(f"✓ {choice.address} helped", "finished", seconds=20)
        await glass.press("escape")
        glass.app.open_run(glass.app.record(child.run_id))
        await glass.sees(f"✓ {choice.address} helped", "there c compares the two")
        await glass.press("a", "c")
        await glass.until(lambda: glass.app.current_mode == "compare")
        assert glass.app.marked == {parent.run_id, child.run_id}


async def test_c_says_when_nothing_was_tried(make_run: Any, opened: Any) -> None:
    make_run("diverged", sets=SICK)
    async with opened() as glass:
        await open_advice(glass)
        await glass.press("c")
        await glass.sees("no remedy of this run was tried yet")


async def test_enter_on_a_star_opens_its_spectrum(make_run: Any, opened: Any, monkeypatch: Any) -> None:
    run = make_run("running")
    run.log.append(
        "nonfinite", step=81, epoch=5, what="loss", value=math.nan, obsids=["7"],
        extremes=[{"obsid": "7", "branch": "normalized", "flux": 1e6, "scaled": 9e5, "wavelength": 4101.7}],
    )  # fmt: skip
    run.end("diverged", 87)
    asked: list[Any] = []
    monkeypatch.setattr(AdvicePane, "open_star", lambda _self, _record, *star: asked.append(star))
    async with opened() as glass:
        await open_advice(glass)
        await glass.press("j", "enter")
        assert asked == [("7", 4101.7)]


async def test_findings_stand_in_the_list_the_header_and_the_charts_and_ring_once(
    make_run: Any, opened: Any, monkeypatch: Any
) -> None:
    run = make_run("running", name="live")
    async with opened(LARGE) as glass:
        written: list[str] = []
        monkeypatch.setattr(glass.app.alerts, "_write", written.append)
        await glass.sees("● running")
        assert "SP204" not in glass.text() and "found" not in glass.rows()[2]
        found = {"id": "SP204", "severity": "warning", "title": "the loss jumped", "evidence": {},
                 "steps": [40, 60], "remedies": [], "confidence": 0.9}  # fmt: skip
        run.log.append("finding", step=80, action="nothing", **found)
        await glass.sees("! SP204", "the loss jumped")
        assert "found" in glass.rows()[2] and "! SP204" in glass.row("● running")
        assert sum(text == "\x07" for text in written) == 1
        assert sum("the loss jumped" in text and text.startswith("\x1b]9;") for text in written) == 1
        run.log.append("finding", step=82, action="nothing", **found)
        run.steps(5)
        await glass.press("enter")
        await glass.sees("step 85/200", "● running  ! SP204")
        await glass.until(lambda: "SP204" in "\n".join(glass.rows()[4:24]))
        assert sum(text == "\x07" for text in written) == 1


async def test_a_long_history_is_advised_on_beside_the_screen(make_run: Any, opened: Any) -> None:
    """Keys are answered while rules read a hundred thousand steps: they are in a thread."""
    run = make_run("starting")
    run.per_epoch = 100_000
    run.begin()
    for _ in range(100):
        run.steps(1000)
    seen: list[bool] = []
    async with opened() as glass:
        await glass.until(lambda: glass.app.feed.rows)
        await glass.press("enter")
        screen = glass.app.screen
        slow = screen._find.__wrapped__ if hasattr(screen._find, "__wrapped__") else None
        assert slow is not None, "what finds is a worker"
        await glass.until(lambda: seen.append(screen.advising) or screen.advising, 30)
        await glass.press("L")
        assert screen.tab == "log"
        await glass.until(lambda: not screen.advising)
        assert screen.told.conf, "it was looked at"


def test_rows_of_nothing_say_that_it_looks_healthy() -> None:
    (row,) = laid_out(Told(), (), -1, (), 60).lines
    assert row.plain == say("diagnose.none")


async def test_the_form_warns_before_launch_and_a_key_sets_the_fix(opened: Any, counted: None) -> None:
    async with opened() as glass:
        await glass.press("2")
        await glass.sees("demo")
        glass.app.screen.action_new()
        await glass.until(lambda: glass.app.screen.where == "launch")
        screen = glass.app.screen
        await glass.press("f7")
        row = next(row for row in screen.rows if row.field.key == "training.gradient_clip_val")
        row.set_text("null")
        await glass.sees("SP302", "f7 sets training.gradient_clip_val: 1.0")
        await glass.press("f7")
        await glass.until(lambda: row.text == "1")
        await glass.until(lambda: "SP302" not in glass.text())
        glass.fits()


async def test_help_the_key_bar_and_the_palette_know_the_keys_of_the_tab(make_run: Any, opened: Any) -> None:
    make_run("diverged", sets=SICK)
    async with opened(LARGE) as glass:
        pane = await open_advice(glass)
        await glass.press("j")
        await glass.pilot.click(offset=glass.place_of("space mark"))
        await glass.until(lambda: pane.marked)
        await glass.press("question_mark")
        await glass.sees(say("help.place.advice"), "relaunch the run at once as a child")
        await glass.press("escape", "colon")
        await glass.type("relaunch")
        await glass.sees(f"{say('key.advice.relaunch')}  (R)")
