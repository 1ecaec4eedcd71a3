"""What the engine promises a network, and what it expects back.

The data of a step are two float32 tensors, `continuum_BL` and `normalized_BL`: B stars, L points each. A
network gives back [B, labels] in scaled units, or a pair: these and the natural logarithm of their sigmas,
[B, labels] both. What it takes is said by the NAMES of the parameters of
`forward`; a suffix of capitals (`_BL`) is for the reader and ignored:

    continuum, normalized   that branch                                     [B, L]
    stacked                 both, as two channels (continuum, normalized)   [B, 2, L]
    one other name (`x`)    both, one after the other: `concatenated`       [B, 2L]

`@register_model(name, inputs=(...))` says it instead where names cannot. `engine/catalog` follows the
same rule by reading the source.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import ContractError
from models.registry import near_misses

INPUTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "continuum": lambda continuum_BL, normalized_BL: continuum_BL,
    "normalized": lambda continuum_BL, normalized_BL: normalized_BL,
    "stacked": lambda continuum_BL, normalized_BL: torch.stack((continuum_BL, normalized_BL), dim=1),
    "concatenated": lambda continuum_BL, normalized_BL: torch.cat((continuum_BL, normalized_BL), dim=1),
}
CONFIG_NAMES = ("configs", "config", "args")  # the single parameter of networks of the older style
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def inputs_of(cls: type) -> tuple[str, ...]:
    """Return what the `forward` of a class takes, in order: continuum, normalized, stacked, concatenated.

    Raises:
        ContractError: the names of its parameters do not say it.
    """
    for base in cls.__mro__:
        if base is nn.Module:
            break
        if "registered_inputs" in base.__dict__:
            return _checked_inputs(cls, base.__dict__["registered_inputs"])
        if "forward" in base.__dict__:
            return _inputs_by_name(cls, base.__dict__["forward"])
    raise ContractError("it has no forward method", name=cls.__name__)


Forward = Callable[[Tensor, Tensor], Tensor | tuple[Tensor, Tensor]]


def adapter(network: nn.Module) -> Forward:
    """Return a function of (continuum_BL, normalized_BL) that calls the network with what it takes.

    The signature is looked at here, once; a step only calls. Compiled and distributed wrappers are seen
    through.
    """
    inputs = inputs_of(type(unwrap(network)))
    if inputs == ("continuum", "normalized"):
        return lambda continuum_BL, normalized_BL: network(continuum_BL, normalized_BL)
    makers = [INPUTS[name] for name in inputs]
    return lambda continuum_BL, normalized_BL: network(
        *[make(continuum_BL, normalized_BL) for make in makers])


def unwrap(network: nn.Module) -> nn.Module:
    """Return the network inside torch.compile, DistributedDataParallel or DataParallel."""
    while True:
        inner = getattr(network, "_orig_mod", None)
        if inner is None and isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = network.module
        if inner is None:
            return network
        network = inner


def check_output(y: Any, batch: int, labels: int, *, name: str = "") -> Tensor:
    """Return the output of a network when it is a floating tensor [batch, labels], or the first of two such.

    Raises:
        ContractError: it is something else; says the shape got and the shape wanted.
    """
    if isinstance(y, tuple) and len(y) == 2:
        check_output(y[1], batch, labels, name=name)
        y = y[0]
    if not isinstance(y, Tensor):
        kind = type(y).__name__
        raise ContractError(
            f"forward must give one tensor [batch, labels], or two of them; it gave a {kind}", name=name)
    if tuple(y.shape) != (batch, labels):
        raise ContractError(
            f"forward must give shape {(batch, labels)} (batch, labels); it gave {tuple(y.shape)}",
            name=name, got=tuple(y.shape), wanted=(batch, labels))
    if not y.is_floating_point():
        raise ContractError(f"forward must give floating numbers; it gave {y.dtype}", name=name)
    return y


def construct(cls: type[nn.Module], *, points: int, labels: int, fields: Mapping[str, Any],
              name: str = "") -> nn.Module:
    """Build a network from the fields of a conf.

    `points` and `labels` are given by keyword where __init__ has such parameters. A network of the older
    style, whose only parameter is called `configs`, `config` or `args`, is given one object with all of it.

    Raises:
        ContractError: unknown or missing fields, or __init__ raised.
    """
    name = name or cls.__name__
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise ContractError("it is not a torch.nn.Module", name=name)
    for given in ("points", "labels"):
        if given in fields:
            raise ContractError(f"{given!r} is set by the data and cannot be a field of the model", name=name)
    parameters = _init_parameters(cls)
    if takes_configs(parameters):
        return _call_init(cls, name, _configs(points, labels, fields))
    accepted = {p.name: p for p in parameters if p.kind not in _VARIADIC}
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    arguments = dict(fields)
    for key, value in (("points", points), ("labels", labels)):
        if key in accepted or open_ended:
            arguments[key] = value
    for key in arguments:
        if key not in accepted and not open_ended:
            others = [one for one in accepted if one not in ("points", "labels")]
            near = near_misses(key, others)
            listed = ", ".join(others) or "no fields"
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes: {listed}"
            raise ContractError(f"unknown field {key!r}{hint}", name=name, near=near)
    missing = [key for key, p in accepted.items() if p.default is p.empty and key not in arguments]
    if missing:
        raise ContractError(f"needs the field {', '.join(map(repr, missing))}", name=name)
    return _call_init(cls, name, **arguments)


def takes_configs(parameters: list[inspect.Parameter]) -> bool:
    """Tell whether an __init__ is of the older style: `def __init__(self, configs)`."""
    if not parameters or parameters[0].name not in CONFIG_NAMES or parameters[0].kind not in _POSITIONAL:
        return False
    return all(p.default is not p.empty or p.kind in _VARIADIC for p in parameters[1:])


def materialise(network: nn.Module, points: int, labels: int | None = None, *, name: str = "") -> nn.Module:
    """Run two flat stars through a network, so that lazy layers get their shapes; return the network.

    In eval mode and without gradients, so running statistics stay as they are. With `labels` the shape of the
    output is checked too.

    Raises:
        ContractError: the dry run failed or gave the wrong shape.
    """
    name = name or type(unwrap(network)).__name__
    call = adapter(network)
    first = next(iter(network.parameters()), None)
    flat_BL = torch.ones(2, points, device=first.device if first is not None else None)
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            y = call(flat_BL, flat_BL.clone())
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = f"a trial with two stars of {points} points failed: {type(error).__name__}: {error}"
        raise ContractError(reason, name=name) from error
    finally:
        for module, training in modes:
            module.training = training
    if labels is not None:
        check_output(y, 2, labels, name=name)
    return network


def gives_sigmas(network: nn.Module, points: int) -> bool:
    """Tell whether a network gives a sigma for each label, by running two flat stars through it."""
    call = adapter(network)
    first = next(iter(network.parameters()))
    flat_BL = torch.ones(2, points, device=first.device, dtype=first.dtype)
    was = network.training
    network.eval()
    try:
        with torch.no_grad():
            return isinstance(call(flat_BL, flat_BL.clone()), tuple)
    finally:
        network.train(was)


def idle_parameters(network: nn.Module, points: int) -> list[str]:
    """Return the names of parameters that could learn but take no part in the forward pass.

    Two made-up stars are run through it; statistics and generators are left as they were.
    """
    call = adapter(network)
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    first = next(iter(network.parameters()))
    flux_BL = torch.linspace(0, 1, 2 * points, device=first.device, dtype=first.dtype).reshape(2, points)
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    was = network.training
    network.train()  # recurrent layers of a GPU have no backward pass otherwise
    try:
        with torch.random.fork_rng(), torch.enable_grad():
            y = call(flux_BL, flux_BL.clone())
            total = torch.stack([one.sum() for one in y]).sum() if isinstance(y, tuple) else y.sum()
            gradients = torch.autograd.grad(total, [p for _, p in named], allow_unused=True)
    finally:
        network.train(was)
        with torch.no_grad():
            for buffer, kept in buffers:
                buffer.copy_(kept)
    return [name for (name, _), gradient in zip(named, gradients, strict=True) if gradient is None]


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters, each counted once; lazy layers must be materialised first."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_parts(network: nn.Module) -> dict[str, int]:
    """Return the number of parameters of each direct child that has any."""
    counts = {name: count_parameters(child) for name, child in network.named_children()}
    own = sum(parameter.numel() for parameter in network.parameters(recurse=False))
    return {name: count for name, count in {**counts, "(own)": own}.items() if count}


def _canonical(parameter: str) -> str:
    return re.sub(r"_[A-Z][A-Z0-9]*$", "", parameter)


def _inputs_by_name(cls: type, forward: Callable[..., Any]) -> tuple[str, ...]:
    every = list(inspect.signature(forward).parameters.values())[1:]
    parameters = [p for p in every if p.kind not in _VARIADIC]
    known = [p for p in parameters if _canonical(p.name) in INPUTS]
    required = [p for p in parameters if p.default is p.empty]
    taken = known or required or parameters[:1]
    others = [p for p in required if p not in taken]
    if parameters[:len(taken)] == taken and not others and (known or len(taken) == 1):
        return tuple(_canonical(p.name) for p in known) or ("concatenated",)
    listed = ", ".join(p.name for p in parameters) or "nothing"
    raise ContractError(
        f"forward takes ({listed}); name its parameters continuum, normalized or stacked, first of all, or "
        "take one x with both spectra, or say inputs=(...) in @register_model", name=cls.__name__)


def _checked_inputs(cls: type, inputs: tuple[str, ...]) -> tuple[str, ...]:
    wrong = [one for one in inputs if one not in INPUTS]
    if wrong or not inputs:
        raise ContractError(f"inputs={inputs!r} in @register_model: choose from {', '.join(INPUTS)}",
                            name=cls.__name__)
    return inputs


def _init_parameters(cls: type) -> list[inspect.Parameter]:
    if cls.__init__ is nn.Module.__init__:  # type: ignore[misc]
        return []  # torch's own takes *args and **kwargs, and refuses them all
    return list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]


def _configs(points: int, labels: int, fields: Mapping[str, Any]) -> SimpleNamespace:
    usual = {"task_name": "spectral_prediction", "feature_size": points, "seq_len": 2 * points,
             "label_size": labels, "d_model": 512, "dropout": 0.1}
    return SimpleNamespace(**{**usual, **fields})


def _call_init(cls: type[nn.Module], name: str, *configs: SimpleNamespace, **arguments: Any) -> nn.Module:
    try:
        return cls(*configs, **arguments)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except AttributeError as error:
        if configs and error.obj is configs[0]:
            reason = f"reads {error.name!r} from its configs; add it to the model section of the conf"
            raise ContractError(reason, name=name) from error
        raise ContractError(f"could not be built: AttributeError: {error}", name=name) from error
    except Exception as error:
        raise ContractError(f"could not be built: {type(error).__name__}: {error}", name=name) from error
