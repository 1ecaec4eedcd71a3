"""One run: charts that stream, its log, its conf, what is wrong with it; a header that is always true."""

from __future__ import annotations

import math
from time import monotonic
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import ContentSwitcher

from engine import diagnose
from engine.conf.tree import to_yaml
from engine.diagnose import Finding
from engine.runs.record import Record
from engine.track import listing
from engine.words import say
from tui import keys, memory, since
from tui.screens.acts import Acts
from tui.screens.charting import Charting
from tui.screens.runs import copy_run_id
from tui.widgets.advice import AdviceBox, AdvicePane
from tui.widgets.bars import KeyBar, Quiet
from tui.widgets.chart_grid import ChartGrid
from tui.widgets.conf_pane import ConfPane
from tui.widgets.curves import Curves
from tui.widgets.files_pane import FilesPane
from tui.widgets.log_pane import LogPane
from tui.widgets.plain import plain
from tui.widgets.predictions_pane import PredictionsPane
from tui.widgets.progress import ProgressLine
from tui.widgets.run_header import RunHeader

TABS = ("charts", "log", "conf", "advice", "predictions", "files")
# Read at most this much of a long event log in one turn, so that keys are answered in between.
_BYTES_A_TURN = 400_000
_CATCH_UP_SECONDS = 0.01
_DRAW_SECONDS = 0.5
_GIVE_BACK_SECONDS = 1.0  # after the charts of a long history were drawn


class RunScreen(Acts, Charting):
    """Everything about one run."""

    where: ClassVar[str] = "run"
    BINDINGS = keys.bindings("run")

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.run_id = record.run_id
        self.record = record if record.stored is not None else Record(record.folder.path)
        self.curves = Curves()
        self.findings: list[Finding] = []
        self._unshown = True
        self._shown_at = -math.inf
        self._long = False  # its history took more than one turn to read
        self._compared = record.stored is not None
        """Whether the whole history was read, and compared with what was seen of it last."""

    def compose_body(self) -> ComposeResult:
        stored = self.record.stored is not None
        yield RunHeader(id="run-header")
        yield Quiet(id="run-tabs")
        yield ProgressLine(id="run-reading")
        yield Quiet(id="run-since")
        with ContentSwitcher(initial="charts"):
            with Vertical(id="charts"):
                yield ChartGrid()
                yield AdviceBox()
            yield LogPane(self.record.folder.log, stored=stored, id="log")
            yield ConfPane(id="conf")
            yield AdvicePane(id="advice")
            yield PredictionsPane(id="predictions")
            yield FilesPane(id="files")

    def on_mount(self) -> None:
        if self.record.stored is not None:
            self.record = listing.find(self.spectui.workspace, self.run_id)
        parent = self.spectui.record(self.record.parent) if self.record.parent else None
        self.query_one(ConfPane).tell(self.record, parent)
        self.set_interval(self.spectui.poll_seconds, self.catch_up)
        self.set_interval(1.0, self._tell_header)
        # In `on_mount` itself nothing counts as mounted yet.
        self.call_after_refresh(self.catch_up)

    def on_unmount(self) -> None:
        if self._compared:
            since.look(self.spectui.view, self.record, self.findings)

    def catch_up(self) -> None:
        """Read what is new and show it; a long history is read in turns."""
        if not self.is_mounted:
            return
        before = self.record._tail.offset
        self._unshown |= self.record.refresh(_BYTES_A_TURN)
        behind = self.record._tail.offset - before >= _BYTES_A_TURN
        # Half of a history is drawn now and then, not after each turn: drawing takes longer than reading.
        if self._unshown and not (behind and monotonic() < self._shown_at + _DRAW_SECONDS):
            self._unshown = False
            self._show()
            self._shown_at = monotonic()
            self._catch_up_tab()
        elif self.tab == "log":
            self._catch_up_tab()
        if behind:
            self._long = True
            self._tell_reading()
            self.set_timer(_CATCH_UP_SECONDS, self.catch_up)
        elif not self._compared:
            self._was_read()

    def _tell_reading(self) -> None:
        try:
            size = self.record.folder.events.stat().st_size
        except OSError:
            return
        self.query_one("#run-reading", ProgressLine).tell(say("run.reading"), self.record._tail.offset, size)

    def _was_read(self) -> None:
        """Say what happened since the run was last looked at, now that all of it is known."""
        self._compared = True
        if self._long:
            self.set_timer(_GIVE_BACK_SECONDS, memory.give_back)
        self.query_one("#run-reading", ProgressLine).done()
        news = since.told(self.spectui.view, self.record, self.findings)
        line = self.query_one("#run-since", Quiet)
        line.display = bool(news)
        line.say(_escape(news))
        since.look(self.spectui.view, self.record, self.findings)

    def _catch_up_tab(self) -> None:
        """Bring the tab in front up to date; the others are when they are shown."""
        if self.tab == "log":
            self.query_one(LogPane).steps_per_epoch = self.record.steps_per_epoch
            self.query_one(LogPane).catch_up()
        elif self.tab == "files":
            self.query_one(FilesPane).tell(self.record)
        elif self.tab == "predictions":
            self.query_one(PredictionsPane).tell(self.record)

    def on_resize(self) -> None:
        super().on_resize()
        self._tell_header()

    def runs_changed(self) -> None:
        self.tell_bar()

    @property
    def tab(self) -> str:
        # Before it is mounted nothing is chosen, and what it will begin with is.
        return self.query_one(ContentSwitcher).current or TABS[0]

    def _show(self) -> None:
        record = self.record
        self.curves.update(record)
        self.findings = diagnose.of_run(self.spectui.workspace, record)
        self.grid.show(record, self.curves)
        self.query_one(AdviceBox).tell(self.findings)
        self.query_one(AdvicePane).tell(self.findings)
        self.set_class(bool(self.findings), "-advised")
        self._tell_header()

    def _tell_header(self) -> None:
        if not self.is_mounted:
            return
        self.query_one(RunHeader).tell(self.record)
        self.query_one("#run-tabs", Quiet).say(self._tab_row())

    def _tab_row(self) -> str:
        """Return the tabs as markup, with how many things are behind each where that says something."""
        counts = {"advice": len(self.findings), "conf": self.query_one(ConfPane).differing}
        words = []
        for name in TABS:
            count = counts.get(name, 0)
            word = f" {say(f'run.tab.{name}')}{f' ({count})' if count else ''} "
            wrong = name == "advice" and count
            style = "reverse bold" if name == self.tab else ("bold $error" if wrong else "")
            words.append((word, style))
        gap = "│" if sum(cell_len(word) + 1 for word, _ in words) <= self.app.size.width - 1 else ""
        return gap.join(f"[{style}]{word}[/]" if style else word for word, style in words)

    def action_tab(self, by: int) -> None:
        self.action_show_tab(TABS[(TABS.index(self.tab) + by) % len(TABS)])

    def action_show_tab(self, name: str) -> None:
        """Show a tab, with its keys; from the charts the log opens at the step of their cursor.

        Raises ValueError for a tab that there is not, with everything left as it was.
        """
        if name not in TABS:
            raise ValueError(name)
        step = self.chart_step() if name == "log" and self.tab == "charts" else None
        self.query_one(ContentSwitcher).current = name
        self._catch_up_tab()
        pane = self.query_one(f"#{name}")
        if isinstance(pane, LogPane | ConfPane | FilesPane | PredictionsPane):
            pane.focus_rows()
        elif name == "advice":
            pane.focus()
        else:
            self.set_focus(None)
        if step is not None:
            self.query_one(LogPane).go_to_step(round(step))
        self.query_one(KeyBar).stand_at(getattr(pane, "where", self.where))
        self._tell_header()

    # -- the chart and the log -------------------------------------------------------------------------

    def chart_step(self) -> float | None:
        """Return the step under the charts' cursor, when they have one."""
        return self.grid.step()

    def show_step(self, step: int) -> None:
        """Show the charts with their cursor at a step."""
        self.action_show_tab("charts")
        self.grid.show_step(step)
        self.notify(say("run.at_step", step=step))

    def on_log_pane_step_chosen(self, message: LogPane.StepChosen) -> None:
        self.show_step(message.step)

    def action_filter(self) -> None:
        if self.tab == "charts":
            self.grid.ask_filter()

    async def action_back(self) -> None:
        """Step out one level: first of what was chosen on the charts, then of the run."""
        if self.tab != "charts" or not self.grid.step_out():
            await self.spectui.action_back()

    def chosen(self) -> list[Record]:
        return [self.record]

    def action_copy(self) -> None:
        """Copy what the cursor of the tab is on: a line, a path, a star; else the run's id."""
        words = ""
        if self.tab == "log":
            words = self.query_one(LogPane).line()
        elif self.tab == "conf":
            words = self.query_one(ConfPane).line()
        elif self.tab == "files":
            file = self.query_one(FilesPane).chosen()
            words = str(file.path) if file else ""
        elif self.tab == "predictions":
            words = self.query_one(PredictionsPane).obsid()
        if words:
            self.spectui.copy(words)
        else:
            copy_run_id(self, self.record)

    def action_copy_all(self) -> None:
        """Copy the whole conf; elsewhere the run's folder."""
        if self.tab == "conf":
            self.spectui.copy(to_yaml(self.record.conf()), say("conf_tab.copied"))
        elif self.record.stored is None:
            self.spectui.copy(str(self.record.folder.path))
        else:
            copy_run_id(self, self.record)


def _escape(text: str) -> str:
    return plain(text).replace("[", "\\[")
