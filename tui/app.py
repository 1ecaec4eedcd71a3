"""The app: modes, the feed of runs, global actions. Composition only; screens own what they show."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.actions import ActionParseResult
from textual.app import App, SuspendNotSupported
from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.screen import Screen
from textual.worker import get_current_worker

from engine.errors import BadInput
from engine.runs.record import Record
from engine.words import language, say
from engine.workspace import Workspace
from tui import keys, memory, reasons, since, spans, themes
from tui.alerts import Alerts
from tui.commands import PROVIDERS
from tui.config import Config, poll_seconds
from tui.feeds import RunFeed
from tui.messages import ConfsChanged, RunsChanged
from tui.restore import Restored
from tui.sheet import Sheet
from tui.view import View
from tui.widgets.bars import KeyBar
from tui.widgets.plain import plain

# A reason is said again only after it may have gone from the screen.
_REASON_SECONDS = 3.0
# What shows nothing when nothing has changed says that it was done.
_SAID_AFTER = {"refresh_now": "app.refreshed"}
# A connection that drops loses no more of the view than this.
_SAVE_SECONDS = 2.0
# When the runs are slow to come, what waits for them begins after this long.
_REST_SECONDS = 1.0
_LIST_SECONDS = 60.0  # the longest that the list may take to come without a search for garbage
_STILL_SECONDS = 60.0  # as often it is noted that the app is open, for the day it is killed
_NEWS_SECONDS = 20.0  # what happened while it was closed stays to be read


class SpectuiApp(App[None]):
    """One keyboard-driven screen over a workspace."""

    TITLE = "spectui"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[Any] = PROVIDERS
    # Bound in our own table, with ':' beside it.
    COMMAND_PALETTE_BINDING = "ctrl+p"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide"), (140, "-very-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-tall")]
    BINDINGS = keys.bindings("app")

    def __init__(
        self,
        workspace: Workspace,
        leaving: Callable[[], None] = lambda: None,
        *,
        config: Config | None = None,
        slow: bool = False,
    ) -> None:
        spans.install()
        super().__init__()
        self.stylesheet = Sheet(variables=self.get_css_variables())
        self.workspace = workspace
        self.config = config or Config()
        """What the person wants everywhere."""
        self._leaving = leaving
        self.feed = RunFeed(
            workspace, lambda: self.post_message(RunsChanged()), lambda: self.post_message(ConfsChanged())
        )
        self.tends = True
        """Whether what nobody else may see to is seen to: `engine.tend`."""
        self.view = View(workspace)
        """What was chosen on the screens, for the next start."""
        self._open_until = since.opened(self.view)
        """When the app was last open; 0 once what happened since was told."""
        if self.config.charset != "auto":
            self.view.set("charts.charset", self.config.charset)
        self.again: dict[str, str] = {}
        """Options of the command line to begin anew with, once this app has ended."""
        self.slow = slow
        """Whether few bytes matter more than quick answers."""
        self.alerts = Alerts(self.config, self.tell_terminal)
        self._restored = Restored(self)
        self._standing = memory.Standing()
        self._reason = ("", 0.0)
        self._live: set[str] = set()
        self._rest_started = self._tended = False
        self.marked: set[str] = set()
        """Runs marked for comparison, by id: the list and the comparison share them."""
        self.poll_seconds = poll_seconds(self.config, slow)
        for mode, factory in self._modes_of().items():
            self.add_mode(mode, factory)
        themes.register(self)
        self.action_theme(themes.chosen(self.config.theme, self.view.get("app.theme", "")), kept=False)

    @staticmethod
    def _modes_of() -> dict[str, Callable[[], Screen[Any]]]:
        """Return what makes the screen of each mode; a mode that nobody looks at is not imported."""

        def experiments() -> Screen[Any]:
            from tui.screens.experiments import ExperimentsScreen

            return ExperimentsScreen()

        def compare() -> Screen[Any]:
            from tui.screens.compare import CompareScreen

            return CompareScreen()

        def data() -> Screen[Any]:
            from tui.screens.data import DataScreen

            return DataScreen()

        def runs() -> Screen[Any]:
            from tui.screens.runs import RunsScreen

            return RunsScreen()

        return {"runs": runs, "experiments": experiments, "compare": compare, "data": data}

    def exit(self, *words: Any, **more: Any) -> None:
        """Leave the app; it ends within seconds, whatever its threads are waiting for."""
        self._leaving()
        self._restored.note()
        self.alerts.give_back()
        super().exit(*words, **more)

    def on_unmount(self) -> None:
        # The feed sleeps between two looks, or has not begun; quitting waits for neither.
        self.feed.close()
        since.still_open(self.view)
        self.view.save()

    def tell_terminal(self, text: str) -> None:
        """Write to the terminal itself: a bell, its title; never what a person wrote."""
        if self._driver is not None:
            self._driver.write(text)

    async def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            # Textual leaves the terminal raw on these; leaving by the front door restores it.
            loop.add_signal_handler(number, self.exit)
        await self.switch_mode(self._restored.mode())
        self.set_interval(_SAVE_SECONDS, self._keep_view)
        self.set_interval(_STILL_SECONDS, lambda: since.still_open(self.view))
        self.call_after_refresh(self._start_workers)

    def _start_workers(self) -> None:
        self.feed_runs()
        self.set_timer(_REST_SECONDS, self._start_rest)

    def _start_rest(self) -> None:
        """Start what can wait until the first rows are there: it would take the processor from them."""
        if not self._rest_started:
            self._rest_started = True
            self.set_timer(_LIST_SECONDS, self._standing.begin)
            self.warm_charts()

    def _keep_view(self) -> None:
        self._restored.note()
        self.view.save()

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
        if self.feed.loaded and self._open_until:
            news, self._open_until = since.away(self.feed.rows, self._open_until), 0.0
            if news:
                self.notify(plain(news), timeout=_NEWS_SECONDS, markup=False)
        live = self.feed.live_ids()
        if self.tends and self._live - live:
            self.tend(self._live - live)
        ended = self._live - live
        if ended:
            self.alerts.ended(row for row in self.feed.rows if row.run_id in ended)
        self._live = live
        self.alerts.tell_title(self.feed.live())
        self._pass_on("runs_changed")
        if self.feed.loaded:
            self._standing.note(len(self.feed.rows))
            self._restored.bring_back()
            if self.tends and not self._tended:
                # Not before: it looks into every run folder, as the feed does.
                self._tended = True
                self.tend(None)
        self.call_after_refresh(self._start_rest)

    def on_confs_changed(self, message: ConfsChanged) -> None:
        self._pass_on("confs_changed")

    def _pass_on(self, name: str) -> None:
        """Tell the screens that want to know; a hidden one catches up when it is shown again."""
        for screen in reversed(self.screen_stack):
            handler = getattr(screen, name, None)
            if handler is not None:
                try:
                    handler()
                except NoMatches:
                    # A screen that is just coming or going lacks widgets; it catches up when it is shown.
                    pass
            if not screen.is_modal:
                # What is beneath cannot be seen; Textual would paint the whole screen for each change of it.
                break

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

    # -- actions ---------------------------------------------------------------------------------------

    def why_not(self, action: str, node: DOMNode | None = None) -> str:
        """Return why an action cannot act now, empty when it can; without a node it is the app's own."""
        if node is None or node is self:
            return reasons.why_not_app(self, action)
        asked = getattr(node, "why_not", None)
        return asked(action) if asked is not None else ""

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Do what a key, a click or the palette asks for, or say why it cannot be done now."""
        if isinstance(action, str):
            why = self.why_not(action, default_namespace)
            if action == "select" and getattr(default_namespace, "highlighted", 0) is None:
                # enter in an empty list never reaches the place
                why = self.why_not("open", self.screen)
            if why:
                self.say_why(why)
                return True
        done = await super().run_action(action, default_namespace, namespaces)
        if isinstance(action, str) and done and action in _SAID_AFTER:
            self.say_why(say(_SAID_AFTER[action]))
        self.call_after_refresh(self._tell_keys)
        return done

    def say_why(self, why: str) -> None:
        """Say in passing why nothing happened; a key that is held down says it once."""
        said, at = self._reason
        if why != said or time.monotonic() - at > _REASON_SECONDS:
            self._reason = (why, time.monotonic())
            self.notify(plain(why), timeout=_REASON_SECONDS, markup=False)

    def _tell_keys(self) -> None:
        for bar in self.screen.query(KeyBar):
            bar.tell()

    async def action_key(self, identity: str) -> None:
        """Do what the key with this id does: a click on the key bar."""
        key = next((key for key in keys.KEYS if key.id == identity), None)
        if key is not None:
            await self.run_action(key.action, self if key.where == "app" else self.screen)

    def action_theme(self, name: str, kept: bool = True) -> None:
        """Change the colours, charts and all, and keep the choice."""
        themes.wear(self, name)
        if kept:
            self.view.set("app.theme", name)

    def action_next_theme(self) -> None:
        """Change to the next theme of ours."""
        self.action_theme(themes.after(self.theme))
        self.say_why(say("app.theme_is", theme=self.theme))

    def action_begin_again(self, name: str, value: str) -> None:
        """Begin anew with another language (`app.lang`) or link (`app.slow_link`); all is shown again."""
        self.view.set(name, value)
        self._restored.note()
        self.view.save()
        self.again = {"--lang": value if name == "app.lang" else language()}
        self.exit()

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

    def action_system_screen(self) -> None:
        """Show what the machine is doing, and who uses it."""
        from tui.screens.system import SystemScreen

        front = self.screen.is_modal or getattr(self.screen, "keeps_front", False)
        if not front and not isinstance(self.screen, SystemScreen):
            self.push_screen(SystemScreen())

    def action_help(self) -> None:
        from tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(getattr(self.screen, "where", "app"), self.screen.focused))

    async def action_back(self) -> None:
        """Step out one level; never quits."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def action_help_quit(self) -> None:
        """Ctrl+C: by itself only says how to quit; once more within seconds, quit."""
        why = say("app.again_quits")
        said, at = self._reason
        if said == why and time.monotonic() - at <= _REASON_SECONDS:
            self.exit()
        else:
            self.say_why(why)

    def action_leave(self) -> None:
        """Step out one level; from the top, quit. Runs go on."""
        if getattr(self.screen, "keeps_front", False):
            return
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.exit()
