"""What this machine is doing now: processors, memory, disk, GPUs, and which processes use them.

Reads /proc, and NVML or `nvidia-smi` where they are. Owns no history but the last look, which rates need.
Never touches a GPU and never imports torch.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.runs import devices
from engine.runs.record import Record

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MOST_OTHERS = 8
_MOST_COMMAND = 200


@dataclass(frozen=True)
class GpuUse:
    """One GPU: sizes in bytes; None for what nobody tells."""

    index: int
    name: str
    total: int
    used: int
    busy: float | None = None
    celsius: float | None = None
    watts: float | None = None


@dataclass(frozen=True)
class ProcessUse:
    """One process; `run` is the id of the run it works for, empty for the others."""

    pid: int
    run: str
    command: str
    cpu: float
    memory: int
    gpu_memory: int | None = None


@dataclass(frozen=True)
class Machine:
    """One look at the machine: parts from 0 to 1, sizes in bytes."""

    cpu: float
    cores: tuple[float, ...]
    load: tuple[float, float, float]
    memory_total: int
    memory_used: int
    swap_total: int
    swap_used: int
    disk_total: int
    disk_free: int
    gpus: tuple[GpuUse, ...] = ()
    processes: tuple[ProcessUse, ...] = ()
    gpu_told: str = ""
    """Who was asked about GPUs: `nvml`, `nvidia-smi`, or nobody."""

    def plain(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        return asdict(self)


@dataclass
class Watch:
    """Looks again and again; shares of time are of the time since the look before."""

    disk: Path
    proc: Path = _PROC
    _cpus: dict[str, tuple[int, int]] = field(default_factory=dict)
    _ticks: dict[int, int] = field(default_factory=dict)
    _at: float = 0.0

    def look(self, runs: Iterable[Record] = ()) -> Machine:
        """Return how the machine is now, the processes of `runs` first; the first look knows no shares."""
        now = time.monotonic()
        passed, self._at = now - self._at if self._at else 0.0, now
        shares = self._shares()
        memory = _table(self.proc / "meminfo")
        total, free = memory.get("MemTotal", 0), memory.get("MemAvailable", memory.get("MemFree", 0))
        swap = memory.get("SwapTotal", 0)
        gpus, on_gpu, told = _gpus()
        disk = shutil.disk_usage(self.disk)
        return Machine(
            cpu=shares.get("cpu", 0.0),
            cores=tuple(share for name, share in shares.items() if name != "cpu"),
            load=os.getloadavg(),
            memory_total=total, memory_used=total - free,
            swap_total=swap, swap_used=swap - memory.get("SwapFree", 0),
            disk_total=disk.total, disk_free=disk.free,
            gpus=gpus, gpu_told=told,
            processes=self._processes(passed, {r.run_id: r for r in runs if r.stored is None}, on_gpu),
        )  # fmt: skip

    def _shares(self) -> dict[str, float]:
        """Return the busy part of all processors ('cpu') and of each since the last look."""
        shares: dict[str, float] = {}
        for line in _lines(self.proc / "stat"):
            if not line.startswith("cpu"):
                continue
            name, *counts = line.split()
            numbers = [int(n) for n in counts[:8]]
            whole, idle = sum(numbers), sum(numbers[3:5])
            before = self._cpus.get(name, (whole, idle))
            self._cpus[name] = (whole, idle)
            passed = whole - before[0]
            shares[name] = max(0.0, 1 - (idle - before[1]) / passed) if passed > 0 else 0.0
        return shares

    def _processes(
        self, passed: float, runs: dict[str, Record], on_gpu: dict[int, int]
    ) -> tuple[ProcessUse, ...]:
        found: list[ProcessUse] = []
        ticks: dict[int, int] = {}
        owners = {r.pid: run_id for run_id, r in runs.items() if r.live and r.pid}
        parents: dict[int, int] = {}
        stats: dict[int, tuple[str, int, int]] = {}
        for entry in self.proc.iterdir():
            if not entry.name.isdecimal():
                continue
            with contextlib.suppress(OSError, ValueError, IndexError):
                pid = int(entry.name)
                text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                name, _, rest = text.partition("(")[2].rpartition(")")
                cells = rest.split()
                parents[pid] = int(cells[1])
                ticks[pid] = int(cells[11]) + int(cells[12])
                stats[pid] = (name, ticks[pid], int(cells[21]) * _PAGE)
        for pid, (name, spent, memory) in stats.items():
            run = _owner(pid, owners, parents)
            used = (spent - self._ticks.get(pid, spent)) / _TICKS / passed if passed > 0 else 0.0
            found.append(ProcessUse(pid, run, name, max(0.0, used), memory, on_gpu.get(pid)))
        self._ticks = ticks
        ours = sorted((p for p in found if p.run), key=lambda p: (p.run, p.pid))
        others = [p for p in found if not p.run and p.memory]
        others.sort(key=lambda p: (-(p.gpu_memory or 0), -round(p.cpu, 2), -p.memory))
        chosen = [*ours, *others[:_MOST_OTHERS]]
        return tuple(replace(one, command=self._command(one)) for one in chosen)

    def _command(self, process: ProcessUse) -> str:
        """Return the whole command, which only those that are told need; anything may stand in one."""
        words = process.command
        with contextlib.suppress(OSError):
            raw = (self.proc / str(process.pid) / "cmdline").read_bytes()[:4096]
            words = raw.replace(b"\0", b" ").decode("utf-8", "replace").strip() or words
        return "".join(c if c.isprintable() else "�" for c in words[:_MOST_COMMAND])


def _owner(pid: int, owners: dict[int, str], parents: dict[int, int]) -> str:
    """Return the run whose process this is, or whose process is above it."""
    for _ in range(64):
        if pid in owners:
            return owners[pid]
        pid = parents.get(pid, 0)
        if pid <= 1:
            break
    return ""


def _gpus() -> tuple[tuple[GpuUse, ...], dict[int, int], str]:
    """Return the GPUs, their memory by process, and who told."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # noqa: BLE001 - no library or no driver: its errors are its own classes
        found = devices.gpus()
        plain = tuple(GpuUse(g.index, g.name, g.total, g.total - g.free) for g in found)
        pids = {pid: 0 for g in found for pid in g.pids}
        return plain, pids, "nvidia-smi" if found else ""
    uses: list[GpuUse] = []
    memory: dict[int, int] = {}
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            held = nvml.nvmlDeviceGetMemoryInfo(handle)
            name = nvml.nvmlDeviceGetName(handle)
            busy = celsius = watts = None
            with contextlib.suppress(nvml.NVMLError):
                busy = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
            with contextlib.suppress(nvml.NVMLError):
                celsius = float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
            with contextlib.suppress(nvml.NVMLError):
                watts = nvml.nvmlDeviceGetPowerUsage(handle) / 1000
            with contextlib.suppress(nvml.NVMLError):
                for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
                    memory[process.pid] = memory.get(process.pid, 0) + int(process.usedGpuMemory or 0)
            name = name.decode() if isinstance(name, bytes) else name
            uses.append(GpuUse(index, name, int(held.total), int(held.used), busy, celsius, watts))
    except nvml.NVMLError:
        pass
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    return tuple(uses), memory, "nvml"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _table(path: Path) -> dict[str, int]:
    """Return the sizes of /proc/meminfo in bytes."""
    found: dict[str, int] = {}
    for line in _lines(path):
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdecimal():
            found[name] = int(words[0]) * 1024
    return found
