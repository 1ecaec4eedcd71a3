"""Habits: no key is silent, what cannot be done says why, clicks act, and all is there again next time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from textual.command import CommandPalette

from engine.words import say
from tui import alerts, keys
from tui.config import Config
from tui.widgets.bars import KeyBar
from tui.widgets.run_list import RunList

pytestmark = pytest.mark.usefixtures("counted")
# These leave the app, or give the screen to something that a test cannot see.
LEAVES = {"app.quit"}
WAYS = {
    "runs": [], "experiments": ["2"], "compare": ["3"], "data": ["4"], "queue": ["Q"], "trash": ["ctrl+t"],
    "system": ["ctrl+g"],
}  # fmt: skip


@pytest.mark.parametrize(
    "place", [place if place == "trash" else pytest.param(place, marks=pytest.mark.slow) for place in WAYS]
)
async def test_no_key_is_silent_where_there_is_nothing(place: str, opened: Any, workspace: Any) -> None:
    """Every key of the place changes something or says something, with not one run there."""
    for conf in workspace.conf.glob("*.yaml"):
        conf.unlink()
    async with opened() as glass:
        app = glass.app

        def seen() -> tuple[Any, ...]:
            said = tuple(n.message for n in app._notifications)
            focused = app.screen.focused
            return said, id(app.screen), app.theme, glass.text(), id(focused), len(app.screen_stack)

        async def go() -> None:
            while len(app.screen_stack) > 1:
                app.pop_screen()
            await app.switch_mode("runs")
            await glass.press("escape")  # out of a filter
            await glass.press(*WAYS[place])
            await glass.until(lambda: app.screen.where == place)
            await glass.until(lambda: getattr(app.screen, "listing", "") is not None)
            await glass.until(lambda: getattr(app.screen, "looked", True))
            await glass.until(lambda: getattr(app.screen, "seen", "") is not None)
            app.clear_notifications()
            app._reason = ("", 0.0)
            await glass.pilot.pause()

        silent = []
        for key in [k for k in keys.KEYS if k.where in (place, "app") and k.id not in LEAVES]:
            if place == "system" and key.id in ("system.up", "system.down", "app.system"):
                continue  # a text that fits does not scroll; the screen is there already
            await go()
            before = seen()
            await glass.press(key.default.split(",")[0])
            for _ in range(50):
                if seen() != before:
                    break
                await glass.pilot.pause(0.02)
            else:
                silent.append(key.id)
        assert silent == [], silent


async def test_a_key_that_cannot_act_says_why_and_is_dim(make_run: Any, opened: Any) -> None:
    make_run("finished")
    async with opened((160, 48)) as glass:
        await glass.sees("a-finished")
        run_id = glass.app.feed.rows[0].run_id
        await glass.press("ctrl+k", "R", "c")
        assert [n.message for n in glass.app._notifications] == [
            say("runs.not_live", run=run_id),
            say("reason.finished", run=run_id),
            say("compare.mark_first"),
        ]
        bar = glass.app.screen.query_one(KeyBar)
        dim = {key.id for key, *_ in bar._fitting(200) if bar._why_not(key)}
        assert dim == {"runs.compare"}, "the only one of the bar that cannot act"
        await glass.press("colon")
        await glass.until(lambda: isinstance(glass.app.screen, CommandPalette))
        await glass.type("stop")
        await glass.sees("not now")


async def test_a_held_key_says_its_reason_once(opened: Any) -> None:
    async with opened() as glass:
        await glass.press("c", "c", "c")
        assert [n.message for n in glass.app._notifications] == [say("compare.mark_first")]


async def test_ctrl_c_says_how_to_quit_and_twice_quits(opened: Any) -> None:
    async with opened() as glass:
        await glass.press("ctrl+c")
        assert [n.message for n in glass.app._notifications] == [say("app.again_quits")]
        assert glass.app.is_running and not glass.app._exit
        await glass.press("ctrl+c")
        assert glass.app._exit


async def test_the_bars_can_be_clicked(make_run: Any, opened: Any) -> None:
    make_run("finished")
    async with opened() as glass:
        await glass.sees("a-finished")
        bar = glass.row("? help")
        at = glass.place_of("? help")
        assert bar
        await glass.pilot.click(offset=(at.x + 1, at.y))
        await glass.sees(say("help.title"), say("help.focus"))
        await glass.press("escape")
        at = glass.place_of("2 Experiments")
        await glass.pilot.click(offset=(at.x + 2, at.y))
        await glass.until(lambda: glass.app.screen.where == "experiments")


async def test_help_searches_and_tells_of_what_has_the_focus(make_run: Any, opened: Any) -> None:
    make_run("finished")
    async with opened() as glass:
        await glass.sees("a-finished")
        await glass.press("question_mark")
        await glass.sees(say("help.focus"), say("help.widget.runlist")[:30])
        await glass.press("slash")
        await glass.type("trash")
        await glass.sees("delete X")
        assert say("help.runs.sort") not in glass.text()
        await glass.press("escape")
        await glass.sees(say("help.runs.open"))
        await glass.press("escape")
        assert glass.app.screen.where == "runs"


async def test_the_palette_opens_runs_and_changes_the_theme(make_run: Any, opened: Any) -> None:
    make_run("finished", name="needle")
    make_run("finished", name="hay", ago=10)
    async with opened() as glass:
        await glass.sees("needle", "hay")
        await glass.press("colon")
        await glass.until(lambda: isinstance(glass.app.screen, CommandPalette))
        await glass.type("needle")
        await glass.sees("open run needle")
        await glass.press("enter")
        if isinstance(glass.app.screen, CommandPalette):
            await glass.press("enter")
        await glass.until(lambda: glass.app.screen.where == "run")
        assert glass.app.screen.record.name == "needle"
        await glass.press("colon")
        await glass.until(lambda: isinstance(glass.app.screen, CommandPalette))
        await glass.type("spectui-safe")
        await glass.sees("theme spectui-safe")
        await glass.press("enter")
        if isinstance(glass.app.screen, CommandPalette):
            await glass.press("enter")
        await glass.until(lambda: glass.app.theme == "spectui-safe")


async def test_what_was_shown_is_shown_again(make_run: Any, opened: Any) -> None:
    make_run("finished", name="one", ago=10)
    make_run("finished", name="two")
    async with opened() as glass:
        await glass.sees("one", "two")
        await glass.press("space", "space", "G")
        assert glass.app.screen.query_one(RunList).current.name == "one"
        await glass.press("enter")
        await glass.until(lambda: glass.app.screen.where == "run")
        await glass.press("L")
        assert glass.app.screen.tab == "log"
        # Nobody says goodbye when a connection drops: what was noted must do.
        glass.app._keep_view()
        kept = json.loads(glass.app.view.path.read_text(encoding="utf-8"))
        assert kept["app.open_tab"] == "log"
    async with opened() as glass:
        await glass.until(lambda: glass.app.screen.where == "run")
        await glass.until(lambda: glass.app.screen.tab == "log")
        assert glass.app.screen.record.name == "one" and len(glass.app.marked) == 2
        await glass.press("q")
        assert glass.app.screen.query_one(RunList).current.name == "one"
        await glass.press("3", "q")
        await glass.until(lambda: glass.app._exit)
    async with opened() as glass:
        assert glass.app.screen.where == "compare"


async def test_a_tab_that_there_is_not_leaves_the_charts(make_run: Any, opened: Any) -> None:
    make_run("finished")
    async with opened() as glass:
        await glass.sees("a-finished")
        await glass.press("enter")
        await glass.until(lambda: glass.app.screen.where == "run")
        glass.app._keep_view()
        glass.app.view.set("app.open_tab", "None")
        glass.app.view.save()
    async with opened() as glass:
        await glass.until(lambda: glass.app.screen.where == "run")
        await glass.until(lambda: glass.braille() > 3)
        assert glass.app.screen.tab == "charts"


async def test_a_run_that_is_gone_is_not_opened_again(make_run: Any, opened: Any, workspace: Any) -> None:
    run = make_run("finished")
    async with opened() as glass:
        await glass.sees("a-finished")
        await glass.press("enter")
        glass.app._keep_view()
    run.folder.path.rename(workspace.root / "gone")
    async with opened() as glass:
        await glass.sees(say("runs.empty")[:20])
        assert glass.app.screen.where == "runs"


# -- alerts ------------------------------------------------------------------------------------------------


async def test_a_run_that_diverges_rings_and_is_in_the_title(make_run: Any, opened: Any) -> None:
    run = make_run("running", name="evil\x1b]0;owned\x07")
    other = make_run("running", name="calm")
    async with opened() as glass:
        written: list[str] = []
        glass.app.alerts._write = written.append
        glass.app.alerts._title = ""
        await glass.until(lambda: len(glass.app._live) == 2)
        run.nonfinite().end("diverged", 87, "step 41: loss became nan")
        await glass.until(lambda: any("diverged" in text for text in written))
        said = "".join(written)
        assert "1 live, 1 diverged" in said and alerts.BELL in written
        assert (
            f"\x1b]9;spectui: ! diverged  {glass.app.feed.rows[-1].run_id[:3]}" in said or "\x1b]9;" in said
        )
        assert "owned\x07" not in said.replace("�", "")
        other.end("finished", 0)
        await glass.until(lambda: any("finished" in text for text in written))
        await glass.press("q")
        await glass.pilot.pause()
    assert written[-1] == alerts.POP_TITLE


def test_alerts_can_be_switched_off_and_are_wrapped_for_tmux(
    monkeypatch: pytest.MonkeyPatch, make_run: Any
) -> None:
    written: list[str] = []
    quiet = alerts.Alerts(Config(bell=False, notify=False, title=False), written.append)
    quiet.ended([])
    quiet.tell_title(3)
    quiet.give_back()
    assert written == []
    monkeypatch.setenv("TMUX", "socket,1,0")
    assert alerts.message("a") == "\x1bPtmux;\x1b\x1b]9;a\x07\x1b\\"
    monkeypatch.delenv("TMUX")
    wild = alerts.message("a\x1b]0;b\x07\nc\x9d")
    assert wild == "\x1b]9;a�]0;b� c�\x07"
    monkeypatch.setenv("TERM", "linux")
    alerts.Alerts(Config(), written.append).tell_title(3)
    assert written == []


# -- system ------------------------------------------------------------------------------------------------


async def test_the_system_panel_tells_of_the_machine_and_the_runs(make_run: Any, opened: Any) -> None:
    run = make_run("running")
    async with opened((120, 40)) as glass:
        await glass.sees("a-running")
        await glass.press("ctrl+g")
        await glass.sees("CPU", "memory", "disk", run.run_id[:8])
        glass.fits()
        seen = glass.app.screen.seen
        assert 0 < seen.memory_used < seen.memory_total and 0 < seen.disk_free < seen.disk_total
        await glass.press("p")
        await glass.sees(say("system.is_paused"))
        await glass.press("q")
        assert glass.app.screen.where == "runs"
