"""SP2xx: gradients that explode or vanish, losses that jump, and a run that leaves its floor."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.diagnose import remedies
from engine.diagnose.findings import Finding, Severity
from engine.diagnose.measure import median, median_before, running_median, scatter
from engine.diagnose.registry import rule
from engine.diagnose.rules.telling import found, percent
from engine.diagnose.story import Story, Trace

_LEAST_BLOCKS = 20
_EXPLODES, _LARGE = 30.0, 10.0
_VANISHES = 1e-5
_SPIKE, _STEEP, _SPIKE_SCATTERS = 3.0, 5.0, 3.5
_WINDOW = 25
_RECOVERED, _SOON = 1.5, 10
_STAYS = 1.3
_LEAVES = 1.0
_CLIPPED_SHARE, _CLIPPED_HARD = 0.9, 100.0


@rule("SP201", yields_to=("SP1", "SP403"))
def exploding(story: Story) -> Finding | None:
    """The gradient norm grew manyfold and stayed there, and the loss gained nothing by it."""
    norm, loss = story.norm, story.loss
    if len(norm) < _LEAST_BLOCKS or len(loss) != len(norm):
        return None
    early = median(norm.share(0.0, 0.2))
    level = running_median(norm.mean, max(5, len(norm) // 10))
    most = max(range(len(level)), key=level.__getitem__)
    gained = median(loss.share(0.0, 0.2)) > 1.25 * median(loss.mean[max(0, most - 5) : most + 6])
    if early <= 0 or level[most] < max(_LARGE, _EXPLODES * early) or gained:
        return None
    if median(norm.share(0.9, 1.0)) < 5 * early:
        return None  # once, and it came back
    first = next(i for i, value in enumerate(level) if value > 5 * early)
    grown = {name: _growth(trace) for name, trace in story.parts().items() if trace}
    part = max(grown, key=grown.__getitem__, default=None)
    evidence = {
        "gradient_norm_before": early,
        "gradient_norm": level[most],
        "grown": f"{level[most] / early:.0f} x",
        "part": part,
        "part_grown": None if part is None else f"{grown[part]:.0f} x",
        "clipped_at": story.setting("training.gradient_clip_val"),
    }
    cures = remedies.ranked(
        (
            (0.7, remedies.clip_gradients(story.conf)),
            (0.6, remedies.lower_rate(story.conf)),
            (0.5, remedies.layer_norm(story.workspace, story.conf)),
        )
    )
    steps = (norm.first[first], norm.last[-1])
    return found("SP201", "warning", min(0.95, 0.6 + level[most] / early / 1000), evidence, steps, cures)


def _growth(trace: Trace) -> float:
    early = median(trace.share(0.0, 0.2))
    return max(running_median(trace.mean, 5)) / early if early > 0 else 0.0


@rule("SP202", yields_to=("SP1", "SP201"))
def vanishing(story: Story) -> Finding | None:
    """A part of the network gets next to nothing of the gradient."""
    middles = {
        name: median(trace.share(0.5, 1.0)) for name, trace in story.parts().items() if len(trace) >= 5
    }
    if len(middles) < 2 or len(story.norm) < _LEAST_BLOCKS:
        return None
    strong = max(middles, key=middles.__getitem__)
    weak = {name: v for name, v in middles.items() if 0 < v < _VANISHES * middles[strong]}
    if not weak:
        return None
    part = min(weak, key=weak.__getitem__)
    evidence = {
        "part": part,
        "part_norm": weak[part],
        "strongest_part": strong,
        "strongest_norm": middles[strong],
    }
    cures = remedies.ranked(
        (
            (0.6, remedies.layer_norm(story.workspace, story.conf)),
            (0.3, remedies.higher_rate(story.conf)),
            (0.2, remedies.remedy("look_at_part", part=part)),
        )
    )
    steps = (story.norm.first[len(story.norm) // 2], story.norm.last[-1])
    return found("SP202", "warning", 0.85, evidence, steps, cures, part=part)


@rule("SP203", yields_to=("SP1", "SP204", "SP205", "SP403"))
def spikes(story: Story) -> Finding | None:
    """The loss jumped and came back."""
    loss = story.loss
    jumps = jumps_of(loss, story.norm)
    if not jumps:
        return None
    baseline = median_before(loss.mean, _WINDOW)
    back = [i for i in jumps if _recovers(loss, i, baseline[i])]
    if len(back) < len(jumps) or not back:
        return None
    worst = max(back, key=lambda i: loss.high[i] / baseline[i])
    steps = [loss.step_of_high(i) for i in back]
    evidence = {
        "spikes": len(back),
        "spike_steps": steps[:8],
        "highest_loss": loss.high[worst],
        "usual_loss": baseline[worst],
        "gradient_norm": story.norm.at(loss.step_of_high(worst)),
    }
    severity: Severity = "warning" if len(back) >= 3 else "info"
    cures = remedies.ranked(
        (
            (0.7, remedies.clip_inputs(story.conf)),
            (0.6, remedies.clip_gradients(story.conf)),
            (0.5, remedies.set_to(story.conf, "training.loss", "huber", "robust_loss")),
            (0.3, remedies.lower_rate(story.conf, "lower_rate_spikes")),
        )
    )
    ends = (min(steps), max(steps))
    return found("SP203", severity, min(0.95, 0.5 + 0.1 * len(back)), evidence, ends, cures, count=len(back))


@rule("SP204", yields_to=("SP1",))
def spike_that_stays(story: Story) -> Finding | None:
    """The loss jumped from one block to the next and never came back."""
    loss = story.loss
    if len(loss) < 2 * _LEAST_BLOCKS:
        return None
    best: tuple[float, int] | None = None
    for place in range(10, len(loss) - 10):
        before = loss.mean[max(0, place - 20) : place]
        after = loss.mean[place : place + 10]
        level, noise = median(before), scatter(before)
        sudden = median(before[-5:]) < 1.15 * level < median(after[:5])
        if level <= 0 or not sudden or median(after) < level + 2 * noise:
            continue
        if median(after) < 1.2 * max(running_median(loss.mean[max(0, place - 100) : place], 11)):
            continue  # as high as it has been before
        later = max(running_median(loss.mean[place:], 7))
        if math.log(median(after[:5]) / level) < 0.5 * math.log(later / level):
            continue  # a climb that goes on, not a jump
        if median(after) > _STAYS * level and (best is None or median(after) / level > best[0]):
            best = (median(after) / level, place)
    if best is None:
        return None
    ratio, place = best
    before_level = median(loss.mean[max(0, place - 20) : place])
    rest = running_median(loss.mean[place:], 7)
    if min(rest) < 1.1 * before_level or median(rest[-5:]) < 1.15 * before_level:
        return None
    step = loss.first[place]
    saved = [c for c in story.record.checkpoints if c["step"] < step]
    evidence = {
        "loss_before": before_level,
        "loss_after": median(loss.mean[place : place + 10]),
        "last_loss": loss.mean[-1],
        "gradient_norm_before": story.norm.at(step - 1),
        "gradient_norm": story.norm.at(step),
        "learning_rate": story.rate.at(step),
        "good_checkpoint": saved[-1]["file"] if saved else None,
    }
    cures = remedies.ranked(
        (
            (0.7, remedies.clip_gradients(story.conf)),
            (0.6, remedies.lower_rate(story.conf, "lower_rate_spikes")),
            (0.5, remedies.clip_inputs(story.conf)),
        )
    )
    ends = (step, loss.last[-1])
    return found("SP204", "error", min(0.95, 0.5 + ratio / 10), evidence, ends, cures, step=step)


@rule("SP205", yields_to=("SP1", "SP204"))
def leaves_its_floor(story: Story) -> Finding | None:
    """The training loss was low once and rose from there for good."""
    loss = story.loss
    if len(loss) < 2 * _LEAST_BLOCKS:
        return None
    smooth = running_median(loss.mean, max(5, len(loss) // 20))
    place = min(range(len(smooth)), key=smooth.__getitem__)
    floor, end = smooth[place], median(loss.mean[-max(3, len(loss) // 20) :])
    start = median(smooth[: max(3, len(loss) // 20)])
    size = max(abs(floor), start - floor, 1e-12)
    rise = (end - floor) / size
    if rise < _LEAVES or place > 0.95 * len(loss) or end < floor + 5 * scatter(loss.mean[: place + 1][-40:]):
        return None
    place = max(i for i, value in enumerate(smooth) if value <= floor + 0.1 * (end - floor))
    step = loss.last[place]
    saved = [c for c in story.record.checkpoints if c["step"] <= step]
    evidence = {
        "lowest_loss": floor,
        "lowest_at": step,
        "last_loss": end,
        "rate_there": story.rate.at(step),
        "learning_rate": story.rate.at(loss.last[-1]),
        "gradient_norm": story.norm.mean[-1] if story.norm else None,
        "good_checkpoint": saved[-1]["file"] if saved else None,
    }
    cures = remedies.ranked(
        (
            (0.8, remedies.lower_rate(story.conf, "lower_rate_floor", there=_shown(story.rate.at(step)))),
            (0.6, remedies.clip_gradients(story.conf)),
            (0.3, remedies.set_to(story.conf, "training.schedule", "warmup_cosine", "falling_schedule")),
        )
    )
    ends = (step, loss.last[-1])
    return found("SP205", "error", min(0.95, 0.6 + rise / 20), evidence, ends, cures, step=step)


@rule("SP206", yields_to=("SP1", "SP201", "SP204", "SP205", "SP502"))
def always_clipped(story: Story) -> Finding | None:
    """Nearly every step is clipped: the clip, not the gradient, says how far a step goes."""
    most, norm = story.number("training.gradient_clip_val"), story.norm
    if not math.isfinite(most) or story.setting("training.gradient_clip") == "value":
        return None
    if len(norm) < _LEAST_BLOCKS:
        return None
    late = norm.share(0.5, 1.0)
    share = sum(value > most for value in late) / len(late)
    if share < _CLIPPED_SHARE:
        return None
    usual = median(late)
    hard = usual > _CLIPPED_HARD * most
    looser = remedies.remedy("looser_clip", {"training.gradient_clip_val": remedies.tidy(3 * usual)})
    evidence = {"clipped_share": percent(share), "clipped_at": most, "gradient_norm": usual}
    return found(
        "SP206", "warning" if hard else "info", 0.8, evidence, (norm.first[0], norm.last[-1]), (looser,),
        share=percent(share),
    )  # fmt: skip


def jumps_of(loss: Trace, norm: Trace) -> list[int]:
    """Return the blocks where loss and gradient both lie far above what came before, beyond their noise."""
    if len(loss) < _LEAST_BLOCKS or len(norm) != len(loss):
        return []
    of_loss, of_norm = _above(loss), _above(norm)
    limit = max(math.log(_SPIKE), _SPIKE_SCATTERS * scatter(of_loss) + median(of_loss))
    steep = max(math.log(_STEEP), _SPIKE_SCATTERS * scatter(of_norm) + median(of_norm))
    return [i for i in range(5, len(loss)) if of_loss[i] > limit and of_norm[i] > steep]


def _above(trace: Trace) -> list[float]:
    """Return by how much each block's highest value exceeds what was usual before it, as a logarithm."""
    return [
        math.log(high / base) if high > 0 and base > 0 else 0.0
        for high, base in zip(trace.high, median_before(trace.mean, _WINDOW), strict=True)
    ]


def _recovers(loss: Trace, place: int, level: float) -> bool:
    after: Sequence[float] = loss.mean[place + 1 : place + 1 + _SOON]
    return not after or min(after) < _RECOVERED * level


def _shown(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.3g}"
