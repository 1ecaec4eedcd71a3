"""The launch form: every key of a conf, changed ones marked; checked whole before anything is started."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from engine.conf.form import FormField, form_fields
from engine.conf.load import Resolved, difference, from_plain
from engine.conf.marks import parse_value
from engine.conf.schema import Conf
from engine.errors import BadInput
from engine.runs import acts
from engine.runs.record import Record
from engine.words import say
from tui import keys
from tui.screens.base import Place
from tui.screens.confirm import Confirm
from tui.widgets.form import FieldRow
from tui.widgets.plain import harmless, plain
from tui.widgets.schedule_preview import SchedulePreview, moves_the_rate

_ROOM = 20  # rows of a screen under which the preview comes only when asked for


class LaunchScreen(Place):
    """Change what you like, start with ctrl+s."""

    where: ClassVar[str] = "launch"
    keeps_front = True
    BINDINGS = keys.bindings("launch")

    def __init__(
        self,
        conf: Conf,
        source: str | None,
        patch: dict[str, Any] | None = None,
        *,
        parent: Record | None = None,
    ) -> None:
        super().__init__()
        self.parent_run = parent
        self.original = conf
        self.conf = patched(conf, patch or {})
        self.source = source
        self.starting = False

    def compose_body(self) -> ComposeResult:
        yield Static(id="launch-title", markup=False)
        with Container(id="launch"):
            yield VerticalScroll(*self._rows(), id="fields")
            yield SchedulePreview(self.spectui.workspace, id="preview")
        yield Static(id="field-help")
        yield Static(id="launch-errors", markup=False)

    def _rows(self) -> list[FieldRow | Static]:
        workspace = self.spectui.workspace
        before = {f.key: f.text for f in form_fields(workspace, self.original)}
        rows: list[FieldRow | Static] = []
        part = ""
        for field in form_fields(workspace, self.conf):
            # The name and the network stand first, above the parts of the conf.
            headed = field.section != "" and len(rows) > 2
            above = field.key.rpartition(".")[0]
            if headed and above != part:
                part = above
                rows.append(Static(part, classes="heading"))
            rows.append(FieldRow(field, before.get(field.key, field.text), headed=headed))
        return rows

    def on_mount(self) -> None:
        self.query_one("#launch-errors").display = False
        self._tell_title()
        self._focus_first()
        self.query_one(SchedulePreview).follow(self._typed)

    def _focus_first(self) -> None:
        self.query(FieldRow).first().box.focus()

    @on(FieldRow.Focused)
    def _tell_help(self, event: FieldRow.Focused) -> None:
        if not event.row.has_focus_within:
            # Each row has a queue of its own: the news of a field that was passed may come last.
            return
        field: FormField = event.row.field
        text = Text().append(f"{field.key}: ", "bold")
        text.append(field.help or say("launch.no_help"))
        if field.kind == "choice":
            text.append(f"  {' | '.join(field.choices)}", "bold")
        if event.row.changed:
            text.append(f"  {say('launch.was', value=event.row.original)}", "yellow")
        self.query_one("#field-help", Static).update(harmless(text))
        self._make_room()

    def on_resize(self) -> None:
        # Textual calls this of `Place` as well
        self._make_room()

    def _make_room(self) -> None:
        """On a narrow screen, show the preview while the cursor is among the fields that move the rate.

        From the first of a section to its last, not at those alone: it would come and go as the cursor moves
        through the ones between.
        """
        inside = False
        for section in ("training", "finetune"):
            rows = [row for row in self.query(FieldRow) if row.field.section == section]
            movers = [place for place, row in enumerate(rows) if moves_the_rate(row.field.key)]
            first, last = min(movers, default=0), max(movers, default=-1)
            inside = inside or any(row.has_focus_within for row in rows[first : last + 1])
        self.set_class(inside and self.size.height >= _ROOM, "-schedule")
        self._keep_in_sight()

    def _keep_in_sight(self) -> None:
        """Scroll to the field with the cursor, which the preview may have pushed out of its list."""
        focused = self.focused
        if focused is not None:
            self.call_after_refresh(focused.scroll_visible, animate=False)

    def action_schedule(self) -> None:
        """Give most of the screen to the preview, or the fields their place again."""
        self.toggle_class("-large")
        self._keep_in_sight()

    @on(FieldRow.Changed)
    async def _field_changed(self, event: FieldRow.Changed) -> None:
        self._tell_title()
        self.query_one(SchedulePreview).follow(self._typed)
        if event.row.field.key == "model.name" and event.row.text != self.conf.model.name:
            await self._other_network(event.row.text)

    def _tell_title(self) -> None:
        changed = sum(row.changed for row in self.query(FieldRow))
        title = say("launch.title", source=self.source or self.conf.model.name)
        if self.parent_run is not None:
            title = say("launch.title_again", run=self.parent_run.run_id)
        title += f"  {say('launch.changed', count=changed)}" if changed else ""
        self.query_one("#launch-title", Static).update(plain(title))

    async def _other_network(self, name: str) -> None:
        """Another network has other fields: keep the rest of what was typed."""
        typed = {row.field.key: row.text for row in self.query(FieldRow) if row.text != row.field.text}
        plain = self.conf.plain() | {"model": {"name": name}}
        try:
            self.conf = from_plain(self.spectui.workspace, plain, say("launch.form"))
        except BadInput as error:
            self._tell_errors(error.lines)
            return
        self._tell_errors([])
        fields = self.query_one("#fields", VerticalScroll)
        with self.app.batch_update():
            await fields.remove_children()
            await fields.mount(*self._rows())
        for row in self.query(FieldRow):
            if row.field.key == "model.name":
                row.box.focus()
            elif row.field.key in typed:
                row.set_text(typed[row.field.key])

    def _typed(self) -> dict[str, Any]:
        """Return the conf as plain data with what was typed; untouched network defaults stay unsaid."""
        plain = self.conf.plain()
        for row in self.query(FieldRow):
            if row.text.strip() == row.field.text:
                continue
            value: Any = parse_value(row.text) if row.text.strip() else ""
            if isinstance(value, int | float) and row.field.key in ("name", "description"):
                value = row.text.strip()
            *parents, last = row.field.key.split(".")
            place = plain
            for part in parents:
                place = place.setdefault(part, {})
            place[last] = value
        return plain

    def action_cancel(self) -> None:
        """Leave; ask first when something was typed."""
        changed = sum(row.text != row.field.text for row in self.query(FieldRow))
        if not changed:
            self.app.pop_screen()
            return

        def answered(yes: str | None) -> None:
            if yes:
                self.app.pop_screen()

        self.app.push_screen(Confirm(say("confirm.drop_changes", count=changed)), answered)

    def action_reset(self) -> None:
        for row in self.query(FieldRow):
            if row.changed:
                row.reset()

    def action_start(self) -> None:
        self._begin(wait=False)

    def action_queue(self) -> None:
        """Start it when a slot is free."""
        self._begin(wait=True)

    def _begin(self, *, wait: bool) -> None:
        # A second press must not start a second run.
        if not self.starting:
            self.starting = True
            self._tell_errors([])
            self.start(self._typed(), wait)

    @work(thread=True, group="launch")
    def start(self, plain: dict[str, Any], wait: bool) -> None:
        """Check the form and the tables, make the run folder, start the engine or let it wait."""
        workspace = self.spectui.workspace
        try:
            conf = from_plain(workspace, plain, say("launch.form"))
            patch = difference(self.original.plain(), conf.plain())
            parent = None if self.parent_run is None else self.parent_run.run_id
            resolved = Resolved(conf, self.source, patch)
            (made,) = acts.launch(workspace, [resolved], parent=parent, queue=wait, command=["spectui"])
        except (BadInput, OSError) as error:
            lines = error.lines if isinstance(error, BadInput) else [str(error)]
            self.app.call_from_thread(self._refused, lines)
            return
        self.app.call_from_thread(self._started, Record(made.folder.path))  # type: ignore[arg-type]

    async def _started(self, record: Record) -> None:
        app = self.spectui
        app.feed.poke()
        app.pop_screen()
        await app.switch_mode("runs")
        while len(app.screen_stack) > 1:
            app.pop_screen()
        app.open_run(record)

    def _refused(self, lines: list[str]) -> None:
        self.starting = False
        self._tell_errors(lines)

    def _tell_errors(self, lines: list[str]) -> None:
        box = self.query_one("#launch-errors", Static)
        box.display = bool(lines)
        box.update(plain("\n".join(f"✗ {line}" for line in lines)))


def patched(conf: Conf, patch: dict[str, Any]) -> Conf:
    """Return a conf with dotted keys set; the form checks it when it is started."""
    if not patch:
        return conf
    plain = conf.plain()
    for key, value in patch.items():
        *parents, last = key.split(".")
        place = plain
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = value
    return Conf.model_validate(plain)
