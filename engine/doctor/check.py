"""What one check of the doctor says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

OK, WARNING, PROBLEM, MENDED = "ok", "warning", "problem", "mended"


@dataclass(frozen=True)
class Check:
    """One line about one thing: `id` for programs, `text` and what to do for people."""

    id: str
    status: str
    text: str
    advice: str = ""

    def plain(self) -> dict[str, Any]:
        return asdict(self)
