"""`compare`: runs side by side, as text, JSON, CSV, Markdown and as a picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from engine import workspace
from engine.cli.inspect import plain
from engine.cli.text import message, print_json, print_table
from engine.compare import comparison, export, metrics, params, picture, written
from engine.compare.labels import kinds, labels
from engine.compare.labels import unit as unit_of
from engine.compare.tables import is_main
from engine.runs.record import Record
from engine.track import listing
from engine.words import say


def compare(arguments: argparse.Namespace) -> int:
    """Put runs side by side: the parameters that differ, and every error."""
    here = workspace.find(arguments.root)
    found = [listing.find(here, word) for word in arguments.runs]
    baseline = _baseline(here, found, arguments.baseline)
    if arguments.figure:
        quantity = arguments.quantity or "val_loss"
        names = [record.name for record in found]
        path = Path(arguments.figure)
        picture.draw(path, picture.drawn(found, names, quantity), quantity, log_y=arguments.log)
        message(say("compare.exported", path=path))
    elif arguments.json:
        facts: dict[str, Any] = {"runs": [plain(here, r) for r in found]} | comparison(found)
        if baseline is not None:
            facts["baseline"] = found[baseline].run_id
        print_json(facts)
    elif arguments.csv:
        export.runs_csv(found, sys.stdout)
    elif arguments.curves:
        export.curves_csv(found, sys.stdout, [arguments.quantity] if arguments.quantity else [])
    elif arguments.markdown:
        ids = [r.run_id for r in found]
        print(export.markdown(found, ids, baseline=baseline, everything=arguments.all), end="")
    else:
        _print(found, baseline, everything=arguments.all)
    return 0


def _baseline(here: workspace.Workspace, found: list[Record], word: str | None) -> int | None:
    """Return which of the runs is the baseline; one that is not compared yet comes first."""
    if not word:
        return None
    record = listing.find(here, word)
    ids = [r.run_id for r in found]
    if record.run_id not in ids:
        found.insert(0, record)
        return 0
    return ids.index(record.run_id)


def _print(found: list[Record], baseline: int | None, *, everything: bool) -> None:
    states = [say(f"state.{r.state}") for r in found]
    rows = [[say("column.state"), *states]]
    rows += [
        [key, *map(written, values)] for key, values in params(found, everything=everything).rows.items()
    ]
    rows += [
        [key, *export.metric_cells(key, values, baseline)]
        for key, values in metrics(found).rows.items()
        if everything or (is_main(key) and not key.startswith("last."))
    ]
    print_table(["", *(r.run_id for r in found)], rows)
    units = {label: unit_of(label) for label in labels(found)}
    if kinds(found) and any(units.values()):
        told = ", ".join(f"{label} {unit}" for label, unit in units.items() if unit)
        message(say("compare.units", units=told))
