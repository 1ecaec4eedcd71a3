"""What the advisor tells of one run: findings, the replay of a bad step, remedies tried and how they went.

For threads: finding all of it reads files and may take a while. Owns no widget; launches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.diagnose import Finding, live, outcome, relaunch, replay, shown
from engine.runs.record import Record
from engine.words import say
from engine.workspace import Workspace
from tui.theme import state_words

_GLYPHS = {"helped": "✓", "no_change": "=", "worse": "✗"}


@dataclass(frozen=True)
class Told:
    """The findings on a run, and what a person wants to know before acting on one.

    `starts` says by address of a remedy where its child would start.
    """

    findings: Sequence[Finding] = ()
    conf: Mapping[str, Any] = field(default_factory=dict)
    starts: Mapping[str, str] = field(default_factory=dict)
    again: replay.Replay | None = None

    @property
    def replayed(self) -> int:
        """Return which finding the replay belongs to: the first that is about numbers that are none."""
        ids = [finding.id for finding in self.findings]
        return next((at for at, one in enumerate(ids) if one.startswith("SP1")), 0)

    def choices(self) -> list[relaunch.Choice]:
        """Return every remedy that can be launched."""
        return relaunch.choices(self.findings)


@dataclass(frozen=True)
class Tried:
    """A remedy that a run tries; `outcome` is None while it is at work, and when nothing was learned."""

    child: str
    address: str
    title: str
    state: str
    outcome: outcome.Outcome | None

    @property
    def verdict(self) -> str:
        """Return how it ended in one word; empty when that is not known."""
        return "" if self.outcome is None else self.outcome.verdict

    def line(self) -> str:
        """Return how it went in a sentence, with a sign before it."""
        if self.outcome is not None:
            return f"{_GLYPHS[self.outcome.verdict]} {self.outcome.line()}"
        words = {"address": self.address, "title": self.title, "child": self.child}
        return say("advice_tab.trying", **words, state=state_words(self.state))


def told(workspace: Workspace, record: Record) -> Told:
    """Find what is told of a run; nobody may change the record meanwhile."""
    findings = live.known(workspace, record)
    starts = {
        one.address: shown.start_line(relaunch.proposed(record, one)) for one in relaunch.choices(findings)
    }
    return Told(findings, record.conf(), starts, replay.of(record))


def tries(record: Record) -> bool:
    """Tell whether a run tries a remedy."""
    return record.stored is None and isinstance(record.identity.get("remedy"), dict)


def tried(workspace: Workspace, runs: Sequence[Record]) -> list[Tried]:
    """Return how runs fare that try a remedy each; it may compare one that ended with its parent."""
    found = []
    for run in runs:
        remedy, state = run.identity["remedy"], run.state
        address = f"{remedy['finding']}:{remedy['number']}"
        ended = None if run.live else outcome.of_child(workspace, run)
        found.append(Tried(run.run_id, address, str(remedy["title"]), state, ended))
    return found
