"""The app: modes, the feed of runs, global actions. Composition only; screens own what they show."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.app import App, SuspendNotSupported
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.worker import get_current_worker

from engine.errors import BadInput
from engine.runs.record import Record
from engine.words import say
from engine.workspace import Workspace
from tui import keys
from tui.commands import KeyProvider
from tui.feeds import RunFeed
from tui.messages import ConfsChanged, RunsChanged
from tui.view import View
from tui.widgets.plain import plain

_POLL_SECONDS = 0.5
_POLL_SECONDS_SSH = 1.0
# A connection that drops loses no more of the view than this.
_SAVE_SECONDS = 2.0


class SpectuiApp(App[None]):
    """One keyboard-driven screen over a workspace."""

    TITLE = "spectui"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[Any] = {KeyProvider}
    # Bound in our own table, with ':' beside it.
    COMMAND_PALETTE_BINDING = "ctrl+p"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide"), (140, "-very-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-tall")]
    BINDINGS = keys.bindings("app")

    def __init__(self, workspace: Workspace, leaving: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.workspace = workspace
        self._leaving = leaving
        self.feed = RunFeed(
            workspace, lambda: self.post_message(RunsChanged()), lambda: self.post_message(ConfsChanged())
        )
        self.tends = True
        """Whether what nobody else may see to is seen to: `engine.tend`."""
        self.view = View(workspace)
        """What was chosen on the screens, for the next start."""
        self._live: set[str] = set()
        self.marked: set[str] = set()
        """Runs marked for comparison, by id: the list and the comparison share them."""
        self.poll_seconds = _POLL_SECONDS_SSH if os.environ.get("SSH_CONNECTION") else _POLL_SECONDS
        for mode, factory in self._modes_of().items():
            self.add_mode(mode, factory)
        if "NO_COLOR" in os.environ or os.environ.get("TERM") in (
            "xterm",
            "linux",
            "vt100",
            "vt220",
            "screen",
        ):
            # Sixteen colours, or none wanted: the terminal's own palette, not muddy guesses at ours.
            self.theme = "ansi-dark"

    @staticmethod
    def _modes_of() -> dict[str, Any]:
        from tui.screens.compare import CompareScreen
        from tui.screens.data import DataScreen
        from tui.screens.experiments import ExperimentsScreen
        from tui.screens.runs import RunsScreen

        return {
            "runs": RunsScreen,
            "experiments": ExperimentsScreen,
            "compare": CompareScreen,
            "data": DataScreen,
        }

    def exit(self, *words: Any, **more: Any) -> None:
        """Leave the app; it ends within seconds, whatever its threads are waiting for."""
        self._leaving()
        super().exit(*words, **more)

    def on_unmount(self) -> None:
        # The feed sleeps between two looks, or has not begun; quitting waits for neither.
        self.feed.close()
        self.view.save()

    async def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            # Textual leaves the terminal raw on these; leaving by the front door restores it.
            loop.add_signal_handler(number, self.exit)
        await self.switch_mode("runs")
        self.set_interval(_SAVE_SECONDS, self.view.save)
        self.call_after_refresh(self._start_workers)

    def _start_workers(self) -> None:
        self.feed_runs()
        self.warm_charts()
        if self.tends:
            self.tend(None)

    @work(thread=True, group="tend")
    def tend(self, run_ids: set[str] | None) -> None:
        """See to what nobody else may: deaths that MLflow was not told of, a queue without an owner."""
        from engine.tend import tend

        try:
            tend(self.workspace, run_ids)
        except (BadInput, OSError) as error:
            self.notify(str(error), severity="warning")

    @work(thread=True, group="feed", exit_on_error=True)
    def feed_runs(self) -> None:
        worker = get_current_worker()
        self.feed.run(lambda: worker.is_cancelled, self.poll_seconds)

    @work(thread=True, group="warm", exit_on_error=False)
    def warm_charts(self) -> None:
        from tui.charts import warm_up

        warm_up()

    @work(thread=True, group="acts")
    def carry_out(self, act: Callable[[], list[str]]) -> None:
        """Do something that takes its time, and tell what came of it, or why nothing did."""
        try:
            for line in act():
                self.notify(line)
        except BadInput as error:
            self.notify("\n".join(error.lines), severity="error")
        except OSError as error:
            self.notify(str(error), severity="error")
        self.feed.poke()

    def on_runs_changed(self, message: RunsChanged) -> None:
        live = {row.run_id for row in self.feed.rows if row.live and row.stored is None}
        if self.tends and self._live - live:
            self.tend(self._live - live)
        self._live = live
        self._pass_on("runs_changed")

    def on_confs_changed(self, message: ConfsChanged) -> None:
        self._pass_on("confs_changed")

    def _pass_on(self, name: str) -> None:
        """Tell the screens that want to know; a hidden one catches up when it is shown again."""
        for screen in self.screen_stack:
            handler = getattr(screen, name, None)
            if handler is not None:
                try:
                    handler()
                except NoMatches:
                    # A screen that is just coming or going lacks widgets; it catches up when it is shown.
                    continue

    def record(self, run_id: str) -> Record | None:
        """Return a run of the list by id."""
        return next((row for row in self.feed.rows if row.run_id == run_id), None)

    def open_run(self, record: Record) -> None:
        """Show one run over whatever is shown."""
        from tui.screens.run import RunScreen

        self.push_screen(RunScreen(record))

    def copy(self, text: str, told: str = "") -> None:
        """Copy by the terminal (OSC 52) and show what was copied, since not every terminal can."""
        self.copy_to_clipboard(text)
        self.notify(plain(told or text), title=say("app.copied"), markup=False)

    def edit(self, path: Path) -> bool:
        """Give the terminal to `$VISUAL` or `$EDITOR` (vi) for a file; tell whether the editor ended well."""
        editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
        try:
            with self.suspend():
                return subprocess.run([*editor, str(path)], check=False).returncode == 0
        except (OSError, SuspendNotSupported) as error:
            self.notify(say("app.no_editor", editor=editor[0], error=str(error)), severity="error")
            return False

    async def action_mode(self, mode: str) -> None:
        """Go to a mode; a dialog or a form in front stays until it is answered."""
        if isinstance(self.screen, Screen) and (
            self.screen.is_modal or getattr(self.screen, "keeps_front", False)
        ):
            return
        while len(self.screen_stack) > 1:
            self.pop_screen()
        await self.switch_mode(mode)

    def action_queue_screen(self) -> None:
        """Show who waits for a free slot."""
        from tui.screens.queue import QueueScreen

        front = self.screen.is_modal or getattr(self.screen, "keeps_front", False)
        if not front and not isinstance(self.screen, QueueScreen):
            self.push_screen(QueueScreen())

    def action_help(self) -> None:
        from tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(getattr(self.screen, "where", "app")))

    async def action_back(self) -> None:
        """Step out one level; never quits."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def action_leave(self) -> None:
        """Step out one level; from the top, quit. Runs go on."""
        if getattr(self.screen, "keeps_front", False):
            return
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.exit()
