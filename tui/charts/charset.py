"""Which dots the terminal can show: braille, blocks, or letters alone.

Looks at the environment once; a person's own choice comes first.
"""

from __future__ import annotations

import locale
import os

from tui.charts.lines import Marker

CHARSETS: tuple[Marker, ...] = ("braille", "hd", "ascii")
_POOR_TERMS = ("linux", "vt100", "vt220", "dumb")


def marker_of(chosen: str) -> Marker:
    """Return what was chosen, or else what this terminal and locale can most likely show."""
    for marker in CHARSETS:
        if marker == chosen:
            return marker
    poor = os.environ.get("TERM", "") in _POOR_TERMS
    return "ascii" if poor or not _speaks_utf8() else "braille"


def _speaks_utf8() -> bool:
    # What the shell said, not what Python made of it: its UTF-8 mode turns the C locale into UTF-8.
    said = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := os.environ.get(name))), "")
    if said:
        return "utf" in said.lower()
    return "utf" in locale.getpreferredencoding(False).lower()
