"""One run on a screen: curves that grow, a header that is true, tabs, log, conf, and what went wrong."""

from __future__ import annotations

import math
from typing import Any

from textual.widgets import ContentSwitcher

from engine.words import say
from tui.charts import Chart
from tui.log_lines import clean
from tui.widgets.log_tail import LogTail


async def open_newest(glass: Any) -> None:
    await glass.until(lambda: glass.app.feed.rows)
    await glass.press("enter")
    assert glass.app.screen.where == "run"


def tab(glass: Any) -> str:
    return str(glass.app.screen.query_one(ContentSwitcher).current)


async def test_the_curves_and_the_header_move_while_it_trains(make_run: Any, opened: Any) -> None:
    run = make_run("starting", name="live")
    async with opened() as glass:
        await open_newest(glass)
        # PyTorch takes seconds to load; that the run is there is seen at once.
        await glass.sees("○ starting", "reading spectra", run.run_id, "StarNet")
        assert glass.braille() == 0 and glass.text().count("no points yet") == 2
        run.begin().steps(20)
        await glass.sees("● running", "epoch 1/10", "step 20/200", "A batch")
        await glass.until(lambda: glass.braille() > 30)
        first = glass.text()
        run.log.append("epoch", epoch=1, step=20, values={"train_loss": 0.9, "val_loss": 0.95})
        run.steps(20)
        await glass.sees(
            "epoch 2/10", "step 40/200", "A train 0.9", "B val 0.95", "learning rate  A lr 0.001"
        )
        assert glass.text().splitlines()[4:] != first.splitlines()[4:]
        grown = glass.braille()
        run.steps(40)
        await glass.sees("epoch 3/10", "step 80/200", "left")
        assert glass.braille() != grown
        run.end("finished", 0)
        await glass.sees("✓ finished", "took")
        glass.fits()


async def test_the_time_left_counts_down_by_the_pace(make_run: Any, opened: Any, frozen: Any) -> None:
    run = make_run("starting")
    run.begin()
    for _ in range(10):
        frozen.now += 9  # and one for the event: ten seconds for ten steps
        run.steps(10)
    async with opened() as glass:
        await open_newest(glass)
        await glass.sees("step 100/200", "1m40s left")
        frozen.now += 60
        await glass.sees("40s left")


async def test_tabs_go_round_and_have_keys_of_their_own(make_run: Any, opened: Any) -> None:
    make_run("finished")
    async with opened() as glass:
        await open_newest(glass)
        seen = []
        for _ in range(7):
            seen.append(tab(glass))
            await glass.press("right_square_bracket")
        assert seen == ["charts", "log", "conf", "advice", "predictions", "files", "charts"]
        await glass.press("left_square_bracket", "shift+tab")
        assert tab(glass) == "files"
        await glass.press("L")
        assert tab(glass) == "log"
        await glass.press("a")
        assert tab(glass) == "advice"
        await glass.sees(say("diagnose.none"))
        await glass.press("tab", "tab", "tab")
        assert tab(glass) == "charts" and glass.braille() > 30


async def test_the_log_follows_and_has_no_control_sequences(make_run: Any, opened: Any) -> None:
    run = make_run("running")
    run.says("\x1b[31mred\x1b[0m words\n" + "step 1\rstep 2\rstep 3\n" + "\x1b]0;title\x07plain\n")
    async with opened() as glass:
        await open_newest(glass)
        await glass.press("L")
        await glass.sees("red words", "step 3", "plain")
        assert "step 2" not in glass.text() and "[31m" not in glass.text() and "title" not in glass.text()
        run.says("".join(f"line {number}\n" for number in range(100)) + "half a li")
        await glass.sees("line 99")
        assert "half" not in glass.text()
        run.says("ne\n")
        await glass.sees("half a line")
        await glass.press("f")
        assert not glass.app.screen.query_one(LogTail).following
        await glass.press("home")
        run.says("the end\n")
        await glass.pilot.pause(0.2)
        assert "red words" in glass.text() and "the end" not in glass.text()


def test_clean_keeps_what_a_person_would_have_seen() -> None:
    assert clean("50%\r100%\r\nnext") == "100%\nnext"
    assert clean("\x1b[1;31mbad\x1b[0m\x1b[K") == "bad"
    assert clean("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\") == "link"
    assert clean("恒星 温度\tK") == "恒星 温度\tK"
    assert all(c.isprintable() or c in "\t\n" for c in clean("".join(map(chr, range(0x300)))))


async def test_the_conf_tells_what_was_changed(make_run: Any, opened: Any) -> None:
    make_run("finished", name="mine", sets=["training.learning_rate=0.5", "data.clip.normalized=[0, 2]"])
    async with opened((160, 70)) as glass:
        await open_newest(glass)
        await glass.press("tab", "tab")
        await glass.sees("training.learning_rate: 0.001 → 0.5")
        changed = [row.strip() for row in glass.rows() if row.strip().startswith("*")]
        assert "* name: mine  ← demo" in changed and "* name: demo → mine" in changed
        await glass.press("end")
        await glass.sees("learning_rate: 0.5", "epochs: 10")
        starred = [row for row in glass.rows() if row.lstrip().startswith("* ")]
        assert any("learning_rate: 0.5" in row for row in starred)
        assert not any("batch_size" in row for row in starred)


async def test_a_diverged_run_is_marked_and_explained_beside_its_chart(make_run: Any, opened: Any) -> None:
    make_run("diverged", sets=["training.gradient_clip_val=null", "data.clip.normalized=null"])
    async with opened() as glass:
        await open_newest(glass)
        await glass.sees("! diverged", "loss nan @41", "✗")
        assert glass.reddish("! diverged") and glass.reddish("loss nan @41")
        text = glass.text()
        wanted = [
            "1. Use LayerNorm in place of BatchNorm",
            "model.name",
            "2. Clip the inputs, or scale them robustly",
            "data.clip.normalized: [-1.0, 3.0]",
            'data.continuum_scaler: "robust"',
            "3. Turn gradient clipping on",
            "training.gradient_clip_val: 1.0",
        ]
        places = [" ".join(text.split()).replace("█ ", "").find(words) for words in wanted]
        assert -1 not in places and places == sorted(places), list(zip(wanted, places, strict=True))
        assert glass.braille() > 30, "the advice took the chart's room"
        glass.fits()
        await glass.press("a")
        await glass.sees("SP102", "last finite loss: 0.31", "gradient norm: nan", "1001, 1008", "Advice (1)")
        await glass.press("end")
        await glass.sees("set training.gradient_clip_val: 1.0")


async def test_with_a_network_that_has_the_switch_the_remedy_names_it(make_run: Any, opened: Any) -> None:
    sets = ["model.normalization_settings.norm_type=bn"]
    make_run("diverged", conf="freq_inception_l_net", sets=sets)
    async with opened() as glass:
        await open_newest(glass)
        await glass.sees('model.normalization_settings.norm_type: "ln"')


async def test_a_run_that_broke_at_its_first_step_shows_the_mark_without_a_curve(
    make_run: Any, opened: Any
) -> None:
    run = make_run("starting")
    run.begin().nonfinite(math.inf).end("diverged", 87)
    async with opened() as glass:
        await open_newest(glass)
        await glass.sees("! diverged", "loss inf @1", "1. Use LayerNorm", "3. Turn gradient clipping on")
        glass.fits()


async def test_failed_and_died_runs_say_why(make_run: Any, opened: Any) -> None:
    make_run("failed", ago=10)
    make_run("died")
    async with opened() as glass:
        await glass.until(lambda: len(glass.app.feed.rows) == 2)
        await glass.press("enter")
        await glass.sees("† died", "left no end event")
        await glass.press("q", "j", "enter")
        await glass.sees("✗ failed", "the run failed")
        assert "no room" in glass.text(), "the message of the failure is not on the first screen"


async def test_zoom_pan_fit_log_and_smooth_act_on_the_chart(make_run: Any, opened: Any) -> None:
    make_run("finished")
    async with opened() as glass:
        await open_newest(glass)
        await glass.until(lambda: glass.braille() > 30)
        chart = glass.app.screen.query_one("#loss", Chart)
        whole = glass.text()
        await glass.press("plus")
        assert chart.view is not None and "zoomed" in glass.text()
        middle = chart.view
        await glass.press("greater_than_sign")
        assert chart.view != middle
        await glass.press("minus", "0")
        assert chart.view is None
        await glass.press("o", "i")
        assert "log" in glass.row("loss  ") and "smooth" in glass.row("loss  ")
        await glass.press("o", "i")
        await glass.until(lambda: glass.text() == whole)


async def test_a_long_history_does_not_stop_the_keys(make_run: Any, opened: Any) -> None:
    run = make_run("starting")
    run.epochs, run.per_epoch = 100, 500
    run.begin()
    for _ in range(100):
        run.steps(500)
    assert run.folder.events.stat().st_size > 1_500_000
    async with opened() as glass:
        await open_newest(glass)
        await glass.press("a")
        assert tab(glass) == "advice"
        await glass.press("tab")
        await glass.sees("step 50000/50000", seconds=20)
