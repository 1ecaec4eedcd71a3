"""Batches in memory: order, coverage, scaling on the way, exact positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.conf.data import Augment
from engine.spectra.scale import Scaler, fit
from engine.train import augment
from engine.train.batches import Batches
from engine.train.rows import Batch, Resident, Rows, Scaling

CPU = torch.device("cpu")


def made_rows(stars: int, points: int = 5, *, scaler: Scaler | None = None) -> tuple[Rows, torch.Tensor]:
    """Return a part made of every second star of a set, and the raw continuum of the part."""
    whole_SL = torch.arange(2 * stars * points, dtype=torch.float32).reshape(2 * stars, points)
    index_N = torch.arange(1, 2 * stars, 2)
    source = Resident(whole_SL, -whole_SL, index_N, CPU)
    scaling = None if scaler is None else Scaling.of(scaler, CPU)
    labels_NT = index_N[:, None].float()
    return Rows(source, labels_NT, [str(i) for i in index_N.tolist()], scaling), whole_SL[index_N]


def epoch_of(batches: Batches) -> list[Batch]:
    seen = []
    for batch in batches:
        seen.append(batch)
        if batches.epoch_ended:
            break
    return seen


@pytest.mark.parametrize(("stars", "size"), [(64, 8), (65, 64), (66, 64), (10, 32), (1, 4), (2, 2)])
def test_every_row_once_an_epoch_and_never_a_batch_of_one(stars: int, size: int) -> None:
    rows, flux_NL = made_rows(stars)
    batches = Batches(rows, size, seed=3)
    seen = epoch_of(batches)
    assert len(seen) == batches.per_epoch
    index = torch.cat([batch.index_B for batch in seen]).tolist()
    left_out = 1 if stars > size and stars % size == 1 else 0
    assert len(set(index)) == len(index) == stars - left_out
    assert stars == 1 or min(len(batch.index_B) for batch in seen) > 1
    for batch in seen:
        assert torch.equal(batch.continuum_BL, flux_NL[batch.index_B])
        assert torch.equal(batch.normalized_BL, -flux_NL[batch.index_B])
        assert batch.labels_BT[:, 0].tolist() == [float(rows.obsids[i]) for i in batch.index_B.tolist()]


def test_epochs_differ_and_seeds_repeat() -> None:
    rows, _ = made_rows(50)
    first = Batches(rows, 10, seed=1)
    one, two = epoch_of(first), epoch_of(first)
    again = epoch_of(Batches(rows, 10, seed=1))
    order = [torch.cat([b.index_B for b in seen]) for seen in (one, two, again)]
    assert torch.equal(order[0], order[2]) and not torch.equal(order[0], order[1])


@pytest.mark.parametrize("pooled", [True, False])
def test_scaling_on_the_way_is_the_scaler_s(pooled: bool) -> None:
    rng = np.random.default_rng(0)
    flux = (rng.normal(2000, 5000, (40, 30)) * rng.uniform(0.1, 3, 30)).astype(np.float32)
    scaler = fit("standard", flux, pooled=pooled)
    both = torch.from_numpy(flux)
    rows = Rows(
        Resident(both, both, torch.arange(40), CPU), torch.zeros(40, 1), ["x"] * 40, Scaling.of(scaler, CPU)
    )
    batch = rows.take(torch.arange(40))
    np.testing.assert_allclose(batch.continuum_BL.numpy(), scaler.transform(flux), rtol=1e-5, atol=2e-6)
    assert torch.equal(batch.normalized_BL, both)  # the branch that shares its spectra is not scaled along
    assert np.array_equal(both.numpy(), flux)


def test_a_scaler_that_does_nothing_costs_nothing() -> None:
    assert Scaling.of(fit("none", np.ones((3, 4), np.float32)), CPU) is None
    assert Scaling.of(fit("none", np.ones((3, 4), np.float32), pooled=True), CPU) is None


def test_a_stopped_run_goes_on_with_the_same_augmented_batches_at_every_step() -> None:
    rows, _ = made_rows(37, 12)
    made = augment.build(Augment(noise=0.1, shift_pixels=2.0), 5, np.arange(12) + 4000.0, None, CPU)
    straight = Batches(rows, 5, seed=2, augmentation=made)
    stream = [batch for batch, _ in zip(straight, range(30), strict=False)]
    for stopped_at in range(30):
        before = Batches(rows, 5, seed=2, augmentation=made)
        for _, _ in zip(range(stopped_at), before, strict=False):
            pass
        after = Batches(rows, 5, seed=99, augmentation=made)
        after.load_state_dict(before.state_dict())
        for expected, got in zip(stream[stopped_at:], after, strict=False):
            assert torch.equal(expected.index_B, got.index_B)
            assert torch.equal(expected.continuum_BL, got.continuum_BL)
            assert torch.equal(expected.normalized_BL, got.normalized_BL)
