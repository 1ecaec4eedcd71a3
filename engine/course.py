"""The learning rate over a whole run, before there is one: its steps, counted from the tables, and its rates.

What `spectui schedule` tells and the launch form draws. Reads no more of the tables than the rows of the
labels. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from engine.conf.schema import Finetune, Training
from engine.errors import BadInput
from engine.schedules import factor_of
from engine.spectra import DataConf
from engine.words import say
from engine.workspace import Workspace

UNCOUNTED = 100
"""Steps an epoch where there is no data to count."""
_LOOKS = 1000  # at most, for the peak between two points


@dataclass(frozen=True)
class Course:
    """Rates at some steps (0-based) of a run; `counted` tells whether its steps are more than a guess.

    A fine-tuning stage follows the training; `finetune_at` is its first step, None without one. How many
    stars its filter leaves is not known before the tables are read: its epochs are drawn as long as others.
    """

    training: Training
    epochs: int
    finetune_at: int | None
    per_epoch: int
    counted: bool
    points: list[tuple[int, float]]
    peak: tuple[int, float]
    """The step of the highest rate, the first if there are several, and that rate."""

    @property
    def steps(self) -> int:
        """The steps of the whole run."""
        return self.epochs * self.per_epoch

    @property
    def last(self) -> float:
        """The rate of the last step."""
        return self.points[-1][1]


def course_of(training: Training, stars: int | None, points: int, finetune: Finetune | None = None) -> Course:
    """Return the course of a run on so many training stars (None: not known), at about `points` steps.

    Raises:
        BadInput: a run of more steps than can be counted, or of none.
    """
    per_epoch = UNCOUNTED if stars is None else steps_of(stars, training.batch_size)
    per_epoch = math.ceil(per_epoch / training.accumulate)
    stages = [training] if training.epochs else []
    if finetune is not None and finetune.epochs:
        stages.append(finetuning(training, finetune))
    if not stages:
        raise BadInput(f"training.epochs: {say('conf.rule.no_epochs')}")
    epochs = sum(stage.epochs for stage in stages)
    at = training.epochs * per_epoch if len(stages) > 1 else None if training.epochs else 0
    try:
        rate = _rate(stages, per_epoch)
        steps = epochs * per_epoch
        count = max(2, min(points, steps))
        chosen = {round(i * (steps - 1) / (count - 1)) for i in range(count)} | ({at} if at else set())
        found = [(step, rate(step)) for step in sorted(chosen)]
        return Course(training, epochs, at, per_epoch, stars is not None, found, _peak(rate, found))
    except ArithmeticError:
        raise BadInput(say("cli.schedule_beyond", key="training.epochs")) from None


def finetuning(training: Training, finetune: Finetune) -> Training:
    """Return how the fine-tuning stage trains: as the training does, but for what its section says."""
    own = {name: getattr(finetune, name) for name in ("epochs", "learning_rate", "schedule", "warmup_epochs")}
    floor = min(training.min_learning_rate, finetune.learning_rate)
    return training.model_copy(update={**own, "min_learning_rate": floor})


def _rate(stages: list[Training], per_epoch: int) -> Callable[[int], float]:
    """Return the learning rate of the stages, one after the other, as a function of the step."""
    ends, factors, end = [], [], 0
    for stage in stages:
        factors.append((end, stage.learning_rate, factor_of(stage, stage.epochs * per_epoch, per_epoch)))
        end += stage.epochs * per_epoch
        ends.append(end)

    def rate(step: int) -> float:
        place = next((i for i, upto in enumerate(ends) if step < upto), len(ends) - 1)
        first, peak, factor = factors[place]
        return peak * factor(step - first)

    return rate


def _peak(rate: Callable[[int], float], points: list[tuple[int, float]]) -> tuple[int, float]:
    """Return the step and the rate of the peak, looked for between the points beside the highest one."""
    place = max(range(len(points)), key=lambda i: points[i][1])
    low, high = points[max(0, place - 1)][0], points[min(len(points) - 1, place + 1)][0]
    every = max(1, (high - low) // _LOOKS)
    between = [(step, rate(step)) for step in range(low, high + 1, every)]
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
