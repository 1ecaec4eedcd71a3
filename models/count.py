"""`python -m models.count --folder DIR`: build every network and print its parameter counts as JSON.

A program of its own, so that a screen can know the sizes without importing torch. It prints one object,
{name: {"parameters": int | null, "parts": {child: int}, "error": str | null}}, and nothing else on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models import contract, registry


def count(name: str, points: int, labels: int) -> dict[str, Any]:
    """Return the counts of one network, or the error that kept it from being built."""
    try:
        network = registry.build(name, points=points, labels=labels)
        contract.materialise(network, points, labels, name=name)
    except Exception as error:  # noqa: BLE001 - a user's network may raise anything
        return {"parameters": None, "parts": {}, "error": str(error) or type(error).__name__}
    parts = contract.count_parts(network)
    return {"parameters": contract.count_parameters(network), "parts": parts, "error": None}


def main(arguments: Sequence[str] | None = None) -> int:
    """Count the networks asked for and print them."""
    parser = argparse.ArgumentParser(prog="python -m models.count", description=__doc__)
    parser.add_argument("--folder", type=Path, help="a folder with network files, besides our own")
    parser.add_argument("--points", type=int, default=4700)
    parser.add_argument("--labels", type=int, default=4)
    parser.add_argument("--only", nargs="*", default=["*"], metavar="PATTERN")
    options = parser.parse_args(arguments)

    answer = os.dup(1)
    os.dup2(2, 1)  # what networks print on the way must not get into the answer
    registry.discover(options.folder)
    wanted = sorted({name for pattern in options.only for name in registry.names(pattern)})
    counts = {name: count(name, options.points, options.labels) for name in wanted}
    with os.fdopen(answer, "w", encoding="utf-8") as out:
        json.dump(counts, out)
        out.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
