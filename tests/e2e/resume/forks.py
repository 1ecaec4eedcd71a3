"""A process that has loaded torch once and forks the command line from there: a start in milliseconds.

    python forks.py        one JSON request a line on stdin, one JSON answer a line on stdout

What a child does is `engine.cli.main` and nothing else. It may be told of a place in the engine at whose n-th
visit it is killed with SIGKILL, at once or a moment later; and of lines of Python to run before it begins.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import engine.cli

WARM = (
    "engine.cli.parser",
    "engine.cli.training",
    "engine.spectra.changes",
    "engine.track.replicate",
    "engine.train.session",
    "engine.train.start",
    "models.spectral_prediction.freq_inception_l_net",
    "models.spectral_prediction.mlp",
    "models.spectral_prediction.star_net",
    "pandas",
    "safetensors.torch",
    "schedulefree",
    "torch._dynamo",
)
"""What an engine loads while it works, most of it for seconds."""

PLACES = {
    "reading": "engine.train.reading:read",
    "preparing": "engine.train.session:prepare",
    "forward": "engine.train.learn:Learner.add",
    "update": "engine.train.learn:Learner.update",
    "evaluation": "engine.train.loop:_values",
    "epoch": "engine.train.recorder:Recorder.epoch",
    "event": "engine.runs.events:EventLog.append",
    "save": "engine.train.checkpoint:Checkpoints.save",
    "written": "engine.train.checkpoint:link",
    "linked": "engine.train.checkpoint:Checkpoints._retire",
    "finetune": "engine.train.stages:_start_from_best",
    "testing": "engine.train.session:_finish",
    "tables": "engine.train.outputs:write_outputs",
    "export": "engine.train.checkpoint:export",
    "figures": "engine.train.attempt:_draw",
}


def strike(after: float) -> None:
    """Kill this process, now or `after` some seconds in which it goes on."""
    me = os.getpid()
    if after <= 0:
        os.kill(me, signal.SIGKILL)
    if os.fork() == 0:
        time.sleep(after)
        os.kill(me, signal.SIGKILL)
        os._exit(0)


def mine(place: str, visit: int, after: float) -> None:
    """Lay the kill at the `visit`-th (from 1) call of a function of the engine."""
    module, _, path = PLACES[place].partition(":")
    holder: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        holder = getattr(holder, part)
    real, seen = getattr(holder, name), 0

    def instead(*args: Any, **named: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == visit:
            strike(after)
        return real(*args, **named)

    setattr(holder, name, instead)


def child(asked: dict[str, Any]) -> None:
    """Be the engine; never return."""
    os.setsid()
    with Path(asked["log"]).open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    code = 70
    try:
        from engine.train import attempt, outputs

        if not asked["figures"]:
            attempt.draw_curves = lambda record: []
            outputs.draw = lambda *_: None
        exec(asked["before"], {"__name__": "before"})
        for place, visit, after in asked["kill"]:
            mine(place, visit, after)
        sys.argv = ["spectui", *asked["words"]]
        try:
            code = engine.cli.main(asked["words"])
        except SystemExit as left:
            code = int(left.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - it must not come back into the server; the traceback is in the log
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def waited(pid: int, seconds: float) -> int | None:
    """Return how a child ended (its exit code, or minus the signal), None when it did not in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def serve() -> None:
    """Answer until nobody asks any more."""
    for name in WARM:
        importlib.import_module(name)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            answer: dict[str, Any] = {"code": waited(asked["wait"], asked["seconds"])}
        else:
            pid = os.fork()
            if pid == 0:
                child(asked)
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
