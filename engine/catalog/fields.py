"""Check the fields that a conf gives a network, before torch is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, NotRequired, Required, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import get_type_hints, is_typeddict

from engine.catalog.scan import Network, annotations_of, near_miss
from engine.catalog.types import resolve, typed_dict
from engine.words import has, say

Loc = tuple[str | int, ...]
_KINDS = {  # pydantic's word for what was wrong -> our word for what was wanted
    "int_type": "int",
    "int_from_float": "int",
    "float_type": "float",
    "finite_number": "float",
    "bool_type": "bool",
    "string_type": "str",
    "list_type": "list",
    "tuple_type": "list",
    "dict_type": "dict",
    "mapping_type": "dict",
    "none_required": "none",
}


def check_fields(
    network: Network, fields: Mapping[str, Any], path: Sequence[str | int] = ("model",)
) -> list[tuple[Loc, str]]:
    """Return what is wrong with the fields of a network: where (path and keys) and one sentence each.

    Unknown and missing keys, wrong types, values outside a Literal; nested groups too. A network that takes
    any field (the older style) is checked for its named ones only.
    """
    start: Loc = tuple(path)
    wrong: list[tuple[Loc, str]] = []
    rest = {}
    for key, value in fields.items():
        if key in ("points", "labels"):
            wrong.append(((*start, key), say("catalog.set_by_data", field=key)))
        else:
            rest[key] = _plain(value)
    if network.broken is not None:
        return wrong
    shape, adapter = _shape(network)
    try:
        adapter.validate_python(rest)
    except ValidationError as error:
        found = _sentences(network, shape, rest, error.errors())
        wrong += [((*start, *loc), text) for loc, text in found.items()]
    return wrong


_shapes: dict[tuple[str, str], tuple[int, Any, TypeAdapter[Any]]] = {}


def _shape(network: Network) -> tuple[Any, TypeAdapter[Any]]:
    """Return the type of all fields of a network, and what checks it; made again when the file changed."""
    key, stamp = (str(network.file), network.cls), network.file.stat().st_mtime_ns
    if key in _shapes and _shapes[key][0] == stamp:
        return _shapes[key][1:]
    found = annotations_of(network)
    keys: dict[str, Any] = {}
    for name, (annotation, required) in found.fields.items():
        kind = resolve(annotation, found.scope)
        keys[name] = Required[kind] if required else NotRequired[kind]
    shape = typed_dict(network.cls, keys, open_ended=found.open)
    _shapes[key] = (stamp, shape, TypeAdapter(shape))
    return _shapes[key][1:]


def _sentences(
    network: Network, shape: Any, fields: Mapping[str, Any], errors: Sequence[ErrorDetails]
) -> dict[Loc, str]:
    """Return one sentence per place; several errors at one place are the members of a union."""
    by_place: dict[Loc, list[ErrorDetails]] = {}
    for error in errors:
        by_place.setdefault(_place(fields, error), []).append(error)
    sentences: dict[Loc, str] = {}
    for loc, here in by_place.items():
        if len(here) > 1 and any(other != loc and other[: len(loc)] == loc for other in by_place):
            continue  # a deeper place says it better
        sentences[loc] = _sentence(network, shape, fields, loc, here)
    return sentences


def _sentence(
    network: Network, shape: Any, fields: Mapping[str, Any], loc: Loc, errors: Sequence[ErrorDetails]
) -> str:
    error = errors[0]
    key = loc[-1] if loc else ""
    if error["type"] == "extra_forbidden":
        known = _keys_at(shape, loc[:-1])
        near = near_miss(str(key), known)
        if near:
            return say("catalog.unknown_field_near", field=key, name=network.name, near=near)
        listed = ", ".join(known) or say("catalog.no_fields")
        return say("catalog.unknown_field", field=key, name=network.name, known=listed)
    if error["type"] == "missing":
        return say("catalog.missing_field", field=key, name=network.name)
    value = _shown(key if error["loc"][-1] == "[key]" else _at(fields, loc))
    if len(errors) > 1:
        kinds = list(dict.fromkeys(_wanted(one) for one in errors))
        return say("catalog.wrong", value=value, wanted=say("catalog.or").join(kinds))
    return say("catalog.wrong", value=value, wanted=_wanted(error))


def _wanted(error: ErrorDetails) -> str:
    if error["type"] == "literal_error":
        return say("catalog.one_of", values=str(error["ctx"]["expected"]).replace(" or ", ", "))
    kind = f"catalog.kind.{_KINDS.get(error['type'], '')}"
    return say(kind) if has(kind) else error["msg"]


def _place(fields: Mapping[str, Any], error: ErrorDetails) -> Loc:
    """Return where an error is in the value: pydantic also names the member of a union and '[key]'."""
    loc: list[str | int] = []
    here: Any = fields
    for step in error["loc"]:
        index = isinstance(here, list) and isinstance(step, int) and step < len(here)
        if index or (isinstance(here, dict) and step in here):
            here = here[step]
        elif not (error["type"] == "missing" and step == error["loc"][-1]):
            continue
        loc.append(step)
    return tuple(loc)


def _at(value: Any, loc: Loc) -> Any:
    for step in loc:
        value = value[step]
    return value


def _keys_at(shape: Any, loc: Loc) -> list[str]:
    """Return the keys that the type has at a place."""
    kind = _group_in(shape)
    for step in loc:
        if is_typeddict(kind):
            kind = _group_in(get_type_hints(kind).get(str(step)))
        else:
            arguments = get_args(kind)
            kind = _group_in(arguments[-1]) if arguments else None
    return list(get_type_hints(kind)) if is_typeddict(kind) else []


def _group_in(kind: Any) -> Any:
    """Return a type without Annotated, Optional and the like."""
    while True:
        origin = get_origin(kind)
        if origin in (Annotated, Required, NotRequired):
            kind = get_args(kind)[0]
        elif origin in (Union, UnionType):
            members = [one for one in get_args(kind) if one is not NoneType]
            kind = next((one for one in members if is_typeddict(one)), members[0])
        else:
            return kind


def _plain(value: Any) -> Any:
    """Return frozen mappings and tuples as the dicts and lists they came from."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
