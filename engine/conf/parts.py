"""Sections of a conf's network that choose a part by name: `backbone: resnet50`.

A name is that of a file in `conf/<kind>/`, else of a part as it is registered. Owns what a name stands for;
whether the part takes its fields is checked by `engine.catalog`. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine import catalog
from engine.conf.marks import Location, Mark, read
from engine.errors import BadInput
from engine.words import say
from engine.workspace import Workspace


def named(
    workspace: Workspace, data: dict[str, Any]
) -> tuple[dict[str, Any], dict[Location, Mark], list[tuple[Location, str]]]:
    """Return a conf's data with the sections that names stand for, their places, and what is wrong with them.

    The data that came in is left as it is. A name that stands for nothing stays, and is told.
    """
    model = data.get("model")
    if not isinstance(model, dict) or not any(isinstance(model.get(k), str) for k in catalog.PART_KINDS):
        return data, {}, []
    try:
        network = catalog.find(workspace, str(model.get("name", "")))
    except BadInput:
        return data, {}, []  # told by whoever checks the network
    filled, marks, problems = dict(model), dict[Location, Mark](), list[tuple[Location, str]]()
    for kind in (field.name for field in network.fields if field.is_section):
        name = model.get(kind)
        if not isinstance(name, str):
            continue
        file = workspace.conf / kind / f"{name}.yaml"
        place: Location = ("model", kind)
        if name == file.stem and file.is_file():
            try:
                section = read(file, workspace.relative(file))
            except BadInput as error:
                problems += [(place, line) for line in error.lines]
                continue
            filled[kind] = section.data
            marks |= {(*place, *inner): mark for inner, mark in section.marks.items() if inner}
        elif name in names(workspace, kind):
            filled[kind] = {"name": name}
        else:
            problems.append((place, _unknown(workspace, kind, name)))
    return {**data, "model": filled}, marks, problems


def names(workspace: Workspace, kind: str) -> list[str]:
    """Return what may stand for a part of a kind: the files in conf/<kind>/, then the registered names."""
    files = sorted(path.stem for path in (workspace.conf / kind).glob("*.yaml"))
    registered = [part.name for part in catalog.parts(workspace, kind) if part.broken is None]
    return list(dict.fromkeys([*files, *registered]))


def drop_replaced(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    """Take from a base what another part replaces: the fields of one are not the other's."""
    low, high = below.get("model"), above.get("model")
    if not isinstance(low, dict) or not isinstance(high, Mapping):
        return
    for kind in catalog.PART_KINDS:
        was, wanted = low.get(kind), high.get(kind)
        if not (isinstance(was, dict) and isinstance(wanted, Mapping)):
            continue
        if "name" in wanted and wanted["name"] != was.get("name"):
            low.pop(kind)


def _unknown(workspace: Workspace, kind: str, name: str) -> str:
    known, word = names(workspace, kind), say(f"catalog.of.{kind}")
    near = catalog.near_miss(name, known)
    if near:
        return say("catalog.unknown_near", kind=word, name=name, near=near)
    text = say("catalog.unknown", kind=word, name=name)
    return "; ".join([text, say("catalog.known", names=", ".join(known))])
