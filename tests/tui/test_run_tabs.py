"""The tabs of a run: log, conf, files, predictions; every key, in both sizes and languages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from engine import words
from engine.runs import files as run_files
from engine.words import say
from tests.tui.conftest import LARGE, SMALL
from tui import since
from tui.log_lines import LogFile, count_from_start, level, step_of
from tui.screens.spectrum import SpectrumScreen
from tui.widgets.conf_pane import ConfPane
from tui.widgets.files_pane import FilesPane
from tui.widgets.log_pane import FilePane, LogPane
from tui.widgets.predictions_pane import PredictionsPane

PREDICTIONS = """obsid,Teff_true,Teff_pred,logg_true,logg_pred
101,5000,5010,4.5,4.4
102,6000,5800,,4.0
103,4500,4505,2.0,3.1
"""


@pytest.fixture(params=[SMALL, LARGE], ids=["80x24", "160x48"])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param  # type: ignore[no-any-return]


async def open_tab(glass: Any, name: str) -> None:
    await glass.until(lambda: glass.app.feed.rows)
    await glass.press("enter")
    await glass.until(lambda: glass.app.screen.where == "run")
    glass.app.screen.action_show_tab(name)
    await glass.pilot.pause()


@pytest.mark.parametrize(
    ("state", "language", "size"),
    [
        ("finished", "en", SMALL),
        ("finished", "zh", SMALL),
        ("running", "zh", SMALL),
        ("running", "en", LARGE),
        ("died", "en", SMALL),
        ("starting", "zh", LARGE),
    ],
)
async def test_every_tab_fits_and_the_header_says_what_it_must(
    state: str, language: str, make_run: Any, opened: Any, size: tuple[int, int]
) -> None:
    words.choose(language)
    run = make_run(
        state, name="a-name-that-is-much-longer-than-the-screen-has-room-for-at-80-columns-and-more"
    )
    run.says("epoch 1/10  train 0.5  val 0.6\n")
    if state == "finished":
        run.folder.predictions.mkdir(exist_ok=True)
        (run.folder.predictions / "test.csv").write_text(PREDICTIONS)
    async with opened(size) as glass:
        await open_tab(glass, "charts")
        for name in ("charts", "log", "conf", "advice", "predictions", "files"):
            glass.app.screen.action_show_tab(name)
            await glass.sees(say(f"state.{state}"))
            if state == "finished" and name == "predictions":
                await glass.until(lambda: glass.braille() > 5)
            glass.fits()
            tabs = glass.rows()[3]
            assert all(say(f"run.tab.{tab}") in tabs for tab in ("charts", "predictions", "files")), tabs
            told = glass.rows()[2]
            if state == "running":
                assert "80/200" in told and ("data" in told or "数据" in told or "前" in told), told
            if state == "finished":
                assert (
                    "200/200" in told and "100%" in glass.rows()[1] and say("run.ended", clock="")[:2] in told
                )


async def test_the_header_says_when_a_run_stalls(make_run: Any, opened: Any, frozen: Any) -> None:
    run = make_run("starting")
    run.begin()
    for _ in range(5):
        run.steps(10)
    async with opened() as glass:
        await open_tab(glass, "charts")
        await glass.sees("step 50/200")
        assert "stalled" not in glass.text()
        frozen.now += 50
        await glass.sees("data 5")
        assert "stalled" not in glass.text()
        frozen.now += 50
        await glass.sees("stalled?")
        run.steps(10)
        await glass.until(lambda: "stalled" not in glass.text())


async def test_the_log_is_searched_filtered_and_wrapped(
    make_run: Any, opened: Any, size: tuple[int, int]
) -> None:
    run = make_run("finished")
    lines = [f"line {number} of many" for number in range(3000)]
    lines[100], lines[200], lines[2990] = "WARNING: odd", "ValueError: bad", "x" * 400 + " the end of it"
    run.says("\n".join(lines) + "\n")
    async with opened(SMALL) as glass:
        await open_tab(glass, "log")
        await glass.sees("line 2999 of many", "line 3,000 of 3,000", "follows")
        await glass.press("slash")
        await glass.type("line 15")
        await glass.press("enter")
        # upwards from the end, in a thread: the last line that has it
        await glass.sees("line 1,600 of 3,000", "stands", "/line 15")
        await glass.press("N")
        await glass.sees("line 1,599 of")
        await glass.press("n")
        await glass.sees("line 1,600 of")
        await glass.press("slash", "escape")
        assert glass.app.focused.id == "log-lines"
        await glass.press("W")
        await glass.sees("WARNING: odd", "ValueError: bad", "warnings and errors only", "of 2")
        assert "line 1" not in "".join(glass.rows()[5:])
        run.says("a warning more\n")
        await glass.sees("a warning more", "of 3")
        await glass.press("W")
        await glass.sees("errors only", "of 1")
        assert "WARNING" not in glass.text()
        await glass.press("W", "G")
        await glass.sees("a warning more", "3,001 of 3,001")
        await glass.press("w")
        await glass.sees("wrapped", "the end of it")
        await glass.press("k")
        glass.fits()
        await glass.press("w", "f")
        assert glass.app.screen.query_one(LogPane).tail.following
        run.says("and on\n")
        await glass.sees("and on")
        await glass.press("y")
        await glass.sees("copied")


async def test_a_log_line_leads_to_its_step_and_back(make_run: Any, opened: Any) -> None:
    run = make_run("finished")
    run.says("".join(f"epoch {number}/10  train 0.5\n" for number in range(1, 11)) + "no number here\n")
    async with opened() as glass:
        await open_tab(glass, "log")
        await glass.sees("no number here")
        await glass.press("enter")
        await glass.sees(say("log.no_step"))
        await glass.press("g", "enter")
        assert glass.app.screen.tab == "charts"
        await glass.sees(say("run.at_step", step=20))
        glass.app.screen.chart_step = lambda: 118.0
        await glass.press("L")
        await glass.sees("▸ epoch 6/10")


async def test_a_run_that_only_mlflow_knows_says_what_it_lacks(
    opened: Any, workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.runs.record import Record
    from engine.track.stored import StoredRun

    stored = StoredRun.__new__(StoredRun)
    record = Record(tmp_path / "nowhere")
    record.stored = stored
    async with opened() as glass:
        pane = FilesPane()
        for words_of, name in ((say("files.stored"), "files"), (say("predictions.stored"), "predictions")):
            pane = FilesPane() if name == "files" else PredictionsPane()
            await glass.app.screen.mount(pane)
            pane.tell(record)
            await glass.pilot.pause()
            await glass.until(lambda words_of=words_of: words_of[:30] in glass.text())
            await pane.remove()
        log = LogPane(record.folder.log, stored=True)
        await glass.app.screen.mount(log)
        log.catch_up()
        await glass.until(lambda: say("log.stored")[:30] in glass.text())


async def test_the_conf_says_what_differs_and_copies_lines(make_run: Any, opened: Any) -> None:
    make_run("finished", name="mine", sets=["training.learning_rate=0.5"])
    async with opened(SMALL) as glass:
        await open_tab(glass, "conf")
        await glass.sees("training.learning_rate: 0.001 → 0.5", "3 differ(s)", "Conf (3)", "whole conf")
        await glass.press("d")
        await glass.sees("differences only", "* name: demo → mine")
        assert "batch_size" not in glass.text()
        await glass.press("d", "slash")
        await glass.type("batch")
        await glass.press("enter")
        pane = glass.app.screen.query_one(ConfPane)
        assert pane.line().startswith("batch_size:")
        await glass.press("n")
        assert pane.line().startswith("batch_size:"), "it goes round"
        await glass.press("y")
        await glass.sees("batch_size:", "copied")
        await glass.press("Y")
        await glass.sees("the whole conf")
        glass.fits()


async def test_files_are_listed_opened_and_exported(
    make_run: Any, opened: Any, size: tuple[int, int], workspace: Any
) -> None:
    run = make_run("finished")
    run.folder.checkpoints.mkdir(exist_ok=True)
    (run.folder.checkpoints / "step-200.pt").write_bytes(b"x" * 4000)
    (run.folder.checkpoints / "best.pt").hardlink_to(run.folder.checkpoints / "step-200.pt")
    run.folder.figures.mkdir(exist_ok=True)
    (run.folder.figures / "loss.pdf").write_bytes(b"%PDF")
    run.says("hello from the log\n")
    async with opened(size) as glass:
        await open_tab(glass, "files")
        await glass.sees(
            "checkpoints", "best.pt", "= step-200.pt", "step 200 epoch 10  b", "4.0 kB", "loss.pdf"
        )
        glass.fits()
        pane = glass.app.screen.query_one(FilesPane)
        names = [file.path.name for file in pane.rows.files]
        assert run_files.total(pane.rows.files) < sum(file.size for file in pane.rows.files)
        pane.rows.go(names.index("loss.pdf"))
        await glass.press("enter")
        await glass.until(lambda: glass.app.clipboard == str(run.folder.figures / "loss.pdf"))
        await glass.sees("not shown")
        pane.rows.go(names.index("log.txt"))
        await glass.press("enter")
        await glass.sees("log.txt", "▸ hello from the log")
        assert glass.app.screen.query(FilePane)
        await glass.press("escape", "ctrl+e")
        await glass.sees(f"exports/{run.run_id}")
        await glass.press("enter")
        target = workspace.root / "exports" / run.run_id
        await glass.until(lambda: (target / "log.txt").is_file())
        assert (target / "checkpoints" / "best.pt").read_bytes() == b"x" * 4000
        await glass.sees("copied to")
        assert not list(target.parent.glob(".new-*"))


def test_a_copy_that_is_stopped_leaves_nothing(make_run: Any, tmp_path: Path) -> None:
    from engine.errors import BadInput

    run = make_run("finished")
    files = run_files.listed(run.folder)
    with pytest.raises(BadInput, match="nothing was left"):
        run_files.copy_out(files, run.folder, tmp_path / "out" / "here", lambda done, of: False)
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "out" / "here").mkdir()
    with pytest.raises(BadInput, match="is there already"):
        run_files.copy_out(files, run.folder, tmp_path / "out" / "here")


async def test_predictions_are_plotted_and_their_stars_open(
    make_run: Any, opened: Any, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("running")
    async with opened(size) as glass:
        await open_tab(glass, "predictions")
        await glass.sees("No predictions yet")
        run.folder.predictions.mkdir(exist_ok=True)
        (run.folder.predictions / "test.csv").write_text(PREDICTIONS)
        (run.folder.predictions / "val.csv").write_text(PREDICTIONS.replace("101,", "900,"))
        run.end("finished", 0)
        await glass.sees("Teff [K]", "test stars: 3", "predicted against true", "71.7")
        await glass.until(lambda: glass.braille() > 10)
        assert glass.row("▸ 102").rstrip().endswith("-200  6000→5800") or "-200  6000→5800" in glass.row(
            "▸ 102"
        )
        glass.fits()
        await glass.press("m")
        await glass.sees("logg [dex]", "▸ 103")
        assert "102" not in glass.text(), "a star without a truth is among the worst"
        await glass.press("P")
        await glass.sees("validation stars: 3", "▸ 103")
        await glass.press("j")
        await glass.sees("▸ 900")
        await glass.press("y")
        await glass.sees("copied")
        asked: list[str] = []
        monkeypatch.setattr(SpectrumScreen, "__init__", _noting(asked, SpectrumScreen.__init__))
        await glass.press("enter")
        await glass.until(lambda: asked or "dataset" in glass.text())


def _noting(asked: list[str], real: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, reading: Any, obsid: str = "") -> None:
        asked.append(obsid)
        real(self, reading, obsid)

    return init


async def test_what_happened_since_is_said_on_return(make_run: Any, opened: Any, monkeypatch: Any) -> None:
    run = make_run("running")
    async with opened() as glass:
        await open_tab(glass, "charts")
        await glass.sees("step 80/200")
        await glass.press("escape")
        assert "since" not in glass.text()
    monkeypatch.setattr(since, "_AWAY_SECONDS", 0.0)
    run.train(6).test().end("finished", 0)
    async with opened() as glass:
        await glass.sees("while you were away", "finished (a-running)")
        await open_tab(glass, "charts")
        await glass.sees("since ", "running → finished, +120 steps", "6 new checkpoint(s)")
        assert "best val_loss 0.3136 → 0.08567, " in " ".join(glass.text().split())
        glass.fits()


# -- the lines of a log ---------------------------------------------------------------------------------


def test_a_long_log_is_there_at_once_and_counted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.log_lines._AT_ONCE", 200_000)
    monkeypatch.setattr("tui.log_lines._TAIL", 50_000)
    path = tmp_path / "log.txt"
    wanted = [f"line {number} {'=' * (number % 50)}" for number in range(20_000)]
    path.write_text("\n".join(wanted) + "\n")
    log = LogFile(path)
    assert log.catch_up() and not log.whole
    assert log.text(log.count - 1) == wanted[-1] and 500 < log.count < 3000
    counted = count_from_start(path, lambda: True)
    assert counted is not None
    with path.open("a") as file:
        file.write("one more\n")
    had = log.count
    moved = log.adopt(counted)
    assert log.whole and log.catch_up()
    assert (log.count, moved) == (20_001, 20_000 - had)
    assert [log.text(number) for number in (0, 1, 9_999, 19_999)] == [
        wanted[n] for n in (0, 1, 9_999, 19_999)
    ]
    assert log.text(20_000) == "one more"
    for by in (1, -1):
        seen = [
            (low + i, text) for low, texts in log.lines.chunks(10, 19_990, by) for i, text in enumerate(texts)
        ]
        assert sorted(seen) == [(number, wanted[number]) for number in range(10, 19_990)]


def test_a_log_that_is_cut_or_rewritten_by_a_bar_is_read_right(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"first\n" + b"".join(b"\r%d%%" % n for n in range(100_000)))
    log = LogFile(path)
    log.catch_up()
    assert [log.text(number) for number in range(log.count)] == ["first", "99999%"]
    with path.open("ab") as file:
        file.write(b"\rdone\nnext\nhalf")
    log.catch_up()
    assert [log.text(number) for number in range(log.count)] == ["first", "done", "next"]
    path.write_text("anew\n")
    assert log.catch_up() and [log.text(n) for n in range(log.count)] == ["anew"]
    path.unlink()
    assert log.catch_up() and not log.there and log.count == 0


def test_levels_and_steps_are_told_by_what_a_line_says() -> None:
    assert level("ValueError: no") == level("Traceback (most recent call last):") == "error"
    assert level("step 41 (epoch 3): loss became nan; nothing was updated.") == "error"
    assert level("UserWarning: odd") == level("WARNING x") == "warning"
    assert level("test errors (40 stars)") == level("each error in units of its scale") == ""
    assert step_of("epoch 27/30  train 0.045", 10) == 270
    assert step_of("step 41 (epoch 3): loss became nan", 10) == 41
    assert step_of("第 3/30 轮", 10) == 30 and step_of("nothing", 10) is None


def test_a_cut_header_loses_words_and_no_facts(make_run: Any) -> None:
    from engine.runs.record import Record
    from tui.widgets.run_header import facts, title

    run = make_run("running")
    record = Record(run.folder.path)
    record.refresh()
    for language in words.LANGUAGES:
        words.choose(language)
        for width in (40, 60, 78, 158):
            told = facts(record, width)
            plain = told[told.index("]") + 1 :].replace("[/]", "")
            assert "80/200" in plain and cell_len(plain) <= width, plain
            assert cell_len(title(record, width).replace("[bold]", "").replace("[/]", "")) <= width
