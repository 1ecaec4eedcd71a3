"""`init` and `ui`: make a workspace, open MLflow on it."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

from engine import presets_folder, workspace
from engine.cli.text import message
from engine.errors import BadInput
from engine.runs.launch import child_environment
from engine.track import store
from engine.words import say


def init(arguments: argparse.Namespace) -> int:
    """Make a workspace with every preset conf, the demo set and a place for each thing."""
    from engine import init as making

    target = Path(arguments.dir).expanduser().resolve()
    making.make_workspace(target, presets_folder())
    message(say("cli.initialised", folder=target, dir=arguments.dir))
    return 0


def ui(arguments: argparse.Namespace) -> int:
    """Start `mlflow ui` on this workspace and say how to reach it from a laptop."""
    here = workspace.find(arguments.root)
    # MLflow would change a database of an older version without a word, or fail with pages of them.
    in_the_way = [p for p in store.problems(here) if p.kind in ("file_store", "other_version", "unreadable")]
    if in_the_way:
        raise BadInput(in_the_way[0].text)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", arguments.port))
        except OSError as error:
            raise BadInput(say("cli.port_busy", port=arguments.port)) from error
    port = arguments.port
    print(say("cli.ui_here", port=port))
    print(
        say("cli.ui_ssh", port=port, user=os.environ.get("USER", "user"), host=socket.gethostname()),
        flush=True,
    )
    # The job runner of MLflow's server costs a dozen processes and gives nothing here.
    environment = child_environment() | store.QUIET | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.chdir(here.root)
    command = [
        sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", store.tracking_uri(here, None),
    ]  # fmt: skip
    os.execve(sys.executable, command, environment)
