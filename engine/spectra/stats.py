"""Fixed statistics from a stats.yaml of the old framework, in place of fitting.

The file has a block per label and one, `flux`, for all pixels of the continuum pooled; a block holds mean,
variance, std_dev, min, max, 25th_percentile, median_50th_percentile and 75th_percentile. Other blocks are
ignored; `augs_conf` with a word, since somebody may expect it to act.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.conf import marks
from engine.errors import BadInput
from engine.spectra import DataConf, layout
from engine.spectra.scale import Scaler
from engine.words import say
from engine.workspace import Workspace

FLUX = "flux"
KEYS = {
    "standard": ("mean", "std_dev"),
    "minmax": ("min", "max"),
    "robust": ("25th_percentile", "median_50th_percentile", "75th_percentile"),
}


@dataclass(frozen=True)
class Fixed:
    """Scalers by what they are for (continuum, labels), and what a user should know about them."""

    scalers: dict[str, Scaler]
    notes: list[str]


def fixed(workspace: Workspace, conf: DataConf) -> Fixed:
    """Return what the conf's `stats` fixes; nothing where it names no file.

    Raises:
        BadInput: the file is not there or cannot be used, or scaling per pixel is asked for.
    """
    if conf.stats is None:
        return Fixed({}, [])
    if conf.scaler_scope == "pixel":
        raise BadInput(say("scaling.stats_pixel", file=conf.stats))
    path = _find(workspace, conf)
    return read(
        path, workspace.relative(path), conf.targets, flux=conf.continuum_scaler, labels=conf.label_scaler,
        fitted=conf.normalized_scaler != "none",
    )  # fmt: skip


def read(
    path: Path, shown: str, targets: Sequence[str], *, flux: str, labels: str, fitted: bool = False
) -> Fixed:
    """Return the scalers of a stats file, of the kinds `flux` and `labels`; only their keys need be there.

    `fitted` says that the normalised branch is scaled too: the file has nothing for it, so it is fitted, and
    a note says so.

    Raises:
        BadInput: unreadable, not YAML, or a block or key that is needed is missing, no number, or no spread.
    """
    data = marks.read(path, shown).data
    scalers, missing, used = {}, [], []
    for name, kind, blocks in (("continuum", flux, [FLUX]), ("labels", labels, list(targets))):
        if kind == "none":
            continue
        pairs = []
        for block in blocks:
            try:
                pairs.append(_pair(data, block, kind, shown))
            except BadInput as error:
                missing += error.lines
        if len(pairs) == len(blocks):
            centre, scale = np.array(pairs, np.float64).T
            scalers[name] = Scaler(kind, centre, scale)
        used += blocks
    if missing:
        raise BadInput(missing)
    notes = [say("scaling.stats_used", file=shown, blocks=", ".join(used) or "-")]
    if fitted:
        notes.append(say("scaling.stats_fitted", file=shown))
    if "augs_conf" in data:
        notes.append(say("scaling.stats_augs", file=shown))
    return Fixed(scalers, notes)


def _pair(data: Mapping[str, Any], block: str, kind: str, shown: str) -> tuple[float, float]:
    """Return centre and scale of one block."""
    there = data.get(block)
    if not isinstance(there, Mapping):
        names = ", ".join(k for k, v in data.items() if isinstance(v, Mapping)) or "-"
        raise BadInput(say("scaling.stats_no_block", file=shown, block=block, names=names))
    values = []
    for key in KEYS[kind]:
        value = there.get(key)
        if value is None:
            raise BadInput(say("scaling.stats_no_key", file=shown, block=block, key=key, kind=kind))
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BadInput(say("scaling.stats_no_number", file=shown, block=block, key=key, value=value))
        values.append(float(value))
    centre, scale = {
        "standard": lambda: (values[0], values[1]),
        "minmax": lambda: (values[0], values[1] - values[0]),
        "robust": lambda: (values[1], values[2] - values[0]),
    }[kind]()
    if not scale > 0:
        raise BadInput(say("scaling.stats_no_spread", file=shown, block=block, keys=", ".join(KEYS[kind])))
    return centre, scale


def _find(workspace: Workspace, conf: DataConf) -> Path:
    given = Path(str(conf.stats)).expanduser()
    places = [given]
    if not given.is_absolute():
        places = [workspace.root / given, layout.resolve(workspace, conf.path) / given]
    for place in places:
        if place.is_file():
            return place
    raise BadInput(say("scaling.no_stats", file=conf.stats, places=", ".join(str(p) for p in places)))
