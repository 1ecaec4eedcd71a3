"""Find the networks in the source files, without importing one.

Follows `models/registry.py` (which files, which names) and `models/contract.py` (which inputs).
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.catalog.types import Scope, named_typed_dict, source_of
from engine.errors import BadInput
from engine.words import say
from engine.workspace import Workspace

PACKAGE_FOLDER = Path(__file__).resolve().parents[2] / "models" / "spectral_prediction"
_INPUTS = ("continuum", "normalized", "stacked", "concatenated")
_CONFIG_NAMES = ("configs", "config", "args")
_GIVEN = ("points", "labels")  # set by the data, never by a conf


@dataclass(frozen=True)
class Field:
    """One thing that a conf may set for a network."""

    name: str
    annotation: str
    """the type as written in the source; empty when there is none"""
    default: Any
    """the literal default; None when there is none or when it is not a literal"""
    required: bool
    nested: list[Field] | None = None
    """the keys of a group (a TypedDict of the same file)"""
    help: str = ""
    """from 'Args:' in the docstring, or the string under a key of a group"""


@dataclass(frozen=True)
class Network:
    """One network as its source describes it."""

    name: str
    cls: str
    file: Path
    line: int
    doc: str
    summary: str
    inputs: tuple[str, ...]
    """continuum, normalized, stacked, concatenated; empty when the source does not say it"""
    fields: list[Field]
    open: bool = False
    """it takes any field: an older network with `configs`, or one with **kwargs"""
    builtin: bool = False
    broken: str | None = None
    """why the file cannot be read; name is then the name of the file"""


def networks(workspace: Workspace) -> list[Network]:
    """Return every network of ours and of the workspace, by name; broken files too, each as one entry."""
    found: list[Network] = []
    for path in files(workspace):
        try:
            stat = path.stat()
        except OSError:
            continue  # gone since it was listed
        found += _networks_of(path, stat.st_mtime_ns, stat.st_size)
    return sorted(found, key=lambda network: (network.name.lower(), str(network.file)))


def find(workspace: Workspace, name: str) -> Network:
    """Return the network called `name`.

    Raises:
        BadInput: there is none (with near misses, the known names and the files that cannot be read), or two.
    """
    every = networks(workspace)
    readable = [network for network in every if network.broken is None]
    hits = [network for network in readable if network.name == name]
    if len(hits) == 1:
        return hits[0]
    if hits:
        places = [f"{workspace.relative(hit.file)}:{hit.line}" for hit in hits]
        raise BadInput(say("catalog.duplicate", name=name, first=places[0], second=places[1]))
    known = sorted({network.name for network in readable})
    near = near_miss(name, known)
    lines = [
        say("catalog.unknown_near", name=name, near=near) if near else say("catalog.unknown", name=name),
        say("catalog.known", names=", ".join(known)),
    ]
    lines += [
        say("catalog.broken", file=workspace.relative(network.file), error=network.broken)
        for network in every
        if network.broken is not None
    ]
    raise BadInput(lines)


def in_one_line(error: BadInput) -> str:
    """Return what `find` raised as one line: the near miss or else the known names, and the broken files."""
    first, *others = error.lines
    hinted = first.endswith(("?", "？"))
    return "; ".join([first, *(others[1:] if hinted else others)])


def files(workspace: Workspace) -> list[Path]:
    """Return the network files of ours and of the workspace; unchanged copies of ours are left out."""
    ours = _network_files(PACKAGE_FOLDER)
    folder = workspace.networks.resolve()
    theirs = [] if folder == PACKAGE_FOLDER else _network_files(folder)
    return ours + [path for path in theirs if not _is_copy_of_ours(path)]


def near_miss(name: str, known: Iterable[str]) -> str:
    """Return the known name most like `name`, whatever the case of the letters, or ''."""
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(str(name).lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[near[0]] if near else ""


@dataclass(frozen=True)
class Annotations:
    """The annotations of a network's fields as nodes, and the names they may mean."""

    scope: Scope
    fields: dict[str, tuple[ast.expr | None, bool]]
    """field -> annotation, and whether it must be given"""
    open: bool


def annotations_of(network: Network) -> Annotations:
    """Read the annotations of a network's fields from its source."""
    scope = Scope.of(ast.parse(network.file.read_bytes()))
    node = scope.classes.get(network.cls)
    parameters, is_open = _init_parameters(node, scope) if node is not None else ([], True)
    fields = {arg.arg: (arg.annotation, default is None) for arg, default in parameters}
    return Annotations(scope, fields, is_open)


def _network_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith("_") and path.is_file())


def _is_copy_of_ours(path: Path) -> bool:
    ours = PACKAGE_FOLDER / path.name
    try:
        return ours.is_file() and ours.read_bytes() == path.read_bytes()
    except OSError:
        return False


@lru_cache(maxsize=512)
def _networks_of(path: Path, mtime_ns: int, size: int) -> tuple[Network, ...]:
    """Return the networks of one file; its time and size are there to be a key of the cache."""
    builtin = path.parent == PACKAGE_FOLDER
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError) as error:
        line = (error.lineno or 1) if isinstance(error, SyntaxError) else 1
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        text = say("catalog.broken_line", line=line, error=reason)
        return (Network(path.stem, "", path, line, "", "", (), [], builtin=builtin, broken=text),)
    scope = Scope.of(tree)
    found = []
    for node in scope.classes.values():
        for name, inputs in _registrations(node):
            doc = ast.get_docstring(node) or ""
            fields, is_open = _fields(node, scope, doc)
            found.append(
                Network(
                    name,
                    node.name,
                    path,
                    node.lineno,
                    doc,
                    doc.partition("\n")[0],
                    inputs or _inputs(node, scope),
                    fields,
                    is_open,
                    builtin,
                )
            )
    return tuple(found)


def _registrations(node: ast.ClassDef) -> list[tuple[str, tuple[str, ...]]]:
    """Return the names, and the inputs said there, of every @register_model("...") over a class."""
    found = []
    for call in node.decorator_list:
        if not isinstance(call, ast.Call) or source_of(call.func).rpartition(".")[2] != "register_model":
            continue
        given = {keyword.arg: _literal(keyword.value) for keyword in call.keywords}
        name = _literal(call.args[0]) if call.args else given.get("name")
        inputs = given.get("inputs") or ()
        if isinstance(name, str):
            found.append((name, (inputs,) if isinstance(inputs, str) else tuple(inputs)))
    return found


def _method(node: ast.ClassDef, name: str, scope: Scope) -> ast.FunctionDef | None:
    """Return a method of a class, or of the base classes that are in the same file."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == name:
            return item
    for base in node.bases:
        parent = scope.classes.get(source_of(base))
        if parent is not None and parent is not node:
            found = _method(parent, name, scope)
            if found is not None:
                return found
    return None


def _parameters(function: ast.FunctionDef) -> list[tuple[ast.arg, ast.expr | None]]:
    """Return the parameters after self, each with its default."""
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    without = len(positional) - len(args.defaults)
    defaults = [*[None] * without, *args.defaults, *args.kw_defaults]
    return list(zip([*positional, *args.kwonlyargs], defaults, strict=True))[1:]


def _inputs(node: ast.ClassDef, scope: Scope) -> tuple[str, ...]:
    """Return what forward takes by the names of its parameters: the rule of models/contract.py."""
    forward = _method(node, "forward", scope)
    if forward is None:
        return ()
    parameters = [
        (re.sub(r"_[A-Z][A-Z0-9]*$", "", arg.arg), default) for arg, default in _parameters(forward)
    ]
    known = [one for one in parameters if one[0] in _INPUTS]
    required = [one for one in parameters if one[1] is None]
    taken = known or required or parameters[:1]
    if parameters[: len(taken)] != taken or any(one not in taken for one in required):
        return ()
    if known:
        return tuple(name for name, _ in known)
    return ("concatenated",) if len(taken) == 1 else ()


def _init_parameters(node: ast.ClassDef, scope: Scope) -> tuple[list[tuple[ast.arg, ast.expr | None]], bool]:
    """Return the parameters of __init__ that a conf may set, and whether it takes any others too."""
    init = _method(node, "__init__", scope)
    if init is None:
        return [], False
    parameters = _parameters(init)
    if parameters and parameters[0][0].arg in _CONFIG_NAMES and all(d is not None for _, d in parameters[1:]):
        return [], True
    return [one for one in parameters if one[0].arg not in _GIVEN], init.args.kwarg is not None


def _fields(node: ast.ClassDef, scope: Scope, doc: str) -> tuple[list[Field], bool]:
    parameters, is_open = _init_parameters(node, scope)
    init = _method(node, "__init__", scope)
    helps = {**_args_section(doc), **_args_section(ast.get_docstring(init) or "" if init else "")}
    return [_field(arg, default, scope, helps.get(arg.arg, "")) for arg, default in parameters], is_open


def _field(arg: ast.arg, default: ast.expr | None, scope: Scope, help_text: str) -> Field:
    value = _literal(default)
    nested = None
    group = named_typed_dict(arg.annotation, scope)
    if group is not None:
        # A group left out means the published sizes: the literal of the file that has the group's type.
        published = _literal(scope.literals.get(group.name))
        value = published if value is None else value
        nested = _group(group, scope, value if isinstance(value, Mapping) else {})
    return Field(arg.arg, source_of(arg.annotation), value, default is None, nested, help_text)


def _group(node: ast.ClassDef, scope: Scope, defaults: Mapping[str, Any]) -> list[Field]:
    fields = []
    helps = _strings_under(node)
    for key in scope.keys_of(node):
        nested_in = named_typed_dict(key.annotation, scope)
        nested = (
            None
            if nested_in is None or nested_in is node
            else _group(nested_in, scope, defaults.get(key.name) or {})
        )
        required = key.required and key.name not in defaults
        fields.append(
            Field(
                key.name,
                source_of(key.annotation),
                defaults.get(key.name),
                required,
                nested,
                helps.get(key.name, ""),
            )
        )
    return fields


def _strings_under(node: ast.ClassDef) -> dict[str, str]:
    """Return the string that stands under a key of a group: its help."""
    helps = {}
    for item, following in zip(node.body, node.body[1:], strict=False):
        text = _literal(following.value) if isinstance(following, ast.Expr) else None
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and isinstance(text, str):
            helps[item.target.id] = " ".join(text.split())
    return helps


def _args_section(doc: str) -> dict[str, str]:
    """Return the entries of the 'Args:' section of a docstring."""
    helps: dict[str, str] = {}
    name, inside = "", False
    for line in doc.splitlines():
        if not line.startswith(" "):
            inside = line.strip() == "Args:" or (inside and not line.strip())
            continue
        entry = re.match(r"    (\w+)(?: \([^)]*\))?: (.*)", line)
        if inside and entry:
            name = entry[1]
            helps[name] = entry[2].strip()
        elif inside and name:
            helps[name] += " " + line.strip()
    return helps


def _literal(node: ast.AST | None) -> Any:
    """Return the value of a literal, tuples as lists (as YAML has them), or None."""
    if not isinstance(node, ast.expr):
        return None
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return list(value) if isinstance(value, tuple) else value
