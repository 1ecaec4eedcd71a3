"""`size CONF`: how many parameters a run has and how much memory it needs, before anything is trained."""

from __future__ import annotations

import argparse

from engine import workspace
from engine.cli.text import print_json, print_table
from engine.conf.load import resolve
from engine.size import size_of
from engine.size_words import in_bytes, line
from engine.words import say


def size(arguments: argparse.Namespace) -> int:
    """Show the size of a run: its parts, and whether they fit."""
    here = workspace.find(arguments.root)
    found = size_of(here, resolve(here, arguments.conf, sets=arguments.sets or ()).conf)
    if arguments.json:
        print_json(found.plain())
        return 0
    print(line(found))
    rows = [[say(f"size.part.{name}"), in_bytes(number)] for name, number in found.parts.items()]
    print_table([say("size.parts"), ""], rows)
    return 0
