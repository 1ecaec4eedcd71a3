"""`train`: the foreground run, and the engine behind a detached one."""

from __future__ import annotations

import argparse

from engine import workspace
from engine.conf.load import resolve
from engine.conf.schema import KNOWN_FLAGS
from engine.errors import BadInput
from engine.train import attempt
from engine.train.stop import Stop
from engine.words import say


def train(arguments: argparse.Namespace) -> int:
    """Train a conf (or the run folder that a launcher made) and return the exit code."""
    stop = Stop().install()
    here = workspace.find(arguments.root)
    if arguments.run:
        return attempt.detached(here, arguments.run, stop)
    flags = {name: str(v) for name in KNOWN_FLAGS if (v := getattr(arguments, name)) is not None}
    if arguments.conf is None and "model" not in flags and not arguments.model_conf:
        raise BadInput(say("cli.nothing_to_train"))
    resolved = resolve(
        here, arguments.conf, sets=arguments.sets, flags=flags, model_conf=arguments.model_conf
    )
    return attempt.foreground(here, resolved, stop)
