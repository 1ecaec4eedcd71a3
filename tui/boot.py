"""From the command line to the app: refuse what cannot work, set defaults, then import Textual."""

from __future__ import annotations

import asyncio
import os
import sys

from engine import workspace
from engine.errors import BadInput
from engine.words import say


def refuse_without_terminal() -> None:
    """Raise `BadInput` when there is no terminal, or one that cannot move its cursor."""
    # Textual draws on stderr: with that in a file the app would run unseen.
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise BadInput(say("cli.no_terminal"))
    term = os.environ.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        raise BadInput(say("cli.dumb_terminal", term=term or '""'))


def set_defaults() -> None:
    """Set Textual's knobs, which it reads at import: no animation anywhere, fewer frames over SSH."""
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
    if os.environ.get("SSH_CONNECTION"):
        os.environ.setdefault("TEXTUAL_FPS", "20")
        os.environ.setdefault("ESCDELAY", "200")


def run_app(root: str | None) -> int:
    """Open the app on a workspace; return the exit code.

    Raises:
        BadInput: no terminal, or no workspace.
    """
    refuse_without_terminal()
    here = workspace.find(root)
    set_defaults()
    from tui.app import SpectuiApp
    from tui.leaving import Leaving

    leaving = Leaving(here.cache / "left-late.txt")
    app = SpectuiApp(here, leaving.asked)

    async def run() -> None:
        await app.run_async()
        leaving.given_back = True

    # asyncio waits here for threads that are still at work
    asyncio.run(run())
    live = app.feed.live()
    if live and not app.return_code:
        print(say("app.still_running", count=live))
    return app.return_code or 0
