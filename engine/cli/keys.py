"""`keys`: what each key of the app does, as it is in force, and where a person changes it.

The table belongs to the screen, which `spectui` hands in (see `engine.cli.spectrum`).
"""

from __future__ import annotations

import argparse
from typing import Any

from engine.cli.text import print_json, print_table
from engine.errors import BadInput
from engine.words import say


def keys(arguments: argparse.Namespace) -> int:
    """Print the table.

    Raises:
        BadInput: the app is not there to be asked, or the config cannot be used.
    """
    draw = getattr(arguments, "draw", None)
    if draw is None:
        raise BadInput(say("config.only_app"))
    file, *lines = draw("keys")
    rows = [line.split("\t") for line in lines]
    if arguments.json:
        names = ("id", "place", "keys", "default", "does")
        listed: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in rows]
        for each in listed:
            each |= {name: each[name].split() for name in ("keys", "default")}
        print_json({"file": file, "keys": listed})
        return 0
    print(file)
    heads = [say("config.column_id"), say("help.key"), say("help.does")]
    print_table(heads, [[row[0], row[2], row[4]] for row in rows])
    return 0
