"""What is wrong with a form as it is typed: a line a field, the tables looked at too.

Milliseconds: the schema, the network's fields, and the headers of the tables; nothing is read whole. No
torch, nothing is written.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from engine import catalog
from engine.conf import mistakes
from engine.conf.load import from_plain
from engine.conf.schema import Conf
from engine.errors import BadInput
from engine.words import say
from engine.workspace import Workspace

_KEY = re.compile(r"\b((?:data|training|finetune|model|tracking)(?:\.\w+)+)")


def problems_of(workspace: Workspace, plain: dict[str, Any], keys: Collection[str]) -> dict[str, str]:
    """Return the first problem of each of the form's keys; what is none of theirs stands under ''."""
    conf, found = mistakes.find(workspace, plain)
    told: dict[str, str] = {}
    for location, text in found:
        parts = [str(part) for part in location]
        key = _nearest(parts, keys)
        # What is inside of a field is named: data.clip.continuum.0, model.widths.one
        inner = ".".join(parts)[len(key) :].strip(".") if key else ".".join(parts)
        told.setdefault(key, f"{inner}: {text}" if inner else text)
    if conf is not None and not found:
        told |= _of_tables(workspace, conf, keys)
    return told


def checked(workspace: Workspace, plain: dict[str, Any]) -> Conf | None:
    """Return the conf of the form, None while something is wrong with it."""
    try:
        return from_plain(workspace, plain, say("launch.form"))
    except BadInput:
        return None


def _of_tables(workspace: Workspace, conf: Conf, keys: Collection[str]) -> dict[str, str]:
    """Return what does not fit between the conf and the tables' headers."""
    from engine.spectra import layout, stats
    from engine.spectra.headers import DAMAGED, header_cells

    told: dict[str, str] = {}
    try:
        promised = layout.preflight(workspace, conf.data)
        layout.needs(promised.branches, catalog.find(workspace, conf.model.name).inputs)
        stats.fixed(workspace, conf.data)
        tables = promised.tables
        cells = header_cells(tables.files["labels"][0], tables.shown("labels"))
    except BadInput as error:
        for line in error.lines:
            key, text = _place(line, keys)
            told.setdefault(key, text)
        return told
    except (OSError, ValueError, *DAMAGED) as error:
        return {"data.path": str(error)}
    split, resample = conf.data.split, conf.data.resample
    for key, given, used in (
        ("data.split.group", split.group, split.method == "group"),
        ("data.resample.column", resample.column, resample.strategy != "none"),
    ):
        if used and given not in cells:
            told[key] = say("form.no_column", column=given) + mistakes.near_miss(given, cells)
    return told


def _place(line: str, keys: Collection[str]) -> tuple[str, str]:
    """Return the field that a sentence about tables means, and the sentence without its key in front."""
    head, colon, rest = line.partition(": ")
    if colon and head in keys:
        return head, rest
    for key in reversed(_KEY.findall(line)):
        if key in keys:
            return key, line
    return "data.path", line


def _nearest(parts: list[str], keys: Collection[str]) -> str:
    for end in range(len(parts), 0, -1):
        key = ".".join(parts[:end])
        if key in keys:
            return key
    return ""
