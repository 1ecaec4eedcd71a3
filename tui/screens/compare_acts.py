"""What the keys of the comparison do: views, quantities, the set of runs, exports."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from engine.compare import export
from engine.compare.labels import kinds
from engine.errors import BadInput
from engine.runs.select import select
from engine.words import say
from tui.comparing import Compared
from tui.screens import compare_export
from tui.screens import compare_views as views
from tui.screens.choose import Choose
from tui.screens.zoomed import Gridded
from tui.theme import state_words
from tui.widgets.compare_grid import CompareGrid


class CompareActs(Gridded):
    """The actions of `CompareScreen`, which has the state that they change."""

    view_name: str
    quantity: str
    y_metric: str
    x_axis: str
    kind: str
    everything: bool
    compared: Compared
    _names: dict[str, str]

    @property
    def grid(self) -> CompareGrid:
        """The charts of the curves."""
        return self.query_one(CompareGrid)

    def show_all(self) -> None:
        """Bring everything up to date."""
        raise NotImplementedError

    def draw_soon(self) -> None:
        """Draw at the next chance, however much of the time drawing took of late."""
        raise NotImplementedError

    def set_out(self) -> None:
        """Show the widgets of the view."""
        raise NotImplementedError

    def _choose(self, name: str, value: Any) -> None:
        self.spectui.view.set(f"compare.{name}", value)

    def _keep(self) -> None:
        """Keep what was chosen about the runs, and show it."""
        compared = self.compared
        self._choose("baseline", compared.baseline)
        self._choose("pinned", compared.pinned)
        self._choose("hidden", sorted(compared.hidden))
        self.draw_soon()
        self.catch_up()

    def action_view(self, turn: int) -> None:
        """Show another view of the same runs."""
        at = views.VIEWS.index(self.view_name)
        self.view_name = views.VIEWS[(at + turn) % len(views.VIEWS)]
        self._choose("view", self.view_name)
        self.set_out()
        self.show_all()

    def action_quantity(self, turn: int = 1) -> None:
        """Show the next quantity: of the curves, of the bars, or the metric of the plots."""
        names, now = self._quantities()
        if not names:
            self.notify(say("compare.no_quantity"), severity="warning")
            return
        self._set_quantity(names[(names.index(now) + turn) % len(names)] if now in names else names[0])

    def action_choose_quantity(self) -> None:
        """Choose the quantity from a list."""
        names, now = self._quantities()
        if names:
            self._pick_one(say("compare.which_quantity"), names, now, self._set_quantity)
        else:
            self.notify(say("compare.no_quantity"), severity="warning")

    def _quantities(self) -> tuple[list[str], str]:
        records = self.compared.records()
        if self.view_name == "labels":
            return kinds(records), self.kind
        if self.view_name in ("scatter", "parallel"):
            return views.metric_names(self.compared), self.y_metric
        if self.view_name == "curves":
            return self.grid.shown, self.quantity
        return [], ""

    def _set_quantity(self, name: str) -> None:
        if self.view_name == "labels":
            self.kind = name
            self._choose("kind", name)
        elif self.view_name == "curves":
            self.quantity = name
            self._choose("quantity", name)
        else:
            self.y_metric = name
            self._choose("metric", name)
        self.show_all()

    def action_scatter_x(self) -> None:
        """Choose what lies on the x axis of the scatter."""
        if self.view_name != "scatter":
            self.notify(say("compare.only_scatter"))
            return
        names = list(views.numbers(self.compared))
        self._pick_one(say("compare.which_x"), names, self.x_axis, self._set_x)

    def _set_x(self, name: str) -> None:
        self.x_axis = name
        self._choose("x", name)
        self.show_all()

    def _pick_one(self, question: str, names: list[str], now: str, chosen: Callable[[str], None]) -> None:
        def answered(answer: list[str] | None) -> None:
            if answer:
                chosen(answer[0])

        self.app.push_screen(Choose(question, [(name, name) for name in names], chosen=[now]), answered)

    def action_differences(self) -> None:
        """Show only what differs or matters, or everything."""
        self.everything = not self.everything
        self._choose("all", self.everything)
        self.show_all()
        self.notify(say("compare.now_all" if self.everything else "compare.now_differences"))

    def action_hide(self) -> None:
        """Hide the run of the cursor in the pictures, or show it again, and go on to the next."""
        self.compared.toggle_hidden()
        order = self.compared.order
        if self.view_name in ("curves", "scatter", "parallel") and self.compared.current in order:
            self.compared.current = order[min(order.index(self.compared.current) + 1, len(order) - 1)]
        self._keep()

    def action_pin(self) -> None:
        self.compared.toggle_pinned()
        self._keep()

    def action_baseline(self) -> None:
        self.compared.toggle_baseline()
        self._keep()

    def action_remove(self) -> None:
        """Take the run of the cursor out of the comparison; nothing happens to the run itself."""
        compared, order = self.compared, self.compared.order
        if not compared.current:
            self.notify(say("compare.empty"))
            return
        name = self._names.get(compared.current, compared.current)
        at = order.index(compared.current)
        self.spectui.marked = self.spectui.marked - {compared.current}
        left = [run_id for run_id in order if run_id != compared.current]
        compared.current = left[min(at, len(left) - 1)] if left else ""
        self._keep()
        self.notify(say("compare.taken_out", name=name), markup=False)

    def action_choose(self) -> None:
        """Choose the compared runs from all there are."""
        rows = self.spectui.feed.rows
        items = [(row.run_id, f"{row.run_id}  {state_words(row.state)}  {row.model}") for row in rows]

        def matches(text: str) -> set[str]:
            try:
                return {row.run_id for row in select(rows, text)}
            except BadInput:
                # no expression (yet): a piece of what is seen
                return {run_id for run_id, words in items if text.lower() in words.lower()}

        def answered(answer: list[str] | None) -> None:
            if answer is not None:
                self.spectui.marked = set(answer)
                self._keep()

        marked = [run_id for run_id, _ in items if run_id in self.spectui.marked]
        question = say("compare.which_runs")
        self.app.push_screen(Choose(question, items, chosen=marked, many=True, matches=matches), answered)

    def action_open(self) -> None:
        record = self.spectui.record(self.compared.current)
        if record is not None:
            self.spectui.open_run(record)
        elif self.compared.current:
            self.notify(say("compare.gone_hint"), severity="warning")

    def action_filter(self) -> None:
        self.grid.ask_filter()

    async def action_back(self) -> None:
        """Step out one level of what was chosen on the curves."""
        if self.view_name != "curves" or not self.grid.step_out():
            await self.spectui.run_action("back")  # which says why, where there is no way back

    def _baseline(self) -> int | None:
        ids = [record.run_id for record in self.compared.records()]
        return ids.index(self.compared.baseline) if self.compared.baseline in ids else None

    def action_copy(self) -> None:
        """Copy the tables in Markdown: the one in front, or both."""
        records = self.compared.records()
        if not records:
            self.notify(say("compare.empty"))
            return
        names = [self._names[record.run_id] for record in records]
        which = (self.view_name,) if self.view_name in ("params", "metrics") else ("params", "metrics")
        text = export.markdown(
            records, names, baseline=self._baseline(), everything=self.everything, which=which
        )
        self.spectui.copy(text, say("compare.copied", lines=len(text.splitlines()), count=len(records)))

    def action_export(self) -> None:
        """Ask for a kind of file and write it under exports/."""
        if not self.compared.records():
            self.notify(say("compare.empty"))
            return
        items = [(kind, say(f"compare.export.{kind}")) for kind in compare_export.KINDS]

        def answered(answer: list[str] | None) -> None:
            if answer:
                # once the dialog is gone: the picture of the screen shows the comparison
                self.call_after_refresh(self._export, answer[0])

        self.app.push_screen(Choose(say("compare.which_export"), items), answered)

    def _export(self, kind: str) -> None:
        app, records = self.spectui, self.compared.records()
        path = compare_export.place(app.workspace, kind)
        if kind == "svg":
            app.carry_out(partial(compare_export.write_text, path, app.export_screenshot()))
            return
        names = [self._names[record.run_id] for record in records]
        if kind == "png":
            shown = self.compared.records(shown=True)
            log_y = self.grid.is_log(self.quantity)
            named = [self._names[record.run_id] for record in shown]
            looks = dict(self.compared.looks)
            app.carry_out(partial(compare_export.draw, path, shown, named, self.quantity, looks, log_y=log_y))
            return
        act = partial(compare_export.write, kind, path, records, names, self._baseline())
        app.carry_out(partial(act, everything=self.everything))
