"""How large a run will be before there is one: parameters, the memory it needs, and whether that is free.

A child process builds the network and takes a pass with few stars (`models.size`); what it finds is kept in
the workspace's cache, so that another batch size or optimizer costs nothing. An estimate: see `Size`. No
torch here.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from engine import catalog
from engine.conf.schema import Conf
from engine.course import training_stars
from engine.errors import BadInput
from engine.runs import devices
from engine.runs.folder import write_json
from engine.spectra import memory
from engine.words import say
from engine.workspace import Workspace

Band = Literal["safe", "tight", "risk"]
_BATCHES = (4, 12)  # of the two passes that a line is drawn through
_CPU_BASE = 470_000_000
"""What a process of the engine holds on a CPU before there is a network: Python, torch, pandas, libraries."""
_GPU_BASE = 600_000_000
"""What CUDA takes of a GPU before there is a network: its context and libraries."""
_TIGHT, _RISK = 0.7, 0.95  # of what is free
_GPU_SLACK = 1.15  # of activations: blocks that the allocator keeps, workspaces of cuDNN
_POINTS = 4700
_SECONDS = 180.0
_KEPT = 200  # entries of the cache


@dataclass(frozen=True)
class Measured:
    """What a pass of one network held: bytes of its weights, and of a pass with b stars: base + b * star."""

    parameters: int
    weights: int
    base: float
    star: float


@dataclass(frozen=True)
class Device:
    """Where a run would compute: `name` as told, bytes free, whether it is a GPU."""

    name: str
    free: int
    gpu: bool


@dataclass(frozen=True)
class Size:
    """The size of a run. `needed` is the sum of the parts, in bytes; `guessed` where there is no data.

    Parts: base (libraries), weights, gradients and activations of a batch, optimizer, data.
    """

    parameters: int
    parts: dict[str, int]
    device: Device
    points: int
    stars: int | None
    guessed: bool

    @property
    def needed(self) -> int:
        return sum(self.parts.values())

    @property
    def band(self) -> Band:
        """safe up to 70 % of what is free, tight up to 95 %, then risk."""
        share = self.needed / max(1, self.device.free)
        return "safe" if share <= _TIGHT else "tight" if share <= _RISK else "risk"

    def plain(self) -> dict[str, Any]:
        return {
            "parameters": self.parameters, "needed_bytes": self.needed, "parts": self.parts,
            "device": self.device.name, "free_bytes": self.device.free, "band": self.band,
            "points": self.points, "stars": self.stars, "guessed": self.guessed,
        }  # fmt: skip


def size_of(workspace: Workspace, conf: Conf) -> Size:
    """Return the size of a run of this conf; seconds the first time, so call it off the UI thread.

    Raises:
        BadInput: the network cannot be built, or the device is not there.
    """
    device = device_of(conf.training.device)
    points, branches, known = _grid(workspace, conf)
    measured = measure(workspace, conf, points)
    stars = training_stars(workspace, conf.data)
    whole = None if stars is None else round(stars / max(conf.data.split.ratios[0], 0.01))
    return Size(
        measured.parameters, _parts(conf, measured, device, points, branches, whole), device, points, whole,
        not known,
    )  # fmt: skip


def device_of(wanted: str) -> Device:
    """Return the device that a run which wants this one would get, and what is free there now.

    Raises:
        BadInput: it names a GPU that is not there.
    """
    gpu = devices.choose(wanted)
    if gpu is not None:
        return Device(f"GPU {gpu.index} {gpu.name}", gpu.free, True)
    if wanted.startswith("cuda"):
        raise BadInput(say("size.no_gpu", device=wanted, there=len(devices.gpus())))
    return Device("mps" if wanted == "mps" else "cpu", free_memory(), False)


def devices_there() -> list[Device]:
    """Return every device of this machine with what is free: the GPUs, then the CPU."""
    seen = devices.visible(devices.gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    found = [Device(f"cuda:{place} {gpu.name}", gpu.free, True) for place, gpu in enumerate(seen)]
    return [*found, Device(f"cpu ({len(os.sched_getaffinity(0))})", free_memory(), False)]


def free_memory(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the bytes that a new process may still take: what is available, within the limit of a cgroup."""
    most, _ = memory.limit()
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        found = dict(line.split(":", 1) for line in lines if ":" in line)
        return min(most, int(found["MemAvailable"].split()[0]) * 1024)
    except (OSError, ValueError, KeyError, IndexError):
        return most


def measure(workspace: Workspace, conf: Conf, points: int) -> Measured:
    """Return what a pass of the conf's network holds: remembered, or measured by a child process.

    Raises:
        BadInput: the network cannot be built or run.
    """
    network = catalog.find(workspace, conf.model.name)
    precision = {"tf32": "fp32", "fp16": "bf16"}.get(conf.training.precision, conf.training.precision)
    asked = {
        "folder": str(workspace.networks), "name": network.name, "fields": conf.plain()["model"],
        "points": points, "labels": len(conf.data.targets), "precision": precision, "batches": _BATCHES,
    }  # fmt: skip
    asked["fields"].pop("name", None)
    stamp = catalog.stamp_of(network)
    key = hashlib.sha256(json.dumps([asked, stamp], sort_keys=True, default=str).encode()).hexdigest()[:24]
    kept = _read(workspace)
    if key not in kept:
        kept[key] = _child(asked, conf.model.name)
        _remember(workspace, kept)
    parameters, weights, (few, low), (many, high) = kept[key]
    star = max(0.0, (high - low) / (many - few))
    return Measured(int(parameters), int(weights), max(0.0, low - few * star), star)


def _parts(
    conf: Conf, measured: Measured, device: Device, points: int, branches: int, stars: int | None
) -> dict[str, int]:
    training, weights = conf.training, measured.weights
    slack = _GPU_SLACK if device.gpu else 1.0
    batch = min(training.batch_size, stars or training.batch_size)
    states = {"adam": 2, "adamw": 2, "adamw_schedule_free": 2, "rmsprop": 1, "sgd": 0}[training.optimizer]
    states += training.optimizer in ("sgd", "rmsprop") and training.momentum > 0
    states += training.ema_decay is not None
    spectra = (stars or 0) * points * branches * 4
    held = spectra if spectra <= conf.data.memory_share * memory.limit()[0] else 0
    if device.gpu and held > 0.6 * device.free:
        held = 0  # such a set stays beside the GPU: see engine.train.feed
    elif not device.gpu and conf.data.continuum_scaler != "none":
        held += (stars or 0) * points * 4  # the scaled copy of a branch
    return {
        "base": _GPU_BASE if device.gpu else _CPU_BASE,
        "weights": 2 * weights,  # those that learn, and the copy that a checkpoint is made from
        "activations": round((measured.base + measured.star * batch) * slack),
        "optimizer": states * weights,
        "data": held,
    }


def _grid(workspace: Workspace, conf: Conf) -> tuple[int, int, bool]:
    """Return points and branches of the data, and whether they are known: a guess where there is none."""
    from engine.spectra import layout
    from engine.spectra.headers import DAMAGED

    try:
        promised = layout.preflight(workspace, conf.data)
    except (BadInput, OSError, ValueError, *DAMAGED):
        return _POINTS, 2, False
    return len(promised.wavelength), len(promised.tables.branches), True


def _child(asked: Mapping[str, Any], name: str) -> list[Any]:
    package_root = str(catalog.PACKAGE_FOLDER.parents[1])
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join([package_root, *others]), "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8",
    }  # fmt: skip
    try:
        # -P: a workspace has a folder called models, and so may a home
        done = subprocess.run(
            [sys.executable, "-P", "-m", "models.size"], input=json.dumps(asked), env=environment,
            capture_output=True, encoding="utf-8", errors="replace", timeout=_SECONDS, check=False,
        )  # fmt: skip
        answer = json.loads(done.stdout)
        if answer["error"]:
            raise BadInput(say("size.no_network", model=name, problem=answer["error"].splitlines()[0]))
        return [answer["parameters"], answer["bytes"], *answer["peaks"]]
    except subprocess.TimeoutExpired:
        raise BadInput(say("catalog.count_timeout", seconds=f"{_SECONDS:g}")) from None
    except OSError as error:
        raise BadInput(say("catalog.count_failed", code=error.errno, last=str(error))) from error
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or [""])[-1]
        raise BadInput(say("catalog.count_failed", code=done.returncode, last=last)) from None


def _cache_file(workspace: Workspace) -> Path:
    return workspace.cache / "sizes.json"


def _read(workspace: Workspace) -> dict[str, list[Any]]:
    """Return what is remembered; nothing when the file is absent or damaged: it can be thrown away."""
    try:
        stored = json.loads(_cache_file(workspace).read_text(encoding="utf-8"))
        return {key: value for key, value in stored.items() if len(value) == 4 and len(value[3]) == 2}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(workspace: Workspace, kept: dict[str, list[Any]]) -> None:
    path = _cache_file(workspace)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, dict(list(kept.items())[-_KEPT:]))
    except OSError:
        return  # a full or read-only disk: measured again next time
