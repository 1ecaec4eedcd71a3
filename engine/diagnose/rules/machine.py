"""SP7xx: parameters that do not learn, a process that says nothing, a disk, a clock, attempts that end."""

from __future__ import annotations

import itertools

from engine.diagnose import remedies
from engine.diagnose.findings import Finding, Severity
from engine.diagnose.measure import median
from engine.diagnose.registry import rule
from engine.diagnose.rules.telling import found, percent
from engine.diagnose.story import Story

_DEAD_EPOCHS, _SOME_DEAD, _MANY_DEAD = 3, 0.1, 0.5
_SILENT_SECONDS, _GAPS, _START_SECONDS = 120.0, 30.0, 900.0
_LITTLE_MB, _HARDLY_MB = 1000.0, 100.0
_MINUTE = 60.0
_ATTEMPTS = 3


@rule("SP701", yields_to=("SP1", "SP201", "SP403"))
def dead(story: Story) -> Finding | None:
    """Parameters that ought to learn get a gradient of exactly 0, epoch after epoch."""
    looks = story.signs("dead")[-_DEAD_EPOCHS:]
    if len(looks) < _DEAD_EPOCHS or int(looks[-1]["epoch"]) < story.record.epoch:
        return None
    last = looks[-1]
    parts = [part for part in last["parts"] if all(part in look["parts"] for look in looks)]
    share = min(int(look["count"]) / max(1, int(look["of"])) for look in looks)
    if share < _SOME_DEAD and not parts:
        return None
    evidence = {
        "dead_parameters": f"{last['count']} / {last['of']}",
        "dead_parts": parts or None,
        "parameter_names": last["parameters"],
        "learning_rate": max(story.rate.high, default=None) if story.rate else None,
    }
    fast = story.number("training.learning_rate", 0.0) > remedies.SAFE_RATE
    cures = remedies.ranked(
        (
            (0.6, remedies.lower_rate(story.conf, "lower_rate_dead") if fast else None),
            (0.5, remedies.layer_norm(story.workspace, story.conf)),
            (0.2, remedies.remedy("look_at_part", part=(parts or last["parameters"])[0])),
        )
    )
    severity: Severity = "warning" if parts or share >= _MANY_DEAD else "info"
    steps = (int(looks[0]["step"]), int(last["step"]))
    return found("SP701", severity, 0.8, evidence, steps, cures, count=last["count"], of=last["of"])


@rule("SP702")
def stalled(story: Story) -> Finding | None:
    """The process lives and says nothing, for far longer than between its records before."""
    last = story.record.last_event_at
    if not story.live or last is None:
        return None
    silent = story.now - last
    times = story.record.clock.times
    gaps = [b - a for a, b in itertools.pairwise(times)][-100:]
    usual = median(gaps) if gaps else 0.0
    training = story.record.phase == "training"
    limit = max(_SILENT_SECONDS, _GAPS * usual) if training else _START_SECONDS
    if silent < limit:
        return None
    evidence = {
        "silent_minutes": silent / _MINUTE,
        "usual_seconds": usual or None,
        "phase": story.record.phase or "-",
        "pid": story.record.pid,
        "log": story.log[-3:] or None,
    }
    cure = remedies.remedy("stop_and_resume", run=story.record.run_id)
    step = story.record.step
    minutes = f"{silent / _MINUTE:.0f}"
    return found("SP702", "warning", 0.8, evidence, (step, step), (cure,), minutes=minutes)


@rule("SP703")
def disk_nearly_full(story: Story) -> Finding | None:
    """The next checkpoints may not fit."""
    looks = story.signs("disk")
    if not looks:
        return None
    free = float(looks[-1]["free_mb"])
    size = max((float(c.get("size", 0)) / 1e6 for c in story.record.checkpoints), default=0.0)
    if free > max(_LITTLE_MB, 4 * size):
        return None
    fit = int(free / size) if size else None
    evidence = {
        "free_mb": free,
        "checkpoint_mb": size or None,
        "checkpoints_that_fit": fit,
    }
    cures = remedies.ranked(
        (
            (0.5, remedies.remedy("fewer_checkpoints", {"training.keep_checkpoints": 2})
             if story.number("training.keep_checkpoints", 2) > 2 else None),
            (0.4, remedies.remedy("make_room")),
        )
    )  # fmt: skip
    severity: Severity = "error" if free < max(_HARDLY_MB, 2 * size) else "warning"
    steps = (int(looks[0]["step"]), int(looks[-1]["step"]))
    return found("SP703", severity, 0.95, evidence, steps, cures, free=f"{free:.0f}")


@rule("SP704")
def clock_jumped(story: Story) -> Finding | None:
    """The clock of the machine jumped, or the machine slept: times and durations are off by that."""
    looks = story.signs("clock")
    if not looks:
        return None
    jumps = [float(look["seconds"]) for look in looks]
    steps = [int(look["step"]) for look in looks]
    worst = max(jumps, key=abs)
    evidence = {"jumped_seconds": worst, "jumps": len(jumps), "host": story.record.host or None}
    severity: Severity = "warning" if abs(worst) > _MINUTE else "info"
    cure = remedies.remedy("keep_time")
    return found("SP704", severity, 0.9, evidence, (min(steps), max(steps)), (cure,), seconds=f"{worst:+.0f}")


@rule("SP705")
def again_and_again(story: Story) -> Finding | None:
    """The run was begun several times, and each attempt ended without a word."""
    attempts = story.record.attempts
    if len(attempts) < _ATTEMPTS or story.state == "finished":
        return None
    evidence = {
        "attempts": len(attempts),
        "step": story.record.step,
        "total_steps": story.record.total_steps or None,
        "memory_mb": story.record.last.get("memory_mb"),
        "log": story.log[-3:] or None,
    }
    cures = remedies.ranked(
        (
            (0.6, remedies.half_batch(story.conf)),
            (0.4, remedies.set_to(story.conf, "training.save_seconds", 20.0, "save_more_often")),
        )
    )
    share = percent(story.record.step / story.record.total_steps) if story.record.total_steps else "?"
    steps = (0, story.record.step)
    return found("SP705", "warning", 0.7, evidence, steps, cures, count=len(attempts), share=share)
