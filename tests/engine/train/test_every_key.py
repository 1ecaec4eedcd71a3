"""Every key of a conf acts on a run, is refused in one line, or says what it changed; in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from engine.conf.load import Resolved, flatten
from engine.conf.schema import Conf
from engine.errors import BadInput
from engine.train import attempt
from engine.train.stop import Stop
from engine.workspace import Workspace

from .conftest import Trained

Train = Callable[..., Trained]


def weights_of(ran: Trained) -> Any:
    return [value.tolist() for value in ran.weights.values()]


def rates_of(ran: Trained) -> Any:
    return ran.record.curves["learning_rate"].values.tolist()


def event(kind: str, *fields: str) -> Callable[[Trained], Any]:
    return lambda ran: [[e.get(f) for f in fields] for e in ran.events(kind)]


def scalers_of(name: str) -> Callable[[Trained], Any]:
    return lambda ran: ran.checkpoint()["scalers"][name]


def split_of(ran: Trained) -> Any:
    return ran.run.split.read_text()


OVERFLOW = ("training.learning_rate=1e30", "training.epochs=3", "training.schedule=constant")
"""Makes the loss overflow at the second step."""
FINETUNE = ("finetune.epochs=2",)


ACTS: list[tuple[str, str, tuple[str, ...], Callable[[Trained], Any]]] = [
    # key, another value than the base's, what the base needs for the key to matter, what must then differ
    ("training.epochs", "3", (), lambda ran: len(ran.events("epoch"))),
    ("training.batch_size", "7", (), event("plan", "steps_per_epoch")),
    ("training.optimizer", "adamw", ("training.weight_decay=0.5",), weights_of),
    ("training.learning_rate", "2e-3", (), weights_of),
    ("training.weight_decay", "0.5", (), weights_of),
    ("training.schedule", "cosine", (), rates_of),
    ("training.warmup_epochs", "2.0", (), rates_of),
    ("training.loss", "mae", (), weights_of),
    ("training.momentum", "0.5", ("training.optimizer=sgd",), weights_of),
    ("training.schedule_epochs", "1.0", ("training.schedule=step",), rates_of),
    ("training.schedule_gamma", "0.9", ("training.schedule=exponential",), rates_of),
    ("training.min_learning_rate", "1e-5", (), rates_of),
    ("training.focal_gamma", "2.0", ("training.loss=focal",), weights_of),
    ("training.focal_threshold", "5.0", ("training.loss=focal_easy",), weights_of),
    ("training.label_weights", "{FeH: 3.0}", (), weights_of),
    ("training.gradient_clip", "value", ("training.gradient_clip_val=0.01",), weights_of),
    ("training.huber_delta", "0.1", ("training.loss=huber",), weights_of),
    ("training.gradient_clip_val", "0.001", (), weights_of),
    ("training.patience", "1", ("training.epochs=30", "training.learning_rate=50.0"),
     lambda ran: len(ran.events("epoch"))),
    ("training.evaluate_every", "2", (), lambda r: ["val_loss" in e["values"] for e in r.events("epoch")]),
    ("training.record_seconds", "1000.0", (), lambda ran: len(ran.events("steps"))),
    ("training.seed", "43", (), weights_of),
    ("training.threads", "2", (), event("machine", "threads")),
    ("training.accumulate", "2", (), lambda ran: ran.record.total_steps),
    ("training.schedule_by", "epoch", (), rates_of),
    ("training.plateau_patience", "1", ("training.schedule=plateau", "training.epochs=6",
     "training.learning_rate=0.5", "training.plateau_patience=3"), rates_of),
    ("training.ema_decay", "0.5", (), lambda ran: [v.tolist() for v in ran.checkpoint()["weights"].values()]),
    ("training.monitor", "val_FeH_r2", (), event("plan", "monitor")),
    ("training.save_seconds", "1e-6", (), lambda ran: len(ran.events("checkpoint"))),
    ("training.save_steps", "1", (), lambda ran: len(ran.events("checkpoint"))),
    ("training.keep_checkpoints", "4", ("training.save_steps=1",),
     lambda ran: len(list(ran.run.checkpoints.glob("step-*.pt")))),
    ("training.on_nonfinite", "skip", OVERFLOW, event("nonfinite", "action")),
    ("training.nonfinite_limit", "1", ("training.on_nonfinite=skip", *OVERFLOW),
     lambda ran: len(ran.events("nonfinite"))),
    ("training.precision", "bf16", (), weights_of),
    ("training.compile", "true", (), lambda ran: "compiling layers" in ran.run.log.read_text()),
    ("training.deterministic", "true", (), lambda ran: torch.are_deterministic_algorithms_enabled()),
    ("finetune.epochs", "2", (), lambda ran: ran.record.total_steps),
    ("finetune.freeze", "['layers.0']", FINETUNE, event("stage", "frozen")),
    ("finetune.filter", "FeH < -1", FINETUNE, event("stage", "rows")),
    ("finetune.learning_rate", "1e-2", FINETUNE, weights_of),
    ("finetune.schedule", "constant", FINETUNE, rates_of),
    ("finetune.warmup_epochs", "1.0", ("finetune.schedule=warmup_cosine", *FINETUNE), rates_of),
    ("data.targets", "[FeH]", (), event("data", "targets")),
    ("data.split.ratios", "[0.5, 0.3, 0.2]", (), event("data", "train", "val", "test")),
    ("data.split.seed", "43", (), split_of),
    ("data.split.method", "stratified", (), split_of),
    ("data.split.group", "snr", ("data.split.method=group", "data.split.group=rv"), split_of),
    ("data.split.bins", "2", ("data.split.method=stratified",), split_of),
    ("data.split.folds", "5", (), split_of),
    ("data.split.fold", "2", ("data.split.folds=5",), split_of),
    ("data.clip.continuum", "[300, 500]", (), scalers_of("continuum")),
    ("data.clip.normalized", "[0.9, 1.0]", (), weights_of),
    ("data.continuum_scaler", "robust", (), scalers_of("continuum")),
    ("data.normalized_scaler", "standard", (), scalers_of("normalized")),
    ("data.scaler_scope", "pixel", (), scalers_of("continuum")),
    ("data.label_scaler", "minmax", (), scalers_of("labels")),
    ("data.memory_share", "1e-9", (), event("feed", "reader")),
    ("data.resample.strategy", "balanced", (), weights_of),
    ("data.resample.weights", "[1, 9, 1, 1]", ("data.resample.strategy=weights",), weights_of),
    ("data.augment.probability", "0.5", ("data.augment.noise=0.1",), weights_of),
    ("data.augment.noise", "0.1", (), weights_of),
    ("data.augment.noise_to_snr", "5.0", (), weights_of),
    ("data.augment.shift_pixels", "3.0", (), weights_of),
    ("data.augment.shift_kms", "900.0", (), weights_of),
    ("data.augment.scale", "0.2", (), weights_of),
    ("data.augment.mask_windows", "2", (), weights_of),
    ("data.augment.mask_width", "0.2", ("data.augment.mask_windows=1",), weights_of),
    ("data.augment.tilt", "0.2", (), weights_of),
    ("data.max_rows", "30", (), event("data", "stars")),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "base", "look"), ACTS, ids=[a[0] for a in ACTS])
def test_every_key_acts(
    train: Train, key: str, value: str, base: tuple[str, ...], look: Callable[[Trained], Any]
) -> None:
    assert look(train(*base)) != look(train(*base, f"{key}={value}"))


REFUSED: list[tuple[str, str, tuple[str, ...], str]] = [
    # key, value, what else the conf says, what is said
    ("data.path", "elsewhere", (), "data.path: elsewhere: no such folder"),
    ("data.form", "folders", (), "no folder train/"),
    ("data.continuum", "other_c.csv", (), "no other_c.csv"),
    ("data.normalized", "other_n.csv", (), "no other_n.csv"),
    ("data.features", "other_f.csv", ("data.form=features",), "no other_f.csv"),
    ("data.labels", "other_l.csv", (), "no other_l.csv"),
    ("data.targets", "[FeHH]", (), "no label column FeHH; did you mean FeH?"),
    ("data.split.file", "other.csv", ("data.split.method=file",), "data.split.file: other.csv: no such file"),
    ("data.stats", "other.yaml", (), "data.stats: other.yaml: no such file"),
    ("data.resample.column", "age", ("data.resample.strategy=auto",), "no column age"),
    ("training.device", "cuda:99", (), "training.device: cuda:99 is not there"),
    ("training.precision", "tf32", ("training.device=cpu",), "precision: tf32 is not possible on cpu"),
    ("training.loss", "gaussian_nll", (), "needs a network that gives sigmas, and MLP does not"),
    ("finetune.freeze", "[layer]", ("finetune.epochs=1",), "'layer' matches no parameter"),
    ("finetune.filter", "FeeH < -1", ("finetune.epochs=1",), "finetune.filter: "),
    ("finetune.filter", "FeH < -9", ("finetune.epochs=1",), "0 training stars are left"),
]


@pytest.mark.parametrize(("key", "value", "more", "said"), REFUSED, ids=[r[0] for r in REFUSED])
def test_bad_input_is_refused_and_leaves_no_run(
    workspace: Workspace,
    tiny: Callable[..., Resolved],
    key: str,
    value: str,
    more: tuple[str, ...],
    said: str,
) -> None:
    with pytest.raises(BadInput) as caught:
        attempt.foreground(workspace, tiny(*more, f"{key}={value}"), Stop())
    assert said in caught.value.lines[0]
    assert list(workspace.runs.iterdir()) == []


def spoil(workspace: Workspace, change: Callable[[list[str]], None]) -> None:
    file = workspace.dataset / "spectral" / "final_spectra_normalized.csv"
    lines = file.read_text().splitlines()
    change(lines)
    file.write_text("\n".join(lines) + "\n")


def test_data_duplicates_acts(train: Train, workspace: Workspace) -> None:
    spoil(workspace, lambda lines: lines.append(lines[1]))
    with pytest.raises(BadInput, match="more than once"):
        train("data.duplicates=fail")
    assert train("data.duplicates=first").code == 0


def test_data_nonfinite_acts(train: Train, workspace: Workspace) -> None:
    def hole(lines: list[str]) -> None:
        cells = lines[1].split(",")
        lines[1] = ",".join([*cells[:5], "nan", *cells[6:]])

    spoil(workspace, hole)
    with pytest.raises(BadInput, match="NaN or infinite"):
        train("data.nonfinite=fail")
    stars = [train(f"data.nonfinite={how}").events("data")[0]["stars"] for how in ("interpolate", "drop")]
    assert stars[0] == stars[1] + 1


def test_what_the_policies_change_is_said_and_kept(train: Train, workspace: Workspace) -> None:
    def wound(lines: list[str]) -> None:
        for number, word in ((1, "nan"), (2, "4e11"), (3, "-7")):
            cells = lines[number].split(",")
            lines[number] = ",".join([*cells[:5], word, *cells[6:]])
        del lines[-1]
        lines.append(lines[4])

    spoil(workspace, wound)
    ran = train("data.duplicates=first")
    said = ran.run.log.read_text()
    told = (
        "1 of 60 stars are not in every table",
        "1 doubled obsids: the first row",
        "2 pixels of the normalised",
        "1 NaN or infinite pixels in 1 stars are interpolated",
        "clipped to [-1, 3]",
        "the loss leaves out: Teff ",
    )
    for words in told:
        assert words in said
    report = ran.events("data")[0]["report"]
    assert (report["clipped"]["normalized"], report["nonfinite"]["normalized"]) == (2, 1)
    assert sum(report["duplicates"].values()) == 1


def test_one_branch_needs_a_network_that_takes_one_or_the_copy(
    train: Train, workspace: Workspace, tiny: Callable[..., Resolved]
) -> None:
    with pytest.raises(BadInput, match="the network takes the continuum branch"):
        attempt.foreground(workspace, tiny("data.branches=normalized"), Stop())
    assert list(workspace.runs.iterdir()) == []
    assert train("data.branches=normalized", "data.missing_branch=copy").code == 0


def test_no_key_of_training_and_data_is_forgotten_here() -> None:
    tested = {a[0] for a in ACTS} | {r[0] for r in REFUSED} | {
        "data.duplicates", "data.nonfinite", "data.branches", "data.missing_branch",
    }  # fmt: skip
    keys = {key for key in flatten(Conf().plain()) if key.startswith(("training.", "data.", "finetune."))}
    assert tested == keys
