"""`schedule CONF`: how the learning rate will move, before anything is trained.

A terminal is shown a chart below the table, if who called can draw one (see `engine.cli.spectrum`).
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from engine import workspace
from engine.cli.text import message, print_json, print_table
from engine.conf.load import resolve
from engine.course import course_of, training_stars
from engine.words import say

_ROWS, _POINTS, _DRAWN, _BAR = 16, 200, 2000, 40


def schedule(arguments: argparse.Namespace) -> int:
    """Show the learning rate over the run: a table with bars and a chart, or JSON."""
    here = workspace.find(arguments.root)
    conf = resolve(here, arguments.conf, sets=arguments.sets or ()).conf
    training = conf.training
    stars = training_stars(here, conf.data)
    course = course_of(training, stars, _POINTS if arguments.json else _ROWS, conf.finetune)
    found = [
        {"step": step, "epoch": round(step / course.per_epoch, 3), "learning_rate": rate}
        for step, rate in course.points
    ]
    if arguments.json:
        told: dict[str, Any] = {
            "schedule": training.schedule, "epochs": course.epochs, "steps": course.steps,
            "steps_per_epoch": course.per_epoch, "counted": course.counted, "points": found,
            "finetune_at": course.finetune_at,
        }  # fmt: skip
        print_json(told)
        return 0
    counts = {"epochs": course.epochs, "steps": course.per_epoch, "kind": training.schedule}
    message(say("cli.schedule_of" if course.counted else "cli.schedule_guessed", **counts))
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
    draw = getattr(arguments, "draw", None)
    if draw is not None and sys.stdout.isatty():
        print()
        for line in draw("schedule", course_of(training, stars, _DRAWN, conf.finetune)):
            print(line)
    return 0
