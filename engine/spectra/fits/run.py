"""An import from beginning to end: look, work, write, move in.

Owns the order, the partial folder and what is refused before any work is done.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from engine.errors import BadInput
from engine.spectra.fits.choices import Choices, digest
from engine.spectra.fits.find import Source, find, state
from engine.spectra.fits.labels import Catalogue, open_catalogue, read_through, velocities
from engine.spectra.fits.parts import index
from engine.spectra.fits.work import FEW, Plan, cores, work
from engine.spectra.fits.write import FILES, TABLES, Tally, move_in, write_set
from engine.spectra.layout import twin
from engine.words import say

Progress = Callable[[int, int], None]  # files done, files in all


def import_set(
    paths: Sequence[str],
    out: Path,
    choices: Choices,
    *,
    labels: str | None = None,
    jobs: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Import the files that `paths` mean into the folder `out` and return the head of its import.json.

    `progress` is called with (files done, files in all), first with what an interrupted import left done.
    The set appears whole or not at all. What is finished when the process ends stays in a folder
    `.import-…` beside `out`, and the same call goes on from there.

    Raises:
        BadInput: a path, the label table or a choice cannot be used, `out` holds a set and `force` is not
            given, another process is at the same import, or not one file gave a spectrum.
        OSError: something cannot be written; what was finished stays.
    """
    started = time.monotonic()
    catalogue = _catalogue(labels, choices)
    sources = find(paths)
    out = Path(os.path.abspath(out.expanduser()))  # noqa: PTH100 - a link stays the name that was given
    # What decides a row, and so whether an unfinished import is this one. Labels joined at the end are not.
    marks = state(catalogue.path.resolve()) if catalogue and choices.rv_column else None
    partial = out.parent / f".import-{out.name}-{digest(choices.record(), marks)}"
    # an import that was ended while its finished files were moved in has already taken the old set apart
    if not (partial / "ready").exists():
        _refuse_existing(out, force)
    speeds = None
    if catalogue and choices.rv_column:
        speeds = velocities(catalogue, choices.rv_column)
    elif catalogue:
        read_through(catalogue)
    parents = [p for p in out.parents if not p.exists()]
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(say("fits.cannot_write", folder=out.parent, why=error.strerror or error)) from error
    with (partial / "lock").open("w") as lock:
        if not _lock(lock):
            raise BadInput(say("fits.in_use", folder=partial))
        plan = Plan(partial / "parts", choices, speeds)
        head = _finish(partial, out, plan, sources, catalogue, jobs or cores(), progress, started)
        if isinstance(head, Tally):
            shutil.rmtree(partial)
            for folder in parents:
                folder.rmdir()
            raise BadInput(_none_accepted(head, len(sources)))
        _clear(out)
    return head


def _finish(
    partial: Path,
    out: Path,
    plan: Plan,
    sources: Sequence[Source],
    catalogue: Catalogue | None,
    jobs: int,
    progress: Progress | None,
    started: float,
) -> dict[str, Any] | Tally:
    """Do what is not done, write the set, move it in; the tally alone when there is nothing to write."""
    plan.parts.mkdir(exist_ok=True)
    places = index(plan.parts)
    left = [source for source in sources if source.key not in places]
    reused = done = len(sources) - len(left)
    if progress:
        progress(done, len(sources))

    def advance(number: int) -> None:
        nonlocal done
        done += number
        if progress:
            progress(done, len(sources))

    work(plan, left, jobs, advance)
    places = index(plan.parts)
    made = partial / "set"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    about = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 2),
        "jobs": 1 if len(left) <= FEW else jobs,
        "reused": reused,
    }
    head, tally = write_set(made, sources, places, plan.choices, catalogue, about)
    if not head["counts"]["spectra"]:
        return tally
    (partial / "ready").touch()
    move_in(made, out)
    return head


def _catalogue(labels: str | None, choices: Choices) -> Catalogue | None:
    if labels is None:
        if choices.rv_column:
            raise BadInput(say("fits.rv_needs_labels", column=choices.rv_column))
        return None
    catalogue = open_catalogue(labels)
    return catalogue


def _refuse_existing(out: Path, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise BadInput(say("fits.out_is_file", path=out))
    if force:
        return
    wanted = [out / name for name in FILES] + [twin(out / name) for name in TABLES.values()]
    there = [path.name for path in wanted if path.exists()]
    if there:
        raise BadInput(say("fits.exists", folder=out, files=", ".join(there)))


def _lock(lock: IO[str]) -> bool:
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # a network file system without locks: as good as alone
    return True


def _clear(out: Path) -> None:
    """Take away every partial folder of this output, unless somebody is at work in it."""
    for partial in out.parent.glob(f".import-{out.name}-*"):
        try:
            with (partial / "lock").open("a") as lock:
                if _lock(lock):
                    shutil.rmtree(partial, ignore_errors=True)
        except OSError:
            continue  # not ours to remove


def _none_accepted(tally: Tally, files: int) -> list[str]:
    lines = [say("fits.none_accepted", files=files)]
    lines += [say("fits.rejected_line", file=file, reason=reason) for file, reason in tally.examples]
    more = files - len(tally.examples)
    return [*lines, say("fits.more", number=more)] if more > 0 else lines
