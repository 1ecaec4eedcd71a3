"""LAMOST FITS in, the three tables out: read, mask, shift, resample, normalise, write.

Owns the way from a survey's files to the tables that `engine.spectra.tables` reads. Every step is a
function of its own; `run.import_set` strings them together. Never imports torch, and imports astropy and
scipy only inside the functions that use them.
"""

from __future__ import annotations

from typing import Any

HEADER = "import.json"


class Rejected(Exception):  # noqa: N818 - it names the file's fate, not a fault of ours
    """One file cannot become a row; `key` (under `fits.reject.`) and `values` say why.

    Kept as a key and not as a sentence: workers, partial folders and the list of rejected files pass it
    on, and only who shows it chooses the language.
    """

    def __init__(self, key: str, **values: Any) -> None:
        self.key = key
        self.values = {name: v if isinstance(v, int | float) else str(v) for name, v in values.items()}
        super().__init__(key, self.values)
