"""Which GPUs this machine has, how much of their memory is free, and which one a run gets.

Asks NVML when `pynvml` is there, else `nvidia-smi`; a machine without either has no GPU to choose. Never
imports torch and never touches a GPU: asking costs no memory on it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

_MIB = 1 << 20
_SECONDS = 20.0
_QUERY = "index,uuid,name,memory.total,memory.free"


@dataclass(frozen=True)
class Gpu:
    """One GPU as it is now; sizes in bytes, `pids` the processes that compute on it."""

    index: int
    uuid: str
    name: str
    total: int
    free: int
    pids: frozenset[int] = frozenset()

    @property
    def roomy(self) -> bool:
        """Whether at least half of its memory is free."""
        return 2 * self.free >= self.total

    def fact(self) -> dict[str, Any]:
        """Return what is noted of it with the run that gets it."""
        return {"index": self.index, "name": self.name, "uuid": self.uuid, "free_bytes": self.free}

    def environment(self) -> dict[str, str]:
        """Return what makes a process see this GPU alone; its uuid means the same one to everybody."""
        return {"CUDA_VISIBLE_DEVICES": self.uuid or str(self.index)}


def gpus() -> list[Gpu]:
    """Return the GPUs of this machine in the driver's order; none when nobody can be asked."""
    found = _by_nvml()
    return _by_command() if found is None else found


def visible(found: list[Gpu], said: str | None) -> list[Gpu]:
    """Return those GPUs that CUDA_VISIBLE_DEVICES leaves; all of them when it is not set."""
    if said is None:
        return found
    words = [word.strip() for word in said.split(",") if word.strip()]
    return [g for g in found if any(_means(word, g) for word in words)]


def wanted_index(wanted: str) -> int | None:
    """Return N of 'cuda:N', None for a device that may be any."""
    kind, _, number = wanted.partition(":")
    return int(number) if kind == "cuda" and number.isdecimal() else None


def choose(wanted: str, *, found: list[Gpu] | None = None, taken: Collection[str] = ()) -> Gpu | None:
    """Return the GPU for a run that wants `auto`, `cuda` or `cuda:N`: the one with the most free memory.

    None when the run needs none or there is none. Those whose uuid is in `taken` (given to runs that are
    about to use them) come last.
    """
    if wanted.partition(":")[0] not in ("auto", "cuda"):
        return None
    seen = visible(gpus() if found is None else found, os.environ.get("CUDA_VISIBLE_DEVICES"))
    index = wanted_index(wanted)
    if index is not None:
        return seen[index] if index < len(seen) else None
    return max(seen, key=lambda g: (g.uuid not in taken, g.free, -g.index), default=None)


def given(gpu: Gpu | None, wanted: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the environment and the noted facts of a run that gets this GPU: for `launch.start`."""
    if gpu is None:
        return {}, {}
    # 'cuda:1' counts the GPUs that are seen: it is met by leaving them all to be seen
    return ({} if wanted_index(wanted) is not None else gpu.environment()), {"gpu": gpu.fact()}


def gpu_of(process: Mapping[str, Any]) -> dict[str, Any]:
    """Return the GPU that a process.json notes; empty when it notes none."""
    fact = process.get("gpu")
    return fact if isinstance(fact, dict) else {}


def _means(word: str, gpu: Gpu) -> bool:
    return word == str(gpu.index) or (not word.isdecimal() and gpu.uuid.startswith(word))


def _by_nvml() -> list[Gpu] | None:
    """Return what NVML says; None when it cannot be asked."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        found = []
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            pids: frozenset[int] = frozenset()
            with contextlib.suppress(nvml.NVMLError):  # some drivers tell nobody
                pids = frozenset(int(p.pid) for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle))
            uuid, name = (_text(ask(handle)) for ask in (nvml.nvmlDeviceGetUUID, nvml.nvmlDeviceGetName))
            found.append(Gpu(index, uuid, name, int(memory.total), int(memory.free), pids))
        return found
    except nvml.NVMLError:
        return None
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _by_command() -> list[Gpu]:
    if shutil.which("nvidia-smi") is None:
        return []
    rows = _ask("--query-gpu=" + _QUERY)
    uses = _ask("--query-compute-apps=gpu_uuid,pid") if rows else []
    found = []
    for row in rows:
        try:
            index, uuid, name, total, free = row
            pids = frozenset(int(use[1]) for use in uses if len(use) == 2 and use[0] == uuid)
            found.append(Gpu(int(index), uuid, name, int(total) * _MIB, int(free) * _MIB, pids))
        except ValueError:  # a GPU that is lost says so in words
            continue
    return found


def _ask(query: str) -> list[list[str]]:
    try:
        answer = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    if answer.returncode:
        return []
    return [[cell.strip() for cell in line.split(",")] for line in answer.stdout.splitlines() if line.strip()]
