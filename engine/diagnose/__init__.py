"""The advisor: rules over events and confs give findings with evidence and remedies. No torch.

A finding has a stable id, numbers as evidence, the steps it speaks of, and remedies in the order to try
them; a remedy may carry a patch of the conf, so a screen can show it as a diff and launch it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.diagnose import outcome, rules
from engine.diagnose.findings import Finding, Remedy
from engine.runs.record import Record
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.conf.schema import Conf

__all__ = ["Finding", "Remedy", "of_conf", "of_run"]


def of_run(workspace: Workspace, record: Record) -> list[Finding]:
    """Return the findings on one run, worst first; remedies in the order of what helped in this workspace."""
    return outcome.ranked(workspace, rules.of_run(workspace, record))


def of_conf(workspace: Workspace, conf: Conf) -> list[Finding]:
    """Return what the conf alone tells, before it is run."""
    from engine.diagnose import before  # not at the start of the app: the schedules and fields need pydantic

    return before.findings(workspace, conf)
