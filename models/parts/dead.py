"""Weights that never get a gradient, where a published layout has such.

A network names them in an attribute `dead`: patterns for the names of its parameters, and the docstring says
why they are dead.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import pairwise

from torch import nn

_BATCH_NORMS = nn.BatchNorm1d | nn.BatchNorm2d


def biases_before_norm(network: nn.Module) -> tuple[str, ...]:
    """Return the names of biases that a BatchNorm takes away again, with the mean of the batch."""
    found = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Sequential):
            for (place, layer), (_, after) in pairwise(module.named_children()):
                biased = isinstance(layer, nn.Conv1d | nn.Linear) and layer.bias is not None
                if biased and isinstance(after, _BATCH_NORMS):
                    found.append(f"{name}.{place}.bias".removeprefix("."))
    return tuple(found)


def dead_parameters(network: nn.Module) -> set[str]:
    """Return the names of the parameters that a network says never learn."""
    patterns: tuple[str, ...] = getattr(network, "dead", ())
    names = [name for name, _ in network.named_parameters()]
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}
