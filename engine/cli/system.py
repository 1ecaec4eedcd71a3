"""`system`: processors, memory, disk and GPUs now, and which runs use them."""

from __future__ import annotations

import argparse
import time

from engine import workspace
from engine.cli.text import print_json, table
from engine.runs.machine import Machine, Watch
from engine.spectra.check_words import size_words
from engine.words import say

_LOOK_SECONDS = 0.5


def system(arguments: argparse.Namespace) -> int:
    """Look twice, half a second apart, and tell what was seen."""
    from engine.runs.find import records

    here = workspace.find(arguments.root)
    watch = Watch(here.root)
    runs = [run for run in records(here) if run.live]
    watch.look(runs)
    time.sleep(_LOOK_SECONDS)
    seen = watch.look(runs)
    if arguments.json:
        print_json(seen.plain())
    else:
        for line in [*facts(seen), "", *processes(seen)]:
            print(line)
    return 0


def facts(seen: Machine) -> list[str]:
    """Return processors, memory, disk and GPUs as lines."""
    lines = [
        say("system.cpu", busy=f"{seen.cpu:.0%}", cores=len(seen.cores), load=f"{seen.load[0]:.2f}"),
        say("system.memory", used=size_words(seen.memory_used), total=size_words(seen.memory_total)),
        say("system.swap", used=size_words(seen.swap_used), total=size_words(seen.swap_total)),
        say("system.disk", free=size_words(seen.disk_free), total=size_words(seen.disk_total)),
    ]
    for gpu in seen.gpus:
        more = [f"{gpu.busy:.0%}"] if gpu.busy is not None else []
        more += [f"{gpu.celsius:.0f} °C"] if gpu.celsius is not None else []
        more += [f"{gpu.watts:.0f} W"] if gpu.watts is not None else []
        used = say("system.memory", used=size_words(gpu.used), total=size_words(gpu.total))
        lines.append("  ".join([f"GPU {gpu.index}", gpu.name, used, *more]))
    return lines if seen.gpus else [*lines, say("system.no_gpu")]


def processes(seen: Machine) -> list[str]:
    """Return who uses the machine as a table: the runs first."""
    heads = [say(f"system.column.{name}") for name in ("pid", "run", "cpu", "memory", "gpu", "command")]
    rows = [
        [
            str(one.pid), one.run or "-", f"{one.cpu:.0%}", size_words(one.memory),
            size_words(one.gpu_memory) if one.gpu_memory else "-", one.command,
        ]
        for one in seen.processes
    ]  # fmt: skip
    return table(heads, rows)
