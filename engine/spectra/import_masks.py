"""Which pixels `data import` masked, star by star, by the set's import.json: for whoever looks at spectra."""

from __future__ import annotations

import json
from pathlib import Path

from engine.errors import BadInput
from engine.spectra.fits import HEADER
from engine.words import say

Runs = tuple[tuple[int, int], ...]
_FILES = b' "files": ['


def read_masks(folder: Path, points: int) -> dict[str, Runs]:
    """Return by obsid the runs (first, last pixel) whose flux is no measurement: masked, or beyond the file.

    Empty where the folder has no import.json, or one of another grid than `points`: the tables were changed.

    Raises:
        BadInput: the file is not as it was written.
    """
    path = folder / HEADER
    if not path.is_file():
        return {}
    found: dict[str, Runs] = {}
    try:
        with path.open("rb") as file:
            head = b"".join(iter(lambda: _until_files(file.readline()), b""))
            if json.loads(head.rstrip().rstrip(b",") + b"}")["choices"]["grid"]["points"] != points:
                return {}
            for line in file:  # one file a line: a set of 100,000 is never held whole
                if not line.startswith(b"  {"):
                    break
                facts = json.loads(line.rstrip().rstrip(b","))
                runs = (*facts["masked"], *facts["uncovered"])
                if runs:
                    found[str(facts["obsid"])] = tuple((int(first), int(last)) for first, last in runs)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(say("spectrum.bad_import", file=path, why=error)) from error
    return found


def _until_files(line: bytes) -> bytes:
    return b"" if line.startswith(_FILES) else line
