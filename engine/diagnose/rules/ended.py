"""SP9xx: runs that ended badly, with what they said last."""

from __future__ import annotations

from engine.diagnose import remedies
from engine.diagnose.findings import Finding
from engine.diagnose.registry import rule
from engine.diagnose.rules.telling import found
from engine.diagnose.story import Story

_OUT_OF_MEMORY = 86
_LINES = 3


@rule("SP901")
def died(story: Story) -> Finding | None:
    """The process is gone without a word."""
    if story.state != "died":
        return None
    record = story.record
    evidence = {
        "step": record.step,
        "phase": record.phase or "-",
        "pid": record.pid,
        "log": story.log[-_LINES:] or None,
    }
    return found("SP901", "error", 1.0, evidence, (record.step, record.step))


@rule("SP902")
def failed(story: Story) -> Finding | None:
    """It said what was wrong."""
    if story.state != "failed":
        return None
    end = story.record.end or {}
    code, message = end.get("exit_code"), str(end.get("message", ""))
    said = message.splitlines()
    evidence = {
        "message": message,
        "exit_code": code,
        "log": [line for line in story.log[-_LINES:] if line not in said] or None,
    }
    cures = []
    if code == _OUT_OF_MEMORY:
        cures = [remedies.half_batch(story.conf), remedies.precision(story.conf, "bf16", "bf16_memory")]
    return found("SP902", "error", 1.0, evidence, (story.record.step, story.record.step), cures)
