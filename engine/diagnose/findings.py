"""What a finding is, and how it is told as plain data and as text."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.words import say

Severity = Literal["info", "warning", "error"]
GLYPHS = {"info": "i", "warning": "!", "error": "✗"}


@dataclass(frozen=True)
class Remedy:
    """One thing to do, why, and the conf keys that do it (empty when no key can)."""

    title: str
    why: str
    patch: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, with its evidence."""

    id: str
    severity: Severity
    title: str
    evidence: dict[str, Any]
    steps: tuple[int, int] | None
    remedies: tuple[Remedy, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return the finding in the JSON form of the command line."""
        return {
            "id": self.id,
            "severity": self.severity,
            "title": self.title,
            "evidence": self.evidence,
            "steps": list(self.steps) if self.steps else None,
            "remedies": [{"title": r.title, "why": r.why, "patch": r.patch} for r in self.remedies],
        }

    def lines(self, width: int = 80) -> list[str]:
        """Return the finding as text that fits `width` columns."""
        out = _wrap(f"{GLYPHS[self.severity]} {self.id} {self.title}", "  ", width)
        for name, value in self.evidence.items():
            out += _wrap(f"    {say(f'diagnose.evidence.{name}')}: {shown(value)}", "      ", width)
        for number, remedy in enumerate(self.remedies, 1):
            out += _wrap(f"  {number}. {remedy.title}", "     ", width)
            out += _wrap(f"     {remedy.why}", "     ", width)
            for key, value in remedy.patch.items():
                out += _wrap(
                    f"     {say('diagnose.set', key=key, value=yaml_value(value))}", "       ", width
                )
        return out


def shown(value: Any) -> str:
    """Return a value of the evidence for a reader."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(str(v) for v in value)
    return "-" if value is None else " ".join(str(value).split())


def yaml_value(value: Any) -> str:
    """Return a value as it would be written in a conf, on one line."""
    return json.dumps(value, ensure_ascii=False)


def _wrap(text: str, indent: str, width: int) -> list[str]:
    """Wrap by cells: a Chinese character takes two columns and may be broken after."""
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return [text]
    if len(text) == cell_len(text):
        return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=True) or [text]
    lines, current = [], ""
    for character in text:
        if cell_len(current + character) > width:
            lines.append(current)
            current = indent
        current += character
    return [*lines, current]
