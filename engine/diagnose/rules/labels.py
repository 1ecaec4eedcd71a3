"""SP501 to SP504: labels that are not learned, cannot be reached, or are wrong for a star."""

from __future__ import annotations

from typing import Any

from engine.diagnose import remedies
from engine.diagnose.findings import Finding
from engine.diagnose.registry import rule
from engine.diagnose.rules.telling import found, percent
from engine.diagnose.story import Story

_EPOCHS, _EPOCHS_TO_MEAN = 5, 10
_NOTHING, _LEARNED = 0.05, 0.3
_NARROW = 0.2
_STILL = 0.995
_UNEQUAL = 10.0
_BEYOND, _PILED, _CONSTANT = 0.2, 0.08, 0.05
_AT_A_BOUND = 0.03
_OUTLIER, _SCATTERS, _AHEAD, _LEADS, _AGAIN = 10.0, 8.0, 3.0, 0.25, 0.8
_LOOKS = 10


@rule(
    "SP501",
    yields_to=("SP1", "SP202", "SP205", "SP206", "SP402", "SP403", "SP404", "SP405", "SP502", "SP503",
               "SP504", "SP505", "SP407", "SP701"),
)  # fmt: skip
def predicts_the_mean(story: Story) -> Finding | None:
    """The error of every label is the scatter of the label: the network gives everybody the mean."""
    fits = _fits(story)
    train = [value for _, value in story.train]
    if not fits or len(train) < _EPOCHS_TO_MEAN or max(fits.values()) > _NOTHING:
        return None
    narrow = {label: _narrow(one) for label, one in _reach(story).items()}
    if narrow and max(narrow.values()) > _NARROW:
        return None
    half = train[len(train) // 2]
    if train[-1] < _STILL * half:
        return None  # still learning
    evidence = {
        "explained_by_label": [f"{label} {100 * max(0.0, value):.0f} %" for label, value in fits.items()],
        "spread_of_truth": [f"{label} {percent(value)}" for label, value in narrow.items()] or None,
        "last_loss": train[-1],
        "dead_parameters": story.signs("dead")[-1]["count"] if story.signs("dead") else None,
    }
    cures = remedies.ranked(
        (
            (0.6, remedies.lower_rate(story.conf, "lower_rate_mean") if _fast(story) else None),
            (0.6, remedies.higher_rate(story.conf) if not _fast(story) else None),
            (0.5, remedies.layer_norm(story.workspace, story.conf)),
            (0.2, remedies.remedy("check_labels")),
        )
    )
    steps = (story.train[0][0], story.train[-1][0])
    return found("SP501", "warning", 0.8, evidence, steps, cures)


def _fast(story: Story) -> bool:
    return story.number("training.learning_rate", 0.0) > remedies.SAFE_RATE


@rule("SP502", yields_to=("SP1",))
def starved(story: Story) -> Finding | None:
    """One label has nearly all of the loss, and another is not learned."""
    fits = _fits(story)
    if len(fits) < 2 or len(story.train) < _EPOCHS:
        return None
    fed, hungry = max(fits, key=fits.__getitem__), min(fits, key=fits.__getitem__)
    if fits[fed] < _LEARNED or fits[hungry] > _NOTHING:
        return None
    given = story.setting("training.label_weights", {})
    weights = {label: float(given.get(label, 1.0)) for label in fits} if isinstance(given, dict) else {}
    unequal = bool(weights) and weights[fed] > _UNEQUAL * weights[hungry]
    spreads = {label: float(one["truth_spread"]) for label, one in _reach(story).items()}
    raw = story.setting("data.label_scaler") == "none" and (
        spreads.get(fed, 0.0) > _UNEQUAL * spreads.get(hungry, float("inf"))
    )
    if not unequal and not raw:
        return None
    evidence: dict[str, Any] = {
        "explained_by_label": [f"{label} {100 * max(0.0, value):.0f} %" for label, value in fits.items()],
        "weights": [f"{label} {weight:g}" for label, weight in weights.items()] if unequal else None,
        "scatters": [f"{label} {spreads[label]:.3g}" for label in fits if label in spreads] if raw else None,
        "starved_label": hungry,
    }
    equal: dict[str, Any] = {"training.label_weights": {}} if unequal else {"data.label_scaler": "standard"}
    cure = remedies.remedy("equal_weights" if unequal else "scale_labels", equal)
    points = story.of_labels("r2")[hungry]
    steps = (points[0][0], points[-1][0])
    return found("SP502", "warning", 0.85, evidence, steps, (cure,), label=hungry, fed=fed)


@rule("SP503", yields_to=("SP1",))
def out_of_reach(story: Story) -> Finding | None:
    """Predictions pile up at an end that the labels go beyond: the last layer cannot say more."""
    looks = story.signs("reach")[-3:]
    if len(looks) < 3 or len(story.train) < _EPOCHS:
        return None
    walls = [
        {
            (label, end)
            for label, one in look["labels"].items()
            for end in ("low", "high")
            if _wall(one, end) and _is_a_bound(story, label, one, end)
        }
        for look in looks
    ]
    held = sorted(set.intersection(*walls))
    if not held:
        return None
    label, end = max(held, key=lambda wall: _beyond(looks[-1]["labels"][wall[0]], wall[1]))
    one = looks[-1]["labels"][label]
    evidence = {
        "label": label,
        "predicted_range": one["predicted"],
        "true_range": one["truth"],
        "beyond": percent(_beyond(one, end)),
        "piled": percent(one[f"at_{end}"]),
        "also_labels": sorted({other for other, _ in held} - {label}) or None,
    }
    cures = remedies.ranked(
        (
            (0.6, remedies.set_to(story.conf, "data.label_scaler", "minmax", "scale_to_range")),
            (0.2, remedies.remedy("open_output", model=story.setting("model.name", "?"))),
        )
    )
    steps = (int(looks[0]["step"]), int(looks[-1]["step"]))
    edge = one["predicted"][0 if end == "low" else 1]
    return found("SP503", "warning", 0.8, evidence, steps, cures, label=label, edge=f"{edge:.4g}")


@rule("SP504", yields_to=("SP1",))
def bad_stars(story: Story) -> Finding | None:
    """The same stars lead the error whenever it is looked at, far ahead of all others."""
    looks = story.signs("worst")[-_LOOKS:]
    if len(looks) < 3:
        return None
    counts: dict[str, int] = {}
    shares: dict[str, float] = {}
    errors: dict[str, float] = {}
    for look in looks:
        for obsid, error, share in zip(look["obsids"], look["errors"], look["share"], strict=True):
            ahead = error > _AHEAD * look["errors"][-1] or len(look["errors"]) < 3
            far = error > max(_SCATTERS, _OUTLIER * look["typical"])
            if far and ahead and share > _LEADS / 2:
                counts[obsid] = counts.get(obsid, 0) + 1
                shares[obsid], errors[obsid] = share, error
    again = [obsid for obsid, count in counts.items() if count >= _AGAIN * len(looks)]
    if not again or sum(shares[obsid] for obsid in again) < _LEADS:
        return None
    again.sort(key=lambda obsid: -errors[obsid])
    share = percent(sum(shares[obsid] for obsid in again))
    evidence = {
        "obsids": again,
        "star_errors": [errors[obsid] for obsid in again],
        "typical_error": looks[-1]["typical"],
        "error_share": share,
        "looks": len(looks),
    }
    cures = remedies.ranked(
        (
            (0.5, remedies.set_to(story.conf, "training.loss", "huber", "robust_loss")),
            (0.6, remedies.remedy("look_at_stars", obsid=again[0])),
        )
    )
    steps = (int(looks[0]["step"]), int(looks[-1]["step"]))
    return found("SP504", "warning", 0.85, evidence, steps, cures, count=len(again), share=share)


def _fits(story: Story) -> dict[str, float]:
    return {label: points[-1][1] for label, points in story.of_labels("r2").items()}


def _reach(story: Story) -> dict[str, dict[str, Any]]:
    looks = story.signs("reach")
    labels: dict[str, dict[str, Any]] = looks[-1]["labels"] if looks else {}
    return labels


def _narrow(one: dict[str, Any]) -> float:
    return float(one["spread"]) / max(float(one["truth_spread"]), 1e-12)


def _beyond(one: dict[str, Any], end: str) -> float:
    return float(one["below" if end == "low" else "above"])


def _wall(one: dict[str, Any], end: str) -> bool:
    piled = float(one[f"at_{end}"])
    return _beyond(one, end) > _BEYOND and piled > _PILED and _narrow(one) > _CONSTANT


def _is_a_bound(story: Story, label: str, one: dict[str, Any], end: str) -> bool:
    """Tell whether an end is one of those that sigmoid, tanh and ReLU have, as the network saw the labels.

    Predictions pile up elsewhere too, where many units are silent; that is no bound.
    """
    edge = float(one["predicted"][0 if end == "low" else 1])
    scaling, known = story.setting("data.label_scaler"), story.signs("populations")
    if scaling == "standard" and known and label in known[-1].get("labels", {}):
        centre, spread, _ = known[-1]["labels"][label]["train"]
        edge = (edge - centre) / spread if spread else float("nan")
    elif scaling != "none":
        return False
    return any(abs(edge - bound) < _AT_A_BOUND for bound in (-1.0, 0.0, 1.0))
