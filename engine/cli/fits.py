"""`data import`: LAMOST FITS files in, the three tables out."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from engine import exit_codes
from engine.cli.text import message, print_json
from engine.words import say

_LINE_SECONDS = 10.0  # between two lines of progress where there is no terminal


def import_(arguments: argparse.Namespace) -> int:
    """Import FITS files and say what became of them."""
    from engine.spectra.fits import choices, run

    chosen = choices.choose(
        grid_word=arguments.grid,
        continuum_word=arguments.continuum,
        frame=arguments.frame,
        rv=arguments.rv,
        rv_column=arguments.rv_column,
        telluric=arguments.telluric == "mask",
        any_class=arguments.any_class,
        max_masked=arguments.max_masked,
        min_coverage=arguments.min_coverage,
    )
    show = _Progress()
    try:
        head = run.import_set(
            arguments.paths,
            Path(arguments.out),
            chosen,
            labels=arguments.labels,
            jobs=arguments.jobs,
            force=arguments.force,
            progress=show,
        )
    except OSError as error:
        show.close()
        where = f"{error.filename}: " if error.filename else ""
        message(say("fits.stopped", why=f"{where}{error.strerror or error}"))
        return exit_codes.FAILED
    except MemoryError:
        show.close()
        message(say("fits.out_of_memory"))
        return exit_codes.OUT_OF_MEMORY
    except BrokenProcessPool:
        show.close()
        message(say("fits.worker_gone"))
        return exit_codes.FAILED
    finally:
        show.close()
    if arguments.cache:
        _into_cache(arguments)
    if arguments.json:
        print_json(head | {"out": arguments.out})
    else:
        print("\n".join(summary(head, arguments.out)))
    return exit_codes.DONE


def _into_cache(arguments: argparse.Namespace) -> None:
    """Convert the new tables now, so that the first run and the viewer find them in the workspace's cache."""
    from engine import workspace
    from engine.cli.progress import on_stderr
    from engine.conf.data import Data
    from engine.spectra import facts

    with on_stderr() as tell:
        facts.read(workspace.find(arguments.root), Data(path=str(Path(arguments.out).resolve())), tell)


def summary(head: dict[str, Any], out: str) -> list[str]:
    """Return what a person wants to know about an import, line by line."""
    counts, labels = head["counts"], head["labels"]
    lines = [say("fits.done", spectra=counts["spectra"], files=counts["files"], out=out)]
    if counts["rejected"]:
        lines.append(say("fits.done_rejected", number=counts["rejected"], out=out))
        lines += [
            say("fits.done_reason", number=number, reason=say(f"fits.kind.{reason}"))
            for reason, number in counts["reasons"].items()
        ]
    if labels is None:
        lines.append(say("fits.done_no_labels"))
    else:
        lines.append(say("fits.done_labels", **labels))
        if labels["doubled"]:
            lines.append(say("fits.done_labels_doubled", number=labels["doubled"], file=labels["file"]))
    notes = ("rv_missing", "frame_assumed", "from_air", "not_heliocentric", "no_class", "half_covered")
    lines += [say(f"fits.note.{note}", number=counts[note]) for note in notes if counts[note]]
    if head["choices"]["rv_column"] and counts["rv_header"]:
        lines.append(say("fits.note.rv_header", number=counts["rv_header"]))
    return lines


class _Progress:
    """A bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._began = time.monotonic()
        self._told = self._began
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._first is None:
            self._first = done
            if done:
                message(say("fits.reused", number=done, files=total))
            if sys.stderr.isatty():
                from tqdm import tqdm

                self._bar = tqdm(total=total, initial=done, unit=say("fits.unit"), dynamic_ncols=True)
            return
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif (now := time.monotonic()) - self._told >= _LINE_SECONDS:
            self._told = now
            rate = (done - self._first) / (now - self._began)
            left = round((total - done) / rate) if rate else 0
            message(say("fits.progress", done=done, files=total, rate=f"{rate:.1f}", left=left))

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
