"""What whoever looks at a workspace does for it: MLflow hears of deaths, what waits has somebody to start it.

Starts detached processes at most; no torch, no MLflow.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.runs import queue
from engine.track import sync
from engine.workspace import Workspace


def tend(workspace: Workspace, run_ids: Iterable[str] | None = None) -> int:
    """Bring runs (all, or those) that MLflow does not have whole on their way; return how many.

    A run that died while nobody looked is closed there as killed. The queue gets an owner if something waits.

    Raises:
        OSError, BadInput: no process can be started, or the queue's files cannot be used.
    """
    behind = sync.behind(workspace, run_ids)
    for one in behind:
        sync.start(workspace, one.folder)
    queue.ensure_owner(workspace)
    return len(behind)
