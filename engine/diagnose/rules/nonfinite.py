"""SP1xx: the loss, the gradient or the validation loss is not a finite number, and what led up to it."""

from __future__ import annotations

import math

from engine.diagnose import remedies
from engine.diagnose.findings import Finding, Remedy
from engine.diagnose.measure import median
from engine.diagnose.registry import rule
from engine.diagnose.rules.telling import found, percent
from engine.diagnose.story import Story
from engine.runs.points import NonFinite

_FROM_THE_START = 3
"""A run whose numbers break within this many steps never trained: data or a bug, not the rate alone."""
_CLIMB = 5.0
_LEAD = 20  # steps before the bad one that are looked at for a climb
_WILD = 10.0  # scaled units from 0 beyond which a pixel is no spectrum
_HALF = ("fp16",)
_MANY_SKIPPED = 0.2
_COLLAPSED = 1.0


@rule("SP101")
def from_the_start(story: Story) -> Finding | None:
    """It never trained: extreme data, half precision, or a bug of the network."""
    bad = story.record.nonfinite
    if bad is None or bad.step > _FROM_THE_START or _in_half(story, bad):
        return None
    return _finding(story, bad, "SP101", 0.9)


@rule("SP102")
def out_of_the_blue(story: Story) -> Finding | None:
    """It had trained, and nothing announced it: one batch did it."""
    bad = story.record.nonfinite
    if bad is None or bad.step <= _FROM_THE_START or _in_half(story, bad) or climbed(story, bad) is not None:
        return None
    return _finding(story, bad, "SP102", 0.8)


@rule("SP103")
def after_a_climb(story: Story) -> Finding | None:
    """Loss or gradient had climbed: the learning rate, or gradients that nothing holds."""
    bad = story.record.nonfinite
    if bad is None or bad.step <= _FROM_THE_START or _in_half(story, bad):
        return None
    since = climbed(story, bad)
    return None if since is None else _finding(story, bad, "SP103", 0.9, since)


@rule("SP104")
def half_precision(story: Story) -> Finding | None:
    """fp16 went beyond its largest number, 65504, in the forward pass."""
    bad = story.record.nonfinite
    if bad is None or not _in_half(story, bad):
        return None
    return _finding(story, bad, "SP104", 0.85)


@rule("SP105", yields_to=("SP104",))
def scaler_collapsed(story: Story) -> Finding | None:
    """fp16's scaler leaves out step after step: gradients overflow at any scale."""
    if story.setting("training.precision") not in _HALF:
        return None
    skipped, steps = story.record.last.get("skipped_steps", 0.0), max(1, story.record.step)
    scale = story.trace("loss_scale")
    lowest = min(scale.low, default=math.inf)
    if steps < 20 or (skipped / steps < _MANY_SKIPPED and lowest >= _COLLAPSED):
        return None
    evidence = {
        "skipped_steps": int(skipped),
        "skipped_share": percent(skipped / steps),
        "loss_scale": None if math.isinf(lowest) else lowest,
    }
    cures = remedies.ranked(
        (
            (0.9, remedies.precision(story.conf, "bf16", "to_bf16")),
            (0.8, remedies.precision(story.conf, "fp32", "to_fp32")),
            (0.4, remedies.clip_inputs(story.conf)),
            (0.3, remedies.lower_rate(story.conf)),
        )
    )
    return found("SP105", "warning", 0.85, evidence, (1, steps), cures, share=percent(skipped / steps))


@rule("SP106")
def went_on(story: Story) -> Finding | None:
    """Bad steps were left out, or gone back from, and the run went on."""
    bad = story.record.bad_steps
    if not bad or story.record.nonfinite is not None:
        return None
    steps = [int(event["step"]) for event in bad]
    stars = list(dict.fromkeys(str(star) for event in bad for star in event.get("obsids", ())))
    evidence = {"bad_steps": len(bad), "last_bad_step": steps[-1], "obsids": stars[:8] or None}
    many = len(bad) > max(3, 0.01 * story.record.step)
    return found(
        "SP106", "warning" if many else "info", 0.9, evidence, (min(steps), max(steps)),
        _guide(story, None, climb=False), count=len(bad),
    )  # fmt: skip


def climbed(story: Story, bad: NonFinite) -> int | None:
    """Return the step from which loss or gradient norm rose without end towards the bad step."""
    for name in ("batch_loss", "gradient_norm"):
        trace = story.trace(name)
        lead = [(s, v) for s, v in trace.tail(_LEAD, bad.step) if math.isfinite(v)]
        if not lead or lead[-1][1] <= 0:
            continue
        # of the loss its lowest is the measure, of the norm, which jumps about, its usual size
        before = min(trace.low) if name == "batch_loss" else 4 * median(trace.mean)
        last = max(value for _, value in lead[-3:])
        if before < 0 or last <= _CLIMB * max(before, 1e-12):
            continue
        start = next((i for i in range(len(lead) - 1, 0, -1) if lead[i - 1][1] > lead[i][1]), 0)
        if len(lead) - start >= 2 or last > 10 * _CLIMB * before:
            return lead[start][0]
    last_loss, lowest = bad.last_finite_loss, _lowest(story)
    if last_loss and lowest and lowest > 0 and last_loss > _CLIMB * lowest:
        return bad.step - 1
    return None


def _in_half(story: Story, bad: NonFinite) -> bool:
    return story.setting("training.precision") in _HALF and bad.what == "loss"


def _finding(
    story: Story, bad: NonFinite, identity: str, confidence: float, since: int | None = None
) -> Finding:
    star = next((one for one in bad.extremes if one.get("wavelength") is not None), None)
    wild = star is not None and abs(float(star.get("scaled") or 0.0)) > _WILD
    before = [v for _, v in story.norm.tail(_LEAD, bad.step - 1)]
    evidence = {
        "what": f"{bad.what} = {bad.value}",
        "step": bad.step,
        "epoch": bad.epoch,
        "last_finite_loss": bad.last_finite_loss,
        "lowest_loss": _lowest(story),
        "climb_from": since,
        "learning_rate": bad.learning_rate,
        "gradient_norm": bad.gradient_norm,
        "gradient_norm_before": before[-1] if before else None,
        "module": bad.module,
        "parameter": bad.parameter,
        "extreme_flux": None if star is None else _flux(star),
        "obsids": bad.obsids or None,
    }
    good = [step for step, value in story.loss.tail(_LEAD, bad.step - 1) if math.isfinite(value)]
    first = since if since is not None else good[-1] if good else 0
    cures = _guide(story, bad, climb=since is not None, wild=wild, half=identity == "SP104")
    return found(
        identity, "error", confidence, evidence, (first, bad.step), cures, what=bad.what, step=bad.step
    )


def _guide(
    story: Story, bad: NonFinite | None, *, climb: bool, wild: bool = False, half: bool = False
) -> tuple[Remedy, ...]:
    """Return the guide's remedies, (a) LayerNorm (b) inputs (c) gradients, and the rate, by evidence."""
    conf = story.conf
    rate = story.number("training.learning_rate", 0.0)
    reckless = rate >= remedies.HIGH_RATE
    lower = remedies.lower_rate(conf) if climb or reckless else None
    inputs, gradients = remedies.clip_inputs(conf), remedies.clip_gradients(conf)
    robust = remedies.scale_robustly(conf)
    norms = remedies.layer_norm(story.workspace, conf)
    huge = bad is not None and bad.gradient_norm is not None and not math.isfinite(bad.gradient_norm)
    first: tuple[Remedy, ...] = ()
    if half:
        first = remedies.ranked(
            (
                (1.0, remedies.precision(conf, "bf16", "to_bf16")),
                (0.9, remedies.precision(conf, "fp32", "to_fp32")),
            )
        )
    guide = remedies.of_guide(
        (0.6, norms), (0.5 + 0.4 * wild, inputs), (0.4 + 0.05 * (climb or huge), gradients)
    )
    others = remedies.ranked(
        (
            (0.5, lower),
            (0.1, robust if robust is not None and robust.patch != inputs.patch else None),
        )
    )
    return (*first, *guide, *others)


def _lowest(story: Story) -> float | None:
    return min(story.loss.low, default=None)


def _flux(star: dict[str, object]) -> str:
    """Return the most extreme flux of the batch in words of numbers."""
    return f"{star['flux']:.4g} @ {star['wavelength']:.1f} Å ({star['branch']}, {star['obsid']})"
