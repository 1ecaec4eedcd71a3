"""What a person can make of the run list: columns, groups, trees, baseline, ranges, completion."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from typing import Any

import pytest
from textual import events

from engine import words
from engine.runs import folder as folders
from engine.runs.record import Record
from tui.feeds import RunFeed
from tui.screens.columns import ColumnsScreen
from tui.widgets.filter_box import FilterBar
from tui.widgets.run_list import RunList

WIDE = (220, 48)


def list_of(glass: Any) -> RunList:
    return glass.app.screen.query_one(RunList)


def ids(glass: Any) -> list[str]:
    """The rows as they stand, by name or by group."""
    return [line.record.name if line.record else line.id for line in list_of(glass).lines]


def sweep(make_run: Any) -> None:
    for number, (rate, size) in enumerate((("0.01", 16), ("0.001", 64), ("0.01", 64))):
        make_run(
            "finished", name=f"r{number}", ago=100 - number, epochs=30,
            sets=(f"training.learning_rate={rate}", f"training.batch_size={size}"),
        )  # fmt: skip


def child_of(parent: Any, child: Any) -> None:
    data = child.folder.read_json(child.folder.identity)
    folders.write_json(child.folder.identity, data | {"parent": parent.run_id})


async def test_columns_are_chosen_moved_and_kept_for_the_next_start(make_run: Any, opened: Any) -> None:
    sweep(make_run)
    async with opened(WIDE) as glass:
        # What a run changed against its conf is read when it comes in sight.
        await glass.sees("changed", "batch_size=16 learning_rate=0.01", "loss")
        await glass.press("C")
        await glass.until(lambda: "last.gradient_norm" in glass.app.screen.others)
        await glass.press("slash")
        await glass.type("norm")
        await glass.press("enter")
        shown = glass.app.screen._shown
        await glass.press(*["down"] * shown.index("last.gradient_norm"), "space", *["K"] * 9, "enter")
        await glass.sees("gradien")
        header = glass.row("best val")
        assert header.index("gradien") < header.index("best val")
    async with opened(WIDE) as glass:
        await glass.sees("gradien", "1.002")
        # Taken out again; what tells which run it is stays whatever one does.
        await glass.press("C")
        at = glass.app.screen._shown.index("last.gradient_norm")
        await glass.press(*["j"] * at, "space", "g", "home", "space", "enter")
        await glass.until(lambda: "gradien" not in glass.text())
        assert "state" in glass.row("best val")
        await glass.press("C", "space", "0", "escape")
        assert not isinstance(glass.app.screen, ColumnsScreen)


async def test_runs_are_grouped_by_a_parameter_folded_and_kept_so(make_run: Any, opened: Any) -> None:
    sweep(make_run)
    async with opened() as glass:
        await glass.sees("r0-", "r2-")
        await glass.press("b")
        await glass.type("learning_rate")
        await glass.sees("params.training.learning_rate")
        await glass.press("enter")
        small, large = "params.training.learning_rate=0.001", "params.training.learning_rate=0.01"
        await glass.until(lambda: ids(glass) == [small, "r1", large, "r2", "r0"])
        assert "runs 2   best 0.05" in glass.row("learning_rate = 0.01 ")
        # From within a group to its head, fold it; enter and l unfold it, z folds all.
        await glass.press("G", "h")
        assert list_of(glass).line.id == large and list_of(glass).current is None
        await glass.press("left")
        await glass.until(lambda: ids(glass) == [small, "r1", large])
        await glass.press("enter")
        await glass.until(lambda: len(ids(glass)) == 5)
        await glass.press("h", "right", "h", "l", "z")
        await glass.until(lambda: ids(glass) == [small, large])
        await glass.press("z")
        await glass.until(lambda: len(ids(glass)) == 5)
        await glass.press("g", "h")
        # Nothing that is done with runs trips over a row that is none.
        await glass.press("space", "y", "R", "B", "ctrl+k", "t", "e", "delete", "x")
        assert glass.app.screen.where == "runs" and not glass.app.marked
        glass.fits()
    async with opened() as glass:
        await glass.until(lambda: ids(glass) == [small, large, "r2", "r0"])
        assert "▸ params" in glass.text()
        await glass.press("b")
        await glass.type("flat")
        await glass.press("enter")
        await glass.until(lambda: ids(glass) == ["r2", "r1", "r0"])


async def test_children_stand_under_their_parent_and_fold(make_run: Any, opened: Any) -> None:
    parent = make_run("finished", name="parent", ago=300)
    make_run("finished", name="other", ago=200)
    for name in ("first", "second"):
        child_of(parent, make_run("stopped", name=name))
    async with opened() as glass:
        await glass.sees("▾ parent", "├ second", "└ first")
        assert ids(glass) == ["parent", "second", "first", "other"]
        await glass.press("j", "h")
        assert list_of(glass).current.name == "parent"
        await glass.press("h")
        await glass.sees("▸ parent", "(+2)")
        assert ids(glass) == ["parent", "other"]
        await glass.press("l")
        await glass.sees("└ first")


async def test_a_baseline_shows_what_each_run_does_otherwise(make_run: Any, opened: Any) -> None:
    sweep(make_run)
    async with opened(WIDE) as glass:
        await glass.sees("batch_size=64 learning_rate=0.01")
        await glass.press("B")
        await glass.sees("changed against r2-")
        await glass.until(lambda: "learning_rate" not in glass.row("finished r0-"))
        assert "batch_size=16" in glass.row("finished r0-")
        assert glass.row("finished r2-").startswith("⊙")
        await glass.until(lambda: "learning_rate=0.001" in glass.row("r1-"))
        assert "batch_size" not in glass.row("r1-")
        await glass.press("B")
        await glass.until(lambda: "changed against" not in glass.text())
        await glass.until(lambda: "batch_size=16 learning_rate=0.01" in glass.row("r0-"))


async def test_a_range_is_marked_and_marks_and_cursor_are_there_after_a_restart(
    make_run: Any, opened: Any
) -> None:
    sweep(make_run)
    async with opened() as glass:
        await glass.sees("r0-", "r2-")
        await glass.press("v", "escape", "j", "v")
        await glass.sees("range:")
        await glass.press("G", "v")
        await glass.sees("2 marked")
        assert [glass.row(f"r{n}-")[0] for n in range(3)] == ["◆", "◆", " "]
        await glass.press("k")
    async with opened() as glass:
        await glass.sees("2 marked")
        assert [glass.row(f"r{n}-")[0] for n in range(3)] == ["◆", "◆", " "]
        assert list_of(glass).current.name == "r1"


async def test_a_click_on_a_title_sorts_and_the_wheel_scrolls(make_run: Any, opened: Any) -> None:
    sweep(make_run)
    async with opened() as glass:
        await glass.sees("r0-", "r2-")
        await glass.pilot.click(offset=glass.place_of("run   "))
        await glass.until(lambda: ids(glass) == ["r0", "r1", "r2"])
        await glass.pilot.click(offset=glass.place_of("run▲"))
        await glass.until(lambda: ids(glass) == ["r2", "r1", "r0"])
        many = [Record(row.folder.path, keep_curves=False) for row in list_of(glass).rows * 20]
        for number, record in enumerate(many):
            record.run_id = f"many-{number:02}"
        list_of(glass).show(many, "")
        await glass.pilot.pause()
        list_of(glass).post_message(
            events.MouseScrollDown(list_of(glass), 5, 5, 0, 1, 0, False, False, False)
        )
        await glass.until(lambda: "many-00" not in glass.text())
        assert list_of(glass).cursor == 0


async def test_the_filter_completes_keys_and_values_and_recalls_earlier_ones(
    make_run: Any, opened: Any
) -> None:
    for state in ("running", "diverged"):
        make_run(state)
    async with opened() as glass:
        await glass.sees("a-running", "a-diverged")
        await glass.press("slash")
        await glass.type("batch_si")
        # A key of the conf of a run in a folder.
        await glass.sees("params.training.batch_size")
        await glass.press("tab")
        box = glass.app.screen.query_one(FilterBar).box
        assert box.value == "params.training.batch_size"
        box.value = ""
        await glass.type("state = d")
        await glass.sees("diverged  died")
        await glass.press("tab")
        assert box.value == "state = diverged"
        await glass.press("tab")
        assert box.value == "state = died"
        await glass.press("shift+tab", "enter")
        await glass.sees("1/2", "filter: state = diverged")
        await glass.press("escape", "slash", "up")
        assert box.value == "state = diverged"
        await glass.press("down")
        assert box.value == ""
        await glass.press("escape")
    async with opened() as glass:
        await glass.press("slash", "up", "enter")
        await glass.sees("1/2", "filter: state = diverged")
        glass.fits()


async def test_letters_typed_right_after_the_slash_go_into_the_box(make_run: Any, opened: Any) -> None:
    make_run("finished")
    async with opened() as glass:
        await glass.sees("a-finished")
        # As a terminal gives them when they come at once: nothing is waited for in between.
        for key, character in (("slash", "/"), ("s", "s"), ("t", "t"), ("slash", "/"), ("x", "x")):
            glass.app.post_message(events.Key(key, character))
        box = glass.app.screen.query_one(FilterBar).box
        await glass.until(lambda: box.value == "st/x")
        assert glass.app.screen.where == "runs"


async def test_rows_that_cannot_be_read_again_stay_and_say_how_old_they_are(
    make_run: Any, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run("finished", name="there")
    async with opened(WIDE) as glass:
        await glass.sees("there-")
        original = RunFeed._folders

        def away(feed: RunFeed) -> dict[str, int]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        # A disk that fails cannot be made for a test without privileges.
        monkeypatch.setattr(RunFeed, "_folders", away)
        await glass.press("r")
        await glass.sees("runs cannot be read now: Input/output error", "the rows are ")
        assert ids(glass) == ["there"]
        monkeypatch.setattr(RunFeed, "_folders", original)
        await glass.press("r")
        await glass.until(lambda: "cannot be read" not in glass.text())


async def test_many_rows_are_sorted_filtered_and_grouped_off_the_screens_thread(
    make_run: Any, opened: Any
) -> None:
    run = make_run("finished", name="one")
    async with opened() as glass:
        await glass.sees("one-")
        many = []
        for number in range(10_000):
            record = Record.__new__(Record)
            record.__dict__.update(next(iter(glass.app.feed._records.values())).__dict__)
            record.run_id = record.name = f"run-{number:05}"
            record.best, record.model = {"val_loss": float((number * 7919) % 10_007)}, f"M{number % 3}"
            record.created_at = 1e9 - number
            many.append(record)
        glass.app.feed.close()
        await asyncio.sleep(0)
        glass.app.feed.rows = many
        glass.app.screen.catch_up()
        assert len(list_of(glass).lines) == 1, "not arranged in the thread of the screen"
        await glass.until(lambda: len(list_of(glass).lines) == 10_000)
        list_of(glass).cursor = 5000
        await glass.press("s")
        await glass.type("best.val")
        await glass.press("enter")
        await glass.until(lambda: list_of(glass).lines[0].id == "run-00000")
        await glass.until(lambda: list_of(glass).current.run_id == "run-05000")
        assert "run-05000" in glass.text(), "the cursor is in sight"
        await glass.press("slash")
        await glass.type("model = M1")
        await glass.sees("3333/10000")
        await glass.press("escape", "b")
        await glass.type("model")
        await glass.press("enter")
        await glass.until(lambda: len(list_of(glass).lines) == 10_003)
        await glass.press("z")
        await glass.until(lambda: len(list_of(glass).lines) == 3)
        assert "runs 3334   best 0" in glass.row("M0")
        assert run.run_id not in glass.text()


@pytest.mark.parametrize("language", words.LANGUAGES)
async def test_the_dialogs_fit_a_small_screen(language: str, make_run: Any, opened: Any) -> None:
    make_run("finished")
    words.choose(language)
    async with opened() as glass:
        await glass.sees("a-finished")
        for key, question in (("s", "runs.ask_sort"), ("b", "runs.ask_group"), ("C", "columns.question")):
            await glass.press(key)
            await glass.sees(words.say(question))
            glass.fits()
            await glass.press("escape")


async def test_what_was_kept_by_anybody_else_does_no_harm(make_run: Any, opened: Any, workspace: Any) -> None:
    make_run("finished", name="there")
    odd = {
        "runs.columns": ["nosuch.key", 3, "age", "age"], "runs.sort": "nosuch", "runs.group": "[x",
        "runs.filter": "state =", "runs.folded": [None, {}], "runs.marked": [1], "runs.cursor": "gone",
        "runs.baseline": "gone", "runs.filters": [[]],
    }  # fmt: skip
    workspace.cache.mkdir(parents=True, exist_ok=True)
    (workspace.cache / f"view-{os.getuid()}.json").write_text(json.dumps(odd))
    async with opened() as glass:
        await glass.sees("there-", "state", "age")
        await glass.press("j", "h", "l", "s", "escape", "escape")
        await glass.sees("there-")


async def test_what_is_left_of_a_run_has_its_column_on_a_small_screen(
    make_run: Any, opened: Any, frozen: Any
) -> None:
    run = make_run("running", name="live")
    async with opened() as glass:
        await glass.sees("● running", "left")
        assert list_of(glass).current.eta is not None
        run.train(6).end("finished", 0)
        await glass.until(lambda: " left " not in glass.rows()[2])


async def test_the_cursor_stays_on_the_first_row_while_the_runs_are_read_and_on_its_run_later(
    make_run: Any, opened: Any
) -> None:
    sweep(make_run)
    async with opened(WIDE) as glass:
        await glass.sees("r0", "r1", "r2")
        runs = list_of(glass)
        rows = runs.rows
        runs.filling = True
        runs.show(rows[1:], "")
        runs.show(rows, "")
        assert runs.cursor == 0 and runs.current is rows[0]
        runs.filling = False
        runs.show(rows[1:], "")
        runs.show(rows, "")
        assert runs.cursor == 1 and runs.current is rows[1]
