"""What was on the screen when the app ended is there again: mode, the open run and its tab.

Notes it in the app's `view` every few seconds, so that a connection that drops loses next to nothing, and
brings it back once the runs are listed. Never holds up the start, and never moves what a person has moved.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from textual.css.query import NoMatches

if TYPE_CHECKING:
    from tui.app import SpectuiApp

_MODES = ("runs", "experiments", "compare", "data")


class Restored:
    """The part of the view that belongs to the app as a whole."""

    def __init__(self, app: SpectuiApp) -> None:
        self._app = app
        self._brought = False

    def mode(self) -> str:
        """Return the mode to begin in."""
        kept = self._app.view.get("app.mode", "")
        return kept if kept in _MODES else _MODES[0]

    def bring_back(self) -> None:
        """Open again what still exists; once, as soon as the runs are listed. The list keeps its own."""
        if self._brought:
            return
        self._brought = True
        app = self._app
        opened = app.record(app.view.get("app.open_run", ""))
        if opened is not None and len(app.screen_stack) == 1:
            app.open_run(opened)
            app.call_after_refresh(self._show_tab, app.view.get("app.open_tab", ""))

    def note(self) -> None:
        """Put what is shown now into the view; nothing before the old was brought back."""
        app = self._app
        if not self._brought or not app.screen_stack:
            return
        app.view.set("app.mode", app.current_mode)
        opened = next((screen for screen in app.screen_stack if hasattr(screen, "run_id")), None)
        app.view.set("app.open_run", getattr(opened, "run_id", ""))
        with contextlib.suppress(NoMatches):
            app.view.set("app.open_tab", str(getattr(opened, "tab", "")))

    def _show_tab(self, name: str) -> None:
        show = getattr(self._app.screen, "action_show_tab", None)
        if show is not None and name:
            # A tab of an older version of the screen is no reason to end
            with contextlib.suppress(NoMatches, KeyError, ValueError):
                show(name)
