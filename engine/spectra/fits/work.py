"""Files to parts, in as many processes as asked for.

Owns the workers and their end. Which process did a file leaves no trace in what is written.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from engine.spectra.fits import Rejected
from engine.spectra.fits.choices import Choices
from engine.spectra.fits.find import Source
from engine.spectra.fits.parts import PartWriter
from engine.spectra.fits.process import process

MOST_IN_PART = 32  # files: what a kill -9 can cost per worker
FEW = 12  # files that are done sooner than a process is started
Done = Callable[[int], None]


@dataclass(frozen=True)
class Plan:
    """What every worker is told once: where parts go, the choices, and km/s by obsid from a column."""

    parts: Path
    choices: Choices
    velocities: Mapping[str, float] | None


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work(plan: Plan, sources: Sequence[Source], jobs: int, done: Done) -> None:
    """Bring all files into parts; `done` is called with the number of files finished each time some are.

    Raises:
        OSError: a part could not be written (what was finished stays).
        concurrent.futures.process.BrokenProcessPool: a worker was ended from outside.
    """
    chunks = list(_chunks(sources, jobs))
    if jobs == 1 or len(sources) <= FEW:
        for chunk in chunks:
            done(_do(plan, chunk))
        return
    # spawn: a fork would copy the progress bar's threads' locks in whatever state they are
    context = multiprocessing.get_context("spawn")
    jobs = min(jobs, len(chunks))
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(plan,))
    try:
        waiting: set[Future[int]] = set()
        rest = iter(chunks)
        while True:
            # a short queue: a list of a million files is not pickled ahead of time
            for chunk in itertools.islice(rest, 2 * jobs - len(waiting)):
                waiting.add(pool.submit(_task, chunk))
            if not waiting:
                break
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ready:
                done(future.result())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _chunks(sources: Sequence[Source], jobs: int) -> Iterator[Sequence[Source]]:
    size = max(1, min(MOST_IN_PART, len(sources) // (4 * jobs)))
    for start in range(0, len(sources), size):
        yield sources[start : start + size]


def _do(plan: Plan, sources: Sequence[Source]) -> int:
    """Make one part of these files and return their number."""
    part = PartWriter(plan.parts)
    try:
        for source in sources:
            try:
                row = process(source.path, plan.choices, plan.velocities)
            except Rejected as why:
                part.reject(source.key, why.key, why.values)
            except MemoryError:
                raise  # this machine's trouble, not the file's
            except Exception as error:  # noqa: BLE001 - no damaged file may cost the others; it is listed
                part.reject(source.key, "unexpected", {"why": f"{type(error).__name__}: {error}"[:200]})
            else:
                part.keep(source.key, row)
        part.finish()
    except BaseException:
        part.abandon()
        raise
    return len(sources)


_plan: Plan | None = None


def _start(plan: Plan) -> None:
    """Set a worker up: it leaves Ctrl+C to its parent, and ends when its parent does, however that ends."""
    global _plan
    _plan = plan
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)  # after a kill -9 of the parent nobody else would tell this process

    threading.Thread(target=follow, daemon=True).start()


def _task(sources: Sequence[Source]) -> int:
    assert _plan is not None
    return _do(_plan, sources)
