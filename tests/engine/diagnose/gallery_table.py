"""The rules against the gallery: what each run has to show, what was found, precision and recall.

`python -m tests.engine.diagnose.gallery_table [FOLDER]` prints it for the kept runs, or those of a folder.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import engine.words
from engine.diagnose.findings import Finding
from engine.diagnose.rules import of_story
from tests.engine.diagnose import gallery
from tests.engine.diagnose.gallery_cases import CASES, Case


@dataclass(frozen=True)
class Row:
    """One run: what was found, what was not found where it had to be, and what nobody asked for."""

    case: Case
    found: list[Finding]

    @property
    def missed(self) -> list[str]:
        begins = {finding.id: finding.steps for finding in self.found}
        return [
            identity
            for identity, steps in self.case.finds.items()
            if identity not in begins or not _within(steps, begins[identity])
        ]

    @property
    def false(self) -> list[str]:
        asked = {*self.case.finds, *self.case.also}
        return [f.id for f in self.found if f.id == "SP000" or (f.severity != "info" and f.id not in asked)]


def rows(folder: Path, root: Path, cases: Iterable[Case] = CASES) -> Iterator[Row]:
    """Return a row for each run that the folder has."""
    for case in cases:
        path = folder / f"{case.name}.jsonl.gz"
        yield Row(case, of_story(gallery.opened(path, root / case.name)))


def figures(table: Iterable[Row]) -> dict[str, float]:
    """Return how many sicknesses were found, missed and imagined, and what follows of that."""
    table = list(table)
    asked = sum(len(row.case.finds) for row in table)
    missed, false = sum(len(row.missed) for row in table), sum(len(row.false) for row in table)
    true = asked - missed
    return {
        "runs": len(table),
        "healthy": sum(row.case.healthy for row in table),
        "found": true,
        "missed": missed,
        "false": false,
        "precision": true / max(1, true + false),
        "recall": true / max(1, asked),
    }


def _within(wanted: tuple[int, int] | None, steps: tuple[int, int] | None) -> bool:
    return wanted is None or (steps is not None and wanted[0] <= steps[0] <= wanted[1])


def main(words: list[str]) -> int:
    engine.words.choose("en")
    with tempfile.TemporaryDirectory() as root:
        table = list(rows(Path(words[0]) if words else gallery.KEPT, Path(root)))
    for row in table:
        told = ", ".join(f"{f.id} {f.severity} {f.steps}" for f in row.found) or "-"
        wrong = [*(f"missed {one}" for one in row.missed), *(f"false {one}" for one in row.false)]
        print(f"{row.case.name:<26} {told}{'   !! ' + ', '.join(wrong) if wrong else ''}")
    print({name: round(value, 4) for name, value in figures(table).items()})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
