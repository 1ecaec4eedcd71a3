"""What happened since a person last looked: at a run, and at the app. Plain data and words, no widgets.

Kept among what was chosen on the screens (`tui.view`): the glances of a bounded number of runs by run id, and
the last time that the app was open.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from engine.cli.text import duration, figure
from engine.runs.record import Record
from engine.words import say
from tui.view import View

if TYPE_CHECKING:
    from engine.diagnose import Finding

GLANCES, OPEN_UNTIL = "run.glances", "app.open_until"
_MOST = 200
_AWAY_SECONDS = 5.0  # who comes back sooner has seen it
_NAMES = 3
_ENDS = ("finished", "diverged", "failed", "died", "stopped")


def glance(record: Record, findings: Iterable[Finding] = ()) -> dict[str, Any]:
    """Return what of a run is compared with when somebody looks again."""
    return {
        "time": time.time(),
        "step": record.step,
        "state": record.state,
        "best": record.best.get("val_loss"),
        "checkpoints": len(record.checkpoints),
        "findings": sorted({f.id for f in findings if f.severity != "info"}),
    }


def look(view: View, record: Record, findings: Iterable[Finding] = ()) -> None:
    """Note that a run is being looked at now."""
    known = dict(_glances(view))
    known.pop(record.run_id, None)
    known[record.run_id] = glance(record, findings)
    view.set(GLANCES, dict(list(known.items())[-_MOST:]))


def told(view: View, record: Record, findings: Iterable[Finding] = ()) -> str:
    """Return one line on what happened to a run since it was last looked at; '' when nothing did."""
    before = _glances(view).get(record.run_id)
    if not isinstance(before, dict):
        return ""
    now = glance(record, findings)
    try:
        news = _news(before, now)
        away = now["time"] - float(before["time"])
        return (
            say("since.run", clock=clock(before["time"]), time=duration(away), news=", ".join(news))
            if (news and away >= _AWAY_SECONDS)
            else ""
        )
    except (KeyError, TypeError, ValueError):
        return ""  # written by another version, or by hand


def _glances(view: View) -> dict[str, Any]:
    nothing: dict[str, Any] = {}
    return view.get(GLANCES, nothing)


def _news(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    news = []
    if now["state"] != before["state"]:
        was, is_now = (say(f"state.{state}") for state in (before["state"], now["state"]))
        news.append(say("since.state", was=was, now=is_now))
    steps = int(now["step"]) - int(before["step"])
    if steps:
        news.append(say("since.steps", steps=f"{steps:+,}"))
    best, was = now["best"], before["best"]
    if best is not None and best != was:
        if was is None or not math.isfinite(was):
            news.append(say("since.first_best", value=figure(best)))
        else:
            news.append(say("since.best", was=figure(float(was)), now=figure(best)))
    saved = int(now["checkpoints"]) - int(before["checkpoints"])
    if saved > 0:
        news.append(say("since.checkpoints", count=saved))
    new = set(now["findings"]) - set(before["findings"])
    if new:
        news.append(say("since.findings", count=len(new), names=", ".join(sorted(new))))
    return news


def opened(view: View) -> float:
    """Return when the app was last open; 0 when it never was."""
    return float(view.get(OPEN_UNTIL, 0.0))


def still_open(view: View) -> None:
    """Note that the app is open now."""
    view.set(OPEN_UNTIL, time.time())


def away(rows: Iterable[Record], until: float) -> str:
    """Return one line on the runs that ended while the app was closed; '' when none did."""
    if not until:
        return ""
    ended = [row for row in rows if not row.live and (row.ended_at or 0.0) > until]
    parts = []
    for state in _ENDS:
        names = [row.name for row in ended if row.state == state]
        if names:
            more = say("since.more", count=len(names) - _NAMES) if len(names) > _NAMES else ""
            told = ", ".join(names[:_NAMES]) + more
            parts.append(say("since.ended", count=len(names), state=say(f"state.{state}"), names=told))
    return say("since.away", clock=clock(until), parts="; ".join(parts)) if parts else ""


def clock(when: float) -> str:
    """Return a time of today as a clock shows it, another with its day."""
    then, now = datetime.fromtimestamp(when), datetime.fromtimestamp(time.time())
    return f"{then:%H:%M}" if then.date() == now.date() else f"{then:%m-%d %H:%M}"
