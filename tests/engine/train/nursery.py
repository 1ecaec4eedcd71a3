"""Forks the processes of runs of several processes, so that a test need not wait for torch to load again.

A JSON request a line on stdin, {"root": …, "run": …, "world": N, "prelude": …}; two answers on stdout, a line
each: {"pids": […]} once they are there, {"codes": […]} once they have ended. `prelude` is run in each first.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # DistributedDataParallel wants it, and that takes seconds

from engine import words
from engine.train import attempt, batches, ground, loop, outputs, reading, session
from engine.train.stop import Stop
from engine.workspace import Workspace

PARTS = {
    "attempt": attempt,
    "batches": batches,
    "ground": ground,
    "loop": loop,
    "reading": reading,
    "session": session,
    "time": time,
}
"""What a prelude may change, by name."""
_BROKEN = 70


def main() -> None:
    torch.set_num_threads(1)
    words.choose("en")
    for line in sys.stdin:
        asked = json.loads(line)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pids = [born(asked, rank, port) for rank in range(asked["world"])]
        print(json.dumps({"pids": pids}), flush=True)
        codes: dict[int, int] = {}
        while len(codes) < len(pids):
            pid, status = os.wait()
            codes[pid] = os.waitstatus_to_exitcode(status)
            if codes[pid] == _BROKEN:  # it never met the others, who would wait for it
                for other in set(pids) - set(codes):
                    os.kill(other, signal.SIGKILL)
        print(json.dumps({"codes": [codes[pid] for pid in pids]}), flush=True)


def born(asked: dict[str, Any], rank: int, port: int) -> int:
    """Fork one process as torchrun would start it; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = _BROKEN
    try:
        world = str(asked["world"])
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=world, LOCAL_WORLD_SIZE=world,
                          MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
                          SPECTUI_TOLD=str(Path(asked["root"]) / "told"))  # fmt: skip
        (Path(asked["root"]) / "told").mkdir(exist_ok=True)
        (Path(asked["root"]) / "told" / f"{rank}.json").unlink(missing_ok=True)
        out = os.open(Path(asked["root"]) / f"rank-{rank}.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        attempt.draw_curves = lambda record: []  # type: ignore[attr-defined]
        outputs.draw = lambda *_: None  # type: ignore[attr-defined]
        exec(asked["prelude"], PARTS | {"rank": rank})
        workspace = Workspace(Path(asked["root"]))
        code = attempt.ranked(workspace, asked["run"], Stop().install())
    except BaseException:  # noqa: BLE001 - a child must never come back into the parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
