"""The files of a run: what there is, how large and how old; open, copy the path, export.

Listing and copying are done in threads. Nothing of the run is ever changed from here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.worker import get_current_worker

from engine.cli.text import duration
from engine.errors import BadInput
from engine.runs import files as run_files
from engine.runs.files import RunFile
from engine.runs.record import Record
from engine.spectra.check_words import size_words
from engine.words import say
from tui import keys
from tui.screens.ask import Ask
from tui.widgets.bars import Quiet
from tui.widgets.plain import fit, fit_middle
from tui.widgets.progress import ProgressLine
from tui.widgets.row_list import RowList

if TYPE_CHECKING:
    from tui.app import SpectuiApp

TEXTS = (".txt", ".csv", ".yaml", ".yml", ".json", ".jsonl", ".log", ".patch", ".md")
_GROUP_WIDTH, _SIZE_WIDTH, _AGE_WIDTH = 13, 8, 7


class FileRows(RowList):
    """One file a row: group, name, what it is, size, age."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.files: list[RunFile] = []
        self.root = Path()
        self.told: dict[str, str] = {}
        """What is said of a file beside its name: step, epoch, best, last."""

    def row(self, number: int) -> Text:
        file = self.files[number]
        first = not number or self.files[number - 1].group != file.group
        group = say(f"files.group.{file.group}") if first else ""
        told = self.told.get(file.path.name, "") if file.group == "checkpoints" else ""
        width = max(20, self.width - 2)
        room = width - _GROUP_WIDTH - _SIZE_WIDTH - _AGE_WIDTH - 2
        half = room // 2 if told else room
        text = Text(no_wrap=True)
        text.append(fit(group, _GROUP_WIDTH), "bold")
        inside = self.root / file.group if file.path.is_relative_to(self.root / file.group) else self.root
        text.append(fit_middle(str(file.path.relative_to(inside)), half, 12))
        if told:
            text.append(fit(f"  {told}", room - half), "green" if say("files.best") in told else "")
        text.append(fit(size_words(file.size), _SIZE_WIDTH, right=True))
        return text.append(
            fit(duration(max(0.0, time.time() - file.changed)), _AGE_WIDTH + 2, right=True), "dim"
        )


class FilesPane(Vertical):
    """The list of files under a line with their number and size."""

    where: ClassVar[str] = "files"
    BINDINGS = keys.bindings("files")
    DEFAULT_CSS = """
    FilesPane #files-facts { height: 1; padding: 0 1; color: $text-muted; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.record: Record | None = None
        self.exporting = False

    def compose(self) -> ComposeResult:
        yield Quiet(id="files-facts")
        yield ProgressLine(id="files-progress")
        yield FileRows(id="files-rows")

    @property
    def spectui(self) -> SpectuiApp:
        """Return the app, typed."""
        return self.app  # type: ignore[return-value]

    @property
    def rows(self) -> FileRows:
        return self.query_one(FileRows)

    def focus_rows(self) -> None:
        """Give the keys to the list."""
        self.rows.focus()

    def tell(self, record: Record) -> None:
        """Look at the folder of a run again."""
        self.record = record
        if record.stored is not None:
            self.rows.show(0, empty=say("files.stored"))
        else:
            self._look()

    @work(thread=True, exclusive=True, group="files-look", exit_on_error=False)
    def _look(self) -> None:
        if self.record is not None:
            found = run_files.listed(self.record.folder)
            self._from_thread(self._listed, found)

    def _listed(self, found: list[RunFile]) -> None:
        assert self.record is not None
        rows = self.rows
        here = rows.files[rows.cursor].path if rows.files else None
        rows.files, rows.root = found, self.record.folder.path
        rows.told = checkpoint_words(self.record, found)
        place = next((i for i, file in enumerate(found) if file.path == here), None)
        rows.show(len(found), cursor=place, empty=say("files.empty"))
        words = say("files.total", count=len(found), size=size_words(run_files.total(found)))
        where = f"  {rows.root}"
        self.query_one("#files-facts", Quiet).say(
            Text(fit(words + where, max(8, self.app.size.width - 2)), no_wrap=True)
        )

    def chosen(self) -> RunFile | None:
        """Return the file under the cursor."""
        return self.rows.files[self.rows.cursor] if self.rows.files else None

    @on(RowList.RowClicked)
    def action_open(self) -> None:
        """Show a text; of what a terminal cannot show, copy the path."""
        file = self.chosen()
        if file is None:
            return
        if file.path.suffix in TEXTS:
            from tui.screens.pager import PagerScreen

            self.app.push_screen(PagerScreen(file.path))
        else:
            self.spectui.copy(str(file.path), say("files.not_shown", path=file.path))

    def action_edit(self) -> None:
        """Open a text in the editor; the record of a run is looked at, not changed."""
        file = self.chosen()
        if file is not None and file.path.suffix in TEXTS:
            self.spectui.edit(file.path)
        elif file is not None:
            self.notify(say("files.no_text", file=file.path.name), severity="warning", markup=False)

    def action_export(self) -> None:
        """Ask where to, and copy the run's files there."""
        record = self.record
        if record is None or record.stored is not None or self.exporting:
            self.notify(say("files.exporting" if self.exporting else "files.stored"), severity="warning")
            return
        workspace = self.spectui.workspace
        proposed = str(run_files.export_folder(workspace, record.run_id).relative_to(workspace.root))

        def answered(given: str | None) -> None:
            if given:
                target = (workspace.root / Path(given).expanduser()).absolute()
                self.exporting = True
                self._export(record, target)

        size = size_words(sum(file.size for file in self.rows.files))
        self.app.push_screen(
            Ask(say("files.export_to", size=size), proposed, say("files.export_hint")), answered
        )

    @work(thread=True, group="files-export", exit_on_error=False)
    def _export(self, record: Record, target: Path) -> None:
        worker = get_current_worker()
        label, told = say("files.copying", run=record.run_id), [0.0]

        def tell(done: int, of: int) -> bool:
            if time.monotonic() - told[0] > 0.1:
                told[0] = time.monotonic()
                self._from_thread(self._progress, label, done, of)
            return not worker.is_cancelled

        try:
            run_files.copy_out(run_files.listed(record.folder), record.folder, target, tell)
        except BadInput as error:
            self._from_thread(self._exported, None, error.lines[0])
        else:
            self._from_thread(self._exported, target, "")

    def _progress(self, label: str, done: int, of: int) -> None:
        self.query_one(ProgressLine).tell(label, done, of)

    def _exported(self, target: Path | None, problem: str) -> None:
        self.exporting = False
        self.query_one(ProgressLine).done()
        if target is None:
            self.notify(problem, severity="error", markup=False)
        else:
            self.spectui.copy(str(target), say("files.exported", path=target))

    def _from_thread(self, call: Callable[..., None], *what: object) -> None:
        if self.is_mounted and self.app.is_running:
            self.app.call_later(self._if_there, call, what)

    def _if_there(self, call: Callable[..., None], what: tuple[object, ...]) -> None:
        if self.is_mounted:
            call(*what)


def checkpoint_words(record: Record, found: list[RunFile]) -> dict[str, str]:
    """Return by file name what a checkpoint is: step and epoch, best, last; for a second name, whose."""
    told: dict[str, list[str]] = {}
    inodes = {file.path.name: file.inode for file in found if file.group == "checkpoints"}
    best = inodes.get("best.pt")
    last = inodes.get("last.pt")
    for event in record.checkpoints:
        name = str(event.get("file", ""))
        if name not in inodes:
            continue
        words = [say("files.step", step=event["step"], epoch=event.get("epoch", "-"))]
        words += (
            [say("files.best")] if inodes[name] == best or (best is None and event is _best(record)) else []
        )
        words += [say("files.last")] if inodes[name] == last else []
        told[name] = words
    for name in ("best.pt", "last.pt"):
        same = next(
            (n for n, inode in inodes.items() if n != name and inode == inodes.get(name) and n in told), ""
        )
        if same:
            told[name] = [f"= {same}"]
    return {name: "  ".join(words) for name, words in told.items()}


def _best(record: Record) -> object:
    return next((event for event in reversed(record.checkpoints) if event.get("best")), None)
