"""What the cache holds, whether it is whole, and how to be rid of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.errors import BadInput
from engine.spectra import cache_store
from engine.workspace import Workspace


def survey(workspace: Workspace, *, full: bool = False) -> list[dict[str, Any]]:
    """Return a JSON-able line per entry, the latest used first; `full` reads every cached byte.

    `state` is current (its tables are as they were), stale (they changed or are gone) or damaged. The
    bytes of a file with two names are counted where it comes first: tables before sets.
    """
    counted: set[tuple[int, int]] = set()
    found = []
    for kind, home in cache_store.entries(workspace):
        index: dict[str, Any] = {}
        try:
            entry = cache_store.look(home, full=full)
            if entry is None:
                continue  # taken away meanwhile
            index = entry.index
            state = "current" if _sources_same(index) else "stale"
        except cache_store.Damaged:
            state = "damaged"
        paths = [source["path"] for source in index.get("sources", [])]
        found.append(
            {
                "kind": kind,
                "key": home.name,
                "state": state,
                "rows": index.get("rows"),
                "points": index.get("points"),
                "bytes": _size(home, counted),
                "made": index.get("made"),
                "used": _used(home),
                "sources": [workspace.relative(Path(path)) for path in paths],
            }
        )
    return sorted(found, key=lambda one: -(one["used"] or 0.0))


def clear(workspace: Workspace, *, unused: bool = False) -> dict[str, int]:
    """Remove all entries, or those that are stale or damaged, and what killed conversions left.

    Returns the number of entries removed and the bytes that this freed. A run that has a set open keeps it.

    Raises:
        BadInput: the cache cannot be written.
    """
    before = _total(workspace)
    going = [one for one in survey(workspace) if not unused or one["state"] != "current"]
    try:
        for one in going:
            cache_store.remove(cache_store.shelf(workspace) / one["kind"] / one["key"])
        cache_store.sweep(workspace)
    except OSError as error:
        raise BadInput(cache_store.refusal(workspace, error)) from error
    return {"entries": len(going), "bytes": before - _total(workspace)}


def _sources_same(index: dict[str, Any]) -> bool:
    """Tell whether the files that an entry was made of are still there, unchanged."""
    for source in index["sources"]:
        try:
            status = Path(source["path"]).stat()
        except OSError:
            return False
        if (status.st_size, status.st_mtime_ns) != (source["size"], source["mtime_ns"]):
            return False
    return True


def _size(folder: Path, counted: set[tuple[int, int]]) -> int:
    total = 0
    for path in folder.rglob("*"):
        status = path.lstat()
        if path.is_file() and (status.st_dev, status.st_ino) not in counted:
            counted.add((status.st_dev, status.st_ino))
            total += status.st_size
    return total


def _total(workspace: Workspace) -> int:
    shelf = cache_store.shelf(workspace)
    return _size(shelf, set()) if shelf.is_dir() else 0


def _used(home: Path) -> float | None:
    try:
        return (home / cache_store.INDEX).stat().st_mtime
    except OSError:
        return None
