"""Errors per label and run, with their units: what the bars of a comparison show."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from engine.runs.record import Record

KINDS = ("mae", "rmse", "sigma_mad", "bias")

# Names of labels in the wild: Teff, teff, logg, FeH, CFe, alpha_m, rv, Z_FE, FE_H …
_UNITS = (
    (re.compile(r"^(t_?eff|temperature)", re.I), "K"),
    (re.compile(r"^(rv|vsini|v_|vmic|vmac|radial)", re.I), "km/s"),
    (re.compile(r"^(log_?g|.*h$|.*fe$|.*_m$|a_)", re.I), "dex"),
)


def unit(label: str) -> str:
    """Return the unit of a label by its name; nothing for one that is not known."""
    return next((unit for pattern, unit in _UNITS if pattern.match(label)), "")


def labels(records: Sequence[Record]) -> list[str]:
    """Return the labels that the runs learned, in the order of the first run that has them."""
    return list(dict.fromkeys(label for record in records for label in _targets(record)))


def _targets(record: Record) -> list[str]:
    named = (record.conf().get("data") or {}).get("targets") or record.data.get("targets")
    return [str(target) for target in named] if isinstance(named, list) else []


def kinds(records: Sequence[Record]) -> list[str]:
    """Return the kinds of error that any of the runs has."""
    named = labels(records)
    return [
        kind
        for kind in KINDS
        if any(error(record, label, kind) is not None for record in records for label in named)
    ]


def error(record: Record, label: str, kind: str) -> float | None:
    """Return the error on the test rows, else the last one on the validation rows; None without any."""
    for values, name in (
        (record.test, f"{label}_{kind}"),
        (record.last, f"test_{label}_{kind}"),
        (record.last, f"val_{label}_{kind}"),
    ):
        value = values.get(name)
        if value is not None:
            return float(value)
    return None


def is_tested(record: Record, label: str, kind: str) -> bool:
    """Tell whether the error is that of the test rows."""
    return f"{label}_{kind}" in record.test or f"test_{label}_{kind}" in record.last


def longest(values: Sequence[float | None]) -> float:
    """Return the value that the longest bar stands for."""
    return max((abs(v) for v in values if v is not None and math.isfinite(v)), default=0.0)
