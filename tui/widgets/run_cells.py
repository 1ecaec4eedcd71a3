"""Reads what cells of the run list say where that is not at hand: confs, and curves of MLflow's store.

For a thread of its own; owns no widget.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.runs.changed import changed, told
from engine.runs.record import Record
from engine.track import sparks
from tui.widgets.run_columns import column


def read_cells(
    wanted: Sequence[tuple[Record, str]], baseline: Record | None
) -> dict[tuple[Record, str], str]:
    """Return the texts of cells, by run and column."""
    stored = sparks.of_stored(record for record, key in wanted if key == "spark")
    found: dict[tuple[Record, str], str] = {}
    for record, key in wanted:
        if key == "spark":
            found[record, key] = stored[record]
        elif key == "changed" and baseline is not None:
            found[record, key] = told(changed(record, baseline))
        else:
            found[record, key] = column(key).text(record)
    return found
