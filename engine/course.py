"""The learning rate over a whole run, before there is one: its steps, counted from the tables, and its rates.

What `spectui schedule` tells and the launch form draws. Reads no more of the tables than the rows of the
labels. No torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.conf.schema import Training
from engine.errors import BadInput
from engine.schedules import factor_of, rates
from engine.spectra import DataConf
from engine.words import say
from engine.workspace import Workspace

UNCOUNTED = 100
"""Steps an epoch where there is no data to count."""
_LOOKS = 1000  # at most, for the peak between two points


@dataclass(frozen=True)
class Course:
    """Rates at some steps (0-based) of a run; `counted` tells whether its steps are more than a guess."""

    training: Training
    per_epoch: int
    counted: bool
    points: list[tuple[int, float]]
    peak: tuple[int, float]
    """The step of the highest rate, the first if there are several, and that rate."""

    @property
    def steps(self) -> int:
        """The steps of the whole run."""
        return self.training.epochs * self.per_epoch

    @property
    def last(self) -> float:
        """The rate of the last step."""
        return self.points[-1][1]


def course_of(training: Training, stars: int | None, points: int) -> Course:
    """Return the course of a run on so many training stars (None: not known), at about `points` steps.

    Raises:
        BadInput: a run of more steps than can be counted.
    """
    per_epoch = UNCOUNTED if stars is None else steps_of(stars, training.batch_size)
    steps = training.epochs * per_epoch
    try:
        found = rates(training, steps, per_epoch, points)
        return Course(training, per_epoch, stars is not None, found, _peak(training, steps, per_epoch, found))
    except ArithmeticError:
        raise BadInput(say("cli.schedule_beyond", key="training.epochs")) from None


def _peak(
    training: Training, steps: int, per_epoch: int, points: list[tuple[int, float]]
) -> tuple[int, float]:
    """Return the step and the rate of the peak, looked for between the points beside the highest one."""
    place = max(range(len(points)), key=lambda i: points[i][1])
    low, high = points[max(0, place - 1)][0], points[min(len(points) - 1, place + 1)][0]
    factor = factor_of(training, steps, per_epoch)
    every = max(1, (high - low) // _LOOKS)
    between = [(step, training.learning_rate * factor(step)) for step in range(low, high + 1, every)]
    return max([*between, points[place]], key=lambda point: (point[1], -point[0]))


def steps_of(stars: int, batch_size: int) -> int:
    """Return the batches of an epoch; a last batch of one star is not given."""
    whole, rest = divmod(stars, min(batch_size, stars))
    return max(1, whole + (rest > 1))


def training_stars(here: Workspace, conf: DataConf) -> int | None:
    """Return about how many stars will train, by the rows of the label table; None where there is none."""
    from engine.spectra import layout
    from engine.spectra.facts_sets import rows_of
    from engine.spectra.headers import DAMAGED

    try:
        tables = layout.find_tables(layout.resolve(here, conf.path), conf, here.root)
        files = tables.files["labels"]
        if tables.parts:
            part = tables.parts.index("train")
            return rows_of(files[part], tables.shown("labels", part)) or None
        rows = sum(rows_of(file, tables.shown("labels", part)) for part, file in enumerate(files))
    except (BadInput, OSError, ValueError, *DAMAGED):
        return None
    rows = min(rows, conf.max_rows or rows)
    share = conf.split.ratios[0]
    if conf.split.folds is not None:
        share = (share + conf.split.ratios[1]) * (1 - 1 / conf.split.folds)
    return max(1, round(share * rows))
