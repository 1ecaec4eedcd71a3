"""The predictions of a run: one to one, residuals, errors per label, and the stars that are worst.

Reads predictions/<part>.csv in a thread, again when it changed. A star is opened in the spectrum viewer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from engine.cli.text import table
from engine.errors import BadInput
from engine.runs import predictions as run_predictions
from engine.runs.predictions import Predictions
from engine.runs.record import Record
from engine.spectra import label_units
from engine.words import say
from tui import keys
from tui.widgets import scatter
from tui.widgets.bars import Quiet
from tui.widgets.plain import fit
from tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from tui.app import SpectuiApp
    from tui.widgets.reading import Reading

_MOST_WORST = 200
_ERRORS = ("n", "mae", "bias", "sigma_mad", "r2")


class WorstStars(RowList):
    """Stars by the size of their error, the greatest first."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.told: list[tuple[str, str, str, str]] = []
        """obsid, error, truth, prediction"""
        self.longest = 0

    def row(self, number: int) -> Text:
        obsid, error, truth, predicted = self.told[number]
        text = Text(no_wrap=True)
        text.append(fit(obsid, self.longest)).append(fit(error, 8, right=True), "bold")
        return text.append(f"  {truth}→{predicted}", "dim")


class Plot(Quiet):
    """A drawing that is made for the room there is, again when that changes."""

    draw: Callable[[int, int], Text] | None = None

    def show(self, draw: Callable[[int, int], Text]) -> None:
        self.draw = draw
        self.on_resize()

    def on_resize(self) -> None:
        width, height = self.content_size
        if self.draw is not None and width >= scatter.LEAST[0] and height >= scatter.LEAST[1]:
            self.say(self.draw(width, height))


class PredictionsPane(Vertical):
    """Two scatter plots over a table of errors and the worst stars."""

    where: ClassVar[str] = "predictions"
    BINDINGS = keys.bindings("predictions")
    DEFAULT_CSS = """
    PredictionsPane #predictions-facts { height: 1; padding: 0 1; }
    PredictionsPane #predictions-plots { height: 1fr; }
    PredictionsPane #predictions-plots Plot { width: 1fr; height: 1fr; padding: 0 1; }
    PredictionsPane #predictions-below { height: 8; border-top: solid $panel; }
    PredictionsPane #predictions-errors {
        width: 45; height: 1fr; padding: 0 1; overflow-y: auto; text-wrap: nowrap;
    }
    PredictionsPane #predictions-stars { width: 1fr; border-left: solid $panel; }
    PredictionsPane.-none #predictions-plots, PredictionsPane.-none #predictions-below { display: none; }
    .-tall PredictionsPane #predictions-below { height: 14; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.record: Record | None = None
        self.parts: list[str] = []
        self.found: dict[str, Predictions] = {}
        self.part = ""
        self.label = 0
        self.problem = ""
        self._stamps: dict[str, int] = {}
        self._reading: Reading | None = None

    def compose(self) -> ComposeResult:
        yield Quiet(id="predictions-facts")
        with Horizontal(id="predictions-plots"):
            yield Plot(id="one-to-one")
            yield Plot(id="residuals")
        with Horizontal(id="predictions-below"):
            yield Quiet(id="predictions-errors")
            yield WorstStars(id="predictions-stars")

    @property
    def spectui(self) -> SpectuiApp:
        """Return the app, typed."""
        return self.app  # type: ignore[return-value]

    @property
    def stars(self) -> WorstStars:
        return self.query_one(WorstStars)

    @property
    def shown(self) -> Predictions | None:
        """Return the part that is shown."""
        return self.found.get(self.part)

    def focus_rows(self) -> None:
        """Give the keys to the list of stars."""
        self.stars.focus()

    def tell(self, record: Record) -> None:
        """Look whether there are predictions, and read those that are new."""
        self.record = record
        if record.stored is None:
            self._read()
        self._show()

    @work(thread=True, exclusive=True, group="predictions", exit_on_error=False)
    def _read(self) -> None:
        if self.record is None:
            return
        folder = self.record.folder
        parts = run_predictions.parts(folder)
        read: dict[str, Predictions] = {}
        problem = ""
        for part in parts:
            try:
                stamp = (folder.predictions / f"{part}.csv").stat().st_mtime_ns
                if self._stamps.get(part) != stamp:
                    read[part] = run_predictions.read(folder, part)
                    self._stamps[part] = stamp
            except BadInput as error:
                problem = error.lines[0]
            except OSError as error:
                problem = str(error)
        if self.is_mounted and self.app.is_running:
            self.app.call_later(self._was_read, parts, read, problem)

    def _was_read(self, parts: list[str], read: dict[str, Predictions], problem: str) -> None:
        changed = (parts, problem) != (self.parts, self.problem) or bool(read)
        self.parts, self.problem = parts, problem
        self.found.update(read)
        if self.part not in self.found:
            self.part = next((part for part in parts if part in self.found), "")
        if changed and self.is_mounted:
            self._show()

    def _show(self) -> None:
        if not self.is_mounted:
            return
        found = self.shown
        self.set_class(found is None, "-none")
        if found is None:
            self.query_one("#predictions-facts", Quiet).say(Text(self._why_none()))
            self.query_one("#predictions-facts").styles.height = "auto"
            return
        self.query_one("#predictions-facts").styles.height = 1
        self.label = min(self.label, len(found.labels) - 1)
        label = found.labels[self.label]
        unit = label_units.unit(label)
        named = f"{label} [{unit}]" if unit else label
        part = say(f"predictions.part.{found.part}") if found.part in run_predictions.PARTS else found.part
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(named, "bold").append(f"  {self.label + 1}/{len(found.labels)}", "dim")
        text.append("  " + say("predictions.stars", part=part, count=len(found.obsids)))
        if len(self.parts) > 1:
            text.append("  " + say("predictions.other_part"), "dim")
        self.query_one("#predictions-facts", Quiet).say(text)
        self._plot(found)
        self.query_one("#predictions-errors", Quiet).say(self._errors(found))
        worst = found.worst(self.label, _MOST_WORST)
        self.stars.told = [
            (
                found.obsids[row],
                f"{error:+.3g}" if abs(error) < 1000 else f"{error:+.0f}",
                f"{found.truth[row, self.label]:.5g}",
                f"{found.predicted[row, self.label]:.5g}",
            )
            for row, error in worst
        ]
        self.stars.longest = min(16, max((len(obsid) for obsid, *_ in self.stars.told), default=0))
        self.stars.show(len(worst), empty=say("figure.empty"))

    def _why_none(self) -> str:
        record = self.record
        if self.problem:
            return self.problem
        if record is not None and record.stored is not None:
            return say("predictions.stored")
        if record is not None and record.live:
            return say("predictions.later")
        return say("predictions.never")

    def _plot(self, found: Predictions) -> None:
        _, truth, predicted = found.pairs(self.label)
        both = scatter.fitted(truth, predicted)
        error = predicted - truth
        sigma = found.errors(self.label).get("sigma_mad", 0.0)
        up = scatter.fitted(error)
        low, high = min(up[0], -sigma * 3.2), max(up[1], sigma * 3.2)
        across = scatter.fitted(truth)

        def one_to_one(width: int, height: int) -> Text:
            title = say("predictions.one_to_one")
            return scatter.scatter(
                truth, predicted, width, height, title=title, across=both, up=both, slope=1.0
            )

        def residuals(width: int, height: int) -> Text:
            title, levels = say("predictions.residuals"), (0.0, 3 * sigma, -3 * sigma)
            return scatter.scatter(
                truth, error, width, height, title=title, across=across, up=(low, high), levels=levels,
                colour="yellow",
            )  # fmt: skip

        self.query_one("#one-to-one", Plot).show(one_to_one if truth.size else scatter.empty)
        self.query_one("#residuals", Plot).show(residuals if truth.size else scatter.empty)

    def _errors(self, found: Predictions) -> Text:
        rows = []
        for place, label in enumerate(found.labels):
            errors = found.errors(place)
            cells = [f"{errors[name]:.3g}" if name in errors else "-" for name in _ERRORS]
            rows.append([f"{'▸' if place == self.label else ' '} {label}", *cells])
        lines = table(["  " + say("predictions.label"), "n", "MAE", "bias", "σ_MAD", "R²"], rows)
        text = Text(no_wrap=True)
        for place, line in enumerate(lines):
            text.append(line + "\n", "dim" if not place else "bold" if place - 1 == self.label else "")
        return text

    def action_label(self, by: int = 1) -> None:
        """Show the next label."""
        if self.shown is not None:
            self.label = (self.label + by) % len(self.shown.labels)
            self.stars.cursor = 0
            self._show()

    def action_part(self) -> None:
        """Show the other part of the data set."""
        there = [part for part in self.parts if part in self.found]
        if len(there) > 1:
            self.part = there[(there.index(self.part) + 1) % len(there)]
            self.stars.cursor = 0
            self._show()
        elif there:
            self.notify(say("predictions.one_part"))

    def obsid(self) -> str:
        """Return the star under the cursor."""
        return self.stars.told[self.stars.cursor][0] if self.shown and self.stars.told else ""

    @on(RowList.RowClicked)
    def action_open(self) -> None:
        """Open the spectrum of the star under the cursor."""
        if self.obsid() and self.record is not None:
            self._open(self.record, self.obsid())

    @work(thread=True, exclusive=True, group="predictions-open", exit_on_error=False)
    def _open(self, record: Record, obsid: str) -> None:
        """Find the data set of the run, open the viewer on it, and read; the viewer says how far that is."""
        from engine.conf.load import from_plain
        from engine.spectra import layout
        from engine.spectra.facts_sets import DataSet
        from tui.widgets.reading import Reading

        workspace = self.spectui.workspace
        try:
            conf = from_plain(workspace, record.conf(), record.run_id).data
            folder = layout.resolve(workspace, conf.path)
        except BadInput as error:
            self.app.call_later(self._no_data, error.lines[0])
            return
        reading = Reading(DataSet(conf.path, folder, conf, record.source, 0, 0, 0.0))
        self.app.call_later(self._opened, reading, obsid)
        reading.run(workspace)

    def _no_data(self, why: str) -> None:
        self.notify(why, severity="error", markup=False)

    def _opened(self, reading: Reading, obsid: str) -> None:
        from tui.screens.spectrum import SpectrumScreen

        self._reading = reading
        self.app.push_screen(SpectrumScreen(reading, obsid))

    def on_unmount(self) -> None:
        # the app waits for its threads: one that reads a large table must not hold up its end
        if self._reading is not None:
            self._reading.stop()
