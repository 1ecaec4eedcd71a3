"""The rules of the advisor, by family, and running them. Each is a function of a run's story.

SP1xx  numbers that stopped being numbers      SP5xx  labels, stars and splits
SP2xx  gradients and spikes                    SP6xx  speed and memory
SP3xx  what a conf alone tells                 SP7xx  the process and the machine
SP4xx  rate, schedule, fit                     SP9xx  runs that ended badly
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

from engine import words
from engine.diagnose import registry
from engine.diagnose.findings import SEVERITIES, Finding
from engine.diagnose.remedies import check_patch
from engine.diagnose.rules import ended, fit, gradients, labels, machine, nonfinite, rate, speed, splits
from engine.diagnose.rules.conf_alone import of_conf
from engine.diagnose.story import Story
from engine.runs.record import Record
from engine.workspace import Workspace

FAMILIES = (nonfinite, gradients, rate, fit, labels, splits, speed, machine, ended)
"""The modules whose import registers our rules."""

__all__ = ["FAMILIES", "check_patch", "of_conf", "of_run", "of_story"]

_SECONDS = 10.0  # how long what the clock alone could change is taken for the same
_known: weakref.WeakKeyDictionary[Record, tuple[Any, list[Finding]]] = weakref.WeakKeyDictionary()


def of_run(workspace: Workspace, record: Record) -> list[Finding]:
    """Return the findings on one run, worst first; none on a healthy one."""
    story = Story(workspace, record)
    users, problems = registry.of_user(workspace)
    stamp = (
        record.stamp, story.state, story.now // _SECONDS if story.live else 0, words.language(),
        [id(rule) for rule in users], problems,
    )  # fmt: skip
    before = _known.get(record)
    if before is not None and before[0] == stamp:
        return list(before[1])
    found = of_story(story, [*registry.ours(), *users], problems)
    _known[record] = (stamp, found)
    return list(found)


def of_story(
    story: Story, rules: Iterable[registry.Rule] | None = None, problems: Iterable[str] = ()
) -> list[Finding]:
    """Return what the rules, ours if none are given, find in a story, worst first."""
    found, failed = registry.run(registry.ours() if rules is None else rules, story)
    for name in {name for finding in found for name in finding.evidence}:
        if not words.has(f"diagnose.evidence.{name}"):
            words.teach("en", {f"diagnose.evidence.{name}": name.replace("_", " ")})
    # nobody's run is ill because a file of rules is: said, but softly
    found += [
        Finding("SP000", "info", words.say("diagnose.SP000"), {"message": line}, None)
        for line in [*problems, *failed]
    ]
    return sorted(found, key=lambda f: (SEVERITIES.index(f.severity), -f.confidence, f.id))
