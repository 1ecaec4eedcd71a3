"""The overlay of a comparison as a picture, in the colours of the screen.

`python -m engine.compare.picture` draws what it reads as JSON from stdin: the app stays without matplotlib.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.compare.looks import Look, Looks
from engine.errors import BadInput
from engine.runs.record import Record
from engine.whole import whole
from engine.words import say

FORMATS = (".png", ".svg", ".pdf")

# The terminal's palette as most terminals have it, dark enough for paper.
_COLOURS = {
    2: "#2e8b2e", 3: "#b8860b", 4: "#1f4fbf", 5: "#8b2e8b", 6: "#1f8f8f",
    10: "#55bb55", 11: "#d4aa20", 12: "#5588ee", 13: "#cc66cc", 14: "#33bbbb",
}  # fmt: skip
_MOST_LEGENDS = 30


@dataclass(frozen=True)
class Drawn:
    """One curve of the picture."""

    letter: str
    name: str
    colour: int
    x: list[float]
    y: list[float | None]


def drawn(
    records: Sequence[Record], names: Sequence[str], quantity: str, looks: dict[str, Look] | None = None
) -> list[Drawn]:
    """Return the curves of one quantity; what is not finite is a gap."""
    looks = looks or Looks().give([record.run_id for record in records])
    found = []
    for record, name in zip(records, names, strict=True):
        curve = record.curves.get(quantity)
        if curve is None or not curve.steps:
            continue
        count = min(len(curve.steps), len(curve.values))
        look = looks[record.run_id]
        y = [v if math.isfinite(v) else None for v in curve.values[:count]]
        found.append(Drawn(look.letter, name, look.colour, list(curve.steps[:count]), y))
    return found


def draw(path: Path, curves: Sequence[Drawn], title: str, *, log_y: bool = False) -> None:
    """Draw the picture, whole or not at all.

    Raises:
        BadInput: nothing to draw, or no such format.
    """
    if path.suffix.lower() not in FORMATS:
        raise BadInput(say("compare.bad_format", path=path, formats=" ".join(FORMATS)))
    if not curves:
        raise BadInput(say("compare.nothing_drawn", quantity=title))
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for curve in curves:
        y = [math.nan if v is None else v for v in curve.y]
        axes.plot(
            curve.x, y, color=_COLOURS.get(curve.colour, "0.3"), linewidth=1,
            label=f"{curve.letter} {curve.name}",
        )  # fmt: skip
    axes.set(xlabel=say("compare.step"), ylabel=title, title=title)
    if log_y:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    if len(curves) <= _MOST_LEGENDS:
        figure.legend(loc="outside right upper", fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as beside:
        figure.savefig(beside, dpi=150, format=path.suffix.removeprefix("."))


def order(path: Path, curves: Sequence[Drawn], title: str, *, log_y: bool) -> str:
    """Return what `main` reads to draw the same in a process of its own."""
    return json.dumps(
        {"path": str(path), "title": title, "log_y": log_y, "curves": [asdict(curve) for curve in curves]}
    )


def main() -> int:
    """Draw what stdin orders."""
    asked: dict[str, Any] = json.load(sys.stdin)
    curves = [Drawn(**curve) for curve in asked["curves"]]
    try:
        draw(Path(asked["path"]), curves, asked["title"], log_y=asked["log_y"])
    except (BadInput, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
