"""SP6xx: a machine that waits, slows down, or fills up."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left

from engine.diagnose import remedies
from engine.diagnose.findings import Finding, Severity
from engine.diagnose.measure import median, running_median
from engine.diagnose.registry import rule
from engine.diagnose.rules.telling import found, percent
from engine.diagnose.story import Story

_LEAST = 5
_WAITS, _WAITS_LONG = 0.3, 0.5
_LEAST_PACE, _EDGE, _SLOWER, _SLOW_SECONDS = 12, 4, 2.0, 3.0
_MEMORY_MB, _MEMORY_SHARE = 100.0, 0.1


@rule("SP601")
def starved_of_data(story: Story) -> Finding | None:
    """Much of the time nothing is computed: the next batch is waited for."""
    wait = story.trace("data_wait")
    if wait.count < _LEAST:
        return None
    share = median(wait.mean)
    if share < _WAITS:
        return None
    gpu, cpu = story.trace("gpu_percent"), story.trace("cpu_percent")
    evidence = {
        "data_wait": percent(share),
        "gpu_percent": median(gpu.mean) if gpu else None,
        "cpu_percent": median(cpu.mean) if cpu else None,
        "samples_per_second": median(story.trace("samples_per_second").mean or [0.0]),
    }
    memory = story.number("data.memory_share", 0.5)
    cures = remedies.ranked(
        (
            (0.6, remedies.remedy("more_memory", {"data.memory_share": 0.9}) if memory < 0.9 else None),
            (0.4, remedies.larger_batch(story.conf)),
        )
    )
    severity: Severity = "warning" if share > _WAITS_LONG else "info"
    steps = (wait.first[0], wait.last[-1])
    return found("SP601", severity, min(0.95, 0.4 + share / 2), evidence, steps, cures, share=percent(share))


@rule("SP602", yields_to=("SP703",))
def slowed_down(story: Story) -> Finding | None:
    """From some step on the run is less than half as fast as before, to its end."""
    pace = story.trace("samples_per_second")
    if len(pace) < _LEAST_PACE:
        return None
    level = running_median(pace.mean, 5)
    limit = math.sqrt(max(max(level), 1e-9) * max(min(level), 1e-9))
    # records come by time, so the slow part has most of them: cut where fewest lie on the wrong side
    wrong = sum(value > limit for value in pace.mean)
    fewest, place = wrong, 0
    for cut, value in enumerate(pace.mean, 1):
        wrong += -1 if value > limit else 1
        if wrong < fewest and _EDGE <= cut <= len(pace) - _EDGE:
            fewest, place = wrong, cut
    if not place:
        return None
    before, after = pace.mean[:place], pace.mean[place:]
    best = median(before) / max(median(after), 1e-9)
    slow = sum(value < median(before) / _SLOWER for value in after) / max(1, len(after))
    fast = sum(value > median(after) * _SLOWER**0.5 for value in before) / max(1, len(before))
    if best < _SLOWER or slow < 0.8 or fast < 0.8:
        return None
    step = pace.last[place - 1]
    if _seconds(story, step) < _SLOW_SECONDS:
        return None
    wait, cpu = story.trace("data_wait"), story.trace("cpu_percent")
    evidence = {
        "pace_before": median(before),
        "pace_after": median(after),
        "data_wait": percent(median(wait.mean[place:] or [0.0])) if wait else None,
        "cpu_percent": median(cpu.mean[place:]) if len(cpu) > place else None,
        "memory_mb": story.record.last.get("memory_mb"),
    }
    cure = remedies.remedy("look_at_machine", host=story.record.host or "-")
    steps = (step, pace.last[-1])
    return found("SP602", "warning", 0.8, evidence, steps, (cure,), step=step, ratio=f"{best:.1f}")


def _seconds(story: Story, step: int) -> float:
    """Return how long the run has been at work since a step."""
    clock = story.record.clock
    place = bisect_left(clock.steps, step)
    return clock.work[-1] - clock.work[place] if place < len(clock.steps) else 0.0


@rule("SP603")
def memory_grows(story: Story) -> Finding | None:
    """Memory grows from the beginning to the end and never comes back."""
    memory = story.trace("memory_mb")
    if len(memory) < 2 * _LEAST:
        return None
    fifths = [median(memory.share(i / 5, (i + 1) / 5)) for i in range(5)]
    grown = fifths[-1] - fifths[0]
    steady = all(b - a > 0.05 * grown for a, b in itertools.pairwise(fifths))
    if grown < max(_MEMORY_MB, _MEMORY_SHARE * fifths[0]) or not steady:
        return None
    span = max(1, memory.last[-1] - memory.first[0])
    slope = (memory.mean[-1] - memory.mean[0]) / span
    left = max(0, story.record.total_steps - memory.last[-1])
    evidence = {
        "memory_before": memory.mean[0],
        "memory_mb": memory.mean[-1],
        "memory_a_step": slope,
        "memory_at_end": memory.mean[-1] + slope * left if left else None,
    }
    cure = remedies.remedy("find_leak", model=story.setting("model.name", "?"))
    steps = (memory.first[0], memory.last[-1])
    return found("SP603", "warning", 0.85, evidence, steps, (cure,), grown=f"{grown:.0f}")
