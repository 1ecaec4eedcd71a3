"""What a label is, told from its name: `Teff` is in K, `logg`, `FeH` and other abundances in dex."""

from __future__ import annotations

import re

_KELVIN = ("teff",)
_DEX = ("logg", "mh", "alpham", "alphafe")
_ABUNDANCE = re.compile(r"[a-z]{1,2}(fe|h)")


def plain(name: str) -> str:
    """Return a label's name in lower case without marks: `[Fe/H]`, `fe_h` and `FeH` are one label."""
    return re.sub(r"[\W_]", "", name).lower()


def unit(name: str) -> str:
    """Return 'K', 'dex', or '' where the name does not say it."""
    known = plain(name)
    if known in _KELVIN:
        return "K"
    return "dex" if known in _DEX or _ABUNDANCE.fullmatch(known) else ""
