"""`schedule CONF`: how the learning rate will move, before anything is trained."""

from __future__ import annotations

import argparse
from typing import Any

from engine import workspace
from engine.cli.text import message, print_json, print_table
from engine.conf.load import resolve
from engine.errors import BadInput
from engine.schedules import rates
from engine.spectra import DataConf
from engine.words import say
from engine.workspace import Workspace

_ROWS, _POINTS, _BAR = 16, 200, 40
_UNKNOWN = 100  # steps an epoch where there is no data to count


def schedule(arguments: argparse.Namespace) -> int:
    """Show the learning rate over the run: a table with bars, or JSON."""
    here = workspace.find(arguments.root)
    conf = resolve(here, arguments.conf, sets=arguments.sets or ()).conf
    training = conf.training
    stars = _training_stars(here, conf.data)
    per_epoch = _UNKNOWN if stars is None else _steps(stars, training.batch_size)
    steps = training.epochs * per_epoch
    points = _POINTS if arguments.json else _ROWS
    found = [
        {"step": step, "epoch": round(step / per_epoch, 3), "learning_rate": rate}
        for step, rate in rates(training, steps, per_epoch, points)
    ]
    if arguments.json:
        told: dict[str, Any] = {
            "schedule": training.schedule, "epochs": training.epochs, "steps": steps,
            "steps_per_epoch": per_epoch, "counted": stars is not None, "points": found,
        }  # fmt: skip
        print_json(told)
        return 0
    counts = {"epochs": training.epochs, "steps": per_epoch, "kind": training.schedule}
    message(say("cli.schedule_of" if stars is not None else "cli.schedule_guessed", **counts))
    peak = max(point["learning_rate"] for point in found)
    print_table(
        [say("column.epoch"), say("column.rate"), ""],
        [
            [
                f"{point['epoch']:.4g}",
                f"{point['learning_rate']:.3g}",
                "█" * round(_BAR * point["learning_rate"] / peak),
            ]
            for point in found
        ],
    )
    return 0


def _steps(stars: int, batch_size: int) -> int:
    """Return the batches of an epoch; a last batch of one star is not given."""
    whole, rest = divmod(stars, min(batch_size, stars))
    return max(1, whole + (rest > 1))


def _training_stars(here: Workspace, conf: DataConf) -> int | None:
    """Return about how many stars will train, by the rows of the label table; None where there is none."""
    from engine.spectra import layout
    from engine.spectra.facts_sets import rows_of

    try:
        tables = layout.find_tables(layout.resolve(here, conf.path), conf, here.root)
        files = tables.files["labels"]
        if tables.parts:
            part = tables.parts.index("train")
            return rows_of(files[part], tables.shown("labels", part))
        rows = sum(rows_of(file, tables.shown("labels", part)) for part, file in enumerate(files))
    except (BadInput, OSError, EOFError):
        return None
    rows = min(rows, conf.max_rows or rows)
    share = conf.split.ratios[0]
    if conf.split.folds is not None:
        share = (share + conf.split.ratios[1]) * (1 - 1 / conf.split.folds)
    return max(1, round(share * rows))
