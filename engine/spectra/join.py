"""The tables become one by obsid, never by row order.

Owns duplicates and matching. Knows nothing of pixels: they are mended afterwards, block by block.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.errors import BadInput
from engine.spectra import DataConf, cache_npy
from engine.spectra.cache_tables import open_spectra, sources
from engine.spectra.labels import Labels, read_labels
from engine.spectra.layout import NAMES, Tables, preflight
from engine.spectra.progress import Progress, Silent
from engine.spectra.tables import Spectra
from engine.words import say
from engine.workspace import Workspace

__all__ = ["NAMES", "Match", "Raw", "keep", "match", "read"]


@dataclass(frozen=True)
class Raw:
    """The tables as read, before any policy. A branch that the data lacks is the one that it has."""

    tables: Tables
    continuum: Spectra
    normalized: Spectra
    labels: Labels

    @property
    def names(self) -> tuple[str, ...]:
        """The tables that there really are."""
        return self.tables.names

    def part(self, name: str) -> Spectra | Labels:
        part: Spectra | Labels = getattr(self, name)
        return part

    def branch(self, name: str) -> Spectra:
        part: Spectra = getattr(self, name)
        return part

    def place(self, name: str, row: int) -> tuple[str, int]:
        """Return the file and the line in it that hold a row of a table."""
        part = self.part(name)
        return self.tables.shown(name, int(part.part[row])), int(part.lines[row])


@dataclass(frozen=True)
class Match:
    """Which row of each table holds star i: obsid [N] ascending, rows[name] [N], and the counts.

    `repeats[name]` names, for a row that stands for the mean of several, all of them (policy 'mean').
    """

    obsid: np.ndarray
    rows: dict[str, np.ndarray]
    report: dict[str, Any]
    repeats: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)


def read(
    workspace: Workspace,
    conf: DataConf,
    progress: Progress | None = None,
    targets: Sequence[str] | None = None,
) -> Raw:
    """Return the tables, the spectra through the cache: parsed now if they never were.

    `targets` are the labels wanted, those of the conf unless given.

    Raises:
        BadInput: what `preflight` and the readers refuse.
    """
    progress = progress or Silent()
    promised = preflight(workspace, conf, targets)
    tables = promised.tables
    labels = read_labels(tables, promised.targets)
    files = sources(tables)
    found = {name: open_spectra(workspace, files[name], progress) for name in tables.branches}
    first = found[tables.branches[0]]
    return Raw(tables, found.get("continuum", first), found.get("normalized", first), labels)


def match(raw: Raw, duplicates: str) -> Match:
    """Return the rows that belong together; with 'mean' a star is the mean of its duplicates.

    Raises:
        BadInput: duplicates under the policy 'fail', no obsid that all tables share, or a star that is in
            one part's folder in one table and in another's in the next.
    """
    keys = dict(zip(raw.names, _comparable([raw.part(name).obsid for name in raw.names]), strict=True))
    unique: dict[str, np.ndarray] = {}
    first: dict[str, np.ndarray] = {}
    repeats: dict[str, dict[int, np.ndarray]] = {}
    complaints = []
    for name, key in keys.items():
        unique[name], first[name], counts = np.unique(key, return_index=True, return_counts=True)
        doubled = np.flatnonzero(counts > 1)
        if len(doubled) and duplicates == "fail":
            complaints.append(_duplicate_line(raw, name, key, unique[name][doubled]))
        elif len(doubled) and duplicates == "mean":
            repeats[name] = _repeats(key, counts, doubled)
    if complaints:
        raise BadInput(complaints)
    common = _in_all(list(unique.values()))
    if not len(common):
        examples = "; ".join(f"{unique[name][0]} in {raw.tables.shown(name)}" for name in raw.names)
        raise BadInput(say("spectra.nothing_common", examples=examples))
    rows = {name: first[name][np.searchsorted(unique[name], common)] for name in raw.names}
    for name, key in keys.items():
        if not (key[rows[name]] == common).all():
            raise RuntimeError(f"the join of {name} does not hold its keys")
    _check_parts(raw, common, rows)
    everyone = np.unique(np.concatenate(list(unique.values())))
    report = {
        "files": {name: raw.tables.shown(name) for name in raw.names},
        "rows": {name: len(key) for name, key in keys.items()},
        "duplicates": {name: len(key) - len(unique[name]) for name, key in keys.items()},
        "stars": len(everyone),
        "missing": {name: len(everyone) - len(unique[name]) for name in raw.names},
        "matched": len(common),
    }
    return Match(common, rows, report, repeats)


def keep(matched: Match, kept: np.ndarray) -> Match:
    """Return the match of the stars that `kept` (a mask or indices) selects."""
    rows = {name: rows[kept] for name, rows in matched.rows.items()}
    return Match(matched.obsid[kept], rows, matched.report, matched.repeats)


def labels_of(raw: Raw, matched: Match) -> np.ndarray:
    """Return the labels [N, T] of the matched stars."""
    rows = matched.rows["labels"]
    values = raw.labels.values[rows]
    repeats = matched.repeats.get("labels", {})
    for star in np.flatnonzero(np.isin(rows, list(repeats))):
        values[star] = _mean(raw.labels.values[repeats[int(rows[star])]])
    return values


def flux_blocks(raw: Raw, matched: Match, name: str) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first star, a copy of the fluxes [n, L]) of the matched stars, one block in memory at a time."""
    rows = matched.rows[name]
    flux = raw.branch(name).flux
    repeats = matched.repeats.get(name, {})
    repeated = np.isin(rows, list(repeats))
    for start, block in cache_npy.row_blocks(flux, rows):
        for star in start + np.flatnonzero(repeated[start : start + len(block)]):
            block[star - start] = _mean(flux[repeats[int(rows[star])]])
        yield start, block


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


def _repeats(key: np.ndarray, counts: np.ndarray, doubled: np.ndarray) -> dict[int, np.ndarray]:
    """Return, for the first row of each doubled key, all rows that have it."""
    order = np.argsort(key, kind="stable")
    ends = np.cumsum(counts)
    groups = [order[ends[k] - counts[k] : ends[k]] for k in doubled]
    return {int(group[0]): group for group in groups}


def _mean(block: np.ndarray) -> np.ndarray:
    """Return the mean over rows of what is there; NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # "mean of empty slice": NaN is the answer
        return np.asarray(np.nanmean(block, axis=0, dtype=np.float64))


def _check_parts(raw: Raw, obsid: np.ndarray, rows: dict[str, np.ndarray]) -> None:
    """Check that each star is in the same part's folder in all tables."""
    part = raw.labels.part[rows["labels"]]
    for name in raw.tables.branches:
        wrong = np.flatnonzero(raw.branch(name).part[rows[name]] != part)
        if len(wrong):
            star = int(wrong[0])
            first, second = (raw.place(table, int(rows[table][star]))[0] for table in (name, "labels"))
            raise BadInput(
                say("spectra.parts_differ", obsid=obsid[star], first=first, second=second, stars=len(wrong))
            )


def _duplicate_line(raw: Raw, name: str, key: np.ndarray, doubled: np.ndarray) -> str:
    rows = np.flatnonzero(key == doubled[0])[:2]
    (file, line), (other, again) = (raw.place(name, int(row)) for row in rows)
    if file != other:
        return say(
            "spectra.duplicates_across", count=len(doubled), obsid=doubled[0], first=file, second=other
        )
    return say("data.duplicates", file=file, count=len(doubled), obsid=doubled[0], first=line, second=again)
