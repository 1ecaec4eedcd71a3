"""A conf as plain data: dotted keys, what differs, YAML. Knows no field and checks nothing: no pydantic.

Whoever only shows confs imports this and not `load`, which costs a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

SECTIONS = (
    "version",
    "name",
    "description",
    "model",
    "data",
    "training",
    "finetune",
    "tracking",
)
"""What a conf has at its top: the fields of `schema.Conf`."""


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what differs between two plain confs: dotted key to {was, is}."""
    before, after = flatten(old), flatten(new)
    return {
        key: {"was": before.get(key), "is": after.get(key)}
        for key in [*before, *(k for k in after if k not in before)]
        if before.get(key) != after.get(key)
    }


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return dotted keys and leaf values of a plain conf; lists are leaves."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def get(tree: Mapping[str, Any], key: str) -> Any:
    """Return the value at a dotted key, or None."""
    value: Any = tree
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def to_yaml(data: Mapping[str, Any]) -> str:
    """Return plain data as YAML, in its own order; it reads back as it was."""
    import yaml

    return yaml.dump(dict(data), Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=100)


@cache
def _dumper() -> Any:
    import yaml

    from engine.conf.marks import FLOAT

    class Dumper(yaml.SafeDumper):
        """PyYAML's safe dumper; quotes text that looks like a number of YAML 1.2 ('1e-4') too."""

    Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))
    return Dumper
