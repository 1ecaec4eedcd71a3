"""Findings while a run lives: what to do about one, and those that its own process has told.

Owns the rule of `training.on_finding` and the form of the `finding` event. Acts on nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from engine import diagnose
from engine.diagnose.findings import Finding, Remedy
from engine.runs.record import Record
from engine.workspace import Workspace

SEVERITIES = ("error", "warning", "info")
"""From worst to least."""


def at_least(finding: Finding, severity: str) -> bool:
    """Tell whether a finding is as severe as `severity`, or worse."""
    return SEVERITIES.index(finding.severity) <= SEVERITIES.index(severity)


def action_of(finding: Finding, on_finding: Mapping[str, str]) -> str:
    """Return what the conf wants about a finding: what stands under its id, else under its severity.

    A severity covers the worse ones too, where those are not named themselves.
    """
    names = (finding.id, *SEVERITIES[SEVERITIES.index(finding.severity) :])
    return next((on_finding[name] for name in names if name in on_finding), "nothing")


def is_told(finding: Finding, on_finding: Mapping[str, str]) -> bool:
    """Tell whether a finding goes into the event log: a warning or worse, or one that the conf acts on."""
    return at_least(finding, "warning") or action_of(finding, on_finding) != "nothing"


def event_of(finding: Finding, *, step: int, action: str, **more: Any) -> dict[str, Any]:
    """Return the fields of the event that tells a finding; `step` is when it was seen."""
    return {**finding.plain(), "step": step, "action": action, **more}


def recorded(record: Record) -> list[Finding]:
    """Return the findings that the run's own process has told, each once, as it last told it."""
    return [finding for event in record.findings.values() if (finding := _finding(event)) is not None]


def known(workspace: Workspace, record: Record) -> list[Finding]:
    """Return the findings on a run, and those that its process has told where the curves are not here."""
    found = diagnose.of_run(workspace, record)
    ids = {finding.id for finding in found}
    return found + [finding for finding in recorded(record) if finding.id not in ids]


def _finding(event: Mapping[str, Any]) -> Finding | None:
    try:
        values = {one.name: event[one.name] for one in fields(Finding) if one.name in event}
        names = {one.name for one in fields(Remedy)}
        values["remedies"] = tuple(
            Remedy(**{name: value for name, value in remedy.items() if name in names})
            for remedy in event.get("remedies", ())
        )
        values["steps"] = tuple(values["steps"]) if values.get("steps") else None
        return Finding(**values) if values["severity"] in SEVERITIES else None
    except (TypeError, KeyError, AttributeError):
        return None  # of a later version
