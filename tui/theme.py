"""How states look: a glyph and a colour each, never the colour alone."""

from __future__ import annotations

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


def state_words(state: str) -> str:
    """Return glyph and word of a state."""
    return f"{GLYPHS[state]} {say(f'state.{state}')}"


def state_markup(state: str) -> str:
    """Return glyph and word of a state in its colour, as Textual markup."""
    weight = "bold " if state in BAD or state == "running" else ""
    return f"[{weight}{COLOURS[state]}]{state_words(state)}[/]"
