"""The network of a run: built, given weights, frozen in part, compiled. Owns no training."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.conf.schema import Conf
from engine.errors import BadInput
from engine.train.oom import is_out_of_memory
from engine.words import say
from engine.workspace import Workspace
from models import contract, registry
from models.errors import ContractError, DuplicateModel, ModelError, UnknownModel


@dataclass(frozen=True)
class Loaded:
    """Which parameters of a network got weights: names, and for those of another shape both shapes."""

    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]

    @property
    def whole(self) -> bool:
        return not (self.missing or self.unexpected or self.misshapen)


def build_network(workspace: Workspace, conf: Conf, points: int) -> nn.Module:
    """Build the network of a conf for `points` per branch, with real parameters in every layer.

    Raises:
        BadInput: the network is unknown, refuses its fields, or gives no sigmas for a loss that needs them.
    """
    registry.discover(workspace.networks)
    try:
        labels = len(conf.data.targets)
        network = registry.build(conf.model.name, points=points, labels=labels, fields=conf.model.fields)
        contract.materialise(network, points, labels, name=conf.model.name)
    except ModelError as error:
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise BadInput(worded(error)) from error
    except (TypeError, ValueError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise MemoryError(str(error)) from error
        problem = str(error).splitlines()[0]
        raise BadInput(
            say("train.no_network", model=conf.model.name, points=points, problem=problem)
        ) from error
    if conf.training.loss == "gaussian_nll" and not contract.gives_sigmas(network, points):
        raise BadInput(say("train.no_sigmas", model=conf.model.name))
    return network.double() if conf.training.precision == "fp64" else network


def worded(error: ModelError) -> list[str]:
    """Return what is wrong with a network in the user's language, a line each."""
    if isinstance(error, UnknownModel):
        near = ", ".join(f"'{name}'" for name in error.near)
        text = (
            say("models.unknown_near", name=error.name, near=near)
            if near
            else say("models.unknown", name=error.name)
        )
        known = say("models.known", names=", ".join(error.known))
        return [text, known, *(say("models.broken", file=b.path, error=b.error) for b in error.broken)]
    if isinstance(error, DuplicateModel):
        return [say("models.duplicate", name=error.name, first=error.files[0], second=error.files[1])]
    reason = error.reason if isinstance(error, ContractError) else str(error)
    return [say("models.contract", name=getattr(error, "name", ""), reason=reason)]


def take_weights(network: nn.Module, weights: Mapping[str, Tensor], *, partial: bool, source: str) -> Loaded:
    """Give a network the weights of another run, where names and shapes match.

    Raises:
        BadInput: some do not match and `partial` does not allow it; the network is as it was.
    """
    own = network.state_dict()
    misshapen = [
        f"{name} {list(weights[name].shape)} -> {list(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    matched = [name for name in own if name in weights and weights[name].shape == own[name].shape]
    loaded = Loaded(
        matched, [name for name in own if name not in weights], [name for name in weights if name not in own],
        misshapen,
    )  # fmt: skip
    if not matched or (not loaded.whole and not partial):
        raise BadInput([say("train.from_differs", source=source), *loaded_lines(loaded)])
    network.load_state_dict({name: weights[name] for name in matched}, strict=False)
    return loaded


def loaded_lines(loaded: Loaded) -> list[str]:
    """Return what matched and what did not, a line for each kind that there is."""
    lines = [say("train.from_matched", count=len(loaded.matched))]
    for kind in ("missing", "unexpected", "misshapen"):
        names = getattr(loaded, kind)
        if names:
            listed = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
            lines.append(say(f"train.from_{kind}", count=len(names), names=listed))
    return lines


def freeze(network: nn.Module, patterns: list[str]) -> list[str]:
    """Keep the parameters that match a pattern from learning; return their names.

    A pattern is a name of a part (`features`), of a parameter, or has wildcards (`*.bias`).

    Raises:
        BadInput: a pattern matches nothing, or nothing is left to learn.
    """
    names = [name for name, _ in network.named_parameters()]
    frozen: set[str] = set()
    for pattern in patterns:
        hit = {n for n in names if fnmatch.fnmatchcase(n, pattern) or n.startswith(f"{pattern}.")}
        if not hit:
            parts = ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))
            raise BadInput(say("train.freeze_nothing", pattern=pattern, parts=parts))
        frozen |= hit
    if frozen and len(frozen) == len(names):
        raise BadInput(say("train.freeze_all", patterns=", ".join(patterns)))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return [name for name in names if name in frozen]


def compile_parts(network: nn.Module) -> list[str]:
    """Compile the direct parts of a network in place and return their names; recurrent ones stay as they are.

    A whole network with an LSTM in it would be left uncompiled from there on, and its parameters renamed.
    """
    recurrent = (nn.LSTM, nn.GRU, nn.RNN)
    chosen = [
        (name, child) for name, child in network.named_children()
        if list(child.parameters()) and not any(isinstance(m, recurrent) for m in child.modules())
    ]  # fmt: skip
    for _, child in chosen:
        child.compile()
    return [name for name, _ in chosen]


def in_double(forward: contract.Forward) -> contract.Forward:
    """Return the forward pass in float64."""

    def wide(continuum_BL: Tensor, normalized_BL: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return forward(continuum_BL.to(torch.float64), normalized_BL.to(torch.float64))

    return wide
