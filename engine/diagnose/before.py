"""What a conf alone tells before it is run, and what is known already of the data it names. SP3xx.

Asks the schema, the network's source and the cache of spectra; reads no table. Every patch it proposes gives
a conf that is valid.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.diagnose import network
from engine.diagnose.findings import Finding, Remedy, Severity
from engine.errors import BadInput
from engine.schedules import factor_of
from engine.words import say
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.conf.schema import Conf

_HIGH_RATE = {"sgd": 1.0}
_HIGH = 0.02
"""Learning rates above which nearly nothing trains, by optimizer and for all others."""
_SMALL_BATCH = 8
_GOOD_BATCH = 32
_SAFE_CLIP = 1.0
_SAFE_RANGE = [-1.0, 3.0]
_GONE_RATE, _GONE_SHARE = 0.01, 0.34
"""A schedule has ended at a hundredth of its peak; too early with a third of the run to come."""
_CUT_RATE = 0.5
_STEPS_AN_EPOCH = 100
_SAMPLE_ROWS = 64
_BEYOND = 5.0


@dataclass(frozen=True)
class _Known:
    """What a rule may ask: the conf, its plain data, the network, and what the cache knows of the data."""

    workspace: Workspace
    conf: Conf
    plain: dict[str, Any]
    network: network.Told
    wild: dict[str, int]
    home: Path | None


def findings(workspace: Workspace, conf: Conf) -> list[Finding]:
    """Return what is wrong with a conf, worst first."""
    plain = conf.plain()
    home, wild = _cached(workspace, conf)
    known = _Known(workspace, conf, plain, network.of_conf(workspace, plain), wild, home)
    found = [finding for rule in RULES if (finding := rule(known)) is not None]
    return sorted(found, key=lambda f: ("error", "warning", "info").index(f.severity))


# -- rules ------------------------------------------------------------------------------------------------


def _high_rate(known: _Known) -> Finding | None:
    training = known.conf.training
    if training.learning_rate < _HIGH_RATE.get(training.optimizer, _HIGH):
        return None
    good = 1e-2 if training.optimizer == "sgd" else 1e-3
    lower = _remedy(known, "lower_rate", {"training.learning_rate": good})
    return _finding(
        "SP301", "warning", {"learning_rate": training.learning_rate, "optimizer": training.optimizer}, lower
    )


def _no_clipping(known: _Known) -> Finding | None:
    if known.conf.training.gradient_clip_val is not None:
        return None
    clip = _remedy(known, "clip_gradients", {"training.gradient_clip_val": _SAFE_CLIP})
    return _finding("SP302", "warning", {}, clip)


def _wild_pixels(known: _Known) -> Finding | None:
    """SP303: the normalised branch is not clipped; a warning where the data are known to have wild pixels."""
    data = known.conf.data
    branches = ("continuum", "normalized") if data.branches == "both" else (data.branches,)
    open_ = [name for name in branches if getattr(data.clip, name) is None]
    wild = {name: known.wild[name] for name in open_ if known.wild.get(name)}
    if not wild and "normalized" not in open_:
        return None
    patch: dict[str, Any] = {}
    if "normalized" in open_:
        patch["data.clip.normalized"] = _SAFE_RANGE
    if "continuum" in wild and (bounds := _bounds(known.home, "continuum")) is not None:
        patch["data.clip.continuum"] = bounds
    if "continuum" in branches and data.continuum_scaler != "robust":
        patch["data.continuum_scaler"] = "robust"
    evidence = {f"wild_{name}": count for name, count in wild.items()}
    return _finding(
        "SP303", "warning" if wild else "info", evidence, _remedy(known, "clip_inputs", patch),
        title="SP303_wild" if wild else None,
    )  # fmt: skip


def _batch_norm(known: _Known) -> Finding | None:
    """SP304: BatchNorm; a warning where its batches are too small for statistics."""
    told, batch = known.network, known.conf.training.batch_size
    if not told.batch_normed:
        return None
    remedies = []
    small = batch < _SMALL_BATCH
    if told.norm_key is not None:
        remedies.append(_remedy(known, "layer_norm", {told.norm_key: _layer(known, told.norm_key)}))
    if small:
        remedies.append(_remedy(known, "larger_batch", {"training.batch_size": _GOOD_BATCH}))
    elif told.norm_key is None:
        return None
    title = "SP304_small" if small else None
    return _finding("SP304", "warning" if small else "info", {"batch_size": batch}, *remedies, title=title)


def _half_precision(known: _Known) -> Finding | None:
    if known.conf.training.precision != "fp16" or not (known.network.fourier or known.network.batch_normed):
        return None
    wide = _remedy(known, "wider_precision", {"training.precision": "bf16"})
    full = _remedy(known, "full_precision", {"training.precision": "fp32"})
    title = None if known.network.fourier else "SP305_norm"
    return _finding("SP305", "warning", {"precision": "fp16"}, wide, full, title=title)


def _ends_early(known: _Known) -> Finding | None:
    """SP306: the learning rate is as good as 0 long before the epochs are over."""
    training = known.conf.training
    rates = _rates(known)
    ended = next((epoch for epoch, rate in enumerate(rates) if max(rates[epoch:]) < _GONE_RATE), None)
    if ended is None or (len(rates) - ended) / len(rates) < _GONE_SHARE:
        return None
    evidence = {"schedule": training.schedule, "ended_epoch": ended, "epochs": training.epochs}
    spread = _remedy(known, "spread_schedule", {"training.schedule": "cosine"})
    return _finding("SP306", "warning", evidence, spread, _remedy(
        known, "fewer_epochs", {"training.epochs": max(1, ended)}
    ))  # fmt: skip


def _out_of_reach(known: _Known) -> Finding | None:
    """SP307: scaled labels lie where the network's last activation cannot come."""
    low, high = known.network.range
    scaled = {"standard": (-3.0, 3.0), "robust": (-3.0, 3.0), "minmax": (0.0, 1.0)}
    label = scaled.get(known.conf.data.label_scaler, (float("-inf"), float("inf")))
    if known.network.last is None or (label[0] >= low and label[1] <= high):
        return None
    evidence = {
        "activation": known.network.last,
        "reach": f"{low:g} … {high:g}",
        "label_scaler": known.conf.data.label_scaler,
    }
    return _finding(
        "SP307", "warning", evidence, _remedy(known, "labels_in_reach", {"data.label_scaler": "minmax"})
    )


def _cut_restart(known: _Known) -> Finding | None:
    """SP308: the last restart of the rate is cut off, and training ends at a high rate."""
    training = known.conf.training
    if training.schedule != "cosine_restarts" or not training.epochs:
        return None
    last = factor_of(training, training.epochs * _STEPS_AN_EPOCH, _STEPS_AN_EPOCH)(
        training.epochs * _STEPS_AN_EPOCH - 1
    )
    if last < _CUT_RATE:
        return None
    periods = max(1, round(training.epochs / training.schedule_epochs))
    fits = float(f"{training.epochs / periods:.6g}")
    evidence = {"schedule_epochs": training.schedule_epochs, "epochs": training.epochs}
    return _finding(
        "SP308", "warning", evidence, _remedy(known, "whole_periods", {"training.schedule_epochs": fits})
    )


RULES: tuple[Callable[[_Known], Finding | None], ...] = (
    _high_rate, _no_clipping, _wild_pixels, _batch_norm, _half_precision, _ends_early, _out_of_reach,
    _cut_restart,
)  # fmt: skip


# -- their parts ------------------------------------------------------------------------------------------


def _finding(
    identity: str, severity: Severity, evidence: dict[str, Any], *remedies: Remedy, title: str | None = None
) -> Finding:
    return Finding(identity, severity, say(f"diagnose.{title or identity}"), evidence, None, remedies)


def _remedy(known: _Known, name: str, patch: Mapping[str, Any]) -> Remedy:
    """Return a remedy by its name in the catalogue, without its patch where the patched conf is not valid."""
    kept = dict(patch) if _loads(known, patch) else {}
    return Remedy(say(f"advice.fix.{name}"), say(f"advice.fix.{name}_why"), kept)


def _loads(known: _Known, patch: Mapping[str, Any]) -> bool:
    from engine.conf.load import from_plain

    changed = copy.deepcopy(known.plain)
    for key, value in patch.items():
        *parents, last = key.split(".")
        tree = changed
        for part in parents:
            if not isinstance(tree.get(part), dict):
                tree[part] = {}
            tree = tree[part]
        tree[last] = value
    try:
        from_plain(known.workspace, changed, "patch")
    except BadInput:
        return False
    return True


def _layer(known: _Known, key: str) -> str:
    """Return what a network calls its LayerNorm."""
    names = ("ln", "layer", "layernorm", "layer_norm")
    return next((name for name in names if _loads(known, {key: name})), names[0])


def _rates(known: _Known) -> list[float]:
    """Return the learning rate at the beginning of each epoch as a share of the peak."""
    training = known.conf.training
    if not training.epochs or training.schedule == "plateau":
        return []
    try:
        factor = factor_of(training, training.epochs * _STEPS_AN_EPOCH, _STEPS_AN_EPOCH)
        return [factor(epoch * _STEPS_AN_EPOCH) for epoch in range(min(training.epochs, 10_000))]
    except ArithmeticError:
        return []


# -- what the cache knows of the data ---------------------------------------------------------------------


def _cached(workspace: Workspace, conf: Conf) -> tuple[Path | None, dict[str, int]]:
    """Return the cached set of the conf's tables and its wild pixels by branch; None where there is none.

    Whatever the policies that the set was made with: wild pixels are counted as they are in the tables.
    """
    from engine.spectra import layout
    from engine.spectra.cache_store import INDEX, shelf

    try:
        tables = layout.find_tables(layout.resolve(workspace, conf.data.path), conf.data, workspace.root)
        wanted = {
            (str(file), file.stat().st_size, file.stat().st_mtime_ns)
            for several in tables.files.values()
            for file in several
        }
    except (BadInput, OSError):
        return None, {}
    newest: tuple[float, Path, dict[str, int]] | None = None
    for index in (shelf(workspace) / "sets").glob(f"*/{INDEX}"):
        try:
            stamp = index.stat().st_mtime_ns
            sources, wild = _index(index, stamp)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if sources == wanted and (newest is None or stamp > newest[0]):
            newest = (stamp, index.parent, wild)
    return (None, {}) if newest is None else newest[1:]


@lru_cache(maxsize=32)
def _index(file: Path, _stamp: int) -> tuple[set[tuple[str, int, int]], dict[str, int]]:
    data = json.loads(file.read_text(encoding="utf-8"))
    sources = {(s["path"], int(s["size"]), int(s["mtime_ns"])) for s in data["sources"]}
    return sources, {name: int(count) for name, count in data["report"].get("wild", {}).items()}


def _bounds(home: Path | None, branch: str) -> list[float] | None:
    """Return bounds that leave ordinary flux of a branch alone, from a few stars of the cached set."""
    import numpy as np

    if home is None:
        return None
    try:
        flux_NL = np.load(home / f"{branch}.npy", mmap_mode="r")
    except (OSError, ValueError):
        return None
    rows = np.unique(np.linspace(0, len(flux_NL) - 1, _SAMPLE_ROWS).astype(int))
    size = np.abs(np.asarray(flux_NL[rows], np.float64))
    ordinary = float(np.nanmax(np.nanpercentile(size, 95, axis=1)))
    if not ordinary > 0:
        return None
    high = float(f"{_BEYOND * ordinary:.2g}")
    return [-high, high]
