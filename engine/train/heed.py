"""What the advisor finds while a run trains: told in its events, and acted on as the conf wants.

The run is looked at as its own events tell it, at the record interval and where an epoch ends, for a small
share of the time. Owns `training.on_finding`'s acts; the rules are the advisor's.
"""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING, Any

from engine import diagnose
from engine.conf.schema import Conf
from engine.diagnose import live
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder
from engine.runs.record import Record
from engine.train.report import Report
from engine.train.stop import Stop
from engine.words import say
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.train.ranks import Ranks
    from engine.train.state import State

_SLOWER = 0.5  # what lower_rate multiplies the learning rate by
_SHARE = 1 / 30
"""Of the time of training, at most, that goes into looking."""
_BYTES_AT_ONCE = 4_000_000


class Advisor:
    """Looks at one run while it trains; each finding is told, and acted on, once."""

    def __init__(
        self, workspace: Workspace, folder: RunFolder, conf: Conf, events: EventLog, report: Report,
        stop: Stop, ranks: Ranks, began: int,
    ) -> None:  # fmt: skip
        """Look at what `events` writes; what was told up to step `began` is told already."""
        self.workspace = workspace
        self.on_finding = conf.training.on_finding
        self.events, self.report, self.stop, self.ranks = events, report, stop, ranks
        self.record = Record(folder.path)
        self.began = began
        self.told: set[str] | None = None
        self.looked_at, self.cost = -1.0, 0.0

    def heed(self, state: State) -> bool:
        """Look, tell, act; return whether what changed is to be saved. Every rank does the same."""
        found = self.ranks.told(self._found(state) if self.ranks.first else None)
        lowered = False
        for identity, action in found:
            if action == "lower_rate":
                state.rate.lower(_SLOWER)
                lowered = True
            elif action == "stop":
                self.stop.asked, self.stop.by = True, identity
        return lowered

    def _found(self, state: State) -> list[tuple[str, str]]:
        """Return the findings that are new, each with what to do, and write them down."""
        now = time.monotonic()
        if self.looked_at >= 0 and (now - self.looked_at) * _SHARE < self.cost:
            return []
        new = []
        for finding in self._look():
            action = live.action_of(finding, self.on_finding)
            more: dict[str, Any] = {}
            if action == "lower_rate":
                more = {"learning_rate": state.rate.now * _SLOWER}
            event = live.event_of(finding, step=state.progress.step, action=action, **more)
            self.events.append("finding", **event)
            _say(self.report, finding, action)
            new.append((finding.id, action))
        self.looked_at = time.monotonic()
        self.cost = self.looked_at - now
        return new

    def _look(self) -> list[diagnose.Finding]:
        while self.record.refresh(_BYTES_AT_ONCE):
            pass
        if self.told is None:
            self.told = {i for i, e in self.record.findings.items() if e.get("step", 0) <= self.began}
        try:
            found = diagnose.of_run(self.workspace, self.record)
        except Exception:  # noqa: BLE001 - a rule that fails (a user's own) must not cost the run; the log has why
            self.report.aside(traceback.format_exc())
            return []
        new = [f for f in found if f.id not in self.told and live.is_told(f, self.on_finding)]
        self.told |= {finding.id for finding in new}
        return new


def look_back(workspace: Workspace, record: Record, conf: Conf, events: EventLog) -> None:
    """Tell what is found at the end of an attempt and was not told while it trained."""
    for finding in diagnose.of_run(workspace, record):
        if finding.id not in record.findings and live.is_told(finding, conf.training.on_finding):
            events.append("finding", **live.event_of(finding, step=record.step, action="nothing"))


def _say(report: Report, finding: diagnose.Finding, action: str) -> None:
    act = "" if action == "nothing" else f" ({say(f'advice.action.{action}')})"
    report.line(f"{finding.id} {finding.title}{act}")
