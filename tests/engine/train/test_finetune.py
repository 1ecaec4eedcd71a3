"""Fine-tuning is a stage of its own: its stars, its rate, what it leaves alone, what it keeps."""

from __future__ import annotations

import csv
from collections.abc import Callable

import pytest
import torch

from engine.train import ground, stages
from engine.train.learn import autocast
from models.spectral_prediction.freq_inception_l_net import FrequencyEncoder

from .conftest import Trained

Train = Callable[..., Trained]
STAGE = (
    "training.epochs=2",
    "finetune.epochs=3",
    "finetune.learning_rate=1e-2",
    "finetune.schedule=constant",
)


def test_what_is_frozen_stays_to_the_bit_and_the_rest_learns(train: Train) -> None:
    ran = train(*STAGE, "finetune.freeze=[layers.0]")
    before = ran.checkpoint(stages.BEFORE_FINETUNE)["weights"]
    after = ran.checkpoint("last.pt")["weights"]
    assert torch.equal(after["layers.0.weight"], before["layers.0.weight"])
    assert torch.equal(after["layers.0.bias"], before["layers.0.bias"])
    assert not torch.equal(after["layers.3.weight"], before["layers.3.weight"])
    (stage,) = ran.events("stage")
    assert (stage["stage"], stage["frozen"]) == ("finetune", ["layers.0.weight", "layers.0.bias"])


def test_it_starts_from_the_best_weights_with_a_rate_of_its_own(train: Train) -> None:
    ran = train(*STAGE)
    record = ran.record
    per_epoch = record.steps_per_epoch
    assert (record.total_steps, record.step, record.epoch) == (5 * per_epoch, 5 * per_epoch, 5)
    rates = record.curves["learning_rate"].values
    assert set(rates[2 * per_epoch :]) == {1e-2}
    assert max(rates[: 2 * per_epoch]) == 1e-3
    assert [event["epoch"] for event in ran.events("epoch")] == [1, 2, 3, 4, 5]
    kept = ran.checkpoint(stages.BEFORE_FINETUNE)
    assert kept["epoch"] in (1, 2)
    assert ran.checkpoint("best.pt")["epoch"] > 2, "the best of this stage is what is tested"


def test_only_stars_of_the_filter_are_learned_from_and_looked_at(train: Train) -> None:
    ran = train(*STAGE, "finetune.filter=FeH < -1 and Teff > 4000", "data.split=[0.6, 0.2, 0.2]")
    (stage,) = ran.events("stage")
    with (ran.run.path.parent.parent / "dataset" / "spectral" / "removed_with_rv.csv").open() as file:
        labels = {row["obsid"]: row for row in csv.DictReader(file)}
    with ran.run.split.open() as file:
        chosen = [
            row["obsid"]
            for row in csv.DictReader(file)
            if row["part"] == "train"
            and -9000 < float(labels[row["obsid"]]["FeH"] or "nan") < -1
            and float(labels[row["obsid"]]["Teff"] or "nan") > 4000
        ]
    assert stage["rows"] == len(chosen) > 2


def test_without_training_before_it_it_starts_at_once(train: Train) -> None:
    ran = train("training.epochs=0", "training.warmup_epochs=0.0", *STAGE[1:])
    assert ran.code == 0
    assert ran.record.total_steps == 3 * ran.record.steps_per_epoch
    assert not (ran.run.checkpoints / stages.BEFORE_FINETUNE).exists()


# -- what stays in full precision under half of it -----------------------------------------------------------


def test_the_fourier_transform_and_the_loss_stay_in_full_precision(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[torch.dtype]] = {"fft": set(), "loss": set()}
    real_fft, real_loss = torch.fft.rfft, stages.build_loss

    def fft(values: torch.Tensor, **words: object) -> torch.Tensor:
        seen["fft"].add(values.dtype)
        return real_fft(values, **words)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.fft, "rfft", fft)
    network = FrequencyEncoder(
        {"conv_layers": [{"out_channels": 2, "kernel_size": 3}], "mlp_output_dim": 2, "dropout": 0.0},
        {"norm_type": "ln", "layer_norm_eps": 1e-5, "layer_norm_elementwise_affine": True},
    )
    with autocast(torch.device("cpu"), "bf16"):
        given = network(torch.randn(2, 64).bfloat16())
    assert given.dtype is torch.bfloat16
    assert seen["fft"] == {torch.float32}

    def build(*words: object) -> object:
        loss_of = real_loss(*words)  # type: ignore[arg-type]

        def look(predicted: torch.Tensor, truth: torch.Tensor) -> object:
            loss, weight = loss_of(predicted, truth)
            seen["loss"] |= {predicted.dtype, loss.dtype}
            return loss, weight

        return look

    monkeypatch.setattr(stages, "build_loss", build)
    ran = train("training.precision=bf16")
    assert seen["loss"] == {torch.bfloat16, torch.float32}
    assert all(value.dtype is torch.float32 for value in ran.weights.values())


def test_the_seed_makes_the_run(train: Train) -> None:
    first, again, other = train(), train(), train("training.seed=43")
    for name, value in first.weights.items():
        assert torch.equal(value, again.weights[name])
    assert any(not torch.equal(value, other.weights[name]) for name, value in first.weights.items())
    assert ground.set_threads(None) >= 1
