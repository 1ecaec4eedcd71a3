"""The log of a run with what is said of it, searched, filtered by level, linked to the chart.

Counting, searching and filtering a long log are done in threads; the line above says how far they are.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Size
from textual.message import Message
from textual.widgets import Input
from textual.worker import get_current_worker

from engine.words import say
from tui import keys
from tui.log_lines import Lines, count_from_start, may_have_level, step_of
from tui.widgets.bars import Quiet
from tui.widgets.log_tail import LEVELS, LogTail, fits, sensitive
from tui.widgets.plain import fit
from tui.widgets.progress import ProgressLine, percent
from tui.widgets.row_list import RowList
from tui.widgets.search_box import SearchBox

_SEARCHED_AT_ONCE = 2_000  # lines that are searched without a thread


class LogPane(Vertical):
    """The log with what is said of it: lines, place, level, what is searched for."""

    where: ClassVar[str] = "log"
    BINDINGS = keys.bindings("log")
    DEFAULT_CSS = """
    LogPane #log-facts { height: 1; padding: 0 1; color: $text-muted; }
    """

    class StepChosen(Message):
        """The step of a log line is to be seen on the chart."""

        def __init__(self, step: int) -> None:
            self.step = step
            super().__init__()

    def __init__(
        self, path: Path, *, stored: bool = False, from_start: bool = False, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.from_start = from_start
        self.path, self.stored = path, stored
        self.steps_per_epoch = 0
        self._counting = False

    def compose(self) -> ComposeResult:
        yield Quiet(id="log-facts")
        yield ProgressLine(id="log-progress")
        tail = LogTail(self.path, id="log-lines")
        tail.following, tail.coloured = not self.from_start, not self.from_start
        yield tail
        yield SearchBox(placeholder=say("log.search_hint"), id="log-search", compact=True)

    @property
    def tail(self) -> LogTail:
        return self.query_one(LogTail)

    def focus_rows(self) -> None:
        """Give the keys to the lines."""
        self.tail.focus()

    def catch_up(self) -> None:
        """Show what is new."""
        if not self.is_mounted:
            return
        if self.stored:
            self.tail.empty = say("log.stored")
            self.tail.refresh()
        elif self.tail.catch_up() or self.tail.empty == "":
            self.tail.tell()
        if not self.tail.file.whole and not self._counting:
            self._counting = True
            self._count()
        self.tell_facts()

    def tell_facts(self) -> None:
        """Say how long the log is, where the cursor stands and what is shown of it."""
        tail = self.tail
        if not tail.count:
            self.query_one("#log-facts", Quiet).say("")
            return
        of = f"{tail.count:,}" if tail.file.whole else say("log.at_least", count=f"{tail.count:,}")
        parts = [
            say("log.place", place=f"{tail.cursor + 1:,}", count=of),
            percent(tail.cursor + 1, tail.count),
        ]
        parts.append(say("log.follows" if tail.following else "log.stands"))
        if tail.level != "all":
            parts.append(say(f"log.level.{tail.level}"))
        if tail.needle:
            parts.append(say("log.searched", what=tail.needle))
        if tail.wrap:
            parts.append(say("log.wraps"))
        words = Text(fit("  ".join(parts), max(1, self.size.width - 2)).rstrip(), no_wrap=True)
        self.query_one("#log-facts", Quiet).say(words)

    @on(RowList.CursorMoved)
    def _moved(self) -> None:
        self.tell_facts()

    @on(RowList.RowClicked)
    def action_step(self) -> None:
        """Show the step of the line under the cursor on the chart, or of the line before that has one."""
        step = self.step_here()
        if step is None:
            self.notify(say("log.no_step"), severity="warning")
        else:
            self.post_message(self.StepChosen(step))

    def step_here(self) -> int | None:
        """Return the step of the line under the cursor."""
        tail = self.tail
        if not tail.count:
            return None
        return step_of(tail.file.text(tail.line(tail.cursor)), self.steps_per_epoch)

    def line(self) -> str:
        """Return the line under the cursor."""
        tail = self.tail
        return tail.file.text(tail.line(tail.cursor)).strip() if tail.count else ""

    # -- follow, wrap, levels ----------------------------------------------------------------------------

    def action_follow(self) -> None:
        """Stay at the end of the log, or stand still."""
        self.tail.set_follow(not self.tail.following)
        self.notify(say("run.following" if self.tail.following else "run.not_following"))
        self.tell_facts()

    def action_wrap(self) -> None:
        """Break long lines at the edge, or let them run on."""
        tail = self.tail
        tail.wrap, tail.shift = not tail.wrap, 0
        tail.keep_in_view()
        tail.refresh()
        self.tell_facts()

    def action_level(self) -> None:
        """Show all lines, warnings and errors, or errors alone."""
        tail = self.tail
        line = tail.line(tail.cursor) if tail.count else 0
        tail.level = LEVELS[(LEVELS.index(tail.level) + 1) % len(LEVELS)]
        tail.kept = array("Q")
        if tail.level == "all":
            tail.tell()
            tail.go(line)
        else:
            lines, last = tail.file.lines, tail.file.lines.ends
            if last <= _SEARCHED_AT_ONCE:
                tail.keep(lines, 0, last)
            tail.tell()
            if last > _SEARCHED_AT_ONCE:
                # that there are none is not known before all were looked at
                tail.empty = say("log.filtering")
                self._keep(lines, last, tail.level)
            tail.go(tail.row_of(line))
        self.tell_facts()

    @work(thread=True, exclusive=True, group="log-level", exit_on_error=False)
    def _keep(self, lines: Lines, last: int, wanted: str) -> None:
        worker = get_current_worker()
        kept: array[int] = array("Q")
        for low, texts in lines.chunks(0, last, may=may_have_level):
            if worker.is_cancelled:
                return
            kept.extend(low + i for i, text in enumerate(texts) if fits(wanted, text))
            self._from_thread(self._progress, say("log.filtering"), low, last)
        self._from_thread(self._kept, lines, wanted, kept)

    def _kept(self, lines: Lines, wanted: str, kept: array[int]) -> None:
        self.query_one(ProgressLine).done()
        tail = self.tail
        if tail.level == wanted and tail.file.lines is lines:
            # what came meanwhile is there already
            tail.kept = kept + tail.kept[bisect_right(tail.kept, kept[-1] if kept else -1) :]
            tail.tell()
            self.tell_facts()

    # -- search ------------------------------------------------------------------------------------------

    def action_search(self) -> None:
        self.query_one(SearchBox).open(self.tail.needle)

    @on(Input.Submitted, "#log-search")
    def _searched(self, event: Input.Submitted) -> None:
        self.leave_search()
        self.tail.needle = event.value
        self.tail.refresh()
        self.tell_facts()
        if event.value:
            self._find(-1, from_here=True)

    @on(SearchBox.Left)
    def leave_search(self) -> None:
        """Close the search line."""
        self.query_one(SearchBox).shut()
        self.focus_rows()

    def action_found(self, by: int) -> None:
        """Go to the next line that has what is searched for, or to the one before."""
        if not self.tail.needle:
            self.action_search()
        else:
            self._find(by)

    def _find(self, by: int, *, from_here: bool = False) -> None:
        """Search from the cursor: backwards at first, since a log is read from its end."""
        tail = self.tail
        here = tail.line(tail.cursor) if tail.count else 0
        test = _matcher(tail.needle)
        last = tail.file.count
        if from_here and by < 0:
            first, stop = 0, here + 1
        else:
            first, stop = (here + 1, last) if by > 0 else (0, here)
        if stop - first <= _SEARCHED_AT_ONCE:
            self._found(_first(tail.file.lines, first, stop, by, test, self._level_test()), by)
        else:
            self._search(tail.file.lines, first, stop, by, test, self._level_test())

    def _level_test(self) -> Callable[[str], bool]:
        wanted = self.tail.level
        return lambda text: wanted == "all" or fits(wanted, text)

    @work(thread=True, exclusive=True, group="log-search", exit_on_error=False)
    def _search(
        self,
        lines: Lines,
        first: int,
        stop: int,
        by: int,
        test: Callable[[str], bool],
        also: Callable[[str], bool],
    ) -> None:
        worker = get_current_worker()

        def tell(low: int) -> bool:
            done = low - first if by > 0 else stop - low
            self._from_thread(self._progress, say("log.searching"), done, stop - first)
            return not worker.is_cancelled

        found = _first(lines, first, stop, by, test, also, tell)
        if not worker.is_cancelled:
            self._from_thread(self._found, found, by)

    def _found(self, line: int | None, by: int) -> None:
        self.query_one(ProgressLine).done()
        if line is None:
            self.notify(
                say("log.not_found" if by > 0 else "log.not_above", what=self.tail.needle), markup=False
            )
            return
        self.tail.following = False
        self.tail.go(self.tail.row_of(line))
        self.tell_facts()

    # -- steps -------------------------------------------------------------------------------------------

    @work(thread=True, exclusive=True, group="log-search", exit_on_error=False)
    def go_to_step(self, step: int) -> None:
        """Put the cursor on the line whose step is nearest to one of the chart."""
        worker = get_current_worker()
        lines, last = self.tail.file.lines, self.tail.file.count
        best: tuple[int, int] | None = None
        for low, texts in lines.chunks(0, last):
            if worker.is_cancelled:
                return
            for place, text in enumerate(texts):
                told = step_of(text, self.steps_per_epoch)
                if told is not None and (best is None or abs(told - step) < best[0]):
                    best = (abs(told - step), low + place)
            self._from_thread(self._progress, say("log.searching"), low, last)
        self._from_thread(self._at_step, best, step)

    def _at_step(self, best: tuple[int, int] | None, step: int) -> None:
        self.query_one(ProgressLine).done()
        if best is None:
            self.notify(say("log.no_line", step=step), severity="warning")
            return
        tail = self.tail
        tail.following = False
        if tail.level != "all":
            tail.level = "all"
            tail.tell()
        tail.go(best[1])
        self.tell_facts()

    # -- long files --------------------------------------------------------------------------------------

    @work(thread=True, exclusive=True, group="log-count", exit_on_error=False)
    def _count(self) -> None:
        worker = get_current_worker()

        def tell(done: int, of: int) -> None:
            self._from_thread(self._progress, say("log.counting"), done, of)

        counted = count_from_start(self.path, lambda: not worker.is_cancelled, tell)
        if counted is not None:
            self._from_thread(self._counted, counted)

    def _counted(self, counted: Lines) -> None:
        self._counting = False
        self.query_one(ProgressLine).done()
        tail = self.tail
        moved = tail.file.adopt(counted)
        if tail.level != "all":
            tail.level = LEVELS[LEVELS.index(tail.level) - 1]
            self.action_level()
            return
        top = round(tail.scroll_offset.y)
        tail.count = tail.file.count
        tail.virtual_size = Size(tail.size.width, tail.count)
        tail.scroll_to(y=top + moved, animate=False, force=True, immediate=True)
        tail.go(tail.count - 1 if tail.following else tail.cursor + moved)
        self.tell_facts()

    def _progress(self, label: str, done: int, of: int) -> None:
        self.query_one(ProgressLine).tell(label, done, of)

    def _from_thread(self, call: Callable[..., None], *what: object) -> None:
        """Hand something over to the screen; nothing when it is gone."""
        if self.is_mounted and self.app.is_running:
            self.app.call_later(self._if_there, call, what)

    def _if_there(self, call: Callable[..., None], what: tuple[object, ...]) -> None:
        if self.is_mounted:
            call(*what)


class FilePane(LogPane, inherit_bindings=False):
    """Any text file, from its beginning: no levels and no chart."""

    where: ClassVar[str] = "pager"
    BINDINGS = keys.bindings("pager")

    def __init__(self, path: Path, *, id: str | None = None) -> None:
        super().__init__(path, from_start=True, id=id)


def _matcher(needle: str) -> Callable[[str], bool]:
    if sensitive(needle):
        return lambda text: needle in text
    return lambda text: needle in text.lower()


def _first(
    lines: Lines, first: int, stop: int, by: int, test: Callable[[str], bool], also: Callable[[str], bool],
    tell: Callable[[int], bool] = lambda low: True,
) -> int | None:  # fmt: skip
    """Return the first line of a range, or the last when `by` is -1, that passes both tests."""
    for low, texts in lines.chunks(first, stop, by, test):
        if not tell(low):
            return None
        places = range(len(texts)) if by > 0 else range(len(texts) - 1, -1, -1)
        for place in places:
            if test(texts[place]) and also(texts[place]):
                return low + place
    return None
