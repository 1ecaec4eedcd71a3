"""Types of fields, read from annotations: source text in, types that pydantic can check out.

Nothing of a network file is run: names stand for the few types that a YAML file can hold, for the file's own
TypedDicts and aliases; whatever else an annotation says accepts anything.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, Optional, Required, Union

from pydantic import ConfigDict, Strict
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

_PLAIN: dict[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "Path": str,
    "None": None,
    "list": list[Any],
    "List": list[Any],
    "Sequence": list[Any],
    "Iterable": list[Any],
    "dict": dict[Any, Any],
    "Dict": dict[Any, Any],
    "Mapping": dict[Any, Any],
    "tuple": list[Any],
    "Tuple": list[Any],
}
_LISTS = ("list", "List", "Sequence", "Iterable")
_DICTS = ("dict", "Dict", "Mapping")
_TUPLES = ("tuple", "Tuple")
_WRAPPERS = ("Required", "NotRequired", "ReadOnly")
_DEEPEST = 20


@dataclass(frozen=True)
class Key:
    """One key of a TypedDict as written."""

    name: str
    annotation: ast.expr
    required: bool


@dataclass
class Scope:
    """The classes, aliases and typed literals at the top of a module."""

    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    aliases: dict[str, ast.expr] = field(default_factory=dict)
    literals: dict[str, ast.expr] = field(default_factory=dict)
    """type name -> literal: of `SIZES: Sizes = {...}`"""

    @classmethod
    def of(cls, module: ast.Module) -> Scope:
        """Collect the names that annotations of a module can mean."""
        scope = cls()
        for node in module.body:
            if isinstance(node, ast.ClassDef):
                scope.classes[node.name] = node
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                scope.aliases[node.targets[0].id] = node.value
            elif isinstance(node, ast.AnnAssign) and isinstance(node.annotation, ast.Name) and node.value:
                scope.literals.setdefault(node.annotation.id, node.value)
        return scope

    def keys_of(self, node: ast.ClassDef, depth: int = 0) -> list[Key]:
        """Return the keys of a TypedDict, those of its bases first."""
        keys: dict[str, Key] = {}
        for base in node.bases:
            parent = self.classes.get(source_of(base))
            if parent is not None and depth < _DEEPEST:
                keys |= {key.name: key for key in self.keys_of(parent, depth + 1)}
        total = not any(
            k.arg == "total" and isinstance(k.value, ast.Constant) and k.value.value is False
            for k in node.keywords
        )
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                required = {"Required": True, "NotRequired": False}.get(_head(item.annotation), total)
                keys[item.target.id] = Key(item.target.id, item.annotation, required)
        return list(keys.values())


def source_of(node: ast.AST | None) -> str:
    """Return the text of an annotation; a quoted one without its quotes."""
    if node is None:
        return ""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)


def is_typed_dict(node: ast.ClassDef, scope: Scope, depth: int = 0) -> bool:
    """Tell whether a class of the module is a TypedDict."""
    for base in node.bases:
        name = source_of(base).rpartition(".")[2]
        parent = scope.classes.get(name)
        if name == "TypedDict":
            return True
        if parent is not None and depth < _DEEPEST and is_typed_dict(parent, scope, depth + 1):
            return True
    return False


def named_typed_dict(node: ast.expr | None, scope: Scope, depth: int = 0) -> ast.ClassDef | None:
    """Return the TypedDict that an annotation means, alone or with `| None`."""
    if node is None or depth > _DEEPEST:
        return None
    node = _unquoted(node)
    if isinstance(node, ast.BinOp):
        sides = [side for side in (node.left, node.right) if source_of(side) != "None"]
        return named_typed_dict(sides[0], scope, depth + 1) if len(sides) == 1 else None
    if isinstance(node, ast.Subscript) and _head(node) in ("Optional", *_WRAPPERS):
        return named_typed_dict(node.slice, scope, depth + 1)
    if not isinstance(node, ast.Name):
        return None
    found = scope.classes.get(node.id)
    if found is None and node.id in scope.aliases:
        return named_typed_dict(scope.aliases[node.id], scope, depth + 1)
    return found if found is not None and is_typed_dict(found, scope) else None


def typed_dict(name: str, keys: dict[str, Any], *, open_ended: bool = False) -> Any:
    """Return a TypedDict that pydantic checks strictly: no conversions, no infinities, no unknown keys."""
    make: Any = TypedDict
    made = make(name, keys)
    made.__pydantic_config__ = ConfigDict(
        extra="allow" if open_ended else "forbid", strict=True, allow_inf_nan=False
    )
    return made


def resolve(node: ast.expr | None, scope: Scope, depth: int = 0) -> Any:
    """Return the type that an annotation means; Any when it cannot be known."""
    if node is None or depth > _DEEPEST:
        return Any
    node = _unquoted(node)

    def inner(part: ast.expr) -> Any:
        return resolve(part, scope, depth + 1)

    if isinstance(node, ast.Constant):
        return None if node.value is None else Any
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([inner(node.left), inner(node.right)])
    if isinstance(node, ast.Subscript):
        return _subscript(_head(node), node.slice, inner)
    name = _head(node)
    group = named_typed_dict(node, scope)
    if group is not None:
        keys = {
            key.name: (Required if key.required else NotRequired)[inner(key.annotation)]
            for key in scope.keys_of(group)
        }
        return typed_dict(group.name, keys)
    if isinstance(node, ast.Name) and name in scope.aliases:
        return inner(scope.aliases[name])
    return _PLAIN.get(name, Any) if name not in scope.classes else Any


def _subscript(head: str, slice_: ast.expr, inner: Callable[[ast.expr], Any]) -> Any:
    parts = slice_.elts if isinstance(slice_, ast.Tuple) else [slice_]
    if head == "Literal":
        try:
            return Literal[tuple(ast.literal_eval(part) for part in parts)]
        except ValueError:
            return Any
    if head == "Optional":
        return Optional[inner(slice_)]  # noqa: UP045 - the | of a TypedDict made here does not exist
    if head == "Union":
        return _union([inner(part) for part in parts])
    if head in ("Annotated", *_WRAPPERS):
        return inner(parts[0])
    if head in _LISTS:
        return list[inner(slice_)]  # type: ignore[misc]
    if head in _DICTS and len(parts) == 2:
        return dict[inner(parts[0]), inner(parts[1])]  # type: ignore[misc]
    if head in _TUPLES:
        if len(parts) == 2 and isinstance(parts[1], ast.Constant) and parts[1].value is ...:
            return list[inner(parts[0])]  # type: ignore[misc]
        # YAML has lists only: the tuple takes one, its items stay strict.
        return Annotated[tuple[tuple(inner(part) for part in parts)], Strict(False)]  # type: ignore[misc]
    return Any


def _union(parts: list[Any]) -> Any:
    return Any if any(part is Any for part in parts) else Union[tuple(parts)]  # noqa: UP007


def _head(node: ast.expr) -> str:
    """Return the last name of what an annotation starts with: 'Optional' of t.Optional[int]."""
    start = node.value if isinstance(node, ast.Subscript) else node
    return source_of(start).rpartition(".")[2]


def _unquoted(node: ast.expr) -> ast.expr:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            return ast.parse(node.value, mode="eval").body
        except SyntaxError:
            return ast.Constant(...)
    return node
