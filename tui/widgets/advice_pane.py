"""The Advice tab: what is wrong with a run, and the keys that act on it.

Up and down go through findings, stars and remedies. A remedy is opened in the launch form or launched at once
as a child of the run, which is asked first; several marked ones are a small race. Finds nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.strip import Strip

from engine.diagnose import relaunch, shown
from engine.errors import BadInput
from engine.runs import acts
from engine.runs.record import Record
from engine.words import say
from tui import keys
from tui.advising import Told, Tried, tries
from tui.screens.confirm import Confirm
from tui.widgets import advice_rows as drawing
from tui.widgets.advice_rows import Rows, Stop
from tui.widgets.opens_stars import OpensStars
from tui.widgets.row_list import RowList

_GUTTER = 2
_WAIT = "w"


class AdvicePane(RowList, OpensStars):
    """Every finding; the chosen one in full."""

    where: ClassVar[str] = "advice"
    BINDINGS = keys.bindings("advice")

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.record: Record | None = None
        self.told = Told()
        self.tried: Sequence[Tried] = ()
        self.marked: dict[str, None] = {}
        """Addresses of remedies, in the order in which they were marked."""
        self.stop: Stop | None = None
        self._rows = Rows([], {})

    def tell(self, record: Record, told: Told, tried: Sequence[Tried]) -> None:
        """Show what is found; the cursor stays on its remedy, the marks on theirs."""
        before = self._named(self.stop)
        self.record, self.told, self.tried = record, told, tried
        able = {one.address for one in told.choices()}
        self.marked = {address: None for address in self.marked if address in able}
        there = drawing.stops(told)
        self.stop = next((one for one in there if self._named(one) == before), there[0] if there else None)
        self._lay_out()

    def _named(self, stop: Stop | None) -> tuple[str, str, int] | None:
        if stop is None or stop.finding >= len(self.told.findings):
            return None
        return self.told.findings[stop.finding].id, stop.kind, stop.number

    def _lay_out(self) -> None:
        chosen = -1 if self.stop is None else self.stop.finding
        width = (self.width or self.app.size.width) - _GUTTER
        self._rows = drawing.laid_out(self.told, self.tried, chosen, self.marked, width)
        at = 0 if self.stop is None else self._rows.places[self.stop][0]
        self.show(len(self._rows.lines), cursor=at)

    # -- the rows --------------------------------------------------------------------------------------

    def row(self, number: int) -> Text:
        return self._rows.lines[number]

    def drawn(self, number: int, text: Text, first: bool = True) -> Strip:
        if self.stop is None:
            return self.strip(Text(" " * _GUTTER) + text, self.rich_style)
        return super().drawn(number, text, first)

    def keep_in_view(self) -> None:
        """Show all of what the cursor stands on, its first row at least."""
        if not self.size.height or self.stop is None:
            return
        first, last = self._rows.places.get(self.stop, (0, 0))
        if self.stop.kind == "finding" and self.stop.finding == 0:
            first = 0  # what was tried stands above it
        height, top = self.size.height, round(self.scroll_offset.y)
        wanted = min(first, max(top, last - height + 1))
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, force=True, immediate=True)

    def on_resize(self) -> None:
        self._lay_out()

    def on_click(self, event: events.Click) -> None:
        """Choose what was clicked."""
        event.prevent_default()
        number = self.number_at(event.y)
        for stop, (first, last) in self._rows.places.items():
            if number is not None and first <= number <= last:
                self._stand_on(stop)
                return

    def _stand_on(self, stop: Stop) -> None:
        self.stop = stop
        self._lay_out()

    def action_move(self, by: int) -> None:
        there = drawing.stops(self.told)
        if self.stop is not None:
            at = there.index(self.stop) + by
            if 0 <= at < len(there):
                self._stand_on(there[at])
            else:
                self.action_page(by)  # what lies before the first and behind the last is to be read only

    def action_page(self, by: int) -> None:
        self.scroll_relative(y=by * max(1, self.size.height - 1), animate=False)

    def action_edge(self, end: int) -> None:
        there = drawing.stops(self.told)
        if there:
            self._stand_on(there[-1 if end else 0])

    # -- what can be done ------------------------------------------------------------------------------

    def why_not(self, action: str) -> str:
        """Return why a key cannot act now; empty when it can."""
        stop = self.stop
        if action == "compare_tried":
            return "" if self.compared() else say("advice_tab.none_tried")
        if action not in ("relaunch", "open_form", "mark_remedy"):
            return ""
        if stop is None:
            return say("diagnose.none")
        if action == "open_form" and stop.kind == "star":
            return ""
        if action == "relaunch" and self.marked:
            return ""
        if action == "mark_remedy" and stop.kind != "remedy":
            return say("advice_tab.no_remedy_here")
        return "" if self.choice() is not None else say("advice_tab.no_key")

    def choice(self) -> relaunch.Choice | None:
        """Return the remedy under the cursor; of a finding or its stars the first that a key can do."""
        if self.stop is None:
            return None
        finding = self.told.findings[self.stop.finding]
        for one in self.told.choices():
            if one.finding is finding and self.stop.kind != "remedy":
                return one
            if one.finding is finding and one.number == self.stop.number:
                return one
        return None

    def action_mark_remedy(self) -> None:
        """Mark the remedy under the cursor, or take its mark away, and move down."""
        choice = self.choice()
        if choice is not None:
            if choice.address in self.marked:
                del self.marked[choice.address]
            else:
                self.marked[choice.address] = None
            self.action_move(1)
            self._lay_out()

    def action_open_form(self) -> None:
        """Open the launch form with the remedy in place, or the spectrum of a star."""
        if self.record is None or self.stop is None:
            return
        if self.stop.kind == "star":
            self.open_star(self.record, *drawing.obsid_of(self.told, self.stop))
            return
        choice = self.choice()
        if choice is None:
            return
        from tui.screens.launch import LaunchScreen

        try:
            conf = acts.conf_of(self.spectui.workspace, self.record).conf
        except BadInput as error:
            self.notify(error.lines[0], severity="error", markup=False)
            return
        noted = relaunch.noted(self.record, choice, relaunch.beginning(self.record, choice, "scratch"))
        patch = choice.remedy.patch
        form = LaunchScreen(conf, self.record.source, patch, parent=self.record, remedy=noted)
        self.app.push_screen(form)

    def action_relaunch(self) -> None:
        """Ask, and launch the marked remedies, or the one under the cursor, as children of the run."""
        record, wanted = self.record, self._wanted()
        if record is None or not wanted:
            return
        alone = len(wanted) == 1

        def answered(answer: str | None) -> None:
            if answer:
                self._launch(record, wanted, queue=answer == _WAIT or not alone)

        also = {_WAIT: say("advice_tab.wait")} if alone else None
        self.app.push_screen(Confirm(self._question(record, wanted), also), answered)

    def _wanted(self) -> list[relaunch.Choice]:
        if self.marked:
            return [one for one in self.told.choices() if one.address in self.marked]
        choice = self.choice()
        return [] if choice is None else [choice]

    def _question(self, record: Record, wanted: Sequence[relaunch.Choice]) -> str:
        key = "advice_tab.ask" if len(wanted) == 1 else "advice_tab.ask_race"
        lines = [say(key, run=record.run_id, count=len(wanted))]
        for one in wanted:
            lines += ["", f"{one.address}  {one.remedy.title}"]
            lines += shown.diff_lines(self.told.conf, one.remedy.patch)
            lines.append(self.told.starts.get(one.address, ""))
        return "\n".join(lines)

    def _launch(self, record: Record, wanted: Sequence[relaunch.Choice], *, queue: bool) -> None:
        app = self.spectui

        def work() -> list[str]:
            done = relaunch.relaunch(app.workspace, record, wanted, queue=queue, command=["spectui"])
            app.call_later(self._launched, [Record(one.folder.path) for one in done])
            key = "advice_tab.queued" if queue else "advice_tab.launched"
            return [
                say(key, run=one.folder.run_id, title=choice.remedy.title)
                for one, choice in zip(done, wanted, strict=True)
            ]

        app.carry_out(work)

    def _launched(self, children: Sequence[Record]) -> None:
        self.marked.clear()
        self._lay_out()
        if len(children) == 1 and self.is_attached and self.app.screen is self.screen:
            self.spectui.open_run(children[0])

    def compared(self) -> set[str]:
        """Return this run, the remedies tried on it and, when it tries one itself, its parent; or nothing."""
        if self.record is None or not self.tried:
            return set()
        parent = {self.record.parent} if tries(self.record) and self.record.parent else set()
        return {self.record.run_id, *(one.child for one in self.tried), *parent}

    async def action_compare_tried(self) -> None:
        """Compare the run with the remedies tried on it, side by side."""
        ids = self.compared()
        if ids:
            self.spectui.marked = ids
            await self.spectui.action_mode("compare")
