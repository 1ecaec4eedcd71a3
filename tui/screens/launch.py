"""The launch form: every key of a conf, changed ones marked; checked whole before anything is started."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from engine.conf.form import FormField
from engine.conf.load import Resolved, difference, from_plain
from engine.conf.schema import Conf
from engine.errors import BadInput
from engine.runs import acts
from engine.runs.record import Record
from engine.words import say
from tui import keys
from tui.screens import launch_files
from tui.screens.base import Place
from tui.screens.confirm import Confirm
from tui.widgets.form import FieldRow, Fields, rows_of, typed_in
from tui.widgets.form_state import FormState
from tui.widgets.plain import harmless, plain
from tui.widgets.schedule_preview import SchedulePreview, moves_the_rate

_LONG = 120  # letters of a problem that the two lines below a field may not hold
_ROOM = 20  # rows of a screen under which the preview comes only when asked for


class LaunchScreen(Place):
    """Change what you like, start with ctrl+s.

    `conf` is what changes are shown against; what is shown is that with a patch, or the conf `now`.
    """

    where: ClassVar[str] = "launch"
    keeps_front = True
    BINDINGS = keys.bindings("launch")

    def __init__(
        self,
        conf: Conf,
        source: str | None,
        patch: dict[str, Any] | None = None,
        *,
        now: Conf | None = None,
        parent: Record | None = None,
        copy_of: Record | None = None,
    ) -> None:
        super().__init__()
        self.parent_run, self.copy_of = parent, copy_of
        self.original = conf
        self.conf = now or patched(conf, patch or {})
        self.opened = self.conf
        """The conf that was shown first, or saved last: what leaving would lose is measured against it."""
        self.source = source
        self.starting = False
        self.problems: dict[str, str] = {}
        """What is wrong with the form, by key, as of the last look."""
        self.in_difference = False
        self.draft = ""
        """Text from the editor that is no conf yet."""

    def compose_body(self) -> ComposeResult:
        yield Static(id="launch-title", markup=False)
        with Container(id="launch"):
            yield Fields(*self._rows(), id="fields")
            yield SchedulePreview(self.spectui.workspace, id="preview")
        yield FormState(self.spectui.workspace, id="launch-state")
        yield Static(id="field-help")
        yield Static(id="launch-errors", markup=False)

    def _rows(self) -> list[FieldRow | Static]:
        return rows_of(self.spectui.workspace, self.original, self.conf)

    def on_mount(self) -> None:
        self.query_one("#launch-errors").display = False
        self._focus_first()
        self._follow()

    @property
    def rows(self) -> list[FieldRow]:
        """The fields from the first to the last; none once the screen is going."""
        lists = self.query("#fields")
        return [row for each in lists for row in each.children if isinstance(row, FieldRow)]

    def _follow(self) -> None:
        """Bring what depends on the form up to date, a moment after the last key."""
        self._tell_title()
        self.query_one(SchedulePreview).follow(self.typed)
        self.query_one(FormState).follow(self.typed, lambda: {row.field.key for row in self.rows})

    def _focus_first(self) -> None:
        self.rows[0].box.focus()

    @on(FieldRow.Focused)
    def _row_focused(self, event: FieldRow.Focused) -> None:
        if event.row.has_focus_within:
            # Each row has a queue of its own: the news of a field that was passed may come last.
            self._tell_help(event.row)
            self._make_room()

    def _tell_help(self, row: FieldRow) -> None:
        field: FormField = row.field
        text = Text()
        if len(row.problem) > _LONG:
            text.append(f"! {row.problem}\n", "red")
        text.append(f"{field.key}: ", "bold")
        text.append(field.help or say("launch.no_help"))
        if field.kind == "choice":
            text.append(f"  {' | '.join(field.choices)}", "bold")
        if field.range:
            text.append(f"  {field.range}", "bold")
        if field.key == "training.device":
            text.append("".join(f"  · {one}" for one in self.query_one(FormState).devices), "bold")
        if row.changed:
            text.append(f"  {say('launch.was', value=row.original)}", "yellow")
        if row.idle:
            text.append(f"  ({row.idle})", "yellow")
        self.query_one("#field-help", Static).update(harmless(text))

    @on(FormState.Checked)
    def _checked(self, event: FormState.Checked) -> None:
        self.problems = event.problems
        with self.app.batch_update():
            for row in self.rows:
                key = row.field.key
                row.tell(event.problems.get(key, ""), event.idle.get(key, ""))
                if row.has_focus_within:
                    self._tell_help(row)
        self._tell_title()
        self._keep_in_sight()

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
            rows = [row for row in self.rows if row.field.section == section]
            movers = [place for place, row in enumerate(rows) if moves_the_rate(row.field.key)]
            first, last = min(movers, default=0), max(movers, default=-1)
            inside = inside or any(row.has_focus_within for row in rows[first : last + 1])
        # Of the preview alone: a class of the screen has the styles of hundreds of widgets looked up again.
        self.query_one(SchedulePreview).set_class(inside and self.size.height >= _ROOM, "-schedule")
        self._keep_in_sight()

    def _keep_in_sight(self) -> None:
        """Scroll to the field with the cursor, which the preview may have pushed out of its list."""

        def scroll() -> None:
            for row in self.rows:
                if row.has_focus_within:
                    row.keep_in_sight()

        self.call_after_refresh(scroll)

    def action_schedule(self) -> None:
        """Give most of the screen to the preview, or the fields their place again."""
        self.toggle_class("-large")
        self._keep_in_sight()

    @on(FieldRow.Changed)
    async def _field_changed(self, event: FieldRow.Changed) -> None:
        self._follow()
        if event.row.field.key == "model.name" and event.row.text != self.conf.model.name:
            await self._other_network(event.row.text)

    def _tell_title(self) -> None:
        changed = sum(row.changed for row in self.rows)
        title = say("launch.title", source=self.source or self.conf.model.name)
        if self.parent_run is not None:
            title = say("launch.title_again", run=self.parent_run.run_id)
        elif self.copy_of is not None:
            title = say("launch.title_copy", run=self.copy_of.run_id)
        title += f"  {say('launch.changed', count=changed)}" if changed else ""
        title += f"  {say('launch.problems', count=len(self.problems))}" if self.problems else ""
        title += f"  {say('launch.only_changes')}" if self.in_difference else ""
        self.query_one("#launch-title", Static).update(plain(title))

    async def _other_network(self, name: str) -> None:
        """Another network has other fields: keep the rest of what was typed."""
        typed = {row.field.key: row.text for row in self.rows if row.text != row.field.text}
        plain = self.conf.plain() | {"model": {"name": name}}
        try:
            conf = from_plain(self.spectui.workspace, plain, say("launch.form"))
        except BadInput as error:
            self._tell_errors(error.lines)
            return
        await self.take(conf, cursor="model.name")
        for row in self.rows:
            if row.field.key in typed and row.field.key != "model.name":
                row.set_text(typed[row.field.key])

    def saved(self, conf: Conf, source: str) -> None:
        """Take note that what stands in the form is in a file now; against a parent run the changes stay."""
        self.conf = self.opened = conf
        self.source = source
        if self.parent_run is None:
            self.original = conf
            self._show_difference(False)
            for row in self.rows:
                row.settle()
        self._follow()

    async def take(self, conf: Conf, *, cursor: str = "") -> None:
        """Show another conf in the form."""
        focused = next((row.field.key for row in self.rows if row.has_focus_within), "")
        self.conf = conf
        self._tell_errors([])
        self.problems = {}
        fields = self.query_one("#fields", VerticalScroll)
        with self.app.batch_update():
            await fields.remove_children()
            await fields.mount(*self._rows())
        self._show_difference(False)
        for row in self.rows:
            if row.field.key == (cursor or focused):
                row.box.focus()
        self._follow()

    def typed(self) -> dict[str, Any]:
        """Return the conf as plain data with what was typed."""
        return typed_in(self.conf, self.rows)

    def action_difference(self) -> None:
        """Show the changed fields alone, each with what it was, or all fields again."""
        if not self.in_difference and not any(row.changed for row in self.rows):
            self.notify(say("launch.nothing_changed"))
            return
        self._show_difference(not self.in_difference)

    def _show_difference(self, on: bool) -> None:
        self.in_difference = on
        self.set_class(on, "-difference")
        rows = self.rows
        for row in rows:
            row.tell_difference(on)
        shown = [row for row in rows if row.changed]
        if on and shown and not any(row.has_focus_within for row in shown):
            shown[0].box.focus()
        self._tell_title()
        self._keep_in_sight()

    def action_edit(self) -> None:
        """Edit the form as YAML in $EDITOR."""
        launch_files.edit(self)

    def action_save(self) -> None:
        """Save the form as a conf; its name is asked."""
        launch_files.save(self)

    @property
    def touched(self) -> int:
        """How many fields hold what is neither started nor saved yet."""
        typed = sum(row.text != row.field.text for row in self.rows)
        return typed + len(difference(self.opened.plain(), self.conf.plain()))

    def action_cancel(self) -> None:
        """Leave; ask first when something was typed."""
        changed = self.touched
        if not changed:
            self.app.pop_screen()
            return

        def answered(yes: str | None) -> None:
            if yes:
                self.app.pop_screen()

        self.app.push_screen(Confirm(say("confirm.drop_changes", count=changed)), answered)

    def action_reset(self) -> None:
        for row in self.rows:
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
            self.start(self.typed(), wait)

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
            self.app.call_from_thread(self.refuse, lines)
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

    def refuse(self, lines: list[str]) -> None:
        self.starting = False
        self._tell_errors(lines)
        wrong = [row for row in self.rows if row.field.key in self.problems]
        if wrong:
            self._show_difference(False)
            wrong[0].box.focus()

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
