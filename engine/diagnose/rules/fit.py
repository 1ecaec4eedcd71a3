"""SP406 to SP408: a validation loss that swings, that turns, that never got anywhere."""

from __future__ import annotations

from engine.diagnose import remedies
from engine.diagnose.findings import Finding, Severity
from engine.diagnose.measure import mean, median
from engine.diagnose.registry import rule
from engine.diagnose.rules.rate import best_fit
from engine.diagnose.rules.telling import found, percent
from engine.diagnose.story import Story

_EVALUATIONS = 6
_WILD, _WILDER = 0.05, 2.5
_SMALL_BATCH = 16
_TURNED, _LEARNS = 1.15, 0.94
_NOTHING, _EPOCHS = 0.2, 4


@rule("SP406", yields_to=("SP1", "SP205"))
def swings(story: Story) -> Finding | None:
    """The validation loss swings wildly where the training loss does not: BatchNorm with small batches."""
    val = [v for _, v in story.val]
    if len(val) < _EVALUATIONS:
        return None
    begin = len(val) // 4
    of_val, of_train = jumpiness(val[begin:]), jumpiness([v for _, v in story.train][begin:])
    key, norm = remedies.norm_of(story.workspace, story.conf)
    batch = story.setting("training.batch_size")
    small = isinstance(batch, int) and batch <= _SMALL_BATCH
    if of_val < _WILD or of_val < _WILDER * of_train:
        return None
    tied = norm == "bn"
    lowest, highest = min(val[begin:]), max(val[begin:])
    evidence = {
        "val_swing": percent(of_val),
        "train_swing": percent(of_train),
        "val_range": [lowest, highest],
        "batch_size": batch,
        "norm": norm if key is not None else None,
    }
    stars = story.data.get("train")
    batches = remedies.larger_batch(story.conf, stars if isinstance(stars, int) else None)
    guide = remedies.of_guide(
        (0.7, remedies.layer_norm(story.workspace, story.conf)),
        (0.6, remedies.norm_momentum(story.workspace, story.conf)),
        (0.5, batches),
    )
    slower = remedies.lower_rate(story.conf, "lower_rate_swings")
    cures = (*guide, slower) if tied else (slower, batches)
    steps = (story.val[begin][0], story.val[-1][0])
    sure = 0.55 + 0.2 * tied + 0.15 * small
    severity: Severity = "warning" if (tied or small) else "info"
    sentence = "SP406" if tied else "SP406_other"
    return found("SP406", severity, sure, evidence, steps, cures, sentence=sentence, batch=batch or "?")


def jumpiness(values: list[float]) -> float:
    """Return how far a row of numbers jumps to and fro, as a share of its size; a trend does not count."""
    if len(values) < 3:
        return 0.0
    turns = [
        min(abs(b - a), abs(b - c)) if (b - a) * (b - c) > 0 else 0.0
        for a, b, c in zip(values, values[1:], values[2:], strict=False)
    ]
    size = abs(median(values))
    if min(values) <= 0:  # a likelihood may be near 0 anywhere: its size is how far it ranges
        size = max(size, max(values) - min(values))
    return mean(turns) / max(size, 1e-12)


@rule("SP407", yields_to=("SP1", "SP205"))
def overfitted(story: Story) -> Finding | None:
    """The validation loss turned and rose while the training loss went on falling."""
    val, train = story.val, dict(story.train)
    if len(val) < _EVALUATIONS:
        return None
    place = min(range(len(val)), key=lambda i: val[i][1])
    after = len(val) - 1 - place
    step, lowest = val[place]
    end = median([v for _, v in val[-3:]])
    first = val[0][1]
    size = max(abs(lowest), first - lowest, 1e-12)
    swing = 2 * jumpiness([v for _, v in val]) * abs(median([v for _, v in val]))
    if after < max(3, len(val) // 10) or end - lowest < max((_TURNED - 1) * size, swing):
        return None
    then, now = train.get(step), story.train[-1][1] if story.train else None
    if then is None or now is None or now > then - (1 - _LEARNS) * abs(then):
        return None
    epoch = story.epoch_of(step)
    patient = story.setting("training.patience") is not None
    evidence = {
        "best_epoch": epoch,
        "lowest_val": lowest,
        "last_val": end,
        "train_then": then,
        "train_now": now,
        "stars": story.data.get("train"),
        "network_parameters": story.record.machine.get("parameters"),
    }
    network = story.workspace, story.conf
    cures = remedies.ranked(
        (
            (0.8, remedies.patience(story.conf, 5)),
            (0.7, remedies.dropout(*network, 0.3)),
            (0.6, remedies.set_to(story.conf, "data.augment.noise", 0.02, "augment")
             if not story.number("data.augment.noise", 0.0) else None),
            (0.5, _decay(story)),
        )
    )  # fmt: skip
    sure = min(0.95, 0.6 + (end - lowest) / size / 5)
    steps = (step, val[-1][0])
    return found("SP407", "info" if patient else "warning", sure, evidence, steps, cures, epoch=epoch)


def _decay(story: Story) -> remedies.Remedy | None:
    if story.number("training.weight_decay", 0.0) > 0:
        return None
    return remedies.remedy("decay", {"training.weight_decay": 0.01})


@rule(
    "SP408",
    yields_to=("SP1", "SP202", "SP206", "SP401", "SP402", "SP403", "SP404", "SP405", "SP406", "SP407", "SP5",
               "SP701"),
)  # fmt: skip
def underfitted(story: Story) -> Finding | None:
    """It ended with its best, and that explains next to nothing."""
    fit, val = best_fit(story), story.val or story.train
    if story.state != "finished" or fit is None or fit >= _NOTHING or len(val) < _EPOCHS:
        return None
    train = [value for _, value in story.train]
    lowest = min(value for _, value in val)
    if val[-1][1] > lowest + 2e-3 * abs(lowest) or train[-1] > train[0] - 0.01 * abs(train[0]):
        return None
    evidence = {
        "explained": percent(max(0.0, fit)),
        "first_loss": val[0][1],
        "last_loss": val[-1][1],
        "epochs": len(story.train),
        "learning_rate": max(story.rate.high, default=None) if story.rate else None,
    }
    cures = remedies.ranked(
        (
            (0.8, remedies.longer(story.conf, 4)),
            (0.7, remedies.higher_rate(story.conf)),
            (0.3, remedies.remedy("larger_network", model=story.setting("model.name", "?"))),
        )
    )
    steps = (val[0][0], val[-1][0])
    return found("SP408", "warning", 0.6, evidence, steps, cures, share=percent(max(0.0, fit)))
