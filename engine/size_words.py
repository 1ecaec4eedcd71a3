"""The size of a run in words, for the shell and the screen alike. Owns no numbers."""

from __future__ import annotations

from engine.size import Size
from engine.words import say


def line(size: Size) -> str:
    """Return one line: parameters, what is needed, what is free where, and the band."""
    text = say(
        "size.line", parameters=f"{size.parameters:,}", needed=in_bytes(size.needed),
        free=in_bytes(size.device.free), device=size.device.name, band=say(f"size.band.{size.band}"),
    )  # fmt: skip
    return text + (say("size.guess") if size.guessed else "")


def in_bytes(number: int) -> str:
    """Return bytes as MB or GB, as many digits as an estimate deserves."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
