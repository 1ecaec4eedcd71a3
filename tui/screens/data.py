"""Data: the data sets of a workspace, with the report and the labels of the one under the cursor."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.geometry import Size
from textual.timer import Timer
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.spectra.check_words import GLYPHS, format_report, size_words, wrapped
from engine.spectra.facts_sets import DataSet, data_sets, described, stars_in
from engine.words import say
from tui import keys
from tui.screens.base import Place
from tui.widgets.bars import Quiet
from tui.widgets.label_figures import histograms, kiel
from tui.widgets.reading import Reading

_COLOURS = {"error": "bold red", "warning": "yellow", "info": "dim"}
_PAUSE = 0.4  # the cursor rests this long before a set is read
_POLL = 0.25
_LARGE = 500_000_000  # bytes of tables that are not read unless asked
_KIEL_ROWS = (14, 24)


class SetList(OptionList):
    """The list of data sets, with the keys of every list."""

    BINDINGS = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
        Binding("g", "first", show=False),
        Binding("G", "last", show=False),
    ]


class Pane(VerticalScroll):
    """A text that scrolls, with the keys of every list."""

    BINDINGS = [
        Binding("j", "scroll_down", show=False),
        Binding("k", "scroll_up", show=False),
        Binding("ctrl+d", "page_down", show=False),
        Binding("ctrl+u", "page_up", show=False),
        Binding("g", "scroll_home", show=False),
        Binding("G", "scroll_end", show=False),
    ]


class DataScreen(Place):
    """The data sets, checked."""

    where: ClassVar[str] = "data"
    mode: ClassVar[str] = "data"
    BINDINGS = keys.bindings("data")

    def __init__(self) -> None:
        super().__init__()
        self.sets: list[DataSet] = []
        self.stars: dict[str, int | None] = {}
        self.readings: dict[str, Reading] = {}
        self.looked = False
        self._rest: Timer | None = None
        self._made_of: object = None

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="data"):
            with Vertical(id="data-list"):
                yield Static(say("datasets.title"), classes="heading")
                yield SetList(id="sets", compact=True)
            with Pane(id="data-report"):
                yield Quiet(id="report-text")
            with Pane(id="data-figures"):
                yield Quiet(id="figures-text")

    def on_mount(self) -> None:
        self.query_one("#sets").focus()
        self.set_interval(_POLL, self._poll)

    def on_unmount(self) -> None:
        # the app waits for its threads: one that reads a large table must not hold up its end
        for reading in self.readings.values():
            reading.stop()

    def catch_up(self) -> None:
        super().catch_up()
        self._show()

    def on_screen_resume(self) -> None:
        # Textual calls this of `Place` as well
        self.look()

    def runs_changed(self) -> None:
        self.tell_bar()

    @work(thread=True, exclusive=True, group="look", exit_on_error=False)
    def look(self) -> None:
        """Find the data sets and count their stars: headers and label tables only."""
        found = data_sets(self.spectui.workspace)
        counts = {s.name: None if s.problem else stars_in(self.spectui.workspace, s) for s in found}
        self.app.call_from_thread(self._found, found, counts)

    def _found(self, found: list[DataSet], counts: dict[str, int | None]) -> None:
        known = {dataset.name: dataset for dataset in self.sets}
        for dataset in found:
            if known.get(dataset.name, dataset) != dataset and dataset.name in self.readings:
                self.readings.pop(dataset.name).stop()
        if (found, counts) == (self.sets, self.stars) and self.looked:
            return
        before = self.current
        self.sets, self.stars, self.looked = found, counts, True
        options = self.query_one("#sets", OptionList)
        options.clear_options()
        options.add_options([Option(self._entry(dataset), id=f"s{i}") for i, dataset in enumerate(found)])
        names = [dataset.name for dataset in found]
        if names:
            options.highlighted = names.index(before.name) if before and before.name in names else 0
        self._show()

    def _entry(self, dataset: DataSet) -> Text:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(dataset.name, "bold red" if dataset.problem else "bold")
        return text.append("  " + described(dataset, self.stars.get(dataset.name)), "dim")

    @property
    def current(self) -> DataSet | None:
        """Return the data set under the cursor."""
        place = self.query_one("#sets", OptionList).highlighted if self.is_mounted else None
        return self.sets[place] if place is not None and place < len(self.sets) else None

    @property
    def reading(self) -> Reading | None:
        """Return what is known of the set under the cursor."""
        return self.readings.get(self.current.name) if self.current else None

    @on(OptionList.OptionHighlighted)
    def _highlighted(self) -> None:
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(_PAUSE, self._rested)
        self._show()

    def _rested(self) -> None:
        dataset = self.current
        if dataset and dataset.name not in self.readings and not dataset.problem and dataset.bytes < _LARGE:
            self.read(Reading(dataset))

    def read(self, reading: Reading) -> None:
        """Begin to read a set; the fluxes of any other are let go."""
        for name, other in list(self.readings.items()):
            other.stop()
            if other.report is None:
                del self.readings[name]
        self.readings[reading.dataset.name] = reading
        reading.running = True
        self._work(reading)

    @work(thread=True, group="read", exit_on_error=False)
    def _work(self, reading: Reading) -> None:
        reading.run(self.spectui.workspace)

    def _poll(self) -> None:
        if self.is_current:
            self._show()

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        """Draw what stands beside the list, if anything that it is made of changed."""
        if not self.is_mounted:
            return
        dataset, reading = self.current, self.reading
        panes = [self.query_one(f"#{name}") for name in ("data-report", "data-figures")]
        sizes = [pane.content_size if pane.display else Size(0, 0) for pane in panes]
        told = reading and (id(reading), reading.report is not None, reading.progress(), *reading.problem)
        stars = self.stars.get(dataset.name) if dataset else None
        made_of = (self.looked, dataset, stars, told, *sizes)
        if made_of == self._made_of:
            return
        self._made_of = made_of
        if sizes[0]:
            self.query_one("#report-text", Quiet).say(self._report(max(30, sizes[0].width - 2)))
        if sizes[1]:
            figures = self._figures(max(24, sizes[1].width - 2), sizes[1].height)
            self.query_one("#figures-text", Quiet).say(figures)

    def _report(self, width: int) -> Text:
        dataset, reading = self.current, self.reading
        if dataset is None:
            return Text(say("datasets.none" if self.looked else "datasets.looking"), "dim")
        text = Text().append(dataset.name, "bold")
        source = say("datasets.conf", conf=dataset.source) if dataset.source else say("datasets.default_conf")
        text.append(f"  {described(dataset, self.stars.get(dataset.name))}  {source}\n", "dim")
        problems = [dataset.problem] if dataset.problem else reading.problem if reading else []
        for line in problems:
            text.append(f"{GLYPHS['error']} {line}\n", "bold red")
        if problems:
            return text
        if reading is None:
            large = dataset.bytes >= _LARGE
            return text.append(say("datasets.large", size=size_words(dataset.bytes)) if large else "…", "dim")
        if reading.report is None:
            return text.append(reading.progress(), "cyan")
        return text.append_text(_report_text(reading.report, width))

    def _figures(self, width: int, height: int) -> Text:
        reading = self.reading
        if reading is None or reading.report is None:
            return Text()
        text = kiel(reading.stars, width, max(_KIEL_ROWS[0], min(_KIEL_ROWS[1], height)))
        return text.append("\n").append_text(histograms(reading.report, width))

    @on(OptionList.OptionSelected)
    def action_open(self) -> None:
        """Open the spectra of the set; they are waited for on their own screen."""
        from tui.screens.spectrum import SpectrumScreen

        dataset, reading = self.current, self.reading
        if dataset is None or dataset.problem:
            return
        if reading is None:
            self.read(reading := Reading(dataset))
        elif reading.facts is None and not reading.running and not reading.problem:
            self.read(reading := reading.again())
        self.app.push_screen(SpectrumScreen(reading))

    def action_next_pane(self) -> None:
        """Go from the list to the report, to the labels, and back; what has no room takes the other's."""
        order = ["sets", "data-report", "data-figures"]
        at = order.index(self.focused.id) if self.focused is not None and self.focused.id in order else -1
        chosen = order[(at + 1) % len(order)]
        if chosen != "sets":
            self.set_class(chosen == "data-figures", "-figures")
        # a pane that is not shown yet takes no focus
        self.call_after_refresh(self._go_to, chosen)

    def _go_to(self, pane: str) -> None:
        self.query_one(f"#{pane}").focus()
        self._show()

    def action_refresh_now(self) -> None:
        """Look at the folders again, and read the set under the cursor anew."""
        dataset = self.current
        self.look()
        if dataset is not None and not dataset.problem:
            self.read(Reading(dataset))
            self._show()

    def action_copy(self) -> None:
        if self.current is not None:
            self.app.copy_to_clipboard(str(self.current.folder))
            self.notify(str(self.current.folder), title=say("app.copied"), markup=False)


def _report_text(report: dict[str, object], width: int) -> Text:
    """Return the report: problems first in words, glyph and colour, then the counts."""
    text = Text()
    problems: list[dict[str, str]] = report["problems"]  # type: ignore[assignment]
    counts = {grade: sum(p["severity"] == grade for p in problems) for grade in GLYPHS}
    if counts["error"] or counts["warning"]:
        words = say("datasets.problems", errors=counts["error"], warnings=counts["warning"])
        text.append(words + "\n", "bold red" if counts["error"] else "bold yellow")
    else:
        text.append(say("datasets.nothing_wrong") + "\n", "bold green")
    for problem in problems:
        for piece in wrapped(f"{GLYPHS[problem['severity']]} {problem['text']}", width):
            text.append(f"{piece}\n", _COLOURS[problem["severity"]])
    for line in format_report(report, with_problems=False, width=width):
        text.append(f"{line}\n")
    return text
