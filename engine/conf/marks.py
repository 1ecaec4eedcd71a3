"""YAML in, plain data and the place of every key out.

Owns how a conf file is read: the C loader, YAML 1.2 numbers and booleans (`1e-4` is a number, `yes`, `1:30`
and `007` are words), duplicate keys refused, and a mark (file, line, column) for every key so that messages
can point.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from engine.errors import BadInput
from engine.words import say

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Mark:
    """Where a value was written: a file and place, or the command-line word that set it."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass
class Marked:
    """Data read from YAML with the mark of every key and list item."""

    data: dict[str, Any]
    marks: dict[Location, Mark]

    def mark(self, location: Location) -> Mark | None:
        """Return the mark of `location`, or of the nearest parent that has one."""
        for end in range(len(location), -1, -1):
            found = self.marks.get(location[:end])
            if found is not None:
                return found
        return None


_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BaseLoader):
    """PyYAML's safe C loader with the scalars of YAML 1.2."""


_REPLACED = tuple(f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int", "timestamp"))
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag not in _REPLACED]
    for first, pairs in _BaseLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
# PyYAML would read a leading zero as octal and 1:30 as sexagesimal.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")
)
FLOAT = re.compile(
    r"""^(?:[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+
    |\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))


def read(path: Path, shown: str) -> Marked:
    """Read one conf file; `shown` is its name in messages.

    Raises:
        BadInput: unreadable, not YAML, a duplicate key, or not a mapping at the top.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadInput(say("conf.missing", file=shown)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(say("conf.unreadable", file=shown, error=error)) from error
    return parse(text, shown)


def parse(text: str, shown: str) -> Marked:
    """Parse YAML text into data and marks (see `read`)."""
    loader: Any = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None or node.tag == "tag:yaml.org,2002:null":
            return Marked({}, {(): Mark(shown, 1, 1)})
        if not isinstance(node, yaml.MappingNode):
            raise BadInput(say("conf.not_mapping", file=shown))
        marks = dict(_walk(node, (), shown))
        data = loader.construct_document(node)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f"{shown}:{place.line + 1}:{place.column + 1}" if place else shown
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise BadInput(say("conf.not_yaml", where=where, problem=problem)) from error
    except (ValueError, RecursionError) as error:
        # An explicit tag that does not fit (`!!int x`), or an alias that holds itself.
        raise BadInput(say("conf.not_yaml", where=shown, problem=error)) from error
    finally:
        if loader is not None:
            loader.dispose()
    return Marked(data, marks)


def parse_value(text: str) -> Any:
    """Parse the value of a command-line override by the same rules as a conf file."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError):
        return text


def _walk(node: yaml.Node, location: Location, shown: str) -> Iterator[tuple[Location, Mark]]:
    yield location, Mark(shown, node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        seen: dict[Any, int] = {}
        for key, value in node.value:
            # Scalars keep their written form: an unhashable or odd key is named as the user typed it.
            name: Any = getattr(key, "value", None)
            if key.tag == "tag:yaml.org,2002:int":
                name = int(name)
            line = key.start_mark.line + 1
            if not isinstance(name, str | int):
                raise BadInput(say("conf.odd_key", file=shown, line=line))
            if name in seen and name != "<<":
                raise BadInput(say("conf.duplicate", file=shown, line=line, key=name, first=seen[name]))
            seen[name] = line
            yield from _walk(value, (*location, name), shown)
            yield (*location, name), Mark(shown, line, key.start_mark.column + 1)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, (*location, index), shown)
