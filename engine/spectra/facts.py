"""A data set as it lies on disk, star by star: what the report counts and what the viewer draws.

Reads the tables and joins them, and changes nothing: a NaN stays a NaN, a wild pixel stays wild. Policies
are `stars.load`'s; here they are only foretold (`seen`). Arrays are those of the readers, never copies.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.errors import BadInput
from engine.spectra import DataConf
from engine.spectra import join as joining
from engine.spectra.import_masks import Runs, read_masks
from engine.spectra.labels import MISSING_LABELS
from engine.spectra.layout import labels_there
from engine.spectra.mend import WILD
from engine.spectra.tables import Spectra
from engine.words import say
from engine.workspace import Workspace

MANY = 20_000  # obsids above which near misses are looked for among neighbours only
Tell = Callable[[str, int, int | None], None]
"""Called with what is being done, how many rows of it, and of about how many; may raise to stop the work."""


class Teller:
    """Hands on what the readers say of their progress."""

    def __init__(self, tell: Tell | None) -> None:
        self.tell = tell

    def rows(self, what: str, done: int, total: int | None = None) -> None:
        """Say that `done` rows of about `total` are done."""
        if self.tell is not None:
            self.tell(what, done, total)

    def line(self, text: str) -> None:
        """Say one line; here, only the last one is of interest."""
        self.rows(text, 0)


@dataclass(frozen=True)
class Facts:
    """The stars that all tables share, ascending in obsid; row i of everything is one star.

    obsid [N]; wavelength [L] in Å; `columns` by name [N]: the targets first, then every other column of the
    label table, float64 with NaN for a hole, or text where a column holds words. `targets` are the conf's
    that the label table has; `lacking` are its others: such a set can be looked at, not trained on.
    """

    raw: joining.Raw
    match: joining.Match
    branches: tuple[str, ...]
    targets: tuple[str, ...]
    columns: dict[str, np.ndarray]
    lacking: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.match.obsid)

    @property
    def obsid(self) -> np.ndarray:
        return self.match.obsid

    @property
    def wavelength(self) -> np.ndarray:
        return self.table(self.branches[0]).wavelength

    def table(self, branch: str) -> Spectra:
        """Return one branch as read."""
        return self.raw.branch(branch)

    def flux(self, branch: str, star: int) -> np.ndarray:
        """Return the flux [L] of one star in one branch, as read."""
        return np.asarray(self.table(branch).flux[self.match.rows[branch][star]])

    @cached_property
    def import_masks(self) -> dict[str, Runs]:
        """Return by obsid the runs of pixels that `data import` masked; empty where the set is no import.

        Raises:
            BadInput: an import.json that is not as it was written.
        """
        found: dict[str, Runs] = {}
        for folder in {path.parent for path in self.raw.tables.files["labels"]}:
            found |= read_masks(folder, len(self.wavelength))
        return found

    def masked(self, star: int) -> np.ndarray:
        """Return which pixels [L] of a star's flux are no measurement but were filled by `data import`."""
        mask = np.zeros(len(self.wavelength), bool)
        for first, last in self.import_masks.get(str(self.obsid[star]), ()):
            mask[first : last + 1] = True
        return mask

    def number(self, name: str, star: int) -> float:
        """Return a number of a star, NaN where there is none."""
        values = self.columns.get(name)
        return float(values[star]) if values is not None and values.dtype.kind == "f" else float("nan")


@dataclass(frozen=True)
class Seen:
    """One spectrum as it can be drawn: flux [L] with the pixels that need a mark.

    `flux` has NaN where the table has; pixels that training would clip, or that are wild, stand at the bound.
    The masks [L] say which: `nonfinite`, `clipped`, `wild`, `zero` for exactly 0, which is how a reduction
    writes "no data", and `masked` for what `data import` took for no measurement and filled.
    """

    flux: np.ndarray
    nonfinite: np.ndarray
    clipped: np.ndarray
    wild: np.ndarray
    zero: np.ndarray
    masked: np.ndarray


def read(workspace: Workspace, conf: DataConf, tell: Tell | None = None) -> Facts:
    """Read and join the tables of a data set; doubled obsids count by their first row.

    Raises:
        BadInput: tables that cannot be read, or that have no obsid in common.
    """
    targets = labels_there(workspace, conf)
    raw = joining.read(workspace, conf, Teller(tell), targets)
    match = joining.match(raw, "first")
    rows = match.rows["labels"]
    # float32 -1.44 is -1.4400000572: rounded, so that it is shown and compared as it was written
    values = np.round(raw.labels.values[rows].astype(np.float64), 6)
    columns = {target: values[:, i] for i, target in enumerate(targets)}
    for name, others in raw.labels.columns.items():
        if name not in columns and name.lower() != "obsid":
            columns[name] = tidy(others[rows])
    lacking = tuple(target for target in conf.targets if target not in targets)
    return Facts(raw, match, raw.tables.branches, targets, columns, lacking)


def tidy(values: np.ndarray) -> np.ndarray:
    """Return a column as float64 with NaN for holes and for ±9999, or as text when it holds words."""
    if values.dtype.kind not in "fiub":
        return values.astype(str)
    numbers = values.astype(np.float64)
    numbers[~np.isfinite(numbers) | np.isin(np.abs(numbers), MISSING_LABELS)] = np.nan
    return numbers


def seen(flux: np.ndarray, bounds: Sequence[float] | None, masked: np.ndarray | None = None) -> Seen:
    """Return a spectrum ready to be drawn; `bounds` are those that training clips this branch to."""
    finite = np.isfinite(flux)
    size = np.abs(np.where(finite, flux, 0.0).astype(np.float64))
    middle = float(np.median(size))
    wild = finite & (size > WILD * middle) & (middle > 0)
    zero = finite & (size == 0)
    shown = np.where(finite, flux, np.nan).astype(np.float64)
    clipped = np.zeros(len(flux), bool)
    if bounds is not None:
        with np.errstate(invalid="ignore"):
            clipped = finite & ((flux < bounds[0]) | (flux > bounds[1]))
        shown = np.clip(shown, bounds[0], bounds[1])
    elif (finite & ~wild).any():
        # nothing clips this branch; drawn in full, one wild pixel would flatten all the others
        tame = shown[finite & ~wild]
        shown = np.clip(shown, tame.min(), tame.max())
    masked = np.zeros(len(flux), bool) if masked is None else masked
    return Seen(shown, ~finite, clipped, wild, zero, masked)


def runs(mask: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    for first, after in zip(edges[::2], edges[1::2], strict=True):
        yield int(first), int(after) - 1


def find(facts: Facts, word: str) -> int:
    """Return the row of the star with this obsid.

    Raises:
        BadInput: there is none; names the near misses.
    """
    keys = facts.obsid.astype(str)
    at = np.flatnonzero(keys == word.strip())
    if len(at):
        return int(at[0])
    near = near_misses(facts.obsid, word.strip())
    raise BadInput(say("spectrum.unknown", obsid=word, near=", ".join(near), stars=len(facts)))


def near_misses(obsid: np.ndarray, word: str, count: int = 4) -> list[str]:
    """Return obsids that look like a word that is none: by letters, or in a long list by neighbourhood."""
    keys = obsid.astype(str)
    if len(keys) > MANY:
        ordered = np.sort(keys)
        at = int(np.searchsorted(ordered, word))
        keys = ordered[max(0, at - 50) : at + 50]
    near = difflib.get_close_matches(word, keys.tolist(), n=count, cutoff=0.5)
    return near or [str(key) for key in keys[:count]]
