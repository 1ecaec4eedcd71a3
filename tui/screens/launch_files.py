"""What a launch form does with files: edited as YAML in $EDITOR, saved as a conf under conf/.

Nothing typed is lost: a text that is no conf yet is kept and offered again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from engine.conf.load import from_plain, to_yaml
from engine.conf.schema import Conf
from engine.errors import BadInput
from engine.words import say
from tui import saving
from tui.screens.ask import Ask
from tui.screens.confirm import Confirm
from tui.widgets.plain import plain

if TYPE_CHECKING:
    from tui.screens.launch import LaunchScreen

_SHOWN = "form.yaml"
_MOST_LINES = 40


def edit(form: LaunchScreen) -> None:
    """Give the form to the editor as YAML, and take back what it means."""
    before = form.draft or f"# {say('launch.edit_head', source=form.source or '-')}\n{to_yaml(form.typed())}"
    with tempfile.TemporaryDirectory(prefix="spectui-") as place:
        file = Path(place) / _SHOWN
        file.write_text(before, encoding="utf-8")
        ended = form.spectui.edit(file)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            form.notify(str(error), severity="error", markup=False)
            return
    if text == before and (not form.draft or not ended):
        return
    try:
        conf = saving.read_back(form.spectui.workspace, text, _SHOWN)
    except BadInput as error:
        form.draft = text
        lines = "\n".join(f"✗ {line}" for line in error.lines)

        def answered(again: str | None) -> None:
            if again:
                edit(form)
            else:
                form.notify(say("launch.draft_kept"))

        form.app.push_screen(Confirm(plain(f"{lines}\n\n{say('launch.edit_again')}")), answered)
        return
    form.draft = ""
    form.run_worker(form.take(conf), group="take")


def save(form: LaunchScreen) -> None:
    """Ask for the name of a conf, and save the form as that."""
    workspace = form.spectui.workspace
    try:
        conf = from_plain(workspace, form.typed(), say("launch.form"))
    except BadInput as error:
        form.refuse(error.lines)
        return

    def named(name: str | None) -> None:
        if not name:
            return
        try:
            target = saving.target_of(workspace, name)
            text = saving.text_of(workspace, form.source, conf)
            if not target.exists():
                _write(form, target, text, conf, replace=False)
                return
            changes = saving.changes(target.read_text(encoding="utf-8", errors="replace"), text)
        except (BadInput, OSError) as error:
            form.refuse(error.lines if isinstance(error, BadInput) else [str(error)])
            return
        shown = workspace.relative(target)
        if not changes:
            form.notify(say("save.same", file=shown))
            return
        listed = "\n".join(changes[:_MOST_LINES] + (["…"] if len(changes) > _MOST_LINES else []))

        def answered(yes: str | None) -> None:
            if yes:
                _write(form, target, text, conf, replace=True)

        question = f"{say('save.overwrite', file=shown)}\n\n{listed}"
        form.app.push_screen(Confirm(plain(question)), answered)

    stem = Path(form.source).stem if form.source else conf.name
    form.app.push_screen(Ask(say("save.question"), stem, say("save.hint")), named)


def _write(form: LaunchScreen, target: Path, text: str, conf: Conf, *, replace: bool) -> None:
    workspace = form.spectui.workspace
    try:
        saving.write(workspace, target, text, replace=replace)
    except (BadInput, OSError) as error:
        form.refuse(error.lines if isinstance(error, BadInput) else [str(error)])
        return
    form.saved(conf, workspace.relative(target))
    form.notify(say("save.done", file=workspace.relative(target)), markup=False)
    form.spectui.feed.poke()
