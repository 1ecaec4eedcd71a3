"""The fields of a launch form, built from the conf schema and from the network's own file. No torch.

The English help of a field is its docstring; other languages have theirs in the catalogue under
`field.<key>`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from engine import catalog, words
from engine.conf.load import get
from engine.conf.mistakes import range_of
from engine.conf.schema import Conf
from engine.errors import BadInput
from engine.workspace import Workspace

Kind = Literal["choice", "text"]
_FIRST = ("name", "model.name")
_SECTION_ORDER = ("", "training", "finetune", "data", "model", "tracking")
_HIDDEN = ("version",)


@dataclass(frozen=True)
class FormField:
    """One field: its dotted key, how it is entered, its value as text, and what it means."""

    key: str
    kind: Kind
    text: str
    choices: tuple[str, ...]
    help: str
    range: str = ""
    """What numbers are allowed, such as '> 0, ≤ 1'."""

    @property
    def section(self) -> str:
        return self.key.partition(".")[0] if "." in self.key else ""


def form_fields(workspace: Workspace, conf: Conf) -> list[FormField]:
    """Return every field of the form for a conf, in the order to show them."""
    schema = Conf.model_json_schema()
    plain = conf.plain()
    fields = _walk(schema, schema, plain, "")
    names = tuple(network.name for network in catalog.networks(workspace) if not network.broken)
    fields = [
        dataclasses.replace(f, kind="choice", choices=names)
        if f.key == "model.name" and f.text in names
        else f
        for f in fields
    ]
    fields += _network_fields(workspace, conf, plain)
    order = {section: place for place, section in enumerate(_SECTION_ORDER)}
    return sorted(fields, key=lambda f: (f.key not in _FIRST, order.get(f.section, 9)))


def as_text(value: Any) -> str:
    """Return a value as it would be typed: YAML on one line."""
    if isinstance(value, str) and value and value == value.strip() and yaml.safe_load(value) == value:
        return value
    if value == "":
        return ""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _walk(
    schema: dict[str, Any], node: dict[str, Any], plain: dict[str, Any], prefix: str
) -> list[FormField]:
    fields: list[FormField] = []
    for name, entry in node.get("properties", {}).items():
        key = prefix + name
        if key in _HIDDEN:
            continue
        target = _resolved(schema, entry)
        if target.get("properties"):
            fields += _walk(schema, target, plain, f"{key}.")
            continue
        choices = tuple(str(choice) for choice in target.get("enum", ()))
        help_text = entry.get("description", target.get("description", ""))
        field = _field(key, get(plain, key), choices, help_text)
        fields.append(dataclasses.replace(field, range=range_of(entry)))
    return fields


def _resolved(schema: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    reference = entry.get("$ref") or next((a["$ref"] for a in entry.get("allOf", []) if "$ref" in a), None)
    if reference is None:
        return entry
    found: dict[str, Any] = schema["$defs"][reference.rpartition("/")[2]]
    return found


def _network_fields(workspace: Workspace, conf: Conf, plain: dict[str, Any]) -> list[FormField]:
    try:
        network = catalog.find(workspace, conf.model.name)
    except BadInput:
        return []
    fields: list[FormField] = []
    for field in network.fields:
        for name, inner in [(f"{field.name}.{n.name}", n) for n in field.nested or ()] or [
            (field.name, field)
        ]:
            key = f"model.{name}"
            value = get(plain, key)
            shown = inner.default if value is None else value
            fields.append(_field(key, shown, _literal_choices(inner.annotation), inner.help or ""))
    return fields


def _field(key: str, value: Any, choices: tuple[str, ...], help_text: str) -> FormField:
    if isinstance(value, bool):
        choices = ("true", "false")
    text = as_text(value)
    translated = words.own(f"field.{key}") or help_text
    return FormField(
        key, "choice" if text in choices else "text", text, choices, " ".join(translated.split())
    )


def _literal_choices(annotation: str) -> tuple[str, ...]:
    """Return the words of a `Literal['ln', 'bn']` annotation."""
    head, bracket, rest = annotation.partition("Literal[")
    if not bracket or head.strip():
        return ()
    return tuple(part.strip().strip("'\"") for part in rest.partition("]")[0].split(","))
