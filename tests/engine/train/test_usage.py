"""How busy the machine is: of this process, and of the GPU that torch means."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest
import torch

from engine.train.usage import Usage


def test_a_process_that_works_is_busy() -> None:
    usage = Usage(torch.device("cpu"))
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    values = usage.read()
    assert set(values) == {"cpu_percent"} and values["cpu_percent"] > 0


class _NVMLError(Exception):
    pass


def _nvml(**changes: object) -> SimpleNamespace:
    def handle(uuid: str) -> str:
        if uuid != "GPU-1234":
            raise _NVMLError(uuid)
        return uuid

    whole = {
        "NVMLError": _NVMLError, "nvmlInit": lambda: None, "nvmlDeviceGetHandleByUUID": handle,
        "nvmlDeviceGetUtilizationRates": lambda _handle: SimpleNamespace(gpu=73, memory=5),
        "nvmlDeviceGetMemoryInfo": lambda _handle: SimpleNamespace(used=2_000_000_000),
    }  # fmt: skip
    return SimpleNamespace(**(whole | changes))


def test_nvml_is_asked_about_the_gpu_by_its_uuid_and_may_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(uuid="1234")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: properties)
    monkeypatch.setitem(sys.modules, "pynvml", _nvml())
    values = Usage(torch.device("cuda", 0)).read()
    assert (values["gpu_percent"], values["gpu_memory_mb"]) == (73.0, 2000.0)

    def refuse(_handle: str) -> None:
        raise _NVMLError

    monkeypatch.setitem(sys.modules, "pynvml", _nvml(nvmlDeviceGetUtilizationRates=refuse))
    assert "gpu_percent" not in Usage(torch.device("cuda", 0)).read()
    properties.uuid = "another"
    assert set(Usage(torch.device("cuda", 0)).read()) == {"cpu_percent"}
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert set(Usage(torch.device("cuda", 0)).read()) == {"cpu_percent"}
