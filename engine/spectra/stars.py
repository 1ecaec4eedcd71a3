"""Stars that a network can be trained on: joined, mended as the conf says, opened from the cache.

Owns the arrays that everything after reads. Scaling and splitting come after, on what is here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.spectra import BRANCHES, DataConf, cache_npy, cache_sets, cache_store
from engine.spectra.cache_tables import Source, sources
from engine.spectra.layout import find_tables, preflight, resolve
from engine.spectra.mend import blocks, clip, interpolate, nonfinite_per_star, wild_blocks
from engine.spectra.progress import Progress, Silent
from engine.workspace import Workspace

__all__ = ["Stars", "blocks", "clip", "interpolate", "load", "nonfinite_per_star", "wild_blocks"]


@dataclass
class Stars:
    """Aligned stars, ascending in obsid: row i of every array is one star.

    obsid [N]; continuum and normalized [N, L] float32, read-only memory maps; labels [N, T] float32 with NaN
    for a hole; wavelength [L] float64 in Å; `report` counts all that was found and changed on the way.
    `columns` are the other columns of the label table (snr, rv, star_id …) by name [N]; `parts` the part of
    each star where the data came in folders [N], else None; `branches` those that a network may take: those
    of the data, and both under data.missing_branch: copy (the array of one that is not there is the other's);
    `home` the cache folder that holds the arrays, None when they are only in memory.
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
    """Return the stars that the conf asks for: from the cache, read, joined and mended now if need be.

    Raises:
        BadInput: tables that cannot be read or joined, duplicates or non-finite pixels under 'fail',
            a label that no star has, no star left, or no room for the cache.
    """
    told = progress or Silent()
    tables = find_tables(resolve(workspace, conf.path), conf, workspace.root)
    files = sources(tables)
    key = cache_sets.set_key(conf, tables, files)
    name = str(conf.path)

    def make(folder: Path) -> dict[str, Any]:
        return cache_sets.build(workspace, conf, files, folder, told)

    if not (cache_store.shelf(workspace) / "sets" / key).is_dir():
        preflight(workspace, conf)  # what is wrong at the door is said before anything is waited for
    entry = cache_store.fetch(workspace, "sets", key, name, make, told)
    home, index = entry.home, entry.index
    flux = {branch: cache_npy.open_table(home / f"{branch}.npy") for branch in tables.branches}
    only = flux[tables.branches[0]]
    report = index["report"] | {"files": {name: tables.shown(name) for name in tables.names}}
    copied = len(flux) < len(BRANCHES) and conf.missing_branch == "copy"
    if copied:
        report["copied"] = tables.branches[0]
    return Stars(
        obsid=np.load(home / "obsid.npy"),
        continuum=flux.get("continuum", only),
        normalized=flux.get("normalized", only),
        labels=np.load(home / "labels.npy"),
        targets=tuple(conf.targets),
        wavelength=np.array(index["wavelength"]),
        fingerprint=fingerprint(files),
        report=report,
        columns={column: np.load(home / f"column_{i}.npy") for i, column in enumerate(index["columns"])},
        parts=np.load(home / "parts.npy") if tables.parts else None,
        branches=BRANCHES if copied else tables.branches,
        home=home,
    )


def fingerprint(files: dict[str, list[Source]]) -> str:
    """Return a sha256 over name, size, first and last MB of each table: cheap, and moves when data moves."""
    digest = hashlib.sha256()
    for several in files.values():
        for file in several:
            digest.update(f"{file.path.name}\0{file.size}\0{file.ends}\0".encode())
    return digest.hexdigest()
