"""Which fields of a conf have nothing to act on as the conf is, and why: what a form shows dim.

Facts about keys alone; nothing is checked and nothing is refused: such a field may still say anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.conf.load import get
from engine.words import say

_WARM = ("warmup_cosine", "warmup_constant")
_TABLES = ("auto", "tables", "folders")
_NEEDS: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("training.momentum", "training.optimizer", ("sgd", "rmsprop")),
    ("training.huber_delta", "training.loss", ("huber", "smooth_l1")),
    ("training.focal_gamma", "training.loss", ("focal", "focal_easy")),
    ("training.focal_threshold", "training.loss", ("focal_easy",)),
    ("training.nonfinite_limit", "training.on_nonfinite", ("skip", "rollback")),
    ("training.warmup_epochs", "training.schedule", _WARM),
    ("training.schedule_epochs", "*schedule", ("cosine_restarts", "step")),
    ("training.schedule_gamma", "*schedule", ("step", "plateau", "exponential")),
    ("training.plateau_patience", "*schedule", ("plateau",)),
    ("finetune.warmup_epochs", "finetune.schedule", _WARM),
    ("data.split.group", "data.split.method", ("group",)),
    ("data.split.bins", "data.split.method", ("stratified",)),
    ("data.split.file", "data.split.method", ("file",)),
    ("data.split.ratios", "data.split.method", ("random", "stratified", "group")),
    ("data.features", "data.form", ("auto", "features")),
    ("data.continuum", "data.form", _TABLES),
    ("data.normalized", "data.form", _TABLES),
    ("data.continuum", "data.branches", ("both", "continuum")),
    ("data.continuum_scaler", "data.branches", ("both", "continuum")),
    ("data.clip.continuum", "data.branches", ("both", "continuum")),
    ("data.normalized", "data.branches", ("both", "normalized")),
    ("data.normalized_scaler", "data.branches", ("both", "normalized")),
    ("data.clip.normalized", "data.branches", ("both", "normalized")),
    ("data.resample.weights", "data.resample.strategy", ("weights",)),
    ("data.resample.column", "data.resample.strategy", ("balanced", "auto", "weights")),
    ("tracking.experiment", "tracking.enabled", (True,)),
    ("tracking.uri", "tracking.enabled", (True,)),
)  # fmt: skip
"""A key, the key that it depends on, and the values of that with which it acts."""
_ON = (
    ("data.augment.mask_width", "data.augment.mask_windows"), ("data.split.fold", "data.split.folds"),
    ("training.gradient_clip", "training.gradient_clip_val"),
)  # fmt: skip
"""A key, and the key that has to be set (neither 0 nor null) for it to act."""
_CHANGES = (
    "noise", "noise_to_snr", "shift_pixels", "shift_kms", "scale", "mask_windows", "tilt"
)  # fmt: skip


def idle_fields(plain: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that have nothing to act on in plain data of a conf, each with the reason."""
    idle: dict[str, str] = {}
    for key, other, values in _NEEDS:
        if not _acts(plain, other, values):
            shown = ", ".join(str(value).lower() if value is True else str(value) for value in values)
            name = other.removeprefix("*").rpartition(".")[2] if other.startswith("*") else other
            idle.setdefault(key, say("form.only_with", key=_beside(key, name), values=shown))
    for key, other in _ON:
        if not get(plain, other):
            idle.setdefault(key, say("form.only_if", key=_beside(key, other)))
    if not any(get(plain, f"data.augment.{name}") for name in _CHANGES):
        idle["data.augment.probability"] = say("form.no_augment")
    for stage in ("training", "finetune"):
        if get(plain, f"{stage}.epochs") == 0:
            names = ("learning_rate", "schedule", "warmup_epochs", "freeze", "filter")
            for name in names if stage == "finetune" else ("learning_rate", "schedule", "warmup_epochs"):
                idle[f"{stage}.{name}"] = say("form.stage_off", key=f"{stage}.epochs")
    return idle


def _acts(plain: Mapping[str, Any], other: str, values: tuple[Any, ...]) -> bool:
    if other != "*schedule":
        return get(plain, other) in values
    # what the fine-tuning stage does not say itself it takes from the training section
    stages = [stage for stage in ("training", "finetune") if get(plain, f"{stage}.epochs") != 0]
    return any(get(plain, f"{stage}.schedule") in values for stage in stages or ["training"])


def _beside(key: str, other: str) -> str:
    """Return the other key as it is called where the key stands."""
    section = key.rpartition(".")[0]
    return other.removeprefix(f"{section}.")
