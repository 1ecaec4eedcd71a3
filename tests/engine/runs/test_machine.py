"""What is said of the machine: shares of time between two looks, and whose processes are whose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import cli
from engine.cli.system import facts
from engine.runs import machine
from engine.runs.machine import GpuUse, Watch


def _record(pid: int | None, run_id: str = "r-1", live: bool = True) -> Any:
    return SimpleNamespace(pid=pid, run_id=run_id, live=live, stored=None)


def _fake(proc: Path, busy: int, idle: int, memory: str = "") -> Path:
    proc.mkdir(exist_ok=True)
    rows = [f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0", f"cpu0 {busy} 0 0 {idle} 0 0 0 0 0 0", "intr 1"]
    (proc / "stat").write_text("\n".join(rows))
    (proc / "meminfo").write_text(
        memory or "MemTotal: 1000 kB\nMemAvailable: 250 kB\nSwapTotal: 8 kB\nSwapFree: 2 kB\n"
    )
    return proc


def test_shares_are_of_the_time_between_two_looks(tmp_path: Path) -> None:
    watch = Watch(tmp_path, proc=_fake(tmp_path / "proc", 100, 900))
    assert watch.look().cpu == 0.0, "the first look knows no share"
    _fake(tmp_path / "proc", 130, 910)
    seen = watch.look()
    assert seen.cpu == pytest.approx(0.75) and seen.cores == (pytest.approx(0.75),)
    assert (seen.memory_total, seen.memory_used) == (1_024_000, 768_000)
    assert (seen.swap_total, seen.swap_used) == (8192, 6144)


def test_a_machine_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    seen = Watch(tmp_path, proc=tmp_path / "proc").look()
    assert (seen.cpu, seen.cores, seen.memory_total, seen.processes) == (0.0, (), 0, ())


def test_a_process_below_a_run_is_that_runs(tmp_path: Path) -> None:
    """A real child of a real process: the run's engine is this one."""
    command = [
        sys.executable,
        "-c",
        "import sys; print('up', flush=True); sys.stdin.read()",
        "odd\x1b[31mname",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline()
        seen = Watch(tmp_path).look([_record(os.getpid()), _record(1, "ended", live=False)])
        ours = {one.pid: one for one in seen.processes if one.run == "r-1"}
        assert {os.getpid(), child.pid} <= set(ours)
        assert ours[child.pid].memory > 0
        assert "odd�[31mname" in ours[child.pid].command
        assert seen.processes[0].run == "r-1", "the runs come first"
        assert not [one for one in seen.processes if one.run == "ended"]
        child.stdin.close() if child.stdin else None


def test_gpus_are_told_by_nvml_with_the_memory_of_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class NVMLError(Exception):
        pass

    def refused(_handle: object) -> float:
        raise NVMLError

    fake = SimpleNamespace(
        NVMLError=NVMLError, NVML_TEMPERATURE_GPU=0, nvmlInit=lambda: None, nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1, nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetMemoryInfo=lambda _h: SimpleNamespace(total=100, used=40, free=60),
        nvmlDeviceGetName=lambda _h: b"H100",
        nvmlDeviceGetUtilizationRates=lambda _h: SimpleNamespace(gpu=55),
        nvmlDeviceGetTemperature=lambda _h, _kind: 61, nvmlDeviceGetPowerUsage=refused,
        nvmlDeviceGetComputeRunningProcesses=lambda _h: [SimpleNamespace(pid=7, usedGpuMemory=30)],
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    gpus, memory, told = machine._gpus()
    assert gpus == (GpuUse(0, "H100", 100, 40, 0.55, 61.0, None),)
    assert (memory, told) == ({7: 30}, "nvml")


def test_without_nvml_nvidia_smi_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        '#!/bin/sh\ncase "$1" in *gpu=index*) echo "0, GPU-1, Old, 1000, 400";; *) echo "GPU-1, 9";; esac\n'
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gpus, memory, told = machine._gpus()
    assert [(g.name, g.total, g.used, g.busy) for g in gpus] == [("Old", 1000 << 20, 600 << 20, None)]
    assert (memory, told) == ({9: 0}, "nvidia-smi")
    seen = Watch(tmp_path).look()
    assert any("GPU 0" in line and "Old" in line for line in facts(seen))


def test_the_verb_tells_text_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "conf").mkdir()
    assert cli.main(["--root", str(tmp_path), "system"]) == 0
    said = capsys.readouterr().out
    assert "CPU " in said and "disk " in said and "pid" in said
    assert cli.main(["--root", str(tmp_path), "system", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["memory_total"] > found["memory_used"] > 0
    assert {"pid", "run", "command", "cpu", "memory", "gpu_memory"} == set(found["processes"][0])


def test_keys_belong_to_the_app(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keys"]) == 2
    assert "spectui keys" in capsys.readouterr().err
