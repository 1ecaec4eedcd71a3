"""Which stars train, which validate, which test: a function of the conf and the obsids, not of row order.

    random      one seeded deal                        folder   as the data came, in train/ val/ test/
    stratified  the same in every bin of FeH           file     as a CSV of obsid,part says
    group       whole groups, for instance one star's repeat observations

With `folds`, the test part is the same as without; train and val together are cut into folds by the same
method, and fold k validates. The cut does not depend on k. Sizes and dealing are in `split_deal`, the split's
file in `split_file`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.errors import BadInput
from engine.spectra import PARTS, layout, split_file, split_units
from engine.spectra.split_deal import Units, deal, even, sizes
from engine.spectra.stars import Stars
from engine.words import say
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.conf.data import Data as DataConf
    from engine.conf.data import Split as SplitConf

__all__ = ["PARTS", "Split", "describe", "divide", "planned", "read", "sizes", "write"]
_TO_PARTS, _TO_FOLDS = 0, 1  # streams of random numbers of one seed


@dataclass(frozen=True)
class Split:
    """Ascending row numbers of each part, int64; no star is in two parts.

    `facts` say how it was made, as plain data: method, and where they apply asked, groups, ungrouped, bins,
    left_out, strangers, folds, fold.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)

    def part(self, name: str) -> np.ndarray:
        """Return the row numbers of 'train', 'val' or 'test'."""
        rows: np.ndarray = getattr(self, name)
        return rows

    @property
    def sizes(self) -> dict[str, int]:
        return {name: len(self.part(name)) for name in PARTS}


def divide(stars: Stars, conf: SplitConf, folder: Path, root: Path | None = None) -> Split:
    """Split the stars as the conf says; `folder` is the data's, `root` the workspace's (for method file).

    Data that came in folders keeps its folders under the default method, random: somebody made them on
    purpose. Any other method divides all stars anew.

    Raises:
        BadInput: a column, a file or folders that the method needs are not there, or there are fewer stars
            (groups) than parts or folds.
    """
    facts: dict[str, Any] = {"method": conf.method, "seed": conf.seed}
    if conf.method == "folder" and stars.parts is None:
        raise BadInput(say("split.no_folders", folder=folder))
    if conf.method == "random" and stars.parts is not None:
        facts |= {"method": "folder", "asked": "random"}
    method = facts["method"]
    if method == "folder":
        part_of = _known_parts(np.asarray(stars.parts).astype(str), facts)
    elif method == "file":
        part_of = _parts_from_file(stars, conf, folder, root or folder, facts)
    else:
        part_of = _dealt(stars, conf, method, facts)
    if conf.folds is not None:
        _validate_fold(part_of, stars, conf, method, facts)
    if not (part_of == 0).any():
        raise BadInput(say("split.nothing_to_train", method=method))
    train, val, test = (np.flatnonzero(part_of == part) for part in range(3))
    return Split(train, val, test, facts)


def planned(
    workspace: Workspace, conf: DataConf, obsid: np.ndarray, labels: np.ndarray, **known: Any
) -> tuple[dict[str, int], list[str]]:
    """Return the sizes that `divide` will give stars of which no flux was read, and why it cannot.

    `labels` [N, T] belong to conf.targets; `known` may hold the columns and parts of `Stars`.
    """
    if not len(obsid):
        return {}, []
    nothing = np.zeros((len(obsid), 0), np.float32)
    stars = Stars(obsid, nothing, nothing, labels, tuple(conf.targets), np.zeros(0), "", **known)
    try:
        folder = layout.resolve(workspace, conf.path)
        return divide(stars, conf.split, folder, workspace.root).sizes, []
    except BadInput as error:
        return dict.fromkeys(PARTS, 0), error.lines


def describe(split: Split) -> list[str]:
    """Return what is worth knowing about a split beside its sizes, as sentences."""
    facts = split.facts
    lines = [say(f"split.used.{facts['method']}", **facts)] if "method" in facts else []
    if "asked" in facts:
        lines.append(say("split.folders_kept"))
    if facts.get("left_out"):
        lines.append(say("split.left_out", stars=facts["left_out"]))
    if facts.get("strangers"):
        lines.append(say("split.strangers", obsids=facts["strangers"]))
    if "folds" in facts:
        lines.append(say("split.fold", fold=facts["fold"], folds=facts["folds"]))
    lines += [say("split.empty", part=name) for name in ("val", "test") if not len(split.part(name))]
    return lines


def write(path: Path, stars: Stars, split: Split) -> None:
    """Write `obsid,part`, one line per star in the stars' order, whole or not at all."""
    split_file.write(path, stars.obsid, {name: split.part(name) for name in PARTS})


def read(path: Path, stars: Stars) -> Split:
    """Return the split that a run's file gives these stars.

    Raises:
        BadInput: no such file, a line that is no `obsid,part`, an obsid twice, or other stars than these.
    """
    said = split_file.read(path)
    keys = [split_file.key(obsid) for obsid in stars.obsid.tolist()]
    strangers = sorted(said.keys() - set(keys))
    lacking = [k for k in keys if k not in said]
    if strangers or lacking:
        example = (strangers or lacking)[0]
        raise BadInput(
            say("data.split_others", file=path, strangers=len(strangers), lacking=len(lacking), obsid=example)
        )
    part_of = np.array([said[k] for k in keys])
    train, val, test = (np.flatnonzero(part_of == name) for name in PARTS)
    return Split(train, val, test)


def _dealt(stars: Stars, conf: SplitConf, method: str, facts: dict[str, Any]) -> np.ndarray:
    """Deal all stars to the parts by their ratios; return the part number [N]."""
    targets = sizes(len(stars), conf.ratios)
    everyone = np.argsort(stars.obsid, kind="stable")
    units = _units(stars, conf, method, everyone, facts)
    wanted = sum(target > 0 for target in targets)
    if units.number < wanted:
        raise BadInput(say("split.too_few_groups", groups=units.number, parts=wanted, column=conf.group))
    return _scatter(everyone, deal(_rng(conf.seed, _TO_PARTS), units, targets), len(stars))


def _validate_fold(
    part_of: np.ndarray, stars: Stars, conf: SplitConf, method: str, facts: dict[str, Any]
) -> None:
    """Cut train and val into folds and let fold `conf.fold` validate, in place."""
    assert conf.folds is not None
    pool = np.flatnonzero((part_of == 0) | (part_of == 1))
    pool = pool[np.argsort(stars.obsid[pool], kind="stable")]
    units = _units(stars, conf, method, pool, dict(facts))
    if units.number < conf.folds:
        key = "split.too_few_for_folds" if method != "group" else "split.too_few_groups_for_folds"
        raise BadInput(say(key, number=units.number, folds=conf.folds, column=conf.group))
    fold_of = deal(_rng(conf.seed, _TO_FOLDS), units, even(len(pool), conf.folds))
    part_of[pool] = fold_of == conf.fold - 1
    facts |= {"folds": conf.folds, "fold": conf.fold}


def _units(stars: Stars, conf: SplitConf, method: str, rows: np.ndarray, facts: dict[str, Any]) -> Units:
    """Return the units that the stars `rows`, ascending in obsid, are dealt in; folder and file: stars."""
    if method == "stratified":
        key = "data.split.method: stratified"
        values = split_units.numbers(split_units.column(stars, "FeH", key), "FeH", key)
        # the bins are those of all stars, so that folds are cut in the same bins as parts
        found = split_units.binned(values, conf.bins)
        facts |= {"bins": conf.bins, "unbinned": int((found == conf.bins).sum())}
        return split_units.stratified(found[rows])
    if method == "group":
        values = split_units.column(stars, conf.group, "data.split.group")[rows]
        group_of_star, empty = split_units.groups(values)
        units = split_units.grouped(group_of_star)
        facts |= {"column": conf.group, "groups": units.number, "ungrouped": empty}
        return units
    return split_units.single(len(rows))


def _known_parts(names: np.ndarray, facts: dict[str, Any]) -> np.ndarray:
    """Return part numbers [N] for part names; -1 for a star that is in none."""
    part_of = np.full(len(names), -1, np.int64)
    for number, name in enumerate(PARTS):
        part_of[names == name] = number
    facts["left_out"] = int((part_of < 0).sum())
    return part_of


def _parts_from_file(
    stars: Stars, conf: SplitConf, folder: Path, root: Path, facts: dict[str, Any]
) -> np.ndarray:
    """Return part numbers [N] as the conf's file says; stars that it does not list are left out."""
    path = split_file.find(conf.file or "", folder, root)
    said = split_file.read(path, conf.file)
    keys = [split_file.key(obsid) for obsid in stars.obsid.tolist()]
    names = np.array([said.get(k, split_file.NONE) for k in keys])
    facts |= {"file": conf.file, "strangers": len(said.keys() - set(keys))}
    listed = list(said.values())
    for name in PARTS:
        # a part that the file fills and the data leaves empty is a mistake, not a wish
        if name in listed and not (names == name).any():
            raise BadInput(say("split.file_strangers", file=conf.file, part=name, obsids=listed.count(name)))
    return _known_parts(names, facts)


def _scatter(rows: np.ndarray, part_of_row: np.ndarray, stars: int) -> np.ndarray:
    part_of = np.full(stars, -1, np.int64)
    part_of[rows] = part_of_row
    return part_of


def _rng(seed: int, stream: int) -> np.random.Generator:
    """Return the random numbers of a seed, which may be negative, and of one use of it."""
    return np.random.Generator(np.random.PCG64([seed % 2**64, stream]))
