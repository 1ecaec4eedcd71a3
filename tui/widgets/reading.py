"""One data set being read and checked in a thread: what two screens look at while it goes on.

Plain state, written by the worker and read by the screens; owns no widget. Imports numpy in the thread only.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.errors import BadInput
from engine.words import say
from engine.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np

    from engine.spectra.facts import Facts
    from engine.spectra.facts_sets import DataSet


class _Stopped(Exception):  # noqa: N818 - a wish, no error
    """Nobody wants the answer any more."""


@dataclass
class Reading:
    """A data set, and as they come: how far the work is, its facts, its report, or why there is none."""

    dataset: DataSet
    what: str = ""
    done: int = 0
    total: int | None = None
    facts: Facts | None = None
    report: dict[str, Any] | None = None
    stars: dict[str, np.ndarray] = field(default_factory=dict)
    """Labels by name [N], kept when the fluxes are let go."""
    problem: list[str] = field(default_factory=list)
    running: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self, workspace: Workspace) -> None:
        """Read and check; meant for a thread. Facts are there before the report is."""
        from engine.spectra import check, facts

        self.running = True
        try:
            conf = self.dataset.conf
            found = facts.read(workspace, conf, self._tell)
            _ = found.import_masks  # read here, not when the first star is drawn
            self.facts = found
            self.stars = {target: self.facts.columns[target] for target in self.facts.targets}
            if self.report is None:
                self.report = check.report_of(workspace, conf, self.facts, self._check)
        except _Stopped:
            self.facts = None
        except BadInput as error:
            self.problem = error.lines
        except (OSError, MemoryError) as error:
            self.problem = [say("datasets.failed", error=error or type(error).__name__)]
        finally:
            self.running = False

    def stop(self) -> None:
        """Ask the thread to leave off, and let the fluxes go."""
        self._stop.set()
        self.facts = None

    def again(self) -> Reading:
        """Return a reading of the same set that keeps the report: the files are as they were."""
        return Reading(self.dataset, report=self.report, stars=self.stars)

    def progress(self) -> str:
        """Return how far the work is, in words."""
        if self.total:
            return say("datasets.busy_of", what=self.what, done=self.done, total=self.total)
        return say("datasets.busy", what=self.what or say("spectrum.reading"), done=self.done)

    def _tell(self, what: str, done: int, total: int | None) -> None:
        if self._stop.is_set():
            raise _Stopped
        self.what, self.done, self.total = what, done, total

    def _check(self, branch: str, done: int, total: int | None) -> None:
        self._tell(say("spectrum.checking", branch=say(f"spectrum.branch.{branch}")), done, total)
