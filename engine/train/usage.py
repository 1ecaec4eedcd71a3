"""How busy the CPU and the GPU are while a run trains: asked once per record, never per step.

NVML is asked when it is there; whatever it refuses is left out. The CPU is that of this process and its
threads, as `top` counts it: 100 is one core. Never ends a training.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable
from typing import Any

import torch


class Usage:
    """Measures between one call of `read` and the next."""

    def __init__(self, device: torch.device) -> None:
        self._at, self._cpu = time.perf_counter(), time.process_time()
        self._gpu: Callable[[], dict[str, float]] | None = None
        if device.type == "cuda":
            self._gpu = _of_gpu(device)

    def read(self) -> dict[str, float]:
        """Return per cents and megabytes by name: `cpu_percent`, and `gpu_percent`, `gpu_memory_mb`."""
        now, cpu = time.perf_counter(), time.process_time()
        values = {"cpu_percent": 100 * (cpu - self._cpu) / max(1e-9, now - self._at)}
        self._at, self._cpu = now, cpu
        if self._gpu is not None:
            values |= self._gpu()
        return values


def _of_gpu(device: torch.device) -> Callable[[], dict[str, float]] | None:
    """Return what asks NVML about the GPU that torch calls `device`; None when nobody can be asked."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        # torch counts the GPUs that this process may see, NVML all of them: the uuid means the same one
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
    except (nvml.NVMLError, AttributeError, RuntimeError):  # no driver; a torch that tells no uuid
        return None

    def ask() -> dict[str, float]:
        values: dict[str, float] = {}
        with contextlib.suppress(nvml.NVMLError):
            values["gpu_percent"] = float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        with contextlib.suppress(nvml.NVMLError):
            values["gpu_memory_mb"] = nvml.nvmlDeviceGetMemoryInfo(handle).used / 1e6
        return values

    return ask
