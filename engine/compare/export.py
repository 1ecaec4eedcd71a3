"""A comparison as CSV and as Markdown, for papers, spreadsheets and notebooks."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from engine.compare.tables import (
    MISSING,
    Table,
    best_index,
    change,
    is_main,
    is_number,
    metrics,
    params,
    written,
)
from engine.runs.record import Record
from engine.whole import whole
from engine.words import say


def runs_csv(records: Sequence[Record], file: IO[str], *, everything: bool = True) -> None:
    """Write one row per run: who it is, its parameters and its metrics, numbers in full."""
    sides = (params(records, everything=everything).rows, metrics(records).rows)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["run_id", "name", "state", "model", *(key for side in sides for key in side)])
    for index, record in enumerate(records):
        values = [_full(row[index]) for side in sides for row in side.values()]
        writer.writerow([record.run_id, record.name, record.state, record.model, *values])


def curves_csv(records: Sequence[Record], file: IO[str], quantities: Sequence[str] = ()) -> None:
    """Write every recorded point of the runs, or those of some quantities."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["run_id", "name", "quantity", "step", "value"])
    for record in records:
        for name, curve in list(record.curves.items()):
            if quantities and name not in quantities:
                continue
            count = min(len(curve.steps), len(curve.values))
            for step, value in zip(curve.steps[:count], curve.values[:count], strict=True):
                writer.writerow([record.run_id, record.name, name, f"{step:g}", _full(value)])


def _full(value: Any) -> str:
    """Return a value with all its digits; nothing for what the run does not have."""
    if value is MISSING:
        return ""
    return repr(value) if isinstance(value, float) and math.isfinite(value) else written(value)


def markdown(
    records: Sequence[Record],
    names: Sequence[str],
    *,
    baseline: int | None = None,
    everything: bool = False,
    which: Sequence[str] = ("params", "metrics"),
) -> str:
    """Return the tables in Markdown, numbers aligned right, the best of a row bold."""
    parts = []
    if "params" in which:
        parts += [_titled("params", names, params(records, everything=everything), _plain_row)]
    if "metrics" in which:
        table = metrics(records)
        if not everything:
            table.rows = {key: values for key, values in table.rows.items() if is_main(key)}
        parts += [_titled("metrics", names, table, lambda key, row: metric_cells(key, row, baseline, "**"))]
    return "\n".join(parts)


def metric_cells(key: str, row: Sequence[Any], baseline: int | None, mark: str = "") -> list[str]:
    """Return the values of a metric as text: the best marked, the others with their change."""
    best = best_index(key, row)
    cells = []
    for index, value in enumerate(row):
        text = written(value)
        if index == best:
            text = f"{mark}{text}{mark}" if mark else f"{text}*"
        if baseline is not None and index != baseline:
            changed = change(key, value, row[baseline])
            text += f" {changed.text()}" if changed is not None else ""
        cells.append(text)
    return cells


def _plain_row(key: str, row: Sequence[Any]) -> list[str]:
    return [written(value) for value in row]


def _titled(
    what: str, names: Sequence[str], table: Table, cells: Callable[[str, Sequence[Any]], list[str]]
) -> str:
    lines = [f"## {say(f'compare.view.{what}')}", ""]
    if not table.rows:
        return "\n".join([*lines, say(f"compare.none.{what}"), ""])
    rows = [[key, *cells(key, row)] for key, row in table.rows.items()]
    right = [
        all(is_number(row[i]) or row[i] is MISSING or row[i] is None for row in table.rows.values())
        for i in range(len(names))
    ]
    return "\n".join([*lines, *markdown_table(["", *names], rows, [False, *right]), ""])


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Return a table in Markdown; what would break it is escaped."""
    lines = ["| " + " | ".join(_escaped(cell) for cell in headers) + " |"]
    lines.append("|" + "|".join("---:" if end else "---" for end in right) + "|")
    return lines + ["| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in rows]


def _escaped(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())


def write_whole(path: Path, write: Callable[[IO[str]], None]) -> Path:
    """Write a text file whole or not at all, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        write(file)
    return path


def as_text(write: Callable[[IO[str]], None]) -> str:
    """Return what `write` writes."""
    file = io.StringIO()
    write(file)
    return file.getvalue()
