"""Did a remedy help: a child run against its parent, kept in the parent's folder, and what it teaches.

Owns `remedies/<child>.json` of a run folder. What was tried in this workspace ranks what is advised next: a
remedy that helped moves up, one that did not moves down. Looks at runs; launches and changes none.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from engine.conf.tree import get
from engine.diagnose.findings import Finding, Remedy, shown
from engine.runs.events import number, writable
from engine.runs.folder import RunFolder, write_json
from engine.runs.record import Record
from engine.words import say
from engine.workspace import Workspace

Verdict = Literal["helped", "no_change", "worse"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_NOISE = 0.02
"""A best value that differs by less is the same."""
_BEARABLE = 0.10
"""A run that ends well where its parent broke may be this much worse at its best, and helped all the same."""
_LUCK = 0.25
"""By so much the best of a loss that swings may be luck; the last half of the run tells."""
_SICK = ("diverged", "failed")
_OTHER_LOSS = (
    "training.loss", "training.huber_delta", "training.focal_gamma", "training.focal_threshold",
    "training.label_weights", "data.label_scaler", "data.stats", "data.targets",
)  # fmt: skip
"""Keys with which two losses are numbers of different things; then the errors of the labels are compared."""
_READ_AGAIN_SECONDS = 2.0


@dataclass(frozen=True)
class Outcome:
    """How a child with a remedy ended against its parent.

    `quantity` is what was compared (val_loss, or val_mae: the labels' errors as shares of the parent's): its
    best, and its middle in the last half of the run, for the best of a loss that swings is luck; None where
    there is none. `gone` tells whether the finding that the remedy was for is not found in the child.
    """

    parent: str
    child: str
    finding: str
    number: int
    title: str
    patch: dict[str, Any]
    verdict: Verdict
    quantity: str
    parent_best: float | None
    child_best: float | None
    parent_late: float | None
    child_late: float | None
    parent_state: str
    child_state: str
    parent_step: int
    child_step: int
    gone: bool

    def plain(self) -> dict[str, Any]:
        """Return the outcome in the JSON form of the command line."""
        return dict(vars(self))

    @property
    def address(self) -> str:
        return f"{self.finding}:{self.number}"

    def line(self) -> str:
        """Return the outcome in a sentence."""
        return say(
            f"advice.outcome.{self.verdict}", child=self.child, address=self.address, title=self.title,
            quantity=self.quantity, was=shown(self.parent_best), now=shown(self.child_best),
            late_was=shown(self.parent_late), late_now=shown(self.child_late),
            before=say(f"state.{self.parent_state}"), after=say(f"state.{self.child_state}"),
            step=self.parent_step, child_step=self.child_step,
        )  # fmt: skip


# -- comparing --------------------------------------------------------------------------------------------


def compared(parent: Record, child: Record, found: Iterable[str] = ()) -> Outcome | None:
    """Return how a child that tries a remedy ended; None while it is at work, or when nothing was learned.

    `found` are the ids of what is found in the child. A child that was killed, or stopped before it was as
    far as its parent, tells nothing of the remedy.
    """
    tried = child.identity.get("remedy")
    if not isinstance(tried, dict) or child.live or child.state == "died":
        return None
    if child.state == "stopped" and child.step < parent.step:
        return None
    measured = _measured(parent, child)
    gone = str(tried["finding"]) not in set(found)
    return Outcome(
        parent.run_id, child.run_id, str(tried["finding"]), int(tried["number"]), str(tried["title"]),
        dict(tried["patch"]), _verdict(parent, child, measured, gone), measured.quantity,
        measured.parent_best, measured.child_best, measured.parent_late, measured.child_late,
        parent.state, child.state, parent.step, child.step, gone,
    )  # fmt: skip


@dataclass(frozen=True)
class _Measured:
    """What is compared of parent and child; see `Outcome`."""

    quantity: str
    parent_best: float | None
    child_best: float | None
    parent_late: float | None
    child_late: float | None


def _verdict(parent: Record, child: Record, measured: _Measured, gone: bool) -> Verdict:
    best = _change(measured.parent_best, measured.child_best)
    late = _change(measured.parent_late, measured.child_late)
    was_sick, is_sick = parent.state in _SICK, child.state in _SICK
    if is_sick:
        # both broke: it is worse only when it broke well before its parent did
        return "worse" if not was_sick or child.step < parent.step / 2 else "no_change"
    if was_sick:
        return "helped" if best is None or best <= _BEARABLE else "no_change"
    if best is None:
        return "no_change"
    if gone and (best <= _NOISE or (late is not None and late <= _NOISE and best <= _LUCK)):
        return "helped"
    if best < -_NOISE:
        return "helped"
    return "worse" if best > _NOISE else "no_change"


def _change(before: float | None, after: float | None) -> float | None:
    """Return how much more `after` is, as a share; None where that makes no sense."""
    if before is None or after is None or not math.isfinite(before) or before <= 0:
        return None
    return after / before - 1


def _measured(parent: Record, child: Record) -> _Measured:
    """Measure the loss where it is the same loss in both, else the errors of the labels."""
    before, after = parent.conf(), child.conf()
    if all(get(before, key) == get(after, key) for key in _OTHER_LOSS):
        bests, lates = ([f(one, "val_loss") for one in (parent, child)] for f in (_best, _late))
        return _Measured("val_loss", *bests, *lates)
    names = [name for name in parent.best if name.startswith("val_") and name.endswith("_mae")]
    best, late = (_share(f, parent, child, names) for f in (_best, _late))
    return _Measured("val_mae", 1.0 if best else None, best, 1.0 if late else None, late)


def _best(record: Record, name: str) -> float | None:
    return record.best.get(name)


def _late(record: Record, name: str) -> float | None:
    """Return the middle value of a quantity in the last half of its evaluations."""
    curve = record.curves.get(name)
    values = [] if curve is None else [v for v in curve.values[len(curve.values) // 2 :] if math.isfinite(v)]
    return statistics.median(values) if values else None


def _share(
    measure: Callable[[Record, str], float | None], parent: Record, child: Record, names: Sequence[str]
) -> float | None:
    """Return what the child has of the parent's value, on average over quantities."""
    pairs = [(measure(parent, name), measure(child, name)) for name in names]
    shares = [after / before for before, after in pairs if before and after is not None]
    return sum(shares) / len(shares) if shares else None


# -- keeping ----------------------------------------------------------------------------------------------


def keep(workspace: Workspace, child: Record, found: Iterable[str] = ()) -> Outcome | None:
    """Compare an ended child with its parent and keep the outcome in the parent's folder.

    None when there is nothing to compare.

    Raises:
        OSError: it cannot be written.
    """
    parent = RunFolder(workspace.runs / str(child.parent))
    if child.parent is None or not parent.identity.is_file():
        return None
    record = Record(parent.path)
    record.refresh()
    outcome = compared(record, child, found)
    if outcome is not None:
        parent.remedies.mkdir(exist_ok=True)
        write_json(parent.remedies / f"{child.run_id}.json", writable(outcome.plain()))
        _read.clear()
    return outcome


def settle(workspace: Workspace, record: Record) -> list[Outcome]:
    """Return the outcomes of the remedies tried on a run, those that nobody kept yet worked out and kept.

    A child that died says nothing at its end; it is looked at here.
    """
    from engine.runs import find

    kept = {outcome.child: outcome for outcome in _kept_in(RunFolder(record.folder.path))}
    for path in find.folders(workspace):
        if path.name in kept:
            continue
        child = Record(path, keep_curves=False)
        if child.parent != record.run_id or "remedy" not in child.identity:
            continue
        outcome = _settled(workspace, child)
        if outcome is not None:
            kept[child.run_id] = outcome
    return sorted(kept.values(), key=lambda one: one.child)


def of_child(workspace: Workspace, record: Record) -> Outcome | None:
    """Return the outcome of the remedy that a run tries; None when it tries none or has not ended."""
    if "remedy" not in record.identity or record.parent is None:
        return None
    parent = RunFolder(workspace.runs / record.parent)
    kept = {outcome.child: outcome for outcome in _kept_in(parent)}
    return kept.get(record.run_id) or _settled(workspace, record)


def _settled(workspace: Workspace, child: Record) -> Outcome | None:
    from engine.diagnose import of_run

    whole = Record(child.folder.path)
    whole.refresh()
    if whole.live:
        return None
    try:
        return keep(workspace, whole, [finding.id for finding in of_run(workspace, whole)])
    except OSError:
        return None  # somebody else's folder, or a full disk: it is worked out again the next time


def _kept_in(folder: RunFolder) -> list[Outcome]:
    return [one for path in sorted(folder.remedies.glob("*.json")) if (one := _outcome(path)) is not None]


def _outcome(path: Path) -> Outcome | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Outcome(**{name: number(data[name]) for name in Outcome.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None


# -- ranking ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tally:
    """How often a remedy of a finding helped, did not, and made it worse in this workspace."""

    helped: int = 0
    no_change: int = 0
    worse: int = 0

    @property
    def tried(self) -> int:
        return self.helped + self.no_change + self.worse

    @property
    def worth(self) -> float:
        """How much it is to be expected to help: above 0 for more often than not, 0 for an untried one."""
        return (self.helped - self.no_change / 2 - self.worse) / (self.tried + 1)


Tried = dict[tuple[str, tuple[str, ...]], Tally]
_read: dict[Path, tuple[float, Tried]] = {}


def history(workspace: Workspace) -> Tried:
    """Return what was tried in this workspace: by finding and the keys of the patch."""
    known = _read.get(workspace.runs)
    if known is not None and time.monotonic() - known[0] < _READ_AGAIN_SECONDS:
        return known[1]
    counts: Counter[tuple[tuple[str, tuple[str, ...]], Verdict]] = Counter()
    for path in workspace.runs.glob("*/remedies/*.json"):
        outcome = _outcome(path)
        if outcome is not None:
            counts[_kind(outcome.finding, outcome.patch), outcome.verdict] += 1
    tried = {
        kind: Tally(**{verdict: counts[kind, verdict] for verdict in VERDICTS})
        for kind in {kind for kind, _ in counts}
    }
    _read[workspace.runs] = time.monotonic(), tried
    return tried


def ranked(workspace: Workspace, findings: Sequence[Finding]) -> list[Finding]:
    """Return findings whose remedies stand in the order of what helped here, and say how often each did."""
    if not any(remedy.patch for finding in findings for remedy in finding.remedies):
        return list(findings)
    tried = history(workspace)
    return [_ranked(finding, tried) for finding in findings] if tried else list(findings)


def _ranked(finding: Finding, tried: Tried) -> Finding:
    tallies = [tried.get(_kind(finding.id, remedy.patch), Tally()) for remedy in finding.remedies]
    if not any(tally.tried for tally in tallies):
        return finding
    told = [_told(remedy, tally) for remedy, tally in zip(finding.remedies, tallies, strict=True)]
    # stable: of those that are worth the same, the rule's order holds
    order = sorted(range(len(told)), key=lambda place: -tallies[place].worth)
    return replace(finding, remedies=tuple(told[place] for place in order))


def _told(remedy: Remedy, tally: Tally) -> Remedy:
    if not remedy.patch or not tally.tried:
        return remedy
    line = say("advice.tally", helped=tally.helped, tried=tally.tried, worse=tally.worse)
    return replace(remedy, why=f"{remedy.why} {line}")


def _kind(finding: str, patch: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    return finding, tuple(sorted(patch))
