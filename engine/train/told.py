"""What the processes of a run tell the supervisor that started them: who they are, how they ended.

torchrun says 1 for everything and hands nothing on. Each process writes one small file into a folder that the
supervisor made on this machine; without one (a run of one process) telling does nothing.
No torch.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.runs.folder import RunFolder, write_json
from engine.runs.process import Identity, identify, is_alive

FOLDER = "SPECTUI_TOLD"
"""Environment: the folder to tell in."""
RUN = "SPECTUI_RANKED"
"""Environment: the run to take part in, ANY_RUN for that of the first process."""
ANY_RUN = "-"
SUPERVISOR = "SPECTUI_SUPERVISOR"
"""Environment: who started the processes of the run on this machine."""

_OF_PROCESS = ("pid", "start_time", "boot_id", "host", "noted", "attempt", "supervisor")


@dataclass(frozen=True)
class Told:
    """One process: which run, its exit code (None while it is at work or when it was killed), its last words.

    `lost` tells that it ended because another process was gone.
    """

    identity: Identity
    run_id: str = ""
    code: int | None = None
    said: str = ""
    lost: bool = False

    @property
    def alive(self) -> bool:
        return bool(is_alive(self.identity))


def to_note(run: RunFolder) -> dict[str, Any]:
    """Return what process.json keeps beside this process: its supervisor, what a launcher noted."""
    said = os.environ.get(SUPERVISOR)
    supervisor = None if said is None else json.loads(said)
    before = run.read_json(run.process)
    ours = {os.getpid()} | ({supervisor["pid"]} if supervisor else set())
    facts = {name: value for name, value in before.items() if name not in _OF_PROCESS}
    kept = facts if before.get("pid") in ours else {}
    return kept | ({} if supervisor is None else {"supervisor": supervisor})


def tell(**facts: Any) -> None:
    """Tell who this process is and what else is known by now: run_id, code, said, lost."""
    folder = os.environ.get(FOLDER)
    if folder is None or not Path(folder).is_dir():
        return
    path = Path(folder) / f"{os.environ.get('LOCAL_RANK', '0')}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else identify().plain()
    write_json(path, {**before, **facts})


def heard(folder: Path) -> list[Told]:
    """Return what the processes of this machine told, in their order."""
    found = []
    for path in sorted(folder.glob("*.json"), key=lambda p: int(p.stem)):
        data = json.loads(path.read_text(encoding="utf-8"))
        more = {name: data[name] for name in ("run_id", "code", "said", "lost") if name in data}
        found.append(Told(Identity.read(data), **more))
    return found
