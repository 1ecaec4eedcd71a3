"""What the engine saw when it ran a bad batch again, and what led up to it. Reads a record; runs nothing."""

from __future__ import annotations

import math
import shlex
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.conf.tree import get
from engine.diagnose.findings import _wrap as wrap
from engine.diagnose.findings import shown
from engine.runs.points import NonFinite
from engine.runs.record import Record
from engine.words import say

_STEPS = 20
_AROUND = 50.0
"""Å to each side of a wild pixel that the spectrum is shown with."""


@dataclass(frozen=True)
class Replay:
    """One step that was no finite number.

    `last` are the steps before it: step, loss, learning rate, gradient norm. `action` is what the run did.
    """

    seen: NonFinite
    action: str
    last: list[tuple[int, float, float | None, float | None]]
    data: str

    def plain(self) -> dict[str, Any]:
        """Return the replay in the JSON form of the command line; what is no number is a word."""
        seen = self.seen
        return {
            "step": seen.step,
            "epoch": seen.epoch,
            "what": seen.what,
            "value": _said(seen.value),
            "action": self.action,
            "reproduced": seen.reproduced,
            "module": seen.module,
            "direction": seen.direction,
            "parameter": seen.parameter,
            "input": None if seen.input_low is None else [_said(seen.input_low), _said(seen.input_high)],
            "stars": [{key: _said(value) for key, value in star.items()} for star in seen.extremes],
            "obsids": seen.obsids,
            "weight_norms": {part: _said(norm) for part, norm in seen.weights.items()},
            "gradient_norms": {part: _said(norm) for part, norm in seen.gradients.items()},
            "last_steps": [
                dict(zip(("step", "loss", "learning_rate", "gradient_norm"), map(_said, one), strict=True))
                for one in self.last
            ],
        }

    def lines(self, width: int = 80) -> list[str]:
        """Return the replay as text that fits `width` columns."""
        seen = self.seen
        out = [say("replay.title", step=seen.step, what=seen.what, value=seen.value)]
        if seen.module:
            words = {"module": seen.module, "low": shown(seen.input_low), "high": shown(seen.input_high)}
            out.append("  " + say(f"replay.{seen.direction}", **words))
        elif not seen.reproduced:
            out.append("  " + say("replay.not_again"))
        for star in seen.extremes:
            out.append("  " + say("replay.star", **star_words(star)))
        out += [f"    {command}" for command in self.commands()[:1]]
        for part, norm in seen.weights.items():
            before = shown(seen.gradients.get(part))
            out.append("  " + say("replay.norms", part=part, weight=shown(norm), gradient=before))
        lines = [line for text in out for line in wrap(text, "    ", width)]
        return lines + self.table()

    def commands(self) -> list[str]:
        """Return the commands that open the stars of extreme flux around their worst pixel."""
        found = []
        for star in self.seen.extremes:
            words = ["spectui", "data", "spectrum", str(star["obsid"]), "--path", self.data]
            wave = star.get("wavelength")
            if isinstance(wave, float):
                words += ["--from", f"{wave - _AROUND:.0f}", "--to", f"{wave + _AROUND:.0f}"]
            found.append(shlex.join(words))
        return found

    def table(self) -> list[str]:
        """Return the steps before it as text, with a title and a head; nothing where there are none."""
        if not self.last:
            return []
        head = [say(f"replay.column.{name}") for name in ("step", "loss", "rate", "norm")]
        rows = [[str(step), shown(loss), shown(rate), shown(norm)] for step, loss, rate, norm in self.last]
        return ["  " + say("replay.last", steps=len(rows)), *(_row(row) for row in [head, *rows])]


def of(record: Record) -> Replay | None:
    """Return the replay of the step that ended a run, else of the last that it left out or went back from."""
    seen, action = record.nonfinite, "stop"
    if seen is None and record.bad_steps:
        event = record.bad_steps[-1]
        seen, action = NonFinite.read(event), str(event.get("action", ""))
    if seen is None:
        return None
    data = str(get(record.conf(), "data.path") or "")
    return Replay(seen, action, _before(record, seen.step), data)


def star_words(star: dict[str, Any]) -> dict[str, Any]:
    """Return the words for a star of extreme flux."""
    wave = star.get("wavelength")
    return {
        "obsid": star.get("obsid"),
        "branch": star.get("branch"),
        "flux": shown(star.get("flux")),
        "scaled": shown(star.get("scaled")),
        "wavelength": f"{wave:.2f}" if isinstance(wave, float) else "?",
    }


def _before(record: Record, step: int) -> list[tuple[int, float, float | None, float | None]]:
    losses = record.curves.get("batch_loss")
    if losses is None:
        return []
    upto = bisect_left(losses.steps, step + (1 if record.nonfinite is None else 0))
    chosen = range(max(0, upto - _STEPS), upto)

    def at(name: str, place: int) -> float | None:
        curve = record.curves.get(name)
        return curve.values[place] if curve is not None and place < len(curve.values) else None

    return [
        (int(losses.steps[i]), losses.values[i], at("learning_rate", i), at("gradient_norm", i))
        for i in chosen
    ]


def _said(value: Any) -> Any:
    """Return a value as JSON can say it."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _row(cells: Sequence[str]) -> str:
    from rich.cells import cell_len

    return "    " + "".join(" " * max(1, 13 - cell_len(cell)) + cell for cell in cells)
