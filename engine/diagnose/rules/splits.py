"""SP505 to SP507: training and validation stars that differ too much, or too little."""

from __future__ import annotations

import math
from typing import Any

from engine.diagnose import remedies
from engine.diagnose.findings import Finding, Severity
from engine.diagnose.measure import mean, median
from engine.diagnose.registry import rule
from engine.diagnose.rules.telling import found, percent
from engine.diagnose.story import Story

_LEAST = 8
_FAR, _SURE, _WIDER = 0.6, 5.0, 3.0
_REPEATS = 0.05
_EVALUATIONS = 5
_BETTER, _FAR_BETTER = 0.6, 0.35


@rule("SP505", yields_to=("SP1",))
def mismatch(story: Story) -> Finding | None:
    """The validation stars are others than the training stars."""
    known = story.signs("populations")
    if not known:
        return None
    far: list[tuple[float, str, dict[str, list[float]]]] = []
    for group in ("labels", "flux"):
        for name, parts in known[-1].get(group, {}).items():
            away = _away(parts["train"], parts["val"])
            if away is not None:
                far.append((away, name, parts))
    if not far:
        return None
    far.sort(key=lambda one: -one[0])
    away, name, parts = far[0]
    evidence = {
        "differs": [one[1] for one in far][:6],
        "in_train": _told(parts["train"]),
        "in_val": _told(parts["val"]),
        "scatters_apart": away,
        "split": story.data.get("split", {}).get("method"),
    }
    cures = remedies.ranked(
        (
            (0.7, remedies.set_to(story.conf, "data.split.method", "random", "split_at_random")),
            (0.6, _stratified(story)),
        )
    )
    return found(
        "SP505", "warning", min(0.95, 0.6 + away / 10), evidence, (0, story.record.step), cures, name=name
    )


def _stratified(story: Story) -> remedies.Remedy | None:
    if "FeH" not in story.targets:
        return None
    return remedies.set_to(story.conf, "data.split.method", "stratified", "split_stratified")


def _away(train: list[float], val: list[float]) -> float | None:
    """Return how many scatters of the training stars lie between the two, None where that may be chance."""
    (centre, spread, count), (other, others_spread, others) = train, val
    if count < _LEAST or others < _LEAST or spread <= 0:
        return None
    apart = abs(other - centre) / spread
    chance = math.sqrt(1 / count + 1 / others)
    if apart > max(_FAR, _SURE * chance):
        return apart
    ratio = others_spread / spread
    return ratio if others >= 4 * _LEAST and ratio > _WIDER else None


def _told(part: list[float]) -> str:
    return f"{part[0]:.4g} ± {part[1]:.3g} ({part[2]:.0f})"


@rule("SP506", yields_to=("SP1",))
def in_both(story: Story) -> Finding | None:
    """Stars of the validation part are in the training part too."""
    known = story.signs("populations")
    both: dict[str, Any] = known[-1] if known else {}
    stars = int(both.get("val_stars", 0))
    same_id, same = int(both.get("same_id", 0)), int(both.get("same_spectrum", 0))
    same_labels = int(both.get("same_labels", 0))
    count = max(same_id, same, same_labels if same_labels > _REPEATS * stars else 0)
    if not stars or not count:
        return None
    evidence = {
        "same_id": same_id or None,
        "same_spectrum": same or None,
        "same_labels": same_labels or None,
        "stars": stars,
        "obsids": (both.get("id_examples") if same_id else None) or both.get("twins"),
    }
    cures = remedies.ranked(
        (
            (
                0.8,
                remedies.set_to(story.conf, "data.split.method", "group", "split_by_star")
                if same_id
                else None,
            ),
            (0.5, remedies.remedy("one_star_one_part")),
        )
    )
    severity: Severity = "warning" if count >= max(2, 0.01 * stars) else "info"
    steps = (0, story.record.step)
    return found("SP506", severity, 0.95, evidence, steps, cures, count=count, share=percent(count / stars))


@rule("SP507", yields_to=("SP1", "SP201", "SP204", "SP205"))
def too_good(story: Story) -> Finding | None:
    """The validation loss is far below the training loss, farther than dropout or augmentation explain."""
    val, train = story.val, dict(story.train)
    pairs = [(step, value, train[step]) for step, value in val if step in train]
    if len(pairs) < _EVALUATIONS or story.setting("training.loss") == "gaussian_nll":
        return None  # the ratio of two likelihoods says nothing
    late = pairs[len(pairs) // 2 :]
    of_val, of_train = median([v for _, v, _ in late]), median([t for _, _, t in late])
    if of_val <= 0 or of_train <= 0:
        return None
    hindered = _hindered(story)
    easier = _easier(story)
    ratio = of_val / of_train / min(1.0, easier)
    if ratio > (_FAR_BETTER if hindered else _BETTER):
        return None
    evidence = {
        "val_loss": of_val,
        "train_loss": of_train,
        "val_scatter": percent(easier**0.5) if easier < 1.0 else None,
        "hindered_by": hindered or None,
        "stars": story.data.get("val"),
    }
    cures = remedies.ranked(
        (
            (0.6, remedies.set_to(story.conf, "data.split.method", "random", "split_at_random")),
            (0.5, remedies.remedy("one_star_one_part")),
        )
    )
    steps = (late[0][0], late[-1][0])
    return found("SP507", "warning", 0.7, evidence, steps, cures, ratio=f"{1 / ratio:.1f}")


def _easier(story: Story) -> float:
    """Return how much smaller a loss on the validation labels is by their scatter alone, as a share."""
    known = story.signs("populations")
    shares = []
    for parts in (known[-1].get("labels", {}) if known else {}).values():
        (centre, spread, count), (other, others_spread, others) = parts["train"], parts["val"]
        if count > 1 and others > 1 and spread > 0:
            shares.append((others_spread**2 + (other - centre) ** 2) / spread**2)
    return mean(shares) if shares else 1.0


def _hindered(story: Story) -> list[str]:
    """Return what makes training harder than validation on purpose."""
    _, dropout = remedies.field_of(story.workspace, story.conf, ("dropout", "dropout_rate"))
    named = []
    if isinstance(dropout, int | float) and dropout > 0:
        named.append("dropout")
    augment = story.setting("data.augment", {})
    acting = ("noise", "noise_to_snr", "shift_pixels", "shift_kms", "scale", "mask_windows", "tilt")
    if isinstance(augment, dict) and any(augment.get(name) for name in acting):
        named.append("augment")
    if story.setting("data.resample.strategy", "none") != "none":
        named.append("resample")
    return named
