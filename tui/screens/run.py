"""One run: charts that stream, its log, its conf, what is wrong with it; a header that is always true."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import ContentSwitcher, Static

from engine import diagnose
from engine.cli.text import duration, figure
from engine.diagnose import Finding
from engine.runs.record import Record
from engine.track import listing
from engine.words import has, say
from tui import keys
from tui.charts import Chart, Line, Mark
from tui.screens.acts import Acts
from tui.screens.runs import copy_run_id
from tui.screens.zoomed import Zoomed
from tui.theme import state_markup, state_words
from tui.widgets.advice import AdviceBox, AdvicePane
from tui.widgets.bars import Quiet
from tui.widgets.conf_text import conf_text
from tui.widgets.curves import Curves
from tui.widgets.log_tail import LogTail
from tui.widgets.plain import plain

TABS = ("charts", "log", "conf", "advice")
# Read at most this much of a long event log in one turn, so that keys are answered in between.
_BYTES_A_TURN = 400_000
_CATCH_UP_SECONDS = 0.05


class RunScreen(Acts, Zoomed):
    """Everything about one run."""

    where: ClassVar[str] = "run"
    BINDINGS = keys.bindings("run")

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.run_id = record.run_id
        self.record = record if record.stored is not None else Record(record.folder.path)
        self.curves = Curves()
        self.findings: list[Finding] = []
        self.quantity = ""
        self._shown = False

    def compose_body(self) -> ComposeResult:
        yield Quiet(id="run-header")
        yield Quiet(id="run-tabs")
        with ContentSwitcher(initial="charts"):
            with Vertical(id="charts"):
                yield Chart(say("run.chart.loss"), id="loss")
                yield Chart(say("run.chart.rate"), id="rate")
                yield AdviceBox()
            yield LogTail(self.record.folder.log, id="log")
            with VerticalScroll(id="conf"):
                yield Static(id="conf-text")
            yield AdvicePane(id="advice")

    def on_mount(self) -> None:
        if self.record.stored is not None:
            self.record = listing.find(self.spectui.workspace, self.run_id)
        self.query_one("#conf-text", Static).update(conf_text(self.record))
        self.set_interval(self.spectui.poll_seconds, self.catch_up)
        self.set_interval(1.0, self._tell_header)
        # In `on_mount` itself nothing counts as mounted yet.
        self.call_after_refresh(self.catch_up)

    def catch_up(self) -> None:
        """Read what is new and show it; a long history is read in turns."""
        super().catch_up()
        if not self.is_mounted:
            return
        before = self.record._tail.offset
        changed = self.record.refresh(_BYTES_A_TURN)
        if changed or not self._shown:
            self._shown = True
            self._show()
        if self.tab == "log":
            self.query_one(LogTail).catch_up()
        if self.record._tail.offset - before >= _BYTES_A_TURN:
            self.set_timer(_CATCH_UP_SECONDS, self.catch_up)

    def on_resize(self) -> None:
        super().on_resize()
        self._tell_header()

    def runs_changed(self) -> None:
        self.tell_bar()

    @property
    def tab(self) -> str:
        return str(self.query_one(ContentSwitcher).current)

    def _show(self) -> None:
        record = self.record
        self.curves.update(record)
        self.findings = diagnose.of_run(self.spectui.workspace, record)
        marks = self._marks()
        live = record.live
        self.query_one("#loss", Chart).show(self._loss_lines(), marks, live=live)
        rate = self.curves.get(self.quantity or "learning_rate")
        chart = self.query_one("#rate", Chart)
        chart.title = self.quantity or say("run.chart.rate")
        name = self.quantity or say("run.line.rate")
        nonfinite = [m for m in marks if m.kind == "nonfinite"]
        lowest = self.quantity not in ("", "learning_rate")
        drawn = [] if rate is None else [Line(name, rate, colour=3, lowest=lowest)]
        chart.show(drawn, nonfinite, live=live)
        self.query_one(AdviceBox).tell(self.findings)
        self.query_one(AdvicePane).tell(self.findings)
        self.set_class(bool(self.findings), "-advised")
        self._tell_header()

    def _loss_lines(self) -> list[Line]:
        """Return steps dim under the epochs' train and val, so that early steps already draw a curve."""
        lines = []
        batch, train, val = (self.curves.get(name) for name in ("batch_loss", "train_loss", "val_loss"))
        if batch is not None:
            dim = bool(train)
            lines.append(Line(say("run.line.batch"), batch, colour=6, dim=dim, letter="C" if dim else "A"))
        if train is not None:
            lines.append(Line(say("run.line.train"), train, colour=4, letter="A"))
        if val is not None:
            lines.append(Line(say("run.line.val"), val, colour=3, letter="B"))
        return lines

    def _marks(self) -> list[Mark]:
        marks = []
        bad = self.record.nonfinite
        if bad is not None:
            marks.append(
                Mark(
                    bad.step,
                    "nonfinite",
                    say("run.mark.nonfinite", what=bad.what, value=bad.value, step=bad.step),
                )
            )
        if self.record.best_step is not None:
            marks.append(Mark(self.record.best_step, "best", say("run.mark.best")))
        return marks

    def _tell_header(self) -> None:
        if not self.is_mounted:
            return
        record = self.record
        parts: list[str] = []
        if record.state == "starting" and record.phase:
            known = has(f"phase.{record.phase}")
            parts.append(say(f"phase.{record.phase}") if known else record.phase)
        if record.epochs:
            parts.append(say("run.epoch", epoch=record.epoch, epochs=record.epochs))
            parts.append(say("run.step", step=record.step, total=record.total_steps))
        if record.eta is not None:
            parts.append(say("run.eta", time=duration(record.eta)))
        elif record.duration is not None and not record.live:
            parts.append(say("run.took", time=duration(record.duration)))
        best = record.best.get("val_loss")
        if best is not None:
            parts.append(say("run.best", value=figure(best), epoch=record.best_epoch or "-"))
        if record.live and record.last_event_at:
            parts.append(say("run.data_age", time=duration(max(0.0, time.time() - record.last_event_at))))
        if record.device:
            parts.append(record.device)
        facts = [state_markup(record.state)]
        room = self.app.size.width - 2 - cell_len(state_words(record.state))
        for part in parts:
            # Whole facts or none: half a number would lie.
            room -= 2 + cell_len(part)
            if room < 0:
                break
            facts.append(_escape(part))
        head = f"[bold]{_escape(record.run_id)}[/]  {_escape(record.model)}"
        self.query_one("#run-header", Quiet).say(head + "\n" + "  ".join(facts))
        words = []
        for name in TABS:
            count = len(self.findings) if name == "advice" else 0
            word = f" {say(f'run.tab.{name}')}{f' ({count})' if count else ''} "
            style = "reverse bold" if name == self.tab else ("bold $error" if count else "")
            words.append(f"[{style}]{word}[/]" if style else word)
        self.query_one("#run-tabs", Quiet).say("│".join(words))

    def action_tab(self, by: int) -> None:
        self.action_show_tab(TABS[(TABS.index(self.tab) + by) % len(TABS)])

    def action_show_tab(self, name: str) -> None:
        self.query_one(ContentSwitcher).current = name
        if name == "log":
            self.query_one(LogTail).catch_up()
        if name != "charts":
            self.query_one(f"#{name}").focus()
        self._tell_header()

    def action_log_axis(self) -> None:
        self.query_one("#loss", Chart).toggle_log()

    def action_smooth(self) -> None:
        self.query_one("#loss", Chart).toggle_smooth()

    def action_quantity(self) -> None:
        """Show the next recorded quantity in the lower chart."""
        names = [
            "",
            *(
                n
                for n in self.curves.names()
                if n not in ("learning_rate", "batch_loss", "train_loss", "val_loss")
            ),
        ]
        self.quantity = names[(names.index(self.quantity) + 1) % len(names)] if self.quantity in names else ""
        self._show()

    def action_follow(self) -> None:
        log = self.query_one(LogTail)
        log.auto_scroll = not log.auto_scroll
        self.notify(say("run.following" if log.auto_scroll else "run.not_following"))

    def chosen(self) -> list[Record]:
        return [self.record]

    def action_copy(self) -> None:
        copy_run_id(self, self.record)


def _escape(text: str) -> str:
    return plain(text).replace("[", "\\[")
