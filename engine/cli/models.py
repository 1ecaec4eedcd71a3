"""`models`: the networks, their parts, one of them in full, and a new one to begin from."""

from __future__ import annotations

import argparse
from typing import Any

from engine import catalog, workspace
from engine.cli.text import message, print_json, print_table
from engine.errors import BadInput
from engine.words import say


def models(arguments: argparse.Namespace) -> int:
    """List the networks with their parameter counts, or the parts that networks are put together from."""
    here = workspace.find(arguments.root)
    if arguments.parts:
        return _parts(here, arguments.json)
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
    """Show one network: what it is, its fields and parts, its size, its cost, how far it sees.

    A part is shown by its name too, without what only a whole network has.
    """
    here = workspace.find(arguments.root)
    try:
        network = catalog.find(here, arguments.name)
    except BadInput as error:
        parts = [part for part in catalog.parts(here) if part.name == arguments.name and not part.broken]
        if not parts:
            raise BadInput(catalog.in_one_line(error)) from error
        return _show_part(here, parts[0], arguments.json)
    from engine.about_model import about

    counts = catalog.parameter_counts(here, names=[network.name])
    entry = _plain(here, (network, counts.get(network.name)))
    entry["doc"] = network.doc
    entry["fields"] = [_field(f) for f in network.fields]
    message(say("cli.measuring", name=network.name))
    found = about(here, network)
    entry["broken"] = entry["broken"] or found.pop("error")
    entry |= found
    if arguments.json:
        print_json(entry)
    else:
        _print_model(entry)
    return 0


def new_model(arguments: argparse.Namespace) -> int:
    """Write a commented network and its conf, which train at once."""
    from engine.new_model import write_new_model

    here = workspace.find(arguments.root)
    source, conf = write_new_model(here, arguments.name)
    shown = {"source": here.relative(source), "conf": here.relative(conf)}
    if arguments.json:
        print_json(shown)
        return 0
    print(shown["source"])
    print(shown["conf"])
    message(say("new_model.next", conf=shown["conf"]))
    return 0


def _parts(here: workspace.Workspace, as_json: bool) -> int:
    listed = [
        {
            "name": part.name, "kind": part.kind if not part.broken else None, "summary": part.summary,
            "source": here.relative(part.file), "broken": part.broken,
        }
        for part in sorted(catalog.parts(here), key=lambda part: _order(part.kind))
    ]  # fmt: skip
    if as_json:
        print_json(listed)
        return 0
    rows = [
        [say(f"catalog.of.{p['kind']}") if p["kind"] else "-", str(p["name"]),
         f"✗ {p['broken']}" if p["broken"] else str(p["summary"])]
        for p in listed
    ]  # fmt: skip
    print_table([say("column.kind"), say("column.part"), say("column.what")], rows)
    return 0


def _order(kind: str) -> int:
    return (*catalog.PART_KINDS, "model").index(kind)


def _show_part(here: workspace.Workspace, part: catalog.Network, as_json: bool) -> int:
    entry = {
        "name": part.name, "kind": part.kind, "source": here.relative(part.file), "doc": part.doc,
        "summary": part.summary, "fields": [_field(field) for field in part.fields],
    }  # fmt: skip
    if as_json:
        print_json(entry)
        return 0
    kind = say(f"catalog.of.{part.kind}")
    print(f"{part.name}  {kind}  ({entry['source']})\n\n{part.doc}\n")
    _print_fields(entry)
    return 0


def _print_model(entry: dict[str, Any]) -> None:
    print(f"{entry['name']}  ({entry['source']})\n\n{entry['doc']}\n")
    if entry["broken"]:
        print(f"✗ {entry['broken']}\n")
    if entry["parameters"] is not None:
        print(f"{say('column.parameters')}: {entry['parameters']:,} ({say('cli.counted_at')})")
        for name, count in (entry["parts"] or {}).items():
            print(f"  {name:<24} {count:>12,}")
    if entry["flops"] is not None:
        print(say("cli.flops", millions=f"{entry['flops'] / 1e6:,.1f}", points=entry["points"]))
    step = entry["step"]
    if step is not None:
        milliseconds = f"{step['seconds'] * 1000:,.0f}"
        print(say("cli.step", milliseconds=milliseconds, batch=step["batch"], device=step["device"]))
    if entry["receptive_field"]:
        print(say("cli.sees"))
        for part, found in entry["receptive_field"].items():
            angstrom = "" if found["angstrom"] is None else f"{found['angstrom']:>12,} Å"
            whole = f"  {say('cli.whole')}" if found["points"] >= 0.95 * entry["points"] else ""
            print(f"  {part:<24} {found['points']:>12,} {say('cli.points')}{angstrom}{whole}")
    if len(entry["variants"]) > 1:
        print()
        rows = [
            [v["name"], f"{v['parameters']:,}" if v["parameters"] is not None else f"✗ {v['error']}"]
            for v in entry["variants"]
        ]
        print_table([say("column.variant"), say("column.parameters")], rows)
    if entry["fields"]:
        print()
        _print_fields(entry)


def _print_fields(entry: dict[str, Any]) -> None:
    rows = [[f["name"], f["type"], str(f["default"]), f["help"]] for f in _flat(entry["fields"])]
    print_table([say("column.field"), say("column.type"), say("column.default"), say("column.what")], rows)


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
        "help": field.help,
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
