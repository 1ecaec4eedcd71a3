"""The spectrum viewer: one star after another, both branches on one wavelength axis, lines labelled."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from engine.errors import BadInput
from engine.spectra import BRANCHES
from engine.spectra import lines as spectral
from engine.words import say
from tui import keys
from tui.charts import Chart, Frame
from tui.screens.zoomed import Zoomed
from tui.widgets.bars import Quiet
from tui.widgets.spectrum_curves import curves, line_marks

if TYPE_CHECKING:
    from engine.spectra.facts import Facts
    from tui.widgets.reading import Reading

_POLL = 0.1
_GUTTER = 8
_TALL = 32  # rows from which both branches have labels of lines


class SpectrumScreen(Zoomed):
    """The stars of one data set, one at a time."""

    where: ClassVar[str] = "spectrum"
    mode: ClassVar[str] = "data"
    BINDINGS = keys.bindings("spectrum")
    AUTO_FOCUS = ""

    def __init__(self, reading: Reading, obsid: str = "") -> None:
        super().__init__()
        self.reading = reading
        self.obsid = obsid
        """The star to begin with; the first when there is no such star."""
        self.facts: Facts | None = None
        self.rows: list[int] = []
        """The stars that are stepped through: all, or those that the expression chose."""
        self.place = 0
        self.expression = ""
        self.held: int | None = None
        """The star that is laid over the others."""
        self.lines = True
        self.frame: spectral.Frame = "vacuum"

    def compose_body(self) -> ComposeResult:
        yield Quiet(id="star-header")
        with Vertical(id="branches"):
            for branch in BRANCHES:
                yield Chart(say(f"spectrum.branch.{branch}"), id=f"branch-{branch}")
        yield Input(placeholder=say("spectrum.hint"), id="star-search", compact=True)

    def on_mount(self) -> None:
        self.query_one("#star-search").display = False
        self.query_one("#branches").display = False
        self._timer = self.set_interval(_POLL, self._wait)
        self._wait()

    def runs_changed(self) -> None:
        self.tell_bar()

    def _wait(self) -> None:
        """Look whether the spectra are there; until then say how far they are."""
        if self.facts is not None:
            return
        if self.reading.facts is None:
            words = self.reading.problem or [self.reading.progress(), say("datasets.wait")]
            style = "bold red" if self.reading.problem else "cyan"
            self.query_one("#star-header", Quiet).say(Text("\n".join(words), style))
            return
        self._timer.stop()
        self.facts = self.reading.facts
        self.rows = list(range(len(self.facts)))
        told = (self.reading.report or {}).get("frame")
        if told and told["guess"] == "air":
            self.frame = "air"
        for branch in BRANCHES:
            self.query_one(f"#branch-{branch}").display = branch in self.facts.branches
        self.query_one("#branches").display = True
        if self.obsid:
            try:
                self._choose(self.obsid)
            except BadInput as error:
                self.notify(error.lines[0], severity="warning", markup=False)
        self._show()

    @property
    def star(self) -> int:
        """Return the row of the star that is shown."""
        return self.rows[self.place]

    def on_resize(self) -> None:
        # Textual calls this of `Place` as well
        self._show()

    def _show(self) -> None:
        if self.facts is None or not self.is_mounted:
            return
        facts, stars = self.facts, [self.star]
        if self.held is not None and self.held != self.star:
            stars.append(self.held)
        rv = facts.number("rv", self.star)
        ends = float(facts.wavelength[0]), float(facts.wavelength[-1])
        places = line_marks(*ends, self.frame, rv if rv == rv else 0.0) if self.lines else []
        counts: dict[str, int] = {}
        for branch in facts.branches:
            chart = self.query_one(f"#branch-{branch}", Chart)
            last = branch == facts.branches[-1]
            rows = (2 if self.size.height >= _TALL else 1) if last or self.size.height >= _TALL else 0
            chart.frame = Frame(True, _GUTTER, x_axis=last, label_rows=rows if self.lines else 0)
            drawn, bad, found = curves(facts, self.reading.dataset.conf.clip, branch, stars)
            chart.show(drawn, [*places, *bad], live=False)
            counts = {name: counts.get(name, 0) + count for name, count in found.items()}
        self._tell(counts)

    def _tell(self, counts: dict[str, int]) -> None:
        assert self.facts is not None
        facts, star = self.facts, self.star
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{facts.obsid[star]}", "bold")
        name = facts.columns.get("name")
        if name is not None and name.dtype.kind in "US":
            text.append(f"  {name[star]}", "dim")
        for key in (*facts.targets, "snr", "rv"):
            value = facts.number(key, star)
            if key in facts.targets or value == value:
                text.append(f"  {key} ", "dim").append(f"{value:g}" if value == value else "-")
        text.append("\n")
        text.append(say("spectrum.place", place=self.place + 1, count=len(self.rows)), "bold")
        if self.expression:
            text.append("  " + say("spectrum.chosen", expression=self.expression), "yellow")
        if self.lines:
            text.append("  " + say("spectrum.frame_words", frame=say(f"spectrum.frame.{self.frame}")), "cyan")
        else:
            text.append("  " + say("spectrum.lines_off"), "dim")
        if self.held is not None:
            text.append("  " + say("spectrum.overlay", obsid=facts.obsid[self.held]), "yellow")
        bad = {name: count for name, count in counts.items() if count}
        for kind, count in bad.items():
            style = "bold red" if kind == "nonfinite" else "bold yellow" if kind == "clipped" else "cyan"
            text.append("  " + say(f"spectrum.told.{kind}", pixels=count), style)
        if not bad:
            text.append("  " + say("spectrum.told.fine"), "dim")
        self.query_one("#star-header", Quiet).say(text)

    def action_step(self, by: int) -> None:
        """Go to another star; at an end, say so."""
        if self.facts is None:
            return
        place = self.place + by
        if not 0 <= place < len(self.rows):
            self.notify(say("spectrum.first" if by < 0 else "spectrum.last"))
            return
        self.place = place
        self._show()

    def action_edge(self, end: int) -> None:
        if self.facts is not None:
            self.place = len(self.rows) - 1 if end else 0
            self._show()

    def action_search(self) -> None:
        box = self.query_one("#star-search", Input)
        box.display = True
        box.value = self.expression
        box.focus()

    @on(Input.Submitted, "#star-search")
    def _searched(self, event: Input.Submitted) -> None:
        self._leave_search()
        if self.facts is None:
            return
        try:
            self._choose(event.value.strip())
        except BadInput as error:
            self.notify(error.lines[0], severity="warning", markup=False)
        self._show()

    def _choose(self, words: str) -> None:
        """Go to an obsid, or step through the stars that an expression chooses; nothing chooses all.

        Raises:
            BadInput: an expression that cannot be read, or that no star fits; nothing is changed.
        """
        from engine.spectra import facts as reading
        from engine.spectra.facts_select import select

        assert self.facts is not None
        before = self.star
        exact = (self.facts.obsid.astype(str) == words).nonzero()[0].tolist()
        if exact:
            if exact[0] not in self.rows:
                self.rows, self.expression = list(range(len(self.facts))), ""
            self.place = self.rows.index(exact[0])
            return
        chosen = select(self.facts, words).tolist()
        if not chosen:
            if words.isalnum():
                reading.find(self.facts, words)  # raises, with the near misses
            raise BadInput(say("spectrum.none_match", expression=words))
        self.rows, self.expression = chosen, words
        self.place = chosen.index(before) if before in chosen else 0

    def _leave_search(self) -> None:
        self.query_one("#star-search").display = False
        self.set_focus(None)

    async def action_back(self) -> None:
        """Leave the search, then the choice of stars, then the screen."""
        if self.query_one("#star-search").display:
            self._leave_search()
        elif self.expression and self.facts is not None:
            star = self.star
            self.rows, self.expression, self.place = list(range(len(self.facts))), "", star
            self._show()
        else:
            await self.spectui.action_back()

    def action_lines(self) -> None:
        self.lines = not self.lines
        self._show()

    def action_frame(self) -> None:
        """Place the lines at their air or vacuum wavelengths: which fits says what the table is in."""
        self.frame = "air" if self.frame == "vacuum" else "vacuum"
        self.lines = True
        self._show()

    def action_overlay(self) -> None:
        """Keep this star over the next ones; again, let it go."""
        if self.facts is None:
            return
        self.held = self.star if self.held is None else None
        self._show()

    def action_copy(self) -> None:
        if self.facts is not None:
            obsid = str(self.facts.obsid[self.star])
            self.app.copy_to_clipboard(obsid)
            self.notify(obsid, title=say("app.copied"), markup=False)
