"""Three tables become one by obsid, never by row order.

Owns duplicates and matching. Knows nothing of pixels: `stars.load` mends those afterwards.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.errors import BadInput
from engine.spectra import BRANCHES, DataConf
from engine.spectra.layout import Tables, find_tables, preflight, resolve
from engine.spectra.tables import Labels, Progress, Spectra, read_labels, read_spectra
from engine.words import say
from engine.workspace import Workspace

NAMES = (*BRANCHES, "labels")


@dataclass
class Raw:
    """The three tables as read, before any policy."""

    tables: Tables
    continuum: Spectra
    normalized: Spectra
    labels: Labels

    def part(self, name: str) -> Spectra | Labels:
        part: Spectra | Labels = getattr(self, name)
        return part


@dataclass(frozen=True)
class Match:
    """Which row of each table holds star i: obsid [N] ascending, rows[name] [N], and the counts."""

    obsid: np.ndarray
    rows: dict[str, np.ndarray]
    report: dict[str, Any]


def read(workspace: Workspace, conf: DataConf, progress: Progress | None = None) -> Raw:
    """Read the three tables; `progress` gets the spectra rows done, both files counted on.

    Raises:
        BadInput: what `preflight` and the readers refuse.
    """
    preflight(workspace, conf)
    tables = find_tables(resolve(workspace, conf.path), conf, workspace.root)
    labels = read_labels(tables.labels, conf.targets, tables.shown("labels"))
    continuum = read_spectra(tables.continuum, tables.shown("continuum"), progress)
    before = len(continuum.obsid)
    onward: Progress | None = (lambda done: progress(before + done)) if progress else None
    normalized = read_spectra(tables.normalized, tables.shown("normalized"), onward)
    return Raw(tables, continuum, normalized, labels)


def match(raw: Raw, duplicates: str) -> Match:
    """Return the rows that belong together; with 'mean' the kept row becomes the mean of its duplicates.

    Raises:
        BadInput: duplicates under the policy 'fail', or no obsid that all three tables share.
    """
    keys = _comparable([raw.part(name).obsid for name in NAMES])
    unique: dict[str, np.ndarray] = {}
    first: dict[str, np.ndarray] = {}
    doubled: dict[str, int] = {}
    complaints = []
    for name, key in zip(NAMES, keys, strict=True):
        unique[name], first[name], inverse, counts = np.unique(
            key, return_index=True, return_inverse=True, return_counts=True
        )
        doubled[name] = len(key) - len(unique[name])
        if not doubled[name]:
            continue
        if duplicates == "fail":
            complaints.append(_duplicate_line(raw, name, unique[name], inverse, counts))
        elif duplicates == "mean":
            values = _values(raw.part(name))
            for k in np.flatnonzero(counts > 1):
                values[first[name][k]] = _mean(values[inverse == k])
    if complaints:
        raise BadInput(complaints)
    common = _in_all([unique[name] for name in NAMES])
    if not len(common):
        examples = {name: unique[name][0] for name in NAMES}
        files = {f"{name}_file": raw.tables.shown(name) for name in NAMES}
        raise BadInput(say("data.nothing_common", **examples, **files))
    rows = {name: first[name][np.searchsorted(unique[name], common)] for name in NAMES}
    for name, key in zip(NAMES, keys, strict=True):
        if not (key[rows[name]] == common).all():
            raise RuntimeError(f"the join of {name} does not hold its keys")
    everyone = np.unique(np.concatenate([unique[name] for name in NAMES]))
    report = {
        "files": {name: raw.tables.shown(name) for name in NAMES},
        "rows": {name: len(raw.part(name).obsid) for name in NAMES},
        "duplicates": doubled,
        "stars": len(everyone),
        "missing": {name: len(everyone) - len(unique[name]) for name in NAMES},
        "matched": len(common),
    }
    return Match(common, rows, report)


def keep(matched: Match, kept: np.ndarray) -> Match:
    """Return the match of the stars that `kept` (a mask or indices) selects."""
    return Match(matched.obsid[kept], {n: r[kept] for n, r in matched.rows.items()}, matched.report)


def _comparable(keys: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the keys in one type: integers when all tables have integers, else strings."""
    if all(key.dtype.kind == "i" for key in keys):
        return list(keys)
    return [key.astype(str) for key in keys]


def _in_all(uniques: Sequence[np.ndarray]) -> np.ndarray:
    common = uniques[0]
    for other in uniques[1:]:
        common = np.intersect1d(common, other, assume_unique=True)
    return common


def _values(part: Spectra | Labels) -> np.ndarray:
    return part.flux if isinstance(part, Spectra) else part.values


def _mean(block: np.ndarray) -> np.ndarray:
    """Return the mean over rows of what is there; NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "mean of empty slice": NaN is the answer
        return np.asarray(np.nanmean(block, axis=0, dtype=np.float64))


def _duplicate_line(raw: Raw, name: str, unique: np.ndarray, inverse: np.ndarray, counts: np.ndarray) -> str:
    k = int(np.flatnonzero(counts > 1)[0])
    lines = raw.part(name).lines[inverse == k]
    return say(
        "data.duplicates",
        file=raw.tables.shown(name),
        count=int((counts > 1).sum()),
        obsid=unique[k],
        first=int(lines[0]),
        second=int(lines[1]),
    )
