"""The data report: what is in the three tables, what is wrong with it, and what training will make of it.

Owns the survey and its words. Reads only; where `stars.load` would refuse, it says so and goes on.
"""

from __future__ import annotations

import textwrap
import unicodedata
from typing import Any

import numpy as np

from engine.spectra import DataConf
from engine.spectra import join as joining
from engine.spectra.mend import nonfinite_per_star, wild_blocks
from engine.spectra.progress import Progress
from engine.spectra.split import planned
from engine.spectra.tables import Spectra
from engine.words import say
from engine.workspace import Workspace

PLACES = 5  # first places listed of each kind of bad pixel
WIDTH = 80


def check(workspace: Workspace, conf: DataConf, progress: Progress | None = None) -> dict[str, Any]:
    """Return a JSON-able report on the data set that the conf names.

    Keys: those of `Stars.report` up to 'unlabelled', and 'nonfinite' and 'wild' (per branch: pixels,
    stars, first places), 'labels' (per target: number, missing, min, max, mean, sd), 'grid', 'split',
    'problems' (sentences; each would stop training under this conf).

    Raises:
        BadInput: tables that are missing, cannot be parsed or have no obsid in common.
    """
    raw = joining.read(workspace, conf, progress)
    matched = joining.match(raw, "first")
    report = dict(matched.report)
    values = raw.labels.values[matched.rows["labels"]].astype(np.float64)
    labelled = np.isfinite(values).any(axis=1)
    report["unlabelled"] = int((~labelled).sum())
    report["grid"] = _grid(raw.continuum)
    report["labels"] = {t: _describe(values[:, i]) for i, t in enumerate(conf.targets)}
    report["nonfinite"] = {}
    report["wild"] = {}
    usable = labelled.copy()
    refused = 0
    for name in raw.tables.branches:
        part = raw.branch(name)
        rows = matched.rows[name]
        counts = nonfinite_per_star(part.flux)
        bad = [(r, np.flatnonzero(~np.isfinite(part.flux[r]))) for r in np.flatnonzero(counts)[:PLACES]]
        report["nonfinite"][name] = _places(part, int(counts.sum()), int((counts > 0).sum()), bad)
        report["wild"][name] = _wild(part)
        refused += int((counts[rows[labelled]] > 0).sum())
        if conf.nonfinite == "drop":
            usable &= counts[rows] == 0
    used = np.flatnonzero(usable)[: conf.max_rows]
    report["split"], unsplit = planned(workspace, conf, matched.obsid[used], values[used])
    report["problems"] = _problems(report, conf, refused) + unsplit
    return report


def format_report(report: dict[str, Any]) -> list[str]:
    """Return the report as lines of at most 80 terminal cells."""
    lines = [say("data.report.title")]
    for name in report["files"]:
        lines.append(
            say(
                "data.report.table",
                name=name,
                file=report["files"][name],
                rows=report["rows"][name],
                duplicates=report["duplicates"][name],
                missing=report["missing"][name],
            )
        )
    counts = {key: report[key] for key in ("matched", "stars", "unlabelled")}
    lines.append(say("data.report.matched", **counts))
    lines.append(say("data.report.grid", **{k: v for k, v in report["grid"].items() if k != "gaps"}))
    lines += [say("data.report.gap", first=a, last=b) for a, b in report["grid"]["gaps"]]
    for kind in ("nonfinite", "wild"):
        for name, found in report[kind].items():
            first = "; ".join(f"{p['obsid']} @ {p['wavelength']:g} A" for p in found["first"]) or "-"
            lines.append(say(f"data.report.{kind}", **found | {"name": name, "first": first}))
    for target, d in report["labels"].items():
        if d["number"]:
            lines.append(say("data.report.label", target=target, **d))
        else:
            lines.append(say("data.report.label_none", target=target))
    if report["split"]:
        lines.append(say("data.report.split", **report["split"]))
    lines += [say("data.report.problem", text=text) for text in report["problems"]]
    if not report["problems"]:
        lines.append(say("data.report.fine"))
    return [piece for line in lines for piece in _wrap(line)]


def _grid(part: Spectra) -> dict[str, Any]:
    steps = np.diff(part.wavelength)
    # a gap is a step much wider than both neighbours, so that a grid in log wavelength has none
    near = np.minimum(np.append(steps[1:], steps[-1]), np.append(steps[:1], steps[:-1]))
    wide = np.flatnonzero(steps > 1.9 * near).tolist()
    return {
        "points": len(part.wavelength),
        "first": float(part.wavelength[0]),
        "last": float(part.wavelength[-1]),
        "step": round(float(np.median(steps)), 4),
        "gaps": [[float(part.wavelength[i]), float(part.wavelength[i + 1])] for i in wide],
    }


def _describe(values: np.ndarray) -> dict[str, Any]:
    there = values[np.isfinite(values)]
    d: dict[str, Any] = {"number": len(there), "missing": len(values) - len(there)}
    if len(there):
        d |= {"min": there.min(), "max": there.max(), "mean": there.mean(), "sd": there.std()}
    return {k: v if isinstance(v, int) else round(float(v), 4) for k, v in d.items()}


def _wild(part: Spectra) -> dict[str, Any]:
    pixels = stars = 0
    first: list[tuple[int, np.ndarray]] = []
    for start, mask in wild_blocks(part.flux):
        rows = np.flatnonzero(mask.any(axis=1))
        pixels += int(mask.sum())
        stars += len(rows)
        first += [(start + int(r), np.flatnonzero(mask[r])) for r in rows[: PLACES - len(first)]]
    return _places(part, pixels, stars, first)


def _places(part: Spectra, pixels: int, stars: int, bad: list[tuple[int, np.ndarray]]) -> dict[str, Any]:
    first = [
        {
            "obsid": part.obsid[row].item(),
            "wavelength": float(part.wavelength[pixels_of_row[0]]),
            "value": str(part.flux[row, pixels_of_row[0]]),  # a word: JSON has no NaN
        }
        for row, pixels_of_row in bad
    ]
    return {"pixels": pixels, "stars": stars, "first": first}


def _problems(report: dict[str, Any], conf: DataConf, refused: int) -> list[str]:
    problems = []
    if conf.duplicates == "fail" and any(report["duplicates"].values()):
        problems.append(say("data.report.stop_duplicates"))
    if conf.nonfinite == "fail" and refused:
        problems.append(say("data.report.stop_nonfinite"))
    empty = [target for target, d in report["labels"].items() if not d["number"]]
    problems += [say("data.report.stop_label", target=target) for target in empty]
    if not report["split"]:
        problems.append(say("data.report.stop_empty"))
    return problems


def _wrap(line: str) -> list[str]:
    """Break a line at 80 terminal cells; a Chinese character takes two, so it is counted as two."""
    if _cells(line) <= WIDTH:
        return [line]
    if _cells(line) == len(line):
        return textwrap.wrap(line, WIDTH, subsequent_indent="    ")
    pieces, current = [], ""
    for letter in line:
        if _cells(current + letter) > WIDTH:
            pieces.append(current)
            current = "    "
        current += letter
    return [*pieces, current]


def _cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
