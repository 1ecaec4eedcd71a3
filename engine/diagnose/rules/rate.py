"""SP401 to SP405: the learning rate and its schedule."""

from __future__ import annotations

import itertools

from engine.diagnose import remedies
from engine.diagnose.findings import Finding
from engine.diagnose.measure import mean, median, running_median, swing
from engine.diagnose.registry import rule
from engine.diagnose.rules.telling import found, percent
from engine.diagnose.story import Story

_PLATEAU_EPOCHS, _FLAT, _GOOD_FIT = 12, 0.01, 0.5
_REMAINS = 0.2
_SLOW_EPOCHS, _SLOW_FALL, _STRAIGHT = 8, 0.05, 0.9
_LEAST_STEPS = 20
_THROWN, _SOME_FIT = 10.0, 0.2
_ENDED, _IDLE_SHARE = 0.01, 0.3
_JUMP, _JUMP_LOSS = 3.0, 1.25


@rule(
    "SP401",
    yields_to=("SP1", "SP202", "SP205", "SP402", "SP403", "SP404", "SP406", "SP501", "SP503", "SP701"),
)
def plateau(story: Story) -> Finding | None:
    """The loss stands still, far from a good fit, though the rate is still high."""
    train = [value for _, value in story.train]
    fit = fit_of(story)
    if len(train) < _PLATEAU_EPOCHS or not story.rate or fit is None or fit > _GOOD_FIT:
        return None
    last = train[-max(6, int(0.4 * len(train))) :]
    third = len(last) // 3
    level = median(last[-third:])
    gained = (median(last[:third]) - level) / max(abs(level), 1e-12)
    seen = [value for _, value in story.val][-len(last) :]
    flat = gained < _FLAT
    if len(seen) >= 6:  # learning by heart is no progress: what counts is what others gain by it
        part = len(seen) // 3
        better = (median(seen[:part]) - median(seen[-part:])) / max(abs(median(seen)), 1e-12)
        flat = flat or (better < _FLAT and gained < 3 * _FLAT)
    fell = (median(train[:3]) - level) / max(abs(median(train[:3])), 1e-12)
    peak, now = max(story.rate.high), story.rate.mean[-1]
    if not flat or fell < 0.05 or now < _REMAINS * peak:
        return None
    since = next(i for i, value in enumerate(train) if value <= level * (1 + 2 * _FLAT))
    evidence = {
        "last_loss": level,
        "gained": percent(max(0.0, gained)),
        "since_epoch": since + 1,
        "learning_rate": now,
        "explained": percent(fit),
    }
    cures = remedies.ranked(
        (
            (0.7, remedies.set_to(story.conf, "training.schedule", "warmup_cosine", "falling_schedule")),
            (0.6, remedies.lower_rate(story.conf, "lower_rate_plateau")),
            (0.3, remedies.remedy("larger_network", model=story.setting("model.name", "?"))),
        )
    )
    steps = (story.train[since][0], story.train[-1][0])
    return found("SP401", "warning", 0.7, evidence, steps, cures, rate=f"{now:.3g}", epoch=since + 1)


@rule("SP402", yields_to=("SP1", "SP202", "SP206", "SP404", "SP502"))
def too_low(story: Story) -> Finding | None:
    """The loss falls in a straight line, and next to nothing."""
    train, val = [v for _, v in story.train], [v for _, v in story.val or story.train]
    if len(train) < _SLOW_EPOCHS or len(val) < _SLOW_EPOCHS or not story.rate or val[0] <= 0:
        return None
    fall = (val[0] - val[-1]) / val[0]
    down = sum(b < a for a, b in itertools.pairwise(val)) / (len(val) - 1)
    half = len(val) // 2
    first, second = val[0] - val[half], val[half] - val[-1]
    fading = story.rate.mean[-1] < 0.5 * max(story.rate.high)
    if not 0 < fall < _SLOW_FALL or down < _STRAIGHT or second < 0.5 * first or fading or swing(val) > 1e-3:
        return None
    evidence = {
        "fallen": percent(fall),
        "first_loss": val[0],
        "last_loss": val[-1],
        "learning_rate": max(story.rate.high),
        "gradient_norm": median(story.norm.mean) if story.norm else None,
    }
    cures = remedies.ranked(((0.8, remedies.higher_rate(story.conf)), (0.4, remedies.longer(story.conf, 4))))
    steps = (story.train[0][0], story.train[-1][0])
    return found("SP402", "warning", 0.85, evidence, steps, cures, rate=f"{max(story.rate.high):.3g}")


@rule("SP403", yields_to=("SP1", "SP204", "SP205"))
def too_high(story: Story) -> Finding | None:
    """The first steps threw the loss far up."""
    loss = story.loss
    if len(loss) < _LEAST_STEPS or not story.rate:
        return None
    start = min(loss.mean[:3])
    early = range(min(len(loss), max(10, len(loss) // 4)))
    worst = max(early, key=loss.high.__getitem__)
    smooth = running_median(loss.mean, 9)
    if start <= 0 or (
        loss.high[worst] < _THROWN * max(start, smooth[worst]) and not (smooth[worst] > _THROWN * start)
    ):
        return None
    step = loss.step_of_high(worst)
    low = min(smooth[worst:])
    fit = best_fit(story)
    learned = median(loss.share(0.67, 1.0)) < 0.75 * start if fit is None else fit > _SOME_FIT
    if learned:
        return None  # thrown once, but it learned all the same: a spike
    evidence = {
        "first_loss": start,
        "highest_loss": loss.high[worst],
        "highest_at": step,
        "lowest_loss": low,
        "learning_rate": story.rate.at(step),
    }
    cures = remedies.ranked(
        (
            (0.8, remedies.lower_rate(story.conf, "lower_rate_high")),
            (0.4, remedies.clip_gradients(story.conf)),
            (0.3, _warmed(story)),
        )
    )
    return found(
        "SP403", "warning", 0.85, evidence, (loss.first[0], step), cures,
        rate=f"{max(story.rate.high):.3g}", ratio=f"{loss.high[worst] / start:.0f}",
    )  # fmt: skip


def _warmed(story: Story) -> remedies.Remedy | None:
    epochs = story.number("training.epochs", 0)
    if epochs < 2 or str(story.setting("training.schedule")).startswith("warmup"):
        return None
    return remedies.remedy("warm_up", {"training.schedule": "warmup_cosine"})


@rule("SP404", yields_to=("SP1",))
def ends_early(story: Story) -> Finding | None:
    """The rate is next to nothing for much of the run: those epochs learn nothing."""
    rate = story.rate
    if len(rate) < _LEAST_STEPS or story.setting("training.schedule") == "plateau":
        return None
    total = int(story.number("training.epochs", 0)) * story.record.steps_per_epoch
    blocks = [i for i in range(len(rate)) if not total or rate.last[i] <= total]
    if not blocks or not (peak := max(rate.high[i] for i in blocks)):
        return None
    alive = [i for i in blocks if rate.mean[i] > _ENDED * peak]
    end = rate.last[alive[-1]]
    last = rate.last[blocks[-1]]
    share = (last - end) / max(total, last)
    if share < _IDLE_SHARE:
        return None
    evidence = {
        "schedule": story.setting("training.schedule"),
        "rate_there": peak,
        "learning_rate": rate.mean[blocks[-1]],
        "ends_at": end,
        "idle_share": percent(share),
    }
    epoch = story.epoch_of(end)
    cures = remedies.ranked(
        (
            (0.8, remedies.set_to(story.conf, "training.schedule", "warmup_cosine", "whole_schedule")),
            (0.5, remedies.set_to(story.conf, "training.epochs", max(1, epoch), "fewer_epochs")),
        )
    )
    return found("SP404", "warning", 0.9, evidence, (end, last), cures, epoch=epoch, share=percent(share))


@rule("SP405", yields_to=("SP1",))
def jumps(story: Story) -> Finding | None:
    """The schedule raised the rate at once, and the loss with it."""
    rate, loss = story.rate, story.loss
    if len(rate) < 2 * _LEAST_STEPS or len(loss) != len(rate):
        return None
    hits = []
    for place in range(max(5, len(rate) // 20), len(rate) - 5):
        if rate.mean[place] < _JUMP * rate.mean[place - 1] or rate.mean[place - 1] <= 0:
            continue
        before = median(loss.mean[max(0, place - 10) : place])
        after = median(loss.mean[place : place + 20][:15])
        if before > 0 and after > _JUMP_LOSS * before:
            hits.append((after / before, place, before, after))
    if not hits:
        return None
    ratio, place, before, after = max(hits)
    step = rate.first[place]
    evidence = {
        "schedule": story.setting("training.schedule"),
        "rate_there": rate.mean[place - 1],
        "learning_rate": rate.mean[place],
        "loss_before": before,
        "loss_after": after,
        "jumps": len(hits),
    }
    cures = remedies.ranked(
        (
            (0.8, remedies.set_to(story.conf, "training.schedule", "warmup_cosine", "falling_schedule")),
            (0.5, remedies.lower_rate(story.conf, "lower_rate_spikes")),
        )
    )
    return found(
        "SP405", "warning", min(0.95, 0.5 + ratio / 5), evidence, (step, loss.last[-1]), cures, step=step
    )


def best_fit(story: Story) -> float | None:
    """Return that share of the label that is explained best."""
    values = [points[-1][1] for points in story.of_labels("r2").values()]
    return max(values, default=None)


def fit_of(story: Story) -> float | None:
    """Return the share of the labels' scatter that the validation predictions explain, of all labels."""
    values = [points[-1][1] for points in story.of_labels("r2").values()]
    return mean([max(-1.0, value) for value in values]) if values else None
