"""Compare: marked runs on one axis, only the parameters that differ, and their errors."""

from __future__ import annotations

from itertools import cycle
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import ScrollableContainer
from textual.widgets import Static

from engine.cli.inspect import comparison
from engine.cli.text import figure, table
from engine.runs.record import Record
from engine.track import listing
from engine.words import say
from tui import keys
from tui.charts import Chart, Line, Mark
from tui.charts.lines import LETTERS
from tui.screens.base import Place
from tui.theme import state_words
from tui.widgets.curves import Curves
from tui.widgets.plain import fit, harmless, plain

_QUANTITIES = ("val_loss", "train_loss", "batch_loss", "learning_rate", "gradient_norm")
_BYTES_A_TURN = 400_000
_LEAST_CELL = 8


class CompareScreen(Place):
    """Two or more runs side by side."""

    where: ClassVar[str] = "compare"
    mode: ClassVar[str] = "compare"
    BINDINGS = keys.bindings("compare")

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, Record] = {}
        self.curves: dict[str, Curves] = {}
        self.quantity = _QUANTITIES[0]

    def compose_body(self) -> ComposeResult:
        yield Static(id="compare-hint")
        yield Chart(self.quantity, id="overlay")
        with ScrollableContainer(id="tables"):
            yield Static(id="tables-text")

    def on_mount(self) -> None:
        self.query_one("#tables").focus()
        self.set_interval(self.spectui.poll_seconds, self._poll)

    def _poll(self) -> None:
        if self.is_current and any(record.live for record in self.records.values()):
            self.catch_up()

    def catch_up(self) -> None:
        super().catch_up()
        if not self.is_mounted:
            return
        wanted = [row for row in self.spectui.feed.rows if row.run_id in self.spectui.marked]
        self.records = {row.run_id: self.records.get(row.run_id) or self._open(row) for row in wanted}
        self.curves = {run_id: self.curves.get(run_id) or Curves() for run_id in self.records}
        for run_id, record in self.records.items():
            record.refresh(_BYTES_A_TURN)
            self.curves[run_id].update(record)
        enough = len(self.records) >= 2
        hint = self.query_one("#compare-hint", Static)
        hint.display = not enough
        hint.update(say("compare.empty"))
        self.query_one("#overlay").display = enough
        self.query_one("#tables").display = enough
        if enough:
            self._show()

    def _open(self, row: Record) -> Record:
        if row.stored is not None:
            return listing.find(self.spectui.workspace, row.run_id)
        record = Record(row.folder.path)
        record.refresh(_BYTES_A_TURN)
        return record

    def _show(self) -> None:
        records = list(self.records.values())
        names = _short_names(records)
        lines, marks = [], []
        for letter, name, record in zip(cycle(LETTERS), names, records, strict=False):
            series = self.curves[record.run_id].get(self.quantity)
            if series is not None:
                lines.append(Line(name, series, letter=letter))
            if record.nonfinite is not None:
                bad = record.nonfinite
                what = say("run.mark.nonfinite", what=bad.what, value=bad.value, step=bad.step)
                marks.append(Mark(bad.step, "nonfinite", f"{letter} {what}"))
        chart = self.query_one("#overlay", Chart)
        chart.title = self.quantity
        chart.show(lines, marks, live=any(record.live for record in records))
        self.query_one("#tables-text", Static).update(harmless(self._tables(records)))

    def _tables(self, records: list[Record]) -> Text:
        letters = [letter for letter, _ in zip(cycle(LETTERS), records, strict=False)]
        both = comparison(records)
        text = Text(no_wrap=True)
        for letter, record in zip(letters, records, strict=False):
            text.append(
                f"{letter} {record.run_id}  {state_words(record.state)}\n",
                "bold" if not record.nonfinite else "bold red",
            )
        text.append(f"\n{say('compare.params')}\n", "bold cyan")
        if both["params"]:
            room = self.query_one("#tables").size.width - max(cell_len(key) for key in both["params"]) - 4
            most = max(_LEAST_CELL, room // len(records) - 2)
            rows = [[key, *(_cut(figure(v), most) for v in values)] for key, values in both["params"].items()]
            for line in table(["", *letters], rows):
                text.append(line + "\n")
        else:
            text.append(say("compare.same_params") + "\n", "dim")
        text.append(f"\n{say('compare.metrics')}\n", "bold cyan")
        rows = [[key, *_best_marked(values)] for key, values in both["metrics"].items() if _shown(key)]
        for line in table(["", *letters], rows) if rows else [say("compare.no_metrics")]:
            text.append(line + "\n")
        return text

    def action_quantity(self) -> None:
        """Show the next quantity that any of the runs has."""
        names = [q for q in _QUANTITIES if any(c.get(q) for c in self.curves.values())]
        names += sorted({n for c in self.curves.values() for n in c.names()} - set(names))
        if names:
            self.quantity = (
                names[(names.index(self.quantity) + 1) % len(names)] if self.quantity in names else names[0]
            )
            self.catch_up()

    def action_log_axis(self) -> None:
        self.query_one(Chart).toggle_log()

    def action_smooth(self) -> None:
        self.query_one(Chart).toggle_smooth()

    def action_zoom(self, factor: float) -> None:
        self.query_one(Chart).zoom(factor)

    def action_pan(self, fraction: float) -> None:
        self.query_one(Chart).pan(fraction)

    def action_fit(self) -> None:
        self.query_one(Chart).fit()


def _short_names(records: list[Record]) -> list[str]:
    """Return what the legend calls the runs: their names while these differ, else the ends of their ids."""
    names = [plain(record.name) for record in records]
    if len(set(names)) == len(names):
        return names
    return [record.run_id if record.stored is not None else record.run_id[-11:] for record in records]


def _cut(text: str, width: int) -> str:
    text = plain(text)
    return fit(text, width) if cell_len(text) > width else text


def _shown(key: str) -> bool:
    return key.endswith(("_mae", "loss")) and "mean_mae" not in key


def _best_marked(values: list[float | None]) -> list[str]:
    """Return the values as text, the lowest with a '*'."""
    known = [v for v in values if v is not None and v == v]
    best = min(known, default=None)
    return [f"{figure(v)}{'*' if v is not None and v == best and len(known) > 1 else ''}" for v in values]
