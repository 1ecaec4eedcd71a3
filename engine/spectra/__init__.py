"""Tables in, aligned stars out: read, join, split, scale, check, and make a demonstration set.

Owns everything between the user's CSV files and arrays that a network can be fed. Never imports torch,
and this file imports nothing heavy: `layout` may be asked by a form or a parser at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.conf.data import Clip as ClipConf
    from engine.conf.data import Data as DataConf

__all__ = ["BRANCHES", "PARTS", "ClipConf", "DataConf"]

BRANCHES = ("continuum", "normalized")
PARTS = ("train", "val", "test")


def __getattr__(name: str) -> Any:
    """Return the conf of the data, with the schema that it is part of, only to who asks for it."""
    if name in ("ClipConf", "DataConf"):
        from engine.conf import data

        return {"ClipConf": data.Clip, "DataConf": data.Data}[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
