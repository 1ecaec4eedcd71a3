"""How many parameters networks have: counted by a child process, remembered in the workspace's cache.

Counting means building, and building means torch; a child process keeps torch out of this one. A count is
good as long as the file, the parts that networks share, and the size of the data stay the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.catalog.scan import PACKAGE_FOLDER, Network, networks
from engine.words import say
from engine.workspace import Workspace


@dataclass(frozen=True)
class Count:
    """The size of one network, or why it is not known."""

    parameters: int | None
    parts: dict[str, int]
    """direct child of the network -> parameters"""
    error: str | None = None


def parameter_counts(
    workspace: Workspace,
    *,
    points: int = 4700,
    labels: int = 4,
    names: Iterable[str] | None = None,
    timeout: float = 120.0,
) -> dict[str, Count]:
    """Return the counts of the networks called `names` (else of all), with their default fields.

    Takes seconds when something has to be counted: call it off the UI thread. Networks that could not be
    counted carry the error, and are tried again next time.
    """
    chosen = None if names is None else set(names)
    wanted = {
        network.name: network
        for network in networks(workspace)
        if network.broken is None and (chosen is None or network.name in chosen)
    }
    keys = {name: _key(network, points, labels) for name, network in wanted.items()}
    remembered = _read(workspace)
    counts = {name: remembered[key] for name, key in keys.items() if key in remembered}
    stale = [network for name, network in wanted.items() if name not in counts]
    if stale:
        fresh = _count(workspace, stale, points, labels, timeout)
        counts |= fresh
        _remember(workspace, {keys[name]: count for name, count in fresh.items() if count.error is None})
    return {name: counts[name] for name in sorted(counts)}


def _count(
    workspace: Workspace, stale: Sequence[Network], points: int, labels: int, timeout: float
) -> dict[str, Count]:
    """Count in one child; when a network takes that down with it, ours together and theirs one by one."""
    whole = _child(workspace, [network.name for network in stale], points, labels, timeout)
    if isinstance(whole, dict):
        return whole
    if len(stale) == 1:
        return {stale[0].name: Count(None, {}, whole)}
    ours = [network for network in stale if network.builtin]
    groups = [ours] if ours and len(ours) < len(stale) else [[network] for network in ours]
    groups += [[network] for network in stale if not network.builtin]
    counts: dict[str, Count] = {}
    for group in groups:
        counts |= _count(workspace, group, points, labels, timeout)
    return counts


def _child(
    workspace: Workspace, names: Sequence[str], points: int, labels: int, timeout: float
) -> dict[str, Count] | str:
    """Run models.count and return its counts, or one sentence about its end."""
    # -P keeps the current folder out of the path: a workspace has a folder called models, and so may a home.
    command = [
        sys.executable,
        "-P",
        "-m",
        "models.count",
        "--folder",
        str(workspace.networks),
        "--points",
        str(points),
        "--labels",
        str(labels),
        "--only",
        *names,
    ]
    package_root = str(PACKAGE_FOLDER.parents[1])
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([package_root, *others]),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return say("catalog.count_timeout", seconds=f"{timeout:g}")
    except OSError as error:
        return say("catalog.count_failed", code=error.errno, last=str(error))
    try:
        if done.returncode == 0:
            answer = json.loads(done.stdout)
            absent = Count(None, {}, say("catalog.count_absent"))
            return {name: _count_of(answer[name]) if name in answer else absent for name in names}
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    last = (done.stderr.strip().splitlines() or [""])[-1]
    return say("catalog.count_failed", code=done.returncode, last=last)


def _key(network: Network, points: int, labels: int) -> str:
    return f"{stamp_of(network)}|{points}|{labels}"


def stamp_of(network: Network) -> str:
    """Return a text that changes with the file of a network and with the parts that networks share."""
    try:
        stat = network.file.stat()
        stamp = f"{stat.st_mtime_ns}|{stat.st_size}"
    except OSError:
        stamp = "gone|0"
    return f"{network.file}|{network.name}|{stamp}|{_shared_stamp()}"


def _shared_stamp() -> int:
    """Return the time of the newest change to what networks share."""
    shared = [*PACKAGE_FOLDER.parent.glob("*.py"), *(PACKAGE_FOLDER.parent / "parts").glob("*.py")]
    return max((path.stat().st_mtime_ns for path in shared if path.is_file()), default=0)


def _cache_file(workspace: Workspace) -> Path:
    return workspace.cache / "models.json"


def _read(workspace: Workspace) -> dict[str, Count]:
    """Return the remembered counts; none when the file is absent or damaged: it can be thrown away."""
    try:
        stored = json.loads(_cache_file(workspace).read_text(encoding="utf-8"))
        return {key: _count_of(value) for key, value in stored.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _remember(workspace: Workspace, fresh: Mapping[str, Count]) -> None:
    """Add counts to the cache, whole or not at all; older ones of the same files are dropped."""
    changed = {_stale_prefix(key): key for key in fresh}
    kept = {key: count for key, count in _read(workspace).items() if not _outdated(key, changed)}
    path = _cache_file(workspace)
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table = {key: asdict(count) for key, count in {**kept, **fresh}.items()}
        scratch.write_text(json.dumps(table, indent=1), encoding="utf-8")
        scratch.replace(path)
    except OSError:  # a full or read-only disk: counted again next time
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


def _stale_prefix(key: str) -> str:
    return "|".join(key.split("|")[:-5])  # the file and the name


def _outdated(key: str, changed: Mapping[str, str]) -> bool:
    """Tell whether a key is of a file that has changed since; other sizes of the same file stay."""
    current = changed.get(_stale_prefix(key))
    return current is not None and key.split("|")[-5:-2] != current.split("|")[-5:-2]


def _count_of(stored: Mapping[str, Any]) -> Count:
    parameters = stored["parameters"]
    return Count(
        None if parameters is None else int(parameters),
        {str(name): int(count) for name, count in stored["parts"].items()},
        stored.get("error"),
    )
