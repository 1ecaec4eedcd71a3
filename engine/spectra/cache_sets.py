"""Joined and mended sets: `sets/<key>/` holds what a run trains on, as the conf's policies made it.

Owns the key of a set and the policies for holes, bad pixels and clipping. A branch that no policy changed is
a hard link to the table it came from. Rows go through memory block by block.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import BadInput
from engine.spectra import PARTS, DataConf, cache_npy, mend
from engine.spectra import join as joining
from engine.spectra.cache_tables import Source, digest, sources, table_key
from engine.spectra.layout import Tables
from engine.spectra.progress import Progress
from engine.words import say
from engine.workspace import Workspace

MENDING = 1  # raised whenever the same tables would be joined or mended otherwise


def set_key(conf: DataConf, tables: Tables, files: dict[str, list[Source]]) -> str:
    """Return the key of a set: its files, and every word of the conf that has a say in the arrays."""
    branches = {name: table_key(files[name]) for name in tables.branches}
    labels = [file.mark for file in files["labels"]]
    clips = {name: getattr(conf.clip, name) for name in tables.branches}
    policies = [list(conf.targets), conf.duplicates, conf.nonfinite, conf.max_rows, clips]
    return digest("set", MENDING, branches, labels, list(tables.parts), policies)


def build(
    workspace: Workspace, conf: DataConf, files: dict[str, list[Source]], folder: Path, progress: Progress
) -> dict[str, Any]:
    """Write the set that the conf asks for into `folder` and return its index.

    `max_rows` keeps the stars with the lowest obsids, so a smoke run is the same whatever the row order.

    Raises:
        BadInput: tables that cannot be read or joined, duplicates or non-finite pixels under 'fail',
            a label that no star has, no star left, or a file that changes meanwhile.
        OSError: the folder cannot take it.
    """
    raw = joining.read(workspace, conf, progress)
    matched = joining.match(raw, conf.duplicates)
    report = matched.report
    labels = joining.labels_of(raw, matched)
    labelled = np.isfinite(labels).any(axis=1)
    report["unlabelled"] = int((~labelled).sum())
    if not labelled.any():
        raise BadInput(
            say("data.no_labels_at_all", file=raw.tables.shown("labels"), targets=", ".join(conf.targets))
        )
    used = np.flatnonzero(labelled)[: conf.max_rows]
    matched, labels = joining.keep(matched, used), labels[used]

    nonfinite, beyond, wild = _survey(raw, matched, conf, progress)
    if conf.nonfinite == "fail":
        _refuse_nonfinite(raw, matched, nonfinite)
    report["nonfinite"] = {name: int(counts.sum()) for name, counts in nonfinite.items()}
    report["nonfinite_stars"] = int(np.any([counts > 0 for counts in nonfinite.values()], axis=0).sum())
    points = len(raw.continuum.wavelength)
    limit = 0 if conf.nonfinite != "interpolate" else int(mend.HALF * points)
    good = np.all([counts <= limit for counts in nonfinite.values()], axis=0)
    report["dropped"] = int((~good).sum())
    if not good.any():
        raise BadInput(say("data.all_dropped", stars=len(good)))
    matched, labels = joining.keep(matched, good), labels[good]

    report["wild"], report["clipped"], written = {}, {}, {}
    for name in raw.tables.branches:
        holes = nonfinite[name][good]
        source = raw.branch(name).flux
        target = folder / f"{name}.npy"
        if not holes.any() and not beyond[name] and _as_it_lies(matched, name, len(source)):
            linked = _link(source, target)
            if linked:
                report["wild"][name], report["clipped"][name], written[target.name] = wild[name], 0, linked
                continue
        report["wild"][name], report["clipped"][name], written[target.name] = _write(
            raw, matched, name, holes, conf, target, progress
        )
    missing = np.isnan(labels).sum(axis=0)
    for target_name, count in zip(conf.targets, missing, strict=True):
        if count == len(labels):
            where = {"file": raw.tables.shown("labels"), "column": target_name}
            raise BadInput(say("data.label_all_missing", **where, stars=len(labels)))
    report["labels_missing"] = {t: int(n) for t, n in zip(conf.targets, missing, strict=True)}
    report["kept"] = len(matched.obsid)
    now = sources(raw.tables)
    for name, before in files.items():
        for old, new in zip(before, now[name], strict=True):
            if old.mark != new.mark:
                raise BadInput(say("spectra.changed", file=new.shown))
    rows = matched.rows["labels"]
    written |= _save_small(folder, raw, matched.obsid, labels, rows)
    return {
        "kind": "set",
        "rows": len(matched.obsid),
        "points": points,
        "wavelength": raw.continuum.wavelength.tolist(),
        "branches": list(raw.tables.branches),
        "targets": list(conf.targets),
        "columns": list(raw.labels.columns),
        "report": report,
        "sources": [
            {"path": str(file.path), "size": file.size, "mtime_ns": file.mtime_ns}
            for several in files.values()
            for file in several
        ],
        "files": written,
    }


def _save_small(
    folder: Path, raw: joining.Raw, obsid: np.ndarray, labels: np.ndarray, rows: np.ndarray
) -> dict[str, Any]:
    """Write everything of a set that is not flux; `rows` are the stars' rows in the label table."""
    arrays = {"obsid": obsid, "labels": labels}
    if raw.tables.parts:
        arrays["parts"] = np.array(raw.tables.parts, dtype=f"U{max(map(len, PARTS))}")[raw.labels.part[rows]]
    arrays |= {f"column_{i}": values[rows] for i, values in enumerate(raw.labels.columns.values())}
    return {f"{name}.npy": cache_npy.save(folder / f"{name}.npy", array) for name, array in arrays.items()}


def _survey(
    raw: joining.Raw, matched: joining.Match, conf: DataConf, progress: Progress
) -> tuple[dict[str, np.ndarray], dict[str, int], dict[str, int]]:
    """Look at every pixel once: per branch the non-finite per star [N], those beyond the clip, the wild."""
    nonfinite: dict[str, np.ndarray] = {}
    beyond: dict[str, int] = {}
    wild: dict[str, int] = {}
    for name in raw.tables.branches:
        nonfinite[name] = np.zeros(len(matched.obsid), np.int64)
        beyond[name] = wild[name] = 0
        for start, block in _told(raw, matched, name, "spectra.looking", progress):
            nonfinite[name][start : start + len(block)] = mend.nonfinite_per_star(block)
            beyond[name] += mend.outside(block, getattr(conf.clip, name))
            wild[name] += sum(int(mask.sum()) for _, mask in mend.wild_blocks(block))
    return nonfinite, beyond, wild


def _write(
    raw: joining.Raw,
    matched: joining.Match,
    name: str,
    holes: np.ndarray,
    conf: DataConf,
    target: Path,
    progress: Progress,
) -> tuple[int, int, dict[str, Any]]:
    """Write one branch mended; return its wild and its clipped pixels and the file's description.

    `holes` [N] counts the non-finite pixels of each star.
    """
    wavelength = raw.branch(name).wavelength
    writer = cache_npy.NpyWriter(target, len(wavelength))
    wild = clipped = 0
    try:
        for start, block in _told(raw, matched, name, "spectra.mending", progress):
            if conf.nonfinite == "interpolate":
                mend.interpolate(block, np.flatnonzero(holes[start : start + len(block)]), wavelength)
            wild += sum(int(mask.sum()) for _, mask in mend.wild_blocks(block))
            clipped += mend.clip(block, getattr(conf.clip, name))
            writer.append(block)
        return wild, clipped, writer.close()
    finally:
        writer.abandon()


def _told(
    raw: joining.Raw, matched: joining.Match, name: str, key: str, progress: Progress
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the blocks of a branch and tell each of them to `progress`."""
    what = say(key, name=name)
    for start, block in joining.flux_blocks(raw, matched, name):
        yield start, block
        progress.rows(what, start + len(block), len(matched.obsid))


def _as_it_lies(matched: joining.Match, name: str, rows: int) -> bool:
    """Tell whether the stars are all rows of the table, in the table's order."""
    same = len(matched.obsid) == rows and not matched.repeats.get(name)
    return same and bool((matched.rows[name] == np.arange(rows)).all())


def _link(source: np.ndarray, target: Path) -> dict[str, Any] | None:
    """Give the table's own file a second name; None where the file system has no hard links."""
    table = Path(source.filename)  # type: ignore[attr-defined]
    try:
        os.link(table, target)
    except OSError:
        return None  # it is written instead, and any trouble will be said then
    return cache_npy.describe(target)


def _refuse_nonfinite(raw: joining.Raw, matched: joining.Match, nonfinite: dict[str, np.ndarray]) -> None:
    lines = []
    for name, counts in nonfinite.items():
        if not counts.any():
            continue
        star = int(np.flatnonzero(counts)[0])
        one = joining.keep(matched, np.array([star]))
        flux = next(joining.flux_blocks(raw, one, name))[1][0]
        file, line = raw.place(name, int(matched.rows[name][star]))
        lines.append(
            say(
                "data.nonfinite",
                file=file,
                pixels=int(counts.sum()),
                stars=int((counts > 0).sum()),
                obsid=matched.obsid[star],
                line=line,
                column=raw.branch(name).columns[int(np.flatnonzero(~np.isfinite(flux))[0])],
            )
        )
    if lines:
        raise BadInput(lines)
