"""The data report: what is in the tables, what is wrong with it, and what training will make of it.

Reads only; where `stars.load` would refuse, it says so and goes on. Its words are in `check_words`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from engine.spectra import DataConf
from engine.spectra.check_frame import guess_frame
from engine.spectra.check_labels import describe, quartiles
from engine.spectra.check_survey import Survey, constant_columns, estimate_snr, survey
from engine.spectra.check_words import format_report, problems
from engine.spectra.facts import Facts, Tell, read
from engine.spectra.mend import HALF
from engine.spectra.split import planned
from engine.workspace import Workspace

__all__ = ["check", "format_report", "report_of"]


def check(workspace: Workspace, conf: DataConf, tell: Tell | None = None) -> dict[str, Any]:
    """Return a JSON-able report on the data set that the conf names; see `report_of`.

    Raises:
        BadInput: tables that are missing, cannot be parsed or have no obsid in common.
    """
    return report_of(workspace, conf, read(workspace, conf, tell), tell)


def report_of(workspace: Workspace, conf: DataConf, facts: Facts, tell: Tell | None = None) -> dict[str, Any]:
    """Return the report on tables that have been read. Looks at every flux once, in blocks of rows.

    Keys:
        files, rows, duplicates, missing (each per table), matched, stars, unlabelled
        grid: points, first, last, step (Å), kind (linear, log, irregular), gaps
        frame: guess (vacuum, air, unknown), lines, shift in Å; None where it cannot be told
        nonfinite, wild, zero (each per branch): pixels, stars, first places (obsid, wavelength, value)
        constant (per branch): columns, first (ranges in Å); flat (per branch): stars with one flux throughout
        lacking: targets that the label table has no column for
        labels (per target): number, missing, min … max, outliers, impossible, histogram
        snr: column (name and quartiles) and estimate (quartiles), None where there is none
        policies: what `stars.load` will do under this conf: clipped (per branch), interpolated, dropped,
            refused, doubled, kept
        split, memory, cache: sizes
        problems: id, severity (error stops a run, warning, info) and text, worst first
    """
    match = facts.match
    report: dict[str, Any] = dict(match.report)
    number = (len(facts), len(facts.targets))
    values = np.array([facts.columns[target] for target in facts.targets]).reshape(number[::-1]).T
    labelled = np.asarray(np.isfinite(values).any(axis=1))
    report["unlabelled"] = int((~labelled).sum())
    report["grid"] = grid(facts.wavelength)
    report["frame"] = _frame(facts)
    surveys = {name: _survey(facts, conf, name, tell) for name in facts.branches}
    for kind in ("nonfinite", "wild", "zero"):
        report[kind] = {name: getattr(found, kind).plain() for name, found in surveys.items()}
    report["constant"] = {n: constant_columns(s, facts.wavelength) for n, s in surveys.items()}
    report["flat"] = {name: int(found.flat.sum()) for name, found in surveys.items()}
    report["lacking"] = list(facts.lacking)
    report["labels"] = {t: describe(t, facts.columns[t], facts.obsid) for t in facts.targets}
    report["snr"] = _snr(facts)
    report["policies"], kept = _policies(facts, conf, surveys, labelled)
    report["split"], refusals = _split(workspace, conf, facts, values, kept)
    report["memory"] = _memory(facts, conf, len(kept))
    report["cache"] = _cache(facts)
    report["problems"] = problems(report, conf, refusals)
    return report


def grid(wavelength: np.ndarray) -> dict[str, Any]:
    """Return points, ends, step, kind and gaps of a wavelength grid [L] in Å."""
    steps = np.diff(wavelength)
    # a gap is a step much wider than both neighbours, so that a grid in log wavelength has none
    near = np.minimum(np.append(steps[1:], steps[-1]), np.append(steps[:1], steps[:-1]))
    wide = np.flatnonzero(steps > 1.9 * near)
    ordinary = np.delete(steps, wide)
    ratios = np.delete(steps / wavelength[:-1], wide)
    kind = "irregular"
    for name, widths in (("linear", ordinary), ("log", ratios)):
        # headers are rounded: a step may be off by a cent of its width
        if len(widths) and np.ptp(widths) <= max(0.02 * float(np.median(widths)), 2e-6):
            kind = name
            break
    return {
        "points": len(wavelength),
        "first": float(wavelength[0]),
        "last": float(wavelength[-1]),
        "step": round(float(np.median(steps)), 4),
        "kind": kind,
        "gaps": [[float(wavelength[i]), float(wavelength[i + 1])] for i in wide.tolist()],
    }


def _frame(facts: Facts) -> dict[str, Any] | None:
    branch = facts.branches[-1]
    return guess_frame(facts.table(branch), facts.match.rows[branch])


def _survey(facts: Facts, conf: DataConf, branch: str, tell: Tell | None) -> Survey:
    part = facts.table(branch)
    rows = len(part.obsid)
    return survey(
        part,
        getattr(conf.clip, branch),
        mend=conf.nonfinite == "interpolate",
        progress=(lambda done: tell(branch, done, rows)) if tell else None,
    )


def _snr(facts: Facts) -> dict[str, Any]:
    """Return the quartiles of the column snr (or snrg …) and of the estimate from the spectra."""
    named = [n for n, v in facts.columns.items() if n.lower().startswith("snr") and v.dtype.kind == "f"]
    name = next((n for n in named if n.lower() in ("snr", "snrg")), named[0] if named else None)
    told = quartiles(facts.columns[name]) if name else None
    branch = facts.branches[-1]  # the normalised one, where there is one: no slope to speak of
    estimate = quartiles(estimate_snr(facts.table(branch), facts.match.rows[branch]))
    return {
        "column": {"name": name} | told if told else None,
        "estimate": {"branch": branch} | estimate if estimate else None,
    }


def _policies(
    facts: Facts, conf: DataConf, surveys: dict[str, Survey], labelled: np.ndarray
) -> tuple[dict[str, Any], np.ndarray]:
    """Return what `stars.load` will change, and the rows of the stars [K] that it will keep."""
    used = np.flatnonzero(labelled)[: conf.max_rows]
    rows = {name: facts.match.rows[name][used] for name in facts.branches}
    bad = {name: surveys[name].nonfinite.per_row[rows[name]] for name in facts.branches}
    limit = int(HALF * len(facts.wavelength)) if conf.nonfinite == "interpolate" else 0
    good = np.all([counts <= limit for counts in bad.values()], axis=0)
    touched = np.any([counts > 0 for counts in bad.values()], axis=0)
    kept = used if conf.nonfinite == "fail" else used[good]
    clipped = {
        name: int((surveys[name].below + surveys[name].above)[rows[name]][good].sum())
        for name in facts.branches
    }
    mending = conf.nonfinite == "interpolate"
    told = {
        "clip": {n: list(b) if (b := getattr(conf.clip, n)) else None for n in facts.branches},
        "clipped": clipped,
        "interpolated": {
            "pixels": int(sum(counts[good].sum() for counts in bad.values())) if mending else 0,
            "stars": int((touched & good).sum()) if mending else 0,
        },
        "dropped": int((~good).sum()) if conf.nonfinite != "fail" else 0,
        "refused": int(touched.sum()) if conf.nonfinite == "fail" else 0,
        "duplicates": conf.duplicates,
        "nonfinite": conf.nonfinite,
        "kept": len(kept),
    }
    return told, kept


def _split(
    workspace: Workspace, conf: DataConf, facts: Facts, values: np.ndarray, kept: np.ndarray
) -> tuple[dict[str, int], list[str]]:
    """Return the sizes of the parts, and why the stars cannot be split as the conf says."""
    tables, rows = facts.raw.tables, facts.match.rows["labels"][kept]
    parts = np.array(tables.parts)[facts.raw.labels.part[rows]] if tables.parts else None
    others = {name: v[kept] for name, v in facts.columns.items() if name not in facts.targets}
    labels = values[kept].astype(np.float32)
    if facts.lacking:
        return {}, []  # said already: nothing can be trained
    return planned(workspace, conf, facts.obsid[kept], labels, columns=others, parts=parts)


def _memory(facts: Facts, conf: DataConf, stars: int) -> dict[str, Any]:
    """Return the bytes that the kept stars take in memory, the machine's, and whether they will be held."""
    held = stars * (len(facts.wavelength) * len(facts.branches) + len(facts.targets)) * 4
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"bytes": held, "machine": machine, "resident": held <= conf.memory_share * machine}


def _cache(facts: Facts) -> dict[str, Any] | None:
    """Return the folders that the fluxes are mapped from and their bytes, None where there is no cache."""
    files = {file for name in facts.branches if (file := _mapped(facts.table(name).flux)) is not None}
    if not files:
        return None
    folders = {file.parent for file in files}
    size = sum(file.stat().st_size for folder in folders for file in folder.iterdir() if file.is_file())
    return {"folders": sorted(str(folder) for folder in folders), "bytes": size}


def _mapped(array: Any) -> Path | None:
    while array is not None:
        if isinstance(array, np.memmap) and array.filename:
            return Path(str(array.filename))
        array = getattr(array, "base", None)
    return None
