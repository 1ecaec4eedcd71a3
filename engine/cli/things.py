"""`confs` and `models`: what can be run."""

from __future__ import annotations

import argparse
from typing import Any

from engine import catalog, workspace
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


def models(arguments: argparse.Namespace) -> int:
    """List the networks with their parameter counts."""
    here = workspace.find(arguments.root)
    listed = [_plain(here, network) for network in _counted(here)]
    if arguments.json:
        print_json(listed)
        return 0
    rows = [
        [m["name"], f"{m['parameters']:,}" if m["parameters"] is not None else "-", ",".join(m["inputs"]),
         m["summary"] if not m["broken"] else f"✗ {m['broken']}"]
        for m in listed
    ]  # fmt: skip
    print_table(
        [say("column.model"), say("column.parameters"), say("column.inputs"), say("column.what")], rows
    )
    return 0


def show_model(arguments: argparse.Namespace) -> int:
    """Show one network: what it is, its fields and its parameter counts."""
    here = workspace.find(arguments.root)
    try:
        network = catalog.find(here, arguments.name)
    except BadInput as error:
        raise BadInput(catalog.in_one_line(error)) from error
    entry = _plain(here, next(n for n in _counted(here) if n[0].name == network.name))
    entry["doc"] = network.doc
    entry["fields"] = [_field(f) for f in network.fields]
    entry["variants"] = [{"name": network.name, "parameters": entry["parameters"]}]
    if arguments.json:
        print_json(entry)
        return 0
    print(f"{network.name}  ({entry['source']})\n\n{network.doc}\n")
    if entry["parameters"] is not None:
        print(f"{say('column.parameters')}: {entry['parameters']:,} ({say('cli.counted_at')})")
        for name, count in (entry["parts"] or {}).items():
            print(f"  {name:<24} {count:>12,}")
    if entry["fields"]:
        print()
        rows = [[f["name"], f["type"], str(f["default"])] for f in _flat(entry["fields"])]
        print_table([say("column.field"), say("column.type"), say("column.default")], rows)
    return 0


def _counted(here: workspace.Workspace) -> list[tuple[Any, Any]]:
    found = catalog.networks(here)
    counts = catalog.parameter_counts(here)
    return [(network, counts.get(network.name)) for network in found]


def _plain(here: workspace.Workspace, pair: tuple[Any, Any]) -> dict[str, Any]:
    network, count = pair
    return {
        "name": network.name,
        "source": here.relative(network.file),
        "parameters": count.parameters if count else None,
        "parts": count.parts if count else None,
        "inputs": list(network.inputs),
        "summary": network.summary,
        "broken": network.broken or (count.error if count else None),
    }


def _field(field: Any) -> dict[str, Any]:
    entry = {
        "name": field.name,
        "type": field.annotation,
        "default": field.default,
        "required": field.required,
    }
    if field.nested:
        entry["fields"] = [_field(inner) for inner in field.nested]
    return entry


def _flat(fields: list[dict[str, Any]], prefix: str = "") -> list[dict[str, Any]]:
    flat: list[dict[str, Any]] = []
    for field in fields:
        name = prefix + field["name"]
        flat += _flat(field["fields"], f"{name}.") if field.get("fields") else [field | {"name": name}]
    return flat
