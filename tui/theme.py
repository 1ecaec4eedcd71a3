"""How states look: a glyph and a colour each, never the colour alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from engine.words import say

GLYPHS = {
    "queued": "…",
    "starting": "○",
    "running": "●",
    "finished": "✓",
    "stopped": "■",
    "failed": "✗",
    "diverged": "!",
    "died": "†",
}
COLOURS = {
    "queued": "$text-muted",
    "starting": "$warning",
    "running": "$success",
    "finished": "$foreground",
    "stopped": "$warning",
    "failed": "$error",
    "diverged": "$error",
    "died": "$error",
}
BAD = ("failed", "diverged", "died")
MARK = "◆"
_FINDINGS = {"error": "✗", "warning": "!"}
"""From worst to least; what is only told is no sign of trouble."""


def signs(found: Iterable[tuple[str, str]]) -> str:
    """Return findings (id and severity) in a few cells: the sign and id of the worst, how many more.

    Empty when none of them is a warning or worse.
    """
    order = list(_FINDINGS)
    bad = sorted((order.index(severity), identity) for identity, severity in found if severity in order)
    if not bad:
        return ""
    more = f" +{len(bad) - 1}" if len(bad) > 1 else ""
    return f"{_FINDINGS[order[bad[0][0]]]} {bad[0][1]}{more}"


def signs_of(told: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the findings that a run's own process told, by id, in a few cells."""
    return signs((identity, str(event.get("severity", ""))) for identity, event in told.items())


def state_words(state: str) -> str:
    """Return glyph and word of a state."""
    return f"{GLYPHS[state]} {say(f'state.{state}')}"


def state_markup(state: str) -> str:
    """Return glyph and word of a state in its colour, as Textual markup."""
    weight = "bold " if state in BAD or state == "running" else ""
    return f"[{weight}{COLOURS[state]}]{state_words(state)}[/]"
