"""The networks that can be trained, known by reading their source: no torch, no import of a network.

Owns what a screen or a conf needs to know about a network before it is built: its name, what it takes, its
fields and their types, its size. `scan` reads the files, `types` and `fields` check what a conf says,
`counts` asks a child process for the sizes. The rules are those of `models/contract.py`; a test holds them
together.
"""

from __future__ import annotations

from engine.catalog.counts import Count, parameter_counts, stamp_of
from engine.catalog.fields import check_fields
from engine.catalog.scan import PACKAGE_FOLDER, Field, Network, find, in_one_line, networks

__all__ = [
    "PACKAGE_FOLDER",
    "Count",
    "Field",
    "Network",
    "check_fields",
    "find",
    "in_one_line",
    "networks",
    "parameter_counts",
    "stamp_of",
]
