"""`model.txt`: what the network of a run is and how many parameters it truly has, counted from the module."""

from __future__ import annotations

from collections.abc import Sequence

import yaml
from torch import nn

from engine.conf.schema import Conf
from engine.runs.folder import RunFolder, write_whole
from engine.words import say
from models import contract


def write(folder: RunFolder, conf: Conf, network: nn.Module) -> None:
    """Write model.txt, whole or not at all."""
    write_whole(folder.model_text, describe(conf, contract.unwrap(network)))


def describe(conf: Conf, network: nn.Module) -> str:
    """Return name, fields, counts in all and by part, every parameter with its shape, and the module."""
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    fields = yaml.safe_dump(
        dict(conf.model.fields), default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    ).strip()
    parts = contract.count_parts(network)
    if "(own)" in parts:
        parts[say("model_text.own")] = parts.pop("(own)")
    lines = [
        say("model_text.name", name=conf.model.name),
        say("model_text.fields", fields=fields),
        say("model_text.parameters", count=contract.count_parameters(network)),
        say("model_text.trainable", count=trainable),
        "",
        say("model_text.parts"),
        *_columns([(name, str(count), "") for name, count in parts.items()]),
        "",
        say("model_text.every"),
        *_columns(_parameters(network)),
        "",
        say("model_text.module"),
        repr(network),
    ]
    return "\n".join(lines) + "\n"


def _parameters(network: nn.Module) -> list[tuple[str, str, str, str]]:
    """Return name, shape, count and what is special of each parameter; one that is shared counts once."""
    first_names: dict[int, str] = {}
    rows = []
    for name, parameter in network.named_parameters(remove_duplicate=False):
        first = first_names.setdefault(id(parameter), name)
        count, note = str(parameter.numel()), "" if parameter.requires_grad else say("model_text.frozen")
        if first != name:
            count, note = "0", say("model_text.shared", name=first)
        rows.append((name, str(list(parameter.shape)), count, note))
    return rows


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with the columns under one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
