"""A finding as a person reads it before acting: evidence, each remedy as a diff of the conf, the command.

Words only: finds nothing and launches nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.diagnose import relaunch
from engine.diagnose.findings import Finding, yaml_value
from engine.diagnose.findings import _wrap as wrap
from engine.runs.record import Record
from engine.words import say


def finding_lines(
    finding: Finding, conf: Mapping[str, Any], commands: Sequence[str] = (), starts: Sequence[str] = (),
    width: int = 80,
) -> list[str]:  # fmt: skip
    """Return a finding with its remedies as diffs of `conf`; `commands` and `starts` are by remedy."""
    out = replace(finding, remedies=()).lines(width)
    for place, remedy in enumerate(finding.remedies):
        out += wrap(f"  {place + 1}. {remedy.title}", "     ", width)
        out += wrap(f"     {remedy.why}", "     ", width)
        for line in diff_lines(conf, remedy.patch):
            out += wrap(f"     {line}", "         ", width)
        if place < len(starts) and starts[place]:
            out += wrap(f"     {starts[place]}", "     ", width)
        if place < len(commands) and commands[place]:
            out += wrap(f"     {commands[place]}", "       ", width)
    return out


def diff_lines(conf: Mapping[str, Any], patch: Mapping[str, Any]) -> list[str]:
    """Return a patch as the lines that leave the conf and those that take their place."""
    lines = []
    for key, change in relaunch.difference(conf, patch).items():
        lines += [f"- {key}: {yaml_value(change['was'])}", f"+ {key}: {yaml_value(change['is'])}"]
    return lines


def run_lines(record: Record, findings: Sequence[Finding], width: int = 80) -> list[list[str]]:
    """Return each finding on a run with what would be launched for each remedy, and from where."""
    told = []
    for finding in findings:
        commands, starts = [], []
        for number, remedy in enumerate(finding.remedies, 1):
            choice = relaunch.Choice(finding, number, remedy)
            begin = relaunch.proposed(record, choice) if remedy.patch else None
            starts.append("" if begin is None else start_line(begin))
            commands.append("" if begin is None else run_command(record.run_id, choice.address))
        told.append(finding_lines(finding, record.conf(), commands, starts, width))
    return told


def conf_lines(
    word: str, conf: Mapping[str, Any], findings: Sequence[Finding], width: int = 80
) -> list[list[str]]:
    """Return each finding on a conf with the command that trains it with each fix."""
    return [
        finding_lines(finding, conf, [conf_command(word, r.patch) for r in finding.remedies], (), width)
        for finding in findings
    ]


def start_line(begin: relaunch.Beginning) -> str:
    """Return in a line where a child would start, and why."""
    where = say(f"advice.from.{begin.how}", step=begin.step)
    return say("advice.start_line", where=where, reason=begin.reason)


def run_command(run: str, address: str) -> str:
    """Return the command that launches a remedy of a run as its child."""
    return f"spectui rerun {shlex.quote(run)} --remedy {address}"


def conf_command(word: str, patch: Mapping[str, Any]) -> str:
    """Return the command that launches a conf with a patch; empty for a remedy that has none."""
    if not patch:
        return ""
    sets = " ".join(f"--set {shlex.quote(one)}" for one in relaunch.sets_of(patch))
    return f"spectui launch {shlex.quote(word)} {sets}"


def plain(record: Record, finding: Finding) -> dict[str, Any]:
    """Return a finding on a run as JSON, each remedy with its diff, its start and its command."""
    data = finding.plain()
    for number, (remedy, entry) in enumerate(zip(finding.remedies, data["remedies"], strict=True), 1):
        choice = relaunch.Choice(finding, number, remedy)
        entry["address"] = choice.address
        if remedy.patch:
            begin = relaunch.proposed(record, choice)
            entry["diff"] = relaunch.difference(record.conf(), remedy.patch)
            entry["start"] = {"from": begin.how, "step": begin.step, "reason": begin.reason}
            entry["command"] = run_command(record.run_id, choice.address)
    return data


def plain_of_conf(word: str, conf: Mapping[str, Any], finding: Finding) -> dict[str, Any]:
    """Return a finding on a conf as JSON, each remedy with its diff and its command."""
    data = finding.plain()
    for remedy, entry in zip(finding.remedies, data["remedies"], strict=True):
        if remedy.patch:
            entry["diff"] = relaunch.difference(conf, remedy.patch)
            entry["command"] = conf_command(word, remedy.patch)
    return data
