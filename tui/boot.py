"""From the command line to the app: refuse what cannot work, set defaults, then import Textual."""

from __future__ import annotations

import asyncio
import os
import sys

from engine import words, workspace
from engine.errors import BadInput
from engine.words import say
from tui import config as settings
from tui.view import View


def refuse_without_terminal() -> None:
    """Raise `BadInput` when there is no terminal."""
    # Textual draws on stderr: with that in a file the app would run unseen.
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise BadInput(say("cli.no_terminal"))


def is_plain() -> bool:
    """Tell whether the terminal cannot move its cursor: then the runs are told as text."""
    return os.environ.get("TERM", "") in ("", "dumb", "unknown")


def set_defaults(slow: bool = False) -> None:
    """Set Textual's knobs, which it reads at import: no animation anywhere, fewer frames over SSH."""
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
    if slow or os.environ.get("SSH_CONNECTION"):
        os.environ.setdefault("TEXTUAL_FPS", "5" if slow else "20")
        os.environ.setdefault("ESCDELAY", "200")


def run_app(root: str | None, language: str | None = None) -> int:
    """Open the app on a workspace; return the exit code.

    Raises:
        BadInput: no terminal, no workspace, or a config that means nothing.
    """
    refuse_without_terminal()
    here = workspace.find(root)
    if is_plain():
        return _tell_plainly(root)
    # What is wrong in it is told in the language that the environment asks for.
    config = settings.read()
    view = View(here)
    if not language and not os.environ.get("SPECTUI_LANG"):
        words.choose(view.get("app.lang", "") or config.lang or None)
    slow = slow_link(config, view)
    set_defaults(slow)
    from tui import keys
    from tui.app import SpectuiApp
    from tui.leaving import Leaving

    keymap = keys.use(config.keys, settings.file())
    leaving = Leaving(here.cache / "left-late.txt")
    app = SpectuiApp(here, leaving.asked, config=config, slow=slow)
    app.set_keymap(keymap)

    async def run() -> None:
        await app.run_async(mouse=config.mouse)
        leaving.given_back = True

    # asyncio waits here for threads that are still at work
    asyncio.run(run())
    if app.again:
        _again(app.again)
    live = app.feed.live()
    if live and not app.return_code:
        print(say("app.still_running", count=live))
    return app.return_code or 0


def slow_link(config: settings.Config, view: View) -> bool:
    """Tell whether few bytes matter more than quick answers: the palette's last choice, else the config's."""
    return view.get("app.slow_link", config.slow_link) == "yes"


def _tell_plainly(root: str | None) -> int:
    """Print the runs as `spectui runs` does, and how to get the app."""
    from engine.cli import main

    term = os.environ.get("TERM", "")
    print(say("cli.dumb_terminal", term=term or '""'), file=sys.stderr)
    return main(["runs", *(["--root", root] if root else [])])


def _again(options: dict[str, str]) -> None:
    """Become the app anew with other options; what was shown is shown again."""
    words_given = list(sys.orig_argv[1:])
    for name, value in options.items():
        kept: list[str] = []
        while words_given:
            word = words_given.pop(0)
            if word == name:
                del words_given[:1]
            elif not word.startswith(f"{name}="):
                kept.append(word)
        words_given = [*kept, *([name, value] if value else [])]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *words_given])
