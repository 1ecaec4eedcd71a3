"""How a network takes its parts from a conf: a name, or a mapping of a name and the part's own fields.

Owns the making of parts. Which parts there are is the registry's; what they compute is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from models import registry
from models.contract import construct
from models.errors import ContractError

Part = str | Mapping[str, Any]
"""Annotates a field that takes a part; the field is called as the kind is: backbone, head and so on."""

Shape = tuple[int, int]
"""channels and length"""


def build_part(kind: str, section: Part, **given: int) -> nn.Module:
    """Return the part that a section of a conf asks for.

    `given` is what the network knows: in_channels and in_length for backbones, branches and heads, labels for
    heads, local_channels, local_length, global_channels and global_length for fusions. A part takes what its
    __init__ names.

    Raises:
        UnknownModel, DuplicateModel, ContractError: it cannot be found or built.
    """
    fields = {"name": section} if isinstance(section, str) else dict(section)
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise ContractError(f"the {kind.replace('_', ' ')} needs a name", name=kind)
    return construct(registry.get(name, kind), fields=fields, name=name, **given)


def shape_after(part: nn.Module, *shapes: Shape, name: str = "") -> Shape:
    """Run one flat star through a part and return the shape that comes out: channels and length.

    Raises:
        ContractError: it does not run, or gives no [B, C, L].
    """
    flat = [torch.ones(1, *shape) for shape in shapes]
    modes = [(module, module.training) for module in part.modules()]
    part.eval()
    try:
        with torch.no_grad():
            y = part(*flat)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        came = " and ".join(f"[1, {channels}, {length}]" for channels, length in shapes)
        reason = f"a trial with {came} failed: {type(error).__name__}: {error}"
        raise ContractError(reason, name=name or type(part).__name__) from error
    finally:
        for module, training in modes:
            module.training = training
    if not isinstance(y, torch.Tensor) or y.dim() != 3:
        got = tuple(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
        raise ContractError(f"it must give [B, C, L]; it gave {got}", name=name or type(part).__name__)
    return y.shape[1], y.shape[2]
