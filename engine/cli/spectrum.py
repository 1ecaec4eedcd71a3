"""`data spectrum`: one star's labels, branches and lines as numbers; drawn by whoever called, if it can.

The engine draws nothing: `spectui` hands in a function that does (`draw`), `python -m engine` none.
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from engine import workspace
from engine.cli.progress import on_stderr
from engine.cli.text import figure, print_json, print_table
from engine.conf.load import resolve
from engine.errors import BadInput
from engine.words import say

if TYPE_CHECKING:
    import numpy as np

    from engine.conf.data import Clip
    from engine.spectra.facts import Facts

_MASKS = ("nonfinite", "clipped", "wild", "zero", "masked")


def spectrum(arguments: argparse.Namespace) -> int:
    """Show one star of a data set: text, a drawing where there is a pencil, or JSON."""
    from engine.spectra import facts as reading

    here = workspace.find(arguments.root)
    conf = resolve(here, arguments.conf).conf.data
    if arguments.path is not None:
        conf = conf.model_copy(update={"path": arguments.path})
    with on_stderr() as tell:
        facts = reading.read(here, conf, tell)
    star = reading.find(facts, arguments.obsid)
    other = reading.find(facts, arguments.with_obsid) if arguments.with_obsid else None
    if other == star:
        raise BadInput(say("spectrum.same_twice", obsid=arguments.obsid))
    pixels = _window(facts.wavelength, arguments.low, arguments.high)
    stars = [star] if other is None else [star, other]
    if arguments.json:
        told = [_plain(facts, conf.clip, i, pixels, arguments.frame) for i in stars]
        print_json(told[0] | ({"with": told[1]} if len(told) > 1 else {}))
        return 0
    for i in stars:
        print("  ".join(header(facts, i)))
    draw = getattr(arguments, "draw", None)
    if draw is not None:
        for line in draw("spectrum", facts, conf, stars, pixels, arguments):
            print(line)
        return 0
    for i in stars:
        _tables(facts, conf.clip, i, pixels, arguments.frame)
    print(say("spectrum.draws", obsid=arguments.obsid))
    return 0


def header(facts: Facts, star: int) -> list[str]:
    """Return the words that head a star: obsid, a name where there is one, labels, S/N, rv."""
    words = [str(facts.obsid[star])]
    name = facts.columns.get("name")
    if name is not None and name.dtype.kind in "US" and str(name[star]):
        words.append(str(name[star]))
    words += [f"{target} {_number(facts.number(target, star))}" for target in facts.targets]
    for other in ("snr", "rv"):
        if other in facts.columns and math.isfinite(facts.number(other, star)):
            words.append(f"{other} {_number(facts.number(other, star))}")
    return words


def _window(wavelength: np.ndarray, low: float | None, high: float | None) -> slice:
    import numpy as np

    first = 0 if low is None else int(np.searchsorted(wavelength, low, "left"))
    last = len(wavelength) if high is None else int(np.searchsorted(wavelength, high, "right"))
    if last - first < 1:
        ends = {"first": f"{wavelength[0]:g}", "last": f"{wavelength[-1]:g}"}
        shown = {"low": "-" if low is None else f"{low:g}", "high": "-" if high is None else f"{high:g}"}
        raise BadInput(say("spectrum.range", **shown, **ends))
    return slice(first, last)


def _plain(facts: Facts, clip: Clip, star: int, pixels: slice, frame: Any) -> dict[str, Any]:
    """Return a star in the JSON form of `spectui data spectrum --json`; a NaN pixel becomes null."""
    from engine.spectra.facts import seen
    from engine.spectra.lines import about, lines_between

    wavelength = facts.wavelength[pixels]
    told: dict[str, Any] = {
        "obsid": facts.obsid[star].item(),
        "labels": {target: facts.number(target, star) for target in facts.targets},
        "columns": {k: v[star].item() for k, v in facts.columns.items() if k not in facts.targets},
        "frame": frame,
        "wavelength": [round(float(w), 4) for w in wavelength],
    }
    for branch in facts.branches:
        flux = facts.flux(branch, star)
        marks = seen(flux, getattr(clip, branch), facts.masked(star))
        told[branch] = [float(f"{value:.7g}") for value in flux[pixels]]
        told.setdefault("pixels", {})[branch] = {
            mask: [round(float(w), 4) for w in wavelength[getattr(marks, mask)[pixels]]] for mask in _MASKS
        }
    rv = facts.number("rv", star)
    depth = _depths(facts, star, frame)
    places = lines_between(float(wavelength[0]), float(wavelength[-1]), frame, 0.0 if math.isnan(rv) else rv)
    told["lines"] = [
        {
            "name": placed.line.name,
            "kind": placed.line.kind,
            "at": round(placed.at, 2),
            "air": placed.line.air,
            "vacuum": placed.line.vacuum,
            "band": [round(placed.low, 2), round(placed.high, 2)] if placed.line.band else None,
            "tells": about(placed.line),
            "depth": depth.get(placed.line.air),
        }
        for placed in places
    ]
    return told


def _depths(facts: Facts, star: int, frame: Any) -> dict[float, float]:
    """Return the depth of each line by its air wavelength, from the normalised branch if there is one."""
    from engine.spectra.lines import depths

    if "normalized" not in facts.branches:
        return {}
    found = depths(facts.wavelength, facts.flux("normalized", star), frame)
    return {placed.line.air: round(depth, 4) for placed, depth in found}


def _tables(facts: Facts, clip: Clip, star: int, pixels: slice, frame: Any) -> None:
    import numpy as np

    from engine.spectra.facts import seen
    from engine.spectra.lines import about, lines_between

    wavelength = facts.wavelength[pixels]
    rows = []
    for branch in facts.branches:
        flux = facts.flux(branch, star)
        marks = seen(flux, getattr(clip, branch), facts.masked(star))
        part = flux[pixels]
        finite = part[np.isfinite(part)]
        middle = (
            [figure(float(f)) for f in (finite.min(), np.median(finite), finite.max())]
            if len(finite)
            else ["-"] * 3
        )
        counts = [
            str(int(getattr(marks, mask)[pixels].sum()))
            for mask in ("nonfinite", "zero", "clipped", "masked")
        ]
        rows.append([say(f"spectrum.branch.{branch}"), str(len(part)), *middle, *counts])
    names = ("branch", "pixels", "min", "median", "max", "bad", "zero", "clipped", "masked")
    print(
        f"{wavelength[0]:.2f}-{wavelength[-1]:.2f} Å  "
        + say("spectrum.frame_words", frame=say(f"spectrum.frame.{frame}"))
    )
    print_table([say(f"spectrum.column.{name}") for name in names], rows)
    depth = _depths(facts, star, frame)
    lines = [
        [placed.line.name, f"{placed.at:.2f}", figure(depth.get(placed.line.air)), about(placed.line)]
        for placed in lines_between(float(wavelength[0]), float(wavelength[-1]), frame)
        if placed.line.rank < 3
    ]
    if lines:
        print()
        print_table(
            [say("spectrum.column.line"), "Å", *(say(f"spectrum.column.{n}") for n in ("depth", "tells"))],
            lines,
        )


def _number(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "-"
