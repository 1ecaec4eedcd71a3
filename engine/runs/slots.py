"""How many runs may be at work at once on this host, and which place the next one gets.

By default one run per GPU with at least half of its memory free, and one run beside them that computes on the
CPU; runs that were started outside of the queue count as well. Decides only; starts nothing.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.errors import BadInput
from engine.runs import devices
from engine.runs.devices import Gpu
from engine.runs.folder import RunFolder
from engine.runs.queue_state import AUTO
from engine.words import say
from engine.workspace import Workspace


@dataclass(frozen=True)
class Slot:
    """A place for one run: what its process is told, and what is noted of it."""

    environment: Mapping[str, str]
    facts: Mapping[str, Any]


def parse(text: str) -> str:
    """Return a setting of `queue slots` in its one form: 'auto', 'N' or 'cpu:N'.

    Raises:
        BadInput: it is none.
    """
    word = text.strip().lower()
    if word in (AUTO, "gpu"):
        return AUTO
    kind, _, number = word.rpartition(":")
    if kind in ("", "cpu") and number.isascii() and number.isdecimal() and 0 < int(number) < 10_000:
        return f"cpu:{int(number)}" if kind else str(int(number))
    raise BadInput(say("queue.bad_slots", given=text))


def cpus() -> int:
    """Return how many CPUs may be used here."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def wanted_device(workspace: Workspace, run_id: str) -> str:
    """Return `training.device` of a run; 'auto' when its conf cannot be read."""
    return _wanted(RunFolder(workspace.runs / run_id).conf)


@lru_cache(maxsize=4096)
def _wanted(conf: Path) -> str:
    """A run's conf never changes: it is read once."""
    import yaml

    try:
        data = yaml.load(conf.read_text("utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return str(data["training"].get("device") or "auto")
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        return "auto"


class Slots:
    """The free places of one moment, given away one by one."""

    def __init__(
        self, workspace: Workspace, setting: str, running: Mapping[str, dict[str, Any]], found: list[Gpu]
    ) -> None:
        self.workspace = workspace
        self.setting = setting
        self.gpus = found
        self.per_run = int(setting[4:]) if setting.startswith("cpu:") else None
        self.left = int(setting) - len(running) if setting.isdecimal() else None
        self.on_cpu = 0
        self.on_gpu: Counter[str] = Counter()
        self.somewhere = 0
        """Runs on a GPU that nobody can name: they were started by hand."""
        for run_id, process in running.items():
            self._count(run_id, process)

    def _count(self, run_id: str, process: dict[str, Any]) -> None:
        wanted = wanted_device(self.workspace, run_id)
        if not self._on_gpu(wanted):
            self.on_cpu += 1
            return
        index = devices.wanted_index(wanted)
        uuid = devices.gpu_of(process).get("uuid")
        known = [g for g in self.gpus if uuid == g.uuid or process.get("pid") in g.pids or index == g.index][
            :1
        ]
        if known:
            self.on_gpu[known[0].uuid] += 1
        else:
            self.somewhere += 1

    def take(self, wanted: str, visible: str | None) -> Slot | None:
        """Return a place for a run that wants this device, None when it has to wait.

        `visible` is the CUDA_VISIBLE_DEVICES of whoever queued it.
        """
        if self.left is not None and self.left <= 0:
            return None
        slot = self._take_gpu(wanted, visible) if self._on_gpu(wanted) else self._take_cpu()
        if slot is not None and self.left is not None:
            self.left -= 1
        return slot

    def _on_gpu(self, wanted: str) -> bool:
        return bool(self.gpus) and wanted.partition(":")[0] in ("auto", "cuda")

    def _take_cpu(self) -> Slot | None:
        threads = {"OMP_NUM_THREADS": str(self.per_run)} if self.per_run else {}
        places = max(1, cpus() // self.per_run) if self.per_run else 1
        if self.left is None and self.on_cpu >= places:
            return None
        self.on_cpu += 1
        return Slot(threads, {})

    def _take_gpu(self, wanted: str, visible: str | None) -> Slot | None:
        seen = devices.visible(self.gpus, visible)
        index = devices.wanted_index(wanted)
        if index is not None:
            if index >= len(seen):
                return Slot({}, {})  # it is not there: the engine says so, and the run ends
            seen = seen[index : index + 1]
        if not seen:
            return Slot({}, {})  # whoever queued it hid them all: it runs on the CPU, or says why not
        if self.left is None:
            seen = [g for g in seen if g.roomy and not self.on_gpu[g.uuid]]
            if index is None and len(seen) <= self.somewhere:
                return None
        best = min(seen, key=lambda g: (self.on_gpu[g.uuid], -g.free, g.index), default=None)
        if best is None:
            return None
        self.on_gpu[best.uuid] += 1
        environment, facts = devices.given(best, wanted)
        return Slot(environment, facts)
