"""`python -m models.size`: build one network, take a pass with few stars, and print what that held in memory.

A program of its own, so that a screen can know sizes without importing torch. It reads one JSON object from
stdin ({"folder", "name", "fields", "points", "labels", "precision", "batches"}) and prints one on stdout:
{"parameters", "bytes" (of the weights and buffers), "peaks": [[stars, bytes], …], "error"}. A peak is the
most that was alive at once in a pass forward and back, gradients included, weights not.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models import contract, registry

_AUTOCAST = ("bf16", "fp16")


class Watch(TorchDispatchMode):
    """Counts the bytes of tensors made while it is on, as long as each of them lives."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {id(leaf.untyped_storage()) for leaf in tree_leaves((args, kwargs)) if _real(leaf)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if _real(leaf):
                storage = leaf.untyped_storage()
                if id(storage) not in self._seen and id(storage) not in before:
                    self._add(storage)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()

        def gone(_reference: weakref.ref[Any]) -> None:
            self._seen.pop(key, None)
            self.now -= size

        self._seen[key] = weakref.ref(storage, gone)
        self.now += size
        self.most = max(self.most, self.now)


def _real(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.layout == torch.strided


def peak(network: nn.Module, points: int, batch: int, precision: str) -> int:
    """Return the most bytes alive at once in a pass of so many stars, forward and back."""
    call = contract.adapter(network)
    wide = torch.float64 if precision == "fp64" else torch.float32
    network.train()
    network.zero_grad(set_to_none=True)
    watch = Watch()
    with watch:
        flux_BL = torch.rand(batch, points, dtype=wide)
        other_BL = torch.rand(batch, points, dtype=wide)
        with torch.autocast("cpu", torch.bfloat16) if precision in _AUTOCAST else contextlib.nullcontext():
            y = call(flux_BL, other_BL)
        total = sum(one.float().square().mean() for one in (y if isinstance(y, tuple) else (y,)))
        del y
        total.backward()  # type: ignore[union-attr]
    network.zero_grad(set_to_none=True)
    return watch.most


def size_of(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the sizes of one network, or the error that kept it from being built."""
    name, points, precision = asked["name"], asked["points"], asked["precision"]
    try:
        network = registry.build(name, points=points, labels=asked["labels"], fields=asked["fields"])
        contract.materialise(network, points, asked["labels"], name=name)
        network = network.double() if precision == "fp64" else network
        held = [*network.parameters(), *network.buffers()]
        return {
            "parameters": contract.count_parameters(network),
            "bytes": sum(one.numel() * one.element_size() for one in held),
            "peaks": [[stars, peak(network, points, stars, precision)] for stars in asked["batches"]],
            "error": None,
        }
    except Exception as error:  # noqa: BLE001 - a user's network may raise anything
        return {"parameters": None, "bytes": 0, "peaks": [], "error": str(error) or type(error).__name__}


def main() -> int:
    """Answer the question on stdin."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what networks print on the way must not get into the answer
    asked = json.load(sys.stdin)
    torch.set_num_threads(1)
    registry.discover(Path(asked["folder"]) if asked.get("folder") else None)
    found = size_of(asked)
    with os.fdopen(answer, "w", encoding="utf-8") as out:
        json.dump(found, out)
        out.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
