"""A text file on a screen of its own: any length, searched and wrapped like a log."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult

from tui.screens.base import Place
from tui.widgets.bars import Quiet
from tui.widgets.log_pane import FilePane


class PagerScreen(Place):
    """One text file, from its beginning."""

    where: ClassVar[str] = "pager"
    mode: ClassVar[str] = "runs"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def compose_body(self) -> ComposeResult:
        yield Quiet(id="pager-title")
        yield FilePane(self.path, id="pager")

    def on_mount(self) -> None:
        title = Text(f"{self.path.parent.name}/{self.path.name}", "bold", no_wrap=True)
        self.query_one("#pager-title", Quiet).say(title)
        self.set_interval(self.spectui.poll_seconds, self.catch_up)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        pane = self.query_one(FilePane)
        pane.catch_up()
        pane.focus_rows()

    def runs_changed(self) -> None:
        self.tell_bar()

    def catch_up(self) -> None:
        super().catch_up()
        if self.is_mounted and self.query(FilePane):
            self.query_one(FilePane).catch_up()
