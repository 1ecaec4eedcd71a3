"""A stylesheet that parses each piece of CSS once for the same colours.

Textual 8.2.8 forgets what it parsed whenever it is told its variables, the same ones too: four times while
the app starts. Owns that memory only; what a rule means is Textual's.
"""

from __future__ import annotations

from textual.cache import LRUCache
from textual.css.stylesheet import Stylesheet

_PIECES = 512  # every class of widget has one, and every file


class Sheet(Stylesheet):
    """Textual's stylesheet with a memory."""

    def __init__(self, *, variables: dict[str, str] | None = None) -> None:
        super().__init__(variables=variables)
        self._parse_cache = LRUCache(_PIECES)

    def set_variables(self, variables: dict[str, str]) -> None:
        """Take other variables; what was parsed with the same ones stays."""
        if variables != self._variables:
            super().set_variables(variables)

    def reparse(self) -> None:
        """Parse again what was not parsed with these variables."""
        self.parse()
