"""Ask a child process that may import torch a question, so that this one need not: JSON in, JSON out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from engine.catalog.scan import PACKAGE_FOLDER
from engine.errors import BadInput
from engine.words import say


def ask(module: str, asked: Mapping[str, Any], seconds: float, **environment: str) -> dict[str, Any]:
    """Return what `python -m module` prints on being asked; `environment` is added to the child's.

    Raises:
        BadInput: it took too long, could not be started, or printed no answer.
    """
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    package_root = str(PACKAGE_FOLDER.parents[1])
    inherited = {**os.environ, "PYTHONPATH": os.pathsep.join([package_root, *others])}
    try:
        # -P: a workspace has a folder called models, and so may a home
        done = subprocess.run(
            [sys.executable, "-P", "-m", module], input=json.dumps(asked), capture_output=True,
            env={**inherited, "PYTHONIOENCODING": "utf-8", **environment}, encoding="utf-8",
            errors="replace", timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise BadInput(say("catalog.count_timeout", seconds=f"{seconds:g}")) from None
    except OSError as error:
        raise BadInput(say("catalog.count_failed", code=error.errno, last=str(error))) from error
    try:
        answer = json.loads(done.stdout)
        if isinstance(answer, dict):
            return answer
    except ValueError:
        pass
    last = (done.stderr.strip().splitlines() or [""])[-1]
    raise BadInput(say("catalog.count_failed", code=done.returncode, last=last))
