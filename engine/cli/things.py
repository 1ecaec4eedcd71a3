"""`confs`: what can be run."""

from __future__ import annotations

import argparse
from typing import Any

from engine import workspace
from engine.cli.text import message, print_json, print_table
from engine.conf.load import conf_files, resolve
from engine.errors import BadInput
from engine.words import say


def confs(arguments: argparse.Namespace) -> int:
    """List the confs under conf/ with what they train, or why they cannot be used."""
    here = workspace.find(arguments.root)
    listed: list[dict[str, Any]] = []
    for file in conf_files(here):
        shown = here.relative(file)
        entry: dict[str, Any] = {
            "conf": shown,
            "name": None,
            "model": None,
            "description": "",
            "problems": [],
        }
        try:
            conf = resolve(here, file).conf
        except BadInput as error:
            entry["problems"] = error.lines
        else:
            entry |= {"name": conf.name, "model": conf.model.name, "description": conf.description}
        listed.append(entry)
    if arguments.json:
        print_json(listed)
        return 0
    if not listed:
        message(say("cli.no_confs", folder=here.relative(here.conf)))
        return 0
    rows = [
        [e["conf"], e["model"] or "-", e["description"] or ("✗ " + e["problems"][0] if e["problems"] else "")]
        for e in listed
    ]
    print_table([say("column.conf"), say("column.model"), say("column.what")], rows)
    return 0
