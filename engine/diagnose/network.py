"""What a network's source tells the advisor: its norm, whether it has a Fourier transform, where it ends.

Reads the syntax tree that a file has; imports and runs nothing of it. What cannot be told is not guessed.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine import catalog
from engine.conf.tree import get
from engine.errors import BadInput
from engine.workspace import Workspace

_NORM_FIELDS = ("norm", "norm_type", "normalization", "normalization_type")
_RANGES = {
    "tanh": (-1.0, 1.0), "hardtanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0), "hardsigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0), "relu": (0.0, math.inf), "softplus": (0.0, math.inf), "relu6": (0.0, 6.0),
}  # fmt: skip
"""What an activation can give, by its name in small letters."""


@dataclass(frozen=True)
class Told:
    """What is known of the network of a conf.

    `norm_key` is the conf key that chooses its normalisation and `norm` the value in force, None where there
    is no such key; `batch_norm` tells whether the source has BatchNorm at all. `last` is the activation that
    the outputs go through, with its range.
    """

    norm_key: str | None = None
    norm: str | None = None
    batch_norm: bool = False
    fourier: bool = False
    last: str | None = None
    range: tuple[float, float] = (-math.inf, math.inf)

    @property
    def batch_normed(self) -> bool:
        """Whether BatchNorm is at work: by its key where there is one, else by the source."""
        return is_batch(self.norm) if self.norm_key is not None else self.batch_norm


def of_conf(workspace: Workspace, conf: Mapping[str, Any]) -> Told:
    """Return what is known of the network of a plain conf."""
    try:
        network = catalog.find(workspace, str(get(conf, "model.name")))
    except BadInput:
        return Told()
    key, norm = _norm(network, conf)
    try:
        stamp = network.file.stat().st_mtime_ns
    except OSError:
        return Told(key, norm)
    names, last = _source(network.file, network.cls, stamp)
    return Told(
        key, norm, any("BatchNorm" in name for name in names),
        any(name in ("fft", "stft") or name.endswith("fft") for name in names),
        last, _RANGES.get(last or "", (-math.inf, math.inf)),
    )  # fmt: skip


def is_batch(norm: str | None) -> bool:
    """Tell whether a norm's name means BatchNorm."""
    return norm is not None and norm.lower().replace("_", "") in ("bn", "batch", "batchnorm", "batchnorm1d")


def _norm(network: catalog.Network, conf: Mapping[str, Any]) -> tuple[str | None, str | None]:
    for field in network.fields:
        inner = [(f"{field.name}.{one.name}", one) for one in field.nested or ()]
        for name, one in [(field.name, field), *inner]:
            if one.name in _NORM_FIELDS:
                given = get(conf, f"model.{name}")
                value = given if given is not None else one.default
                return f"model.{name}", None if value is None else str(value)
    return None, None


@lru_cache(maxsize=64)
def _source(file: Path, cls: str, _stamp: int) -> tuple[frozenset[str], str | None]:
    """Return the names that a file uses and the activation that a class's outputs go through."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return frozenset(), None
    names = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    names |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    node = next((n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == cls), None)
    return frozenset(names), None if node is None else _last(node)


def _last(node: ast.ClassDef) -> str | None:
    """Return the activation of what `forward` returns; None for none, or where several returns differ."""
    methods = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
    forward, made = methods.get("forward"), methods.get("__init__")
    if forward is None:
        return None
    local = dict(_assigned(forward))
    attributes = dict(_assigned(made)) if made is not None else {}
    returned = [n.value for n in ast.walk(forward) if isinstance(n, ast.Return) and n.value is not None]
    found = {_activation(value, local, attributes, 5) for value in returned}
    return found.pop() if len(found) == 1 else None


def _assigned(function: ast.FunctionDef) -> Iterator[tuple[str, ast.expr]]:
    """Yield (name, value) of the assignments in a function, in order: `x = …` and `self.x = …`."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    yield target.id, node.value
                elif _own(target):
                    yield f"self.{target.attr}", node.value  # type: ignore[attr-defined]


def _own(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _activation(
    value: ast.expr, local: Mapping[str, ast.expr], attributes: Mapping[str, ast.expr], depth: int
) -> str | None:
    """Follow what is returned to the call that made it: `torch.tanh(x)`, `x.sigmoid()`, `self.head(x)`."""
    if depth == 0:
        return None
    if isinstance(value, ast.Name) and value.id in local:
        return _activation(local[value.id], local, attributes, depth - 1)
    if not isinstance(value, ast.Call):
        return None
    name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
    if _own(value.func):
        return _of_module(attributes.get(f"self.{name}"), local, attributes)
    return name.lower() if name.lower() in _RANGES else None


def _of_module(
    made: ast.expr | None, local: Mapping[str, ast.expr], attributes: Mapping[str, ast.expr]
) -> str | None:
    """Return the activation that a module ends with: itself, or the last of an nn.Sequential."""
    if not isinstance(made, ast.Call):
        return None
    name = made.func.attr if isinstance(made.func, ast.Attribute) else getattr(made.func, "id", "")
    if name == "Sequential" and made.args:
        return _of_module(made.args[-1], local, attributes)
    return name.lower() if name.lower() in _RANGES else None
