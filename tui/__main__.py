"""`spectui`: without a verb the app, with one the engine's command line."""

from __future__ import annotations

import gc
import sys
from typing import Any

from engine import exit_codes, words
from engine.errors import BadInput


def main() -> int:
    """Run what the command line asks for and return the exit code."""
    argv = sys.argv[1:]
    wanted = _app_arguments(argv)
    if wanted is None:
        from engine.cli import main as run_verb

        return run_verb(argv, draw=_draw)
    words.choose(wanted.get("--lang"))
    # Nothing that is made while starting becomes garbage, and looking for some takes a tenth of the start.
    gc.disable()
    try:
        from tui import boot

        return boot.run_app(wanted.get("--root"), wanted.get("--lang"))
    except BadInput as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        return exit_codes.BAD_INPUT


def _draw(what: str, *facts: Any) -> list[str]:
    """Draw for `data spectrum` and `schedule`, list for `keys`; what that takes is imported only then."""
    if what == "keys":
        from tui import keys

        return keys.listed()
    from tui import plain

    return plain.DRAWINGS[what](*facts)


def _app_arguments(argv: list[str]) -> dict[str, str] | None:
    """Return the app's options when there is nothing but options of the app, else None."""
    found: dict[str, str] = {}
    rest = list(argv)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name not in ("--root", "--lang"):
            return None
        if not equals:
            if not rest:
                return None
            value = rest.pop(0)
        if name == "--lang" and value not in words.LANGUAGES:
            return None
        found[name] = value
    return found


if __name__ == "__main__":
    sys.exit(main())
