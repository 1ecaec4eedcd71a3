"""How a rule tells what it found: the finding of an id, its words from the catalogues, tidy numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from engine.diagnose.findings import Finding, Remedy, Severity
from engine.words import say


def found(
    identity: str,
    severity: Severity,
    confidence: float,
    evidence: Mapping[str, Any],
    steps: tuple[int, int] | None,
    remedies: Iterable[Remedy | None] = (),
    *,
    sentence: str = "",
    **words: Any,
) -> Finding:
    """Return a finding; its title is the sentence of its id, or the one called `sentence`.

    Evidence that is None is left out, and a number that JSON cannot say becomes its word.
    """
    told = {name: tidy(value) for name, value in evidence.items() if value is not None}
    title = say(f"diagnose.{sentence or identity}", **words)
    kept = tuple(remedy for remedy in remedies if remedy is not None)
    return Finding(identity, severity, title, told, steps, kept, max(0.0, min(1.0, confidence)))


def tidy(value: Any) -> Any:
    """Return a piece of evidence with four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else str(value)
    return [tidy(one) for one in value] if isinstance(value, list | tuple) else value


def percent(share: float) -> str:
    """Return a share as a reader sees it."""
    return f"{100 * share:.0f} %"
