"""Stars that a network can be trained on: joined, mended as the conf says, every change counted.

Owns the policies for holes, bad pixels and clipping. Scaling and splitting come after, on what is here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import BadInput
from engine.spectra import BRANCHES, DataConf
from engine.spectra import join as joining
from engine.spectra.tables import Progress, Spectra, fingerprint
from engine.words import say
from engine.workspace import Workspace

BLOCK = 512  # rows looked at together: bounded memory beside the table itself
WILD = 100.0  # a pixel this many times the star's own median |flux| is no spectrum
HALF = 0.5  # a star with fewer finite pixels than this share is dropped, not invented


@dataclass
class Stars:
    """Aligned stars, ascending in obsid: row i of every array is one star.

    obsid [N]; continuum and normalized [N, L] float32; labels [N, T] float32 with NaN for a hole;
    wavelength [L] float64 in Å; `report` counts all that was found and changed on the way. `columns` are the
    other columns of the label table (snr, rv, star_id …) by name [N]; `parts` the part of each star where the
    data came in folders [N], else None; `branches` those that the data really has (a missing one is a view of
    the other); `home` the cache folder that holds the arrays, None when they are only in memory.
    """

    obsid: np.ndarray
    continuum: np.ndarray
    normalized: np.ndarray
    labels: np.ndarray
    targets: tuple[str, ...]
    wavelength: np.ndarray
    fingerprint: str
    report: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    parts: np.ndarray | None = None
    branches: tuple[str, ...] = BRANCHES
    home: Path | None = None

    def __len__(self) -> int:
        return len(self.obsid)


def load(workspace: Workspace, conf: DataConf, progress: Progress | None = None) -> Stars:
    """Read, join and mend the three tables as the conf says.

    `max_rows` keeps the stars with the lowest obsids, so a smoke run is the same whatever the row order.

    Raises:
        BadInput: tables that cannot be read or joined, duplicates or non-finite pixels under 'fail',
            a label that no star has, or no star left.
    """
    raw = joining.read(workspace, conf, progress)
    matched = joining.match(raw, conf.duplicates)
    report = matched.report
    labelled = np.isfinite(raw.labels.values[matched.rows["labels"]]).any(axis=1)
    report["unlabelled"] = int((~labelled).sum())
    if not labelled.any():
        raise BadInput(
            say("data.no_labels_at_all", file=raw.tables.shown("labels"), targets=", ".join(conf.targets))
        )
    matched = joining.keep(matched, np.flatnonzero(labelled)[: conf.max_rows])

    continuum = _take(raw.continuum.flux, matched.rows["continuum"])
    normalized = _take(raw.normalized.flux, matched.rows["normalized"])
    fluxes = {"continuum": continuum, "normalized": normalized}
    nonfinite = {name: nonfinite_per_star(flux) for name, flux in fluxes.items()}
    if conf.nonfinite == "fail":
        _refuse_nonfinite(raw, matched, fluxes, nonfinite)
    report["nonfinite"] = {name: int(counts.sum()) for name, counts in nonfinite.items()}
    report["nonfinite_stars"] = int(np.any([c > 0 for c in nonfinite.values()], axis=0).sum())
    limit = 0 if conf.nonfinite != "interpolate" else int(HALF * continuum.shape[1])
    good = np.all([counts <= limit for counts in nonfinite.values()], axis=0)
    report["dropped"] = int((~good).sum())
    if not good.any():
        raise BadInput(say("data.all_dropped", stars=len(good)))
    for name, flux in fluxes.items():
        if conf.nonfinite == "interpolate":
            interpolate(flux, np.flatnonzero(good & (nonfinite[name] > 0)), raw.continuum.wavelength)
    if not good.all():
        matched = joining.keep(matched, good)
        fluxes = {name: flux[good] for name, flux in fluxes.items()}

    report["wild"] = {name: sum(int(w.sum()) for _, w in wild_blocks(flux)) for name, flux in fluxes.items()}
    report["clipped"] = {name: clip(fluxes[name], getattr(conf.clip, name)) for name in BRANCHES}
    labels = raw.labels.values[matched.rows["labels"]]
    missing = np.isnan(labels).sum(axis=0)
    for target, holes in zip(conf.targets, missing, strict=True):
        if holes == len(labels):
            where = {"file": raw.tables.shown("labels"), "column": target}
            raise BadInput(say("data.label_all_missing", **where, stars=len(labels)))
    report["labels_missing"] = {t: int(n) for t, n in zip(conf.targets, missing, strict=True)}
    report["kept"] = len(matched.obsid)
    return Stars(
        obsid=matched.obsid,
        continuum=fluxes["continuum"],
        normalized=fluxes["normalized"],
        labels=labels,
        targets=tuple(conf.targets),
        wavelength=raw.continuum.wavelength,
        fingerprint=fingerprint(raw.tables),
        report=report,
    )


def blocks(values: np.ndarray, size: int = BLOCK) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, view of the rows) so that a temporary is never as large as the table."""
    for start in range(0, len(values), size):
        yield start, values[start : start + size]


def nonfinite_per_star(flux: np.ndarray) -> np.ndarray:
    """Return how many pixels of each star [N] are NaN or infinite."""
    counts = [(~np.isfinite(block)).sum(axis=1) for _, block in blocks(flux)]
    return np.concatenate(counts) if counts else np.zeros(0, np.int64)


def wild_blocks(flux: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, mask of wild pixels): finite, and beyond `WILD` times the star's median |flux|."""
    for start, block in blocks(flux):
        size = np.where(np.isfinite(block), np.abs(block), 0.0)
        middle = np.median(size, axis=1, keepdims=True)
        yield start, (size > WILD * middle) & (middle > 0)


def interpolate(flux: np.ndarray, rows: np.ndarray, wavelength: np.ndarray) -> None:
    """Replace non-finite pixels of these rows, in place, by lines between their finite neighbours."""
    for row in rows:
        good = np.isfinite(flux[row])
        flux[row, ~good] = np.interp(wavelength[~good], wavelength[good], flux[row, good])


def clip(flux: np.ndarray, bounds: Sequence[float] | None) -> int:
    """Clip the flux in place to [low, high] and return how many pixels that changed; None does nothing."""
    if bounds is None:
        return 0
    low, high = bounds
    changed = 0
    for _, block in blocks(flux):
        changed += int(((block < low) | (block > high)).sum())
        np.clip(block, low, high, out=block)
    return changed


def _take(flux: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the rows in this order, without a copy when that is how they lie already."""
    same = len(rows) == len(flux) and bool((rows == np.arange(len(flux))).all())
    return flux if same else flux[rows]


def _refuse_nonfinite(
    raw: joining.Raw, matched: joining.Match, fluxes: dict[str, np.ndarray], nonfinite: dict[str, np.ndarray]
) -> None:
    lines = []
    for name, counts in nonfinite.items():
        if not counts.any():
            continue
        star = int(np.flatnonzero(counts)[0])
        pixel = int(np.flatnonzero(~np.isfinite(fluxes[name][star]))[0])
        part = raw.part(name)
        assert isinstance(part, Spectra)
        lines.append(
            say(
                "data.nonfinite",
                file=raw.tables.shown(name),
                pixels=int(counts.sum()),
                stars=int((counts > 0).sum()),
                obsid=matched.obsid[star],
                line=int(part.lines[matched.rows[name][star]]),
                column=part.columns[pixel],
            )
        )
    if lines:
        raise BadInput(lines)
