"""What each view of the comparison says, built from the compared runs. Owns no widget and no state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from textual.strip import Strip

from engine.cli.text import figure
from engine.compare import change, metrics, params, written
from engine.compare.labels import error, is_tested, labels, longest, unit
from engine.compare.numbers import axes, differing_numbers, places, wants_log
from engine.compare.tables import MISSING, Table, best_index, is_main, is_number, same, sense
from engine.runs.record import Record
from engine.words import say
from tui.charts.cursor import Reading
from tui.charts.strips import PLAIN, Cell, ansi, fit
from tui.comparing import Compared
from tui.theme import BAD, state_words
from tui.widgets.compare_plots import Axis, grades, parallel, scatter
from tui.widgets.plain import fit as fit_text
from tui.widgets.rows import BOLD, DIM, Piece, Sheet, cells_of

VIEWS = ("curves", "params", "metrics", "labels", "scatter", "parallel")
TABLES = ("params", "metrics", "labels")
_VERDICTS = {"better": ansi(2), "worse": ansi(3), "same": DIM, "": PLAIN}
_BAD = ansi(9, bold=True)
_METRIC_WIDTH, _CHANGE_WIDTH, _PARAM_WIDTH = 11, 26, 14
_FIGURE_WIDTH = 11
_STATE_WIDTH = 11
_USUAL_X = "training.learning_rate"
_FIRST = ("best.val_loss", "test.loss")
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def params_table(compared: Compared, *, everything: bool) -> Table:
    """Return the parameters: of two and more runs what differs, or all."""
    return compared.once(("params", everything), lambda: params(compared.columns(), everything=everything))


def metrics_table(compared: Compared, *, everything: bool) -> Table:
    """Return the metrics: losses and absolute errors, or all."""
    return compared.once(("metrics", everything), lambda: _metrics_table(compared, everything))


def _metrics_table(compared: Compared, everything: bool) -> Table:
    table = metrics(compared.columns())
    if not everything:
        table.rows = {key: values for key, values in table.rows.items() if is_main(key)}
    return table


def params_sheet(compared: Compared, table: Table, names: dict[str, str]) -> Sheet:
    """Return the parameters as a table; what is not as in the baseline is bold."""
    titles, rows, base = list(table.rows), list(table.rows.values()), _baseline(compared, table)

    def cell(row: int, column: int) -> list[Piece]:
        value = rows[row][column]
        other = base is not None and not same(value, rows[row][base])
        return [(written(value), _style(value) + (BOLD if other else PLAIN))]

    return _sheet(compared, table, names, titles, cell, _PARAM_WIDTH)


def metrics_sheet(compared: Compared, table: Table, names: dict[str, str]) -> Sheet:
    """Return the metrics as a table: the best of a row with '*', changes against the baseline in words."""
    titles, rows, base = list(table.rows), list(table.rows.values()), _baseline(compared, table)

    def cell(row: int, column: int) -> list[Piece]:
        key, values = titles[row], rows[row]
        value = values[column]
        best = best_index(key, values) == column
        pieces = [(written(value) + ("*" if best else ""), _style(value) + (BOLD if best else PLAIN))]
        if base is not None and column != base:
            changed = change(key, value, values[base])
            if changed is not None:
                pieces.append((f"  {changed.text()}", _VERDICTS[changed.verdict]))
        return pieces

    return _sheet(compared, table, names, titles, cell, _METRIC_WIDTH if base is None else _CHANGE_WIDTH)


def _sheet(
    compared: Compared,
    table: Table,
    names: dict[str, str],
    titles: list[str],
    cell: Callable[[int, int], list[Piece]],
    width: int,
) -> Sheet:
    def head(column: int) -> list[Piece]:
        run_id = table.run_ids[column]
        look = compared.looks[run_id]
        sign = f"{say('compare.sign.baseline')} " if run_id == compared.baseline else ""
        return [(f"{look.letter} {sign}{names[run_id]}", ansi(look.colour, bold=True))]

    fixed = sum(run_id in compared.pinned or run_id == compared.baseline for run_id in table.run_ids[:6])
    return Sheet(titles, table.run_ids, cell, head, width, fixed)


def _baseline(compared: Compared, table: Table) -> int | None:
    return table.run_ids.index(compared.baseline) if compared.baseline in table.run_ids else None


def _style(value: Any) -> Any:
    if value is MISSING:
        return DIM
    return _BAD if isinstance(value, float) and not math.isfinite(value) else PLAIN


def told_cell(table: Table, row: int, column: int, names: dict[str, str]) -> str:
    """Return the whole of one cell in a line: what a narrow column cuts."""
    if not table.rows or not table.run_ids:
        return ""
    row, column = min(row, len(table.rows) - 1), min(column, len(table.run_ids) - 1)
    key = list(table.rows)[row]
    return f"{names[table.run_ids[column]]}   {key} = {written(table.rows[key][column])}"


def run_line(
    compared: Compared, names: dict[str, str], quantity: str, row: int, width: int,
    looked: tuple[Reading | None] | None = None,
) -> list[Cell]:  # fmt: skip
    """Return one run of the list at the side: shown or hidden, letter, name, state, last value.

    With a cursor on the curves, `looked` is what the run says there: the value, and with a baseline, in place
    of the state, the difference to it.
    """
    run_id = compared.order[row]
    record, look = compared.record(run_id), compared.looks[run_id]
    hidden = run_id in compared.hidden
    colour = ansi(look.colour, bold=not hidden, dim=hidden)
    signs = (
        say("compare.sign.baseline") if run_id == compared.baseline else "",
        say("compare.sign.pinned") if run_id in compared.pinned else "",
    )
    value = record.last.get(quantity) if record is not None else None
    if looked is not None:
        value = looked[0].value if looked[0] is not None else None
    name_width = max(4, width - 6 - _STATE_WIDTH - _FIGURE_WIDTH - 3)
    name = " ".join(filter(None, (*signs, names.get(run_id, run_id))))
    if record is None or run_id in compared.gone:
        state, style = say("compare.gone"), _BAD
    else:
        state, style = state_words(record.state), _BAD if record.state in BAD else PLAIN
    if looked is not None and compared.baseline:
        changed = looked[0].difference if looked[0] is not None else None
        state, style = "" if changed is None else f"{changed:+.4g}".rjust(_STATE_WIDTH), PLAIN
    return cells_of(
        [
            ("○ " if hidden else "● ", colour),
            (fit_text(look.letter, 3), colour),
            (fit_text(name, name_width), DIM if hidden else PLAIN),
            (f" {fit_text(state, _STATE_WIDTH)}", style),
            (" " + (figure(value) if value is not None else "-").rjust(_FIGURE_WIDTH - 1), _style(value)),
        ]
    )


def bar_rows(compared: Compared, kind: str) -> list[tuple[str, Record | None]]:
    """Return what the rows of the bars are: a label alone, then each run that is shown."""
    records = compared.records(shown=True)
    return [(label, one) for label in labels(records) for one in (None, *records)]


def bar_line(
    compared: Compared, names: dict[str, str], rows: Sequence[tuple[str, Record | None]], kind: str,
    most: dict[str, float], row: int, width: int,
) -> list[Cell]:  # fmt: skip
    """Return a label's heading, or one run's bar with its error and whether it is the best."""
    label, record = rows[row]
    if record is None:
        of = f" ({unit(label)})" if unit(label) else ""
        return cells_of([(f"{label}  {say(f'compare.kind.{kind}')}{of}", BOLD)])
    look = compared.looks[record.run_id]
    value = error(record, label, kind)
    name_width = max(10, min(28, width // 4))
    head: list[Piece] = [
        (f"  {fit_text(look.letter, 3)}", ansi(look.colour, bold=True)),
        (fit_text(names[record.run_id], name_width), PLAIN),
        (" " + (written(value) if value is not None else "-").rjust(_FIGURE_WIDTH - 1) + " ", _style(value)),
    ]
    if value is None:
        return cells_of(head)
    told = "" if is_tested(record, label, kind) else f" {say('compare.on_val')}"
    base = compared.record(compared.baseline) if compared.baseline else None
    if base is not None and base is not record:
        changed = change(f"{label}_{kind}", value, error(base, label, kind))
        told += f" {changed.text()}" if changed is not None else ""
    left = cells_of(head)
    room = max(4, width - len(left) - max(24, len(told)) - 1)
    length = abs(value) / most[label] if math.isfinite(value) and most[label] else 0.0
    bar = _bar(length, room)
    style = _BAD if not math.isfinite(value) else ansi(look.colour)
    return [*left, *fit(cells_of([(bar, style)]), room), *cells_of([(told, DIM)])]


def _bar(share: float, room: int) -> str:
    eighths = max(1, round(share * room * 8)) if share > 0 else 0
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def most_of(compared: Compared, kind: str) -> dict[str, float]:
    """Return the largest error of each label: what the longest bar stands for."""
    records = compared.records(shown=True)
    return {label: longest([error(r, label, kind) for r in records]) for label in labels(records)}


def numbers(compared: Compared) -> dict[str, list[Any]]:
    """Return what the axes of a scatter can be, of the runs that are shown."""
    return compared.once("axes", lambda: axes(compared.records(shown=True)))


def metric_names(compared: Compared) -> list[str]:
    """Return the metrics by which runs are judged, the usual ones first."""
    named = [key for key in numbers(compared) if key.startswith(("best.", "last.", "test."))]
    return sorted(named, key=lambda key: (key not in _FIRST, not is_main(key), key.startswith("last.")))


def usual_x(found: dict[str, list[Any]]) -> str:
    """Return what a scatter has on its x axis while nobody chose: a number that differs, not a name."""
    numeric = [key for key, values in found.items() if any(map(is_number, values))]
    numeric.sort(key=lambda key: key != _USUAL_X)
    return next(iter([*numeric, *found]), "")


def _axis(name: str, values: Sequence[Any]) -> Axis:
    at, words = places(values)
    return Axis(name, at, words, not words and wants_log(values))


def scatter_of(compared: Compared, x: str, y: str) -> Callable[[int, int], list[Strip]]:
    """Return what draws the scatter of one number of the runs against another."""
    records = compared.records(shown=True)
    found = numbers(compared)
    nothing = [MISSING] * len(records)
    looks = [compared.looks[record.run_id] for record in records]
    return partial(
        scatter,
        _axis(x, found.get(x, nothing)),
        _axis(y, found.get(y, nothing)),
        looks,
        _current(compared, records),
    )


def parallel_of(compared: Compared, metric: str) -> Callable[[int, int], list[Strip]]:
    """Return what draws the differing numbers of the runs and a metric on upright axes."""
    records = compared.records(shown=True)
    values = numbers(compared).get(metric, [MISSING] * len(records))
    last = _axis(metric, values)
    differing = compared.once("differing", lambda: differing_numbers(records))
    shown = [_axis(key, found) for key, found in differing.items()]
    looks = [compared.looks[record.run_id] for record in records]
    colours = grades(last.places, sense(metric))
    return partial(
        parallel, [*shown, last], colours, best_index(metric, values), _current(compared, records), looks
    )


def _current(compared: Compared, records: Sequence[Record]) -> int | None:
    ids = [record.run_id for record in records]
    return ids.index(compared.current) if compared.current in ids else None
