"""How much memory this process may use at most: the machine's, its cgroup's or its own limit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

try:
    import resource
except ImportError:  # not a Unix: the machine's memory is all that is known
    resource = None  # type: ignore[assignment]

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def limit(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> tuple[int, str]:
    """Return the smallest limit in bytes, and which it is: 'machine', 'cgroup' or 'ulimit'."""
    found = [(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "machine")]
    found += [(size, "cgroup") for size in _cgroup_limits(cgroups, own)]
    if resource is not None:
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            found.append((soft, "ulimit"))
    return min(found)


def _cgroup_limits(cgroups: Path, own: Path) -> Iterator[int]:
    """Yield the limits of this process's cgroup (version 1 or 2) and of those that hold it."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path may be the host's; what is mounted at the root is then the own one.
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts), -1, -1):
            try:
                text = root.joinpath(*parts[:depth], name).read_text(encoding="ascii").strip()
            except OSError:
                continue
            if text.isdigit():
                yield int(text)
