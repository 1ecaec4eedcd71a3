"""From a remedy to a child run: which one is meant, what it sets, where the child starts from.

A remedy is addressed by its finding and its place in it, `SP102:2`. Owns the choice and the proposal; the run
is made by `engine.runs.acts`, and nothing is launched that somebody did not ask for.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from engine.conf.tree import get
from engine.diagnose.findings import Finding, Remedy, yaml_value
from engine.errors import BadInput
from engine.runs import acts
from engine.runs.record import Record
from engine.words import say
from engine.workspace import Workspace

How = Literal["scratch", "last", "best"]
HOWS: tuple[How, ...] = get_args(How)
_CLIMBED = 2.0
_GOES_ON = (
    "training.learning_rate", "training.schedule", "training.warmup_epochs", "training.min_learning_rate",
    "training.epochs", "training.patience", "training.gradient_clip_val", "training.gradient_clip",
)  # fmt: skip
"""What can change half-way; with anything else only a run from the beginning can be compared."""


@dataclass(frozen=True)
class Choice:
    """One remedy of one finding, by its place (1-based)."""

    finding: Finding
    number: int
    remedy: Remedy

    @property
    def address(self) -> str:
        return f"{self.finding.id}:{self.number}"


@dataclass(frozen=True)
class Beginning:
    """Where a child starts from, and why: from scratch, or with the weights of a checkpoint of its parent."""

    how: How
    reason: str
    checkpoint: Path | None = None
    step: int | None = None


def choices(findings: Sequence[Finding]) -> list[Choice]:
    """Return every remedy that has a patch, in the order in which findings and remedies stand."""
    return [
        Choice(finding, number, remedy)
        for finding in findings
        for number, remedy in enumerate(finding.remedies, 1)
        if remedy.patch
    ]


def chosen(findings: Sequence[Finding], word: str) -> Choice:
    """Return the remedy that a word such as `SP102:2` means; `SP102` is its first one with a patch.

    Raises:
        BadInput: there is none such, or it has no patch; names the near misses.
    """
    able = choices(findings)
    identity, colon, place = word.strip().partition(":")
    of_finding = [one for one in able if one.finding.id == identity.upper()]
    for one in of_finding:
        if not colon or place.strip() == str(one.number):
            return one
    known = [one.address for one in able]
    if not known:
        raise BadInput(say("advice.nothing_to_do", word=word))
    found = next((f for f in findings if f.id == identity.upper()), None)
    if found is not None and place.isdecimal() and 1 <= int(place) <= len(found.remedies):
        raise BadInput(say("advice.no_patch", word=word, why=found.remedies[int(place) - 1].why))
    near = difflib.get_close_matches(word.upper(), known, n=3, cutoff=0.5) or known
    raise BadInput(say("advice.unknown", word=word, near=", ".join(near)))


def sets_of(patch: Mapping[str, Any]) -> list[str]:
    """Return a patch as words that `--set` takes."""
    return [f"{key}={yaml_value(value)}" for key, value in patch.items()]


def difference(conf: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a patch changes in a conf, by key: `was` and `is`."""
    return {key: {"was": get(conf, key), "is": value} for key, value in patch.items()}


# -- where to start ---------------------------------------------------------------------------------------


def beginning(record: Record, choice: Choice, how: How | None = None) -> Beginning:
    """Return where a child with this remedy starts: as asked, else what the advisor proposes.

    Raises:
        BadInput: weights are asked for that were not saved, or that the patch makes useless.
    """
    if how is None:
        return proposed(record, choice)
    if how == "scratch":
        return Beginning("scratch", say("advice.start.asked"))
    remade = _remade(choice.remedy.patch)
    if remade is not None:
        raise BadInput(say("advice.only_scratch", address=choice.address, key=remade))
    found = _best(record) if how == "best" else _last_good(record, choice.finding)
    if found is None:
        key = "advice.no_best" if how == "best" else "advice.no_last"
        raise BadInput(say(key, run=record.run_id, address=choice.address))
    return Beginning(how, say("advice.start.asked"), *found)


def proposed(record: Record, choice: Choice) -> Beginning:
    """Return where the advisor would start a child with this remedy, and why."""
    patch = choice.remedy.patch
    remade = _remade(patch)
    if remade is not None:
        return Beginning("scratch", say("advice.start.remade", key=remade))
    other = next((key for key in patch if key not in _GOES_ON), None)
    if other is not None:
        return Beginning("scratch", say("advice.start.comparable", key=other))
    last = _last_good(record, choice.finding)
    if last is None or last[1] < max(1, record.steps_per_epoch):
        return Beginning("scratch", say("advice.start.nothing_learned"))
    best = _best(record)
    bad = record.nonfinite
    if bad is not None and not _climbed(record):
        return Beginning("last", say("advice.start.last", step=last[1], bad=bad.step), *last)
    if best is not None:
        return Beginning("best", say("advice.start.best", step=best[1]), *best)
    return Beginning("scratch", say("advice.start.nothing_learned"))


def _remade(patch: Mapping[str, Any]) -> str | None:
    """Return a key of a patch with which old weights mean nothing: it changes the network or its inputs."""
    kept = ("data.augment.", "data.resample.")
    return next((k for k in patch if k.startswith(("model.", "data.")) and not k.startswith(kept)), None)


def _best(record: Record) -> tuple[Path, int] | None:
    path = record.folder.checkpoints / "best.pt"
    if record.stored is not None or record.best_step is None or not path.is_file():
        return None
    return path, record.best_step


def _last_good(record: Record, finding: Finding) -> tuple[Path, int] | None:
    """Return the newest checkpoint from before the trouble; weights never saw a step that was refused."""
    if record.stored is not None:
        return None
    until = finding.steps[0] if finding.steps else record.step
    bad = record.nonfinite
    if bad is not None and finding.steps and finding.steps[1] == bad.step:
        until = bad.step - 1
    for saved in sorted(record.checkpoints, key=lambda one: one["step"], reverse=True):
        path = record.folder.checkpoints / str(saved["file"])
        if saved["step"] <= until and path.is_file():
            return path, int(saved["step"])
    return None


def _climbed(record: Record) -> bool:
    """Tell whether the loss had risen well above its lowest before it broke: the weights had gone bad."""
    bad, lowest = record.nonfinite, record.low.get("batch_loss")
    return bool(bad and bad.last_finite_loss and lowest and bad.last_finite_loss > _CLIMBED * lowest)


# -- launch -----------------------------------------------------------------------------------------------


def relaunch(
    workspace: Workspace, record: Record, wanted: Sequence[Choice], *, how: How | None = None,
    sets: Sequence[str] = (), name: str | None = None, queue: bool = False, start: bool = True,
    command: list[str] | None = None,
) -> list[acts.Launched]:  # fmt: skip
    """Make a child run of each remedy and start it; several of them are a small race.

    All of them are looked at first: when one cannot be, there is none.

    Raises:
        BadInput: a patched conf is not valid, or weights were not saved; nothing was made.
        OSError: the disk is full, or no process can be started.
    """
    begins = [beginning(record, one, how) for one in wanted]
    problems: list[str] = []
    for one in wanted:
        try:
            acts.check_rerun(workspace, record, [*sets_of(one.remedy.patch), *sets], False)
        except BadInput as error:
            problems += [f"{one.address}: {line}" for line in error.lines]
    if problems:
        raise BadInput(problems)
    done = []
    for one, begin in zip(wanted, begins, strict=True):
        run = acts.rerun(
            workspace, record, [*sets_of(one.remedy.patch), *sets], name=name, start=start, queue=queue,
            weights=None if begin.checkpoint is None else acts.Weights(begin.checkpoint, record.folder),
            remedy=noted(record, one, begin), command=command,
        )  # fmt: skip
        done.append(acts.Launched(run, run.read_json(run.process).get("pid")))
    return done


def noted(record: Record, choice: Choice, begin: Beginning) -> dict[str, Any]:
    """Return what a child's run.json keeps of the remedy that it tries."""
    finding = choice.finding
    return {
        "of": record.run_id,
        "finding": finding.id,
        "found": finding.title,
        "steps": list(finding.steps) if finding.steps else None,
        "number": choice.number,
        "title": choice.remedy.title,
        "patch": choice.remedy.patch,
        "from": begin.how,
        "from_step": begin.step,
        "reason": begin.reason,
    }
