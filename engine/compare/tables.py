"""Tables of runs: parameters (all, or only what differs), metrics, and the change against a baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.conf.tree import flatten
from engine.runs.filter.keys import higher_is_better
from engine.runs.record import Record
from engine.words import say

Verdict = Literal["better", "worse", "same", ""]

_LOWER = ("loss", "mae", "rmse", "mse", "error", "sigma_mad", "outlier_rate")
_LEFT_OUT = ("_n",)


class _Missing:
    """The run has no such key: not the same as null, NaN or zero."""

    def __repr__(self) -> str:
        return "-"


MISSING: Any = _Missing()


@dataclass
class Table:
    """Rows of one value per run, in the order of the runs."""

    run_ids: list[str]
    rows: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """How a value differs from the baseline's: per cent where that makes sense, else the difference."""

    percent: float | None
    difference: float
    verdict: Verdict

    def text(self) -> str:
        """Return the change with an arrow, its sign and what it means: '▼-12.5% better'."""
        if self.difference == 0:
            return "="
        arrow = "▲" if self.difference > 0 else "▼"
        shown = f"{self.difference:+.3g}" if self.percent is None else _percent(self.percent)
        word = f" {say(f'compare.{self.verdict}')}" if self.verdict else ""
        return f"{arrow}{shown}{word}"


def _percent(value: float) -> str:
    if abs(value) < 1000:
        return f"{value:+.3g}%"
    return f"{value:+.0f}%" if abs(value) < 1e6 else f"{value:+.0e}%"


def comparison(records: Sequence[Record]) -> dict[str, dict[str, list[Any]]]:
    """Return parameters that differ between runs, and best and test errors of each, as plain data."""
    metric = {
        key: [None if v is MISSING else v for v in values]
        for key, values in metrics(records).rows.items()
        if key.startswith(("best.", "test.")) and not key.endswith("_bias")
    }
    differing = {
        key: [None if v is MISSING else v for v in values] for key, values in params(records).rows.items()
    }
    return {"params": differing, "metrics": metric}


def params(records: Sequence[Record], *, everything: bool = False) -> Table:
    """Return the parameters of the runs: those that differ, or all that any of them has."""
    flat = [flatten(record.conf()) for record in records]
    keys = dict.fromkeys(key for one in flat for key in one)
    table = Table([record.run_id for record in records])
    for key in keys:
        values = [one.get(key, MISSING) for one in flat]
        if everything or any(not same(value, values[0]) for value in values):
            table.rows[key] = values
    return table


def same(left: Any, right: Any) -> bool:
    """Tell whether two values are the same; 1 and 1.0 are, true and 1 are not, NaN is itself."""
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    return bool(left == right) or (_is_nan(left) and _is_nan(right))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value


def metrics(records: Sequence[Record]) -> Table:
    """Return best, last and test values of every metric that any run has."""
    best, last, test = [], [], []
    for record in records:
        best.append(best_of(record))
        last.append(dict(record.last))  # a copy: a live run may be read on meanwhile
        test.append(record.test)
    table = Table([record.run_id for record in records])
    for prefix, side in (("best", best), ("last", last), ("test", test)):
        for name in dict.fromkeys(name for values in side for name in values):
            if not name.endswith(_LEFT_OUT):
                table.rows[f"{prefix}.{name}"] = [_number(values.get(name, MISSING)) for values in side]
    return table


def _number(value: Any) -> Any:
    return math.nan if value is None else value


def best_of(record: Record) -> dict[str, float]:
    """Return the best value of each metric that has a better side."""
    found = dict(record.best)
    for name, value in list(record.high.items()):
        if higher_is_better(name):
            found[name] = value
    if record.stored is not None:
        for name, curve in list(record.curves.items()):
            finite = [v for v in curve.values if math.isfinite(v)]
            if finite and higher_is_better(name):
                found[name] = max(finite)
    return found


def is_main(key: str) -> bool:
    """Tell whether a metric is what people look at first: losses, and the best and tested absolute errors."""
    return key.endswith("loss") or (
        key.endswith("_mae") and "mean_mae" not in key and not key.startswith("last.")
    )


def sense(key: str) -> int:
    """Return -1 where less is better, 1 where more is, 0 where neither is (a learning rate)."""
    name = key.rpartition(".")[2]
    if higher_is_better(name):
        return 1
    return -1 if name.endswith("_bias") or any(word in name for word in _LOWER) else 0


def size(key: str, value: float) -> float:
    """Return what is compared of a value: of a bias its size."""
    return abs(value) if key.endswith("_bias") else value


def change(key: str, value: Any, base: Any) -> Change | None:
    """Return how `value` differs from the baseline's `base`; None where one of them is no finite number."""
    if not (is_number(value) and is_number(base) and math.isfinite(value) and math.isfinite(base)):
        return None
    value, base = size(key, value), size(key, base)
    difference = value - base
    if difference == 0:
        return Change(0.0, 0.0, "same")
    towards = sense(key) * difference
    verdict: Verdict = "better" if towards > 0 else "worse" if towards < 0 else ""
    percent = 100.0 * difference / abs(base) if base else math.inf
    return Change(percent if math.isfinite(percent) else None, difference, verdict)


def best_index(key: str, values: Sequence[Any]) -> int | None:
    """Return which run has the best value, None where there is no better side or too little to compare."""
    towards = sense(key)
    known = [(towards * size(key, v), -i) for i, v in enumerate(values) if is_number(v) and math.isfinite(v)]
    return -max(known)[1] if towards and len(known) > 1 else None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def written(value: Any) -> str:
    """Return a value as text; missing is '-', and null, NaN, infinities and zero each say what they are."""
    if value is MISSING:
        return "-"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if value != value:
            return "NaN"
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return f"{value:.4g}"
    return str(value)
