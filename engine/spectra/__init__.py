"""Tables in, aligned stars out: read, join, split, scale, check, and make a demonstration set.

Owns everything between the user's CSV files and arrays that a network can be fed. Never imports torch,
and this file imports nothing heavy: `layout` may be asked by a form or a parser at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

BRANCHES = ("continuum", "normalized")
PARTS = ("train", "val", "test")


class ClipConf(Protocol):
    """What the reader asks of `data.clip`: per branch the bounds [low, high], or None for no clipping."""

    @property
    def continuum(self) -> Sequence[float] | None: ...
    @property
    def normalized(self) -> Sequence[float] | None: ...


class DataConf(Protocol):
    """What this package asks of the conf section `data`; any object with these attributes will do."""

    @property
    def path(self) -> str: ...
    @property
    def continuum(self) -> str: ...
    @property
    def normalized(self) -> str: ...
    @property
    def labels(self) -> str: ...
    @property
    def targets(self) -> Sequence[str]: ...
    @property
    def split(self) -> Sequence[float]: ...
    @property
    def split_seed(self) -> int: ...
    @property
    def clip(self) -> ClipConf: ...
    @property
    def continuum_scaler(self) -> str: ...
    @property
    def label_scaler(self) -> str: ...
    @property
    def duplicates(self) -> str: ...
    @property
    def nonfinite(self) -> str: ...
    @property
    def max_rows(self) -> int | None: ...
