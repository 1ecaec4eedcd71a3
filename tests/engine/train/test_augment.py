"""Augmentation: what moves, what stays, one draw for both branches, the same draw every time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import engine.words
from engine.conf.data import Augment
from engine.errors import BadInput
from engine.train import augment
from engine.train.augment import Augmentation
from engine.train.batches import Batches
from engine.train.rows import Resident, Rows

CPU = torch.device("cpu")
STARS, POINTS = 6, 200
GRID = 4000.0 * 1.0002 ** np.arange(POINTS)  # uneven steps, 60 km/s each


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.words, "_chosen", "en")


def built(*, grid: np.ndarray = GRID, snr: np.ndarray | None = None, **conf: Any) -> Augmentation:
    made = augment.build(Augment(**conf), 7, grid, snr, CPU)
    assert made is not None
    return made


def change(
    made: Augmentation, c_BL: torch.Tensor, n_BL: torch.Tensor, epoch: int = 1, position: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    return made(c_BL, n_BL, torch.arange(len(c_BL)), epoch=epoch, position=position)


def lines(at: int, *, height: float = 1.0, stars: int = STARS) -> torch.Tensor:
    """Return spectra of 1 with a triangle of flux around pixel `at`, a different height for each star."""
    x_BL = torch.ones(stars, POINTS)
    for star in range(stars):
        for offset, share in ((-1, 0.5), (0, 1.0), (1, 0.5)):
            x_BL[star, at + offset] += height * (star + 1) * share
    return x_BL


def centroid(x_BL: torch.Tensor) -> torch.Tensor:
    extra_BL = (x_BL - 1).double()
    return (extra_BL * torch.arange(POINTS)).sum(1) / extra_BL.sum(1)


def test_off_is_nothing_at_all() -> None:
    for conf in ({}, {"probability": 0.0, "noise": 1.0}, {"mask_windows": 3, "mask_width": 0.0}):
        assert augment.build(Augment(**conf), 7, GRID, None, CPU) is None


def test_off_gives_identical_bits() -> None:
    flux_NL = torch.randn(20, POINTS)
    rows = Rows(Resident(flux_NL, flux_NL + 1, torch.arange(20), CPU), torch.zeros(20, 1), list("a" * 20))
    batch = next(iter(Batches(rows, 20, 0)))
    assert torch.equal(batch.continuum_BL, flux_NL[batch.index_B])
    assert torch.equal(batch.normalized_BL, (flux_NL + 1)[batch.index_B])


@pytest.mark.parametrize("conf", [{"shift_pixels": 7.0}, {"shift_kms": 400.0}])
def test_a_shift_moves_a_line_alike_in_both_branches_and_never_wraps(conf: dict[str, float]) -> None:
    moved: list[float] = []
    for epoch in range(1, 30):
        c_BL, n_BL = change(built(**conf), lines(100), lines(100, height=0.3), epoch)
        # the draw is the star's: both branches, whatever their height
        assert torch.allclose(centroid(c_BL), centroid(n_BL), atol=1e-3)
        # flux stays with its star, and all of it
        assert torch.allclose((c_BL - 1).sum(1), torch.arange(1, STARS + 1) * 2.0, rtol=2e-3)
        assert torch.equal(c_BL[:, :90], torch.ones(STARS, 90))
        assert torch.equal(c_BL[:, 111:], torch.ones(STARS, POINTS - 111))
        moved += (centroid(c_BL) - 100).tolist()
    most = conf.get("shift_pixels") or 400 / (0.0002 * augment.LIGHT_KMS)
    assert 0.9 * most < max(moved) <= most * 1.01 and -most * 1.01 <= min(moved) < -0.9 * most
    assert len(set(moved)) == len(moved)  # every star and epoch its own


def test_a_line_at_the_edge_pads_instead_of_coming_in_at_the_other() -> None:
    x_BL = torch.ones(STARS, POINTS)
    x_BL[:, -1] = 5.0
    out = torch.cat([change(built(shift_pixels=20.0), x_BL, x_BL, epoch)[0] for epoch in range(1, 20)])
    assert bool((out[:, :100] == 1).all())
    assert int((out == 5).sum(1).max()) > 10  # moved to the blue: the last pixel is repeated
    assert float(out.max()) <= 5


def test_a_velocity_moves_by_the_doppler_formula_on_an_uneven_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = np.cumsum(np.linspace(0.5, 2.5, POINTS)) + 4000
    made = built(grid=grid, shift_kms=300.0)
    flux = np.sin(grid / 40) + 2
    x_BL = torch.from_numpy(np.tile(flux, (STARS, 1)).astype(np.float32))
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, 0.875))  # 0.75 of the range
    out, _ = change(made, x_BL, x_BL.clone())
    expected = np.interp(grid / (1 + 225.0 / augment.LIGHT_KMS), grid, flux)
    np.testing.assert_allclose(out.numpy(), np.tile(expected, (STARS, 1)), atol=1e-5)


def test_flux_does_not_cross_a_gap_of_the_grid() -> None:
    grid = np.concatenate((4000.0 + np.arange(100), 4300.0 + np.arange(100)))
    x_BL = torch.cat((torch.full((STARS, 100), 1.0), torch.full((STARS, 100), 9.0)), dim=1)
    for conf in ({"shift_pixels": 5.0}, {"shift_kms": 500.0}, {"shift_pixels": 5.0, "shift_kms": 500.0}):
        for epoch in range(1, 6):
            assert torch.equal(change(built(grid=grid, **conf), x_BL, x_BL.clone(), epoch)[0], x_BL)


def test_noise_has_the_sigma_that_was_asked_for_and_one_draw() -> None:
    c_BL, n_BL = torch.full((400, POINTS), 800.0), torch.full((400, POINTS), 2.0)
    c_out, n_out = change(built(noise=0.05), c_BL, n_BL)
    for out, level in ((c_out, 800.0), (n_out, 2.0)):
        share = (out - level) / level
        assert abs(float(share.mean())) < 4 * 0.05 / math.sqrt(share.numel())
        assert float(share.std()) == pytest.approx(0.05, rel=0.02)
    assert torch.allclose(c_out / 800, n_out / 2, atol=1e-6)
    pixels = (n_out - 2)[:, :50].T  # neighbours know nothing of each other
    assert abs(float(torch.corrcoef(pixels[:2])[0, 1])) < 0.2


def test_noise_to_snr_adds_what_is_missing_and_leaves_noisier_stars() -> None:
    snr = np.array([100.0, 40.0, 20.0, 10.0, np.nan, 0.0])
    made = built(snr=snr, noise_to_snr=20.0)
    flux_BL = torch.full((6, 20_000), 50.0)
    out, _ = change(made, flux_BL, flux_BL.clone())
    added = (out - 50).std(dim=1).tolist()
    for star, start in ((0, 100), (1, 40)):
        assert added[star] == pytest.approx(math.sqrt((50 / 20) ** 2 - (50 / start) ** 2), rel=0.03)
    assert added[2:] == [0.0, 0.0, 0.0, 0.0]
    assert augment.facts(made) == {"probability": 1.0, "noise_to_snr": 20.0, "snr_unknown": 2}


def test_both_noises_add_in_variance() -> None:
    flux_BL = torch.full((1, 50_000), 1.0)
    out, _ = change(built(snr=np.array([1e9]), noise_to_snr=25.0, noise=0.03), flux_BL, flux_BL.clone())
    assert float(out.std()) == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize("snr", [None, np.full(6, np.nan), np.array(["good"] * 6, object)])
def test_noise_to_snr_without_any_snr_is_bad_input(snr: np.ndarray | None) -> None:
    with pytest.raises(BadInput, match="no column 'snr'"):
        augment.build(Augment(noise_to_snr=20.0), 7, GRID, snr, CPU)


def test_scale_and_tilt_touch_the_continuum_alone() -> None:
    x_BL = torch.full((300, POINTS), 10.0)
    c_out, n_out = change(built(scale=0.2), x_BL, x_BL.clone())
    factor_B = c_out[:, 0] / 10
    assert torch.equal(n_out, x_BL)
    assert torch.allclose(c_out, 10 * factor_B[:, None].expand(-1, POINTS))
    assert 0.8 <= float(factor_B.min()) < 0.82 and 1.18 < float(factor_B.max()) <= 1.2

    c_out, n_out = change(built(tilt=0.3), x_BL, x_BL.clone())
    assert torch.equal(n_out, x_BL)
    ends_B = (c_out[:, -1] - c_out[:, 0]) / 10
    assert -0.3 <= float(ends_B.min()) < -0.27 and 0.27 < float(ends_B.max()) <= 0.3
    assert torch.allclose((c_out[:, 0] + c_out[:, -1]) / 20, torch.ones(300), atol=1e-5)


def test_masks_cover_the_same_windows_of_both_with_each_one_s_median() -> None:
    n_BL = torch.rand(STARS, POINTS)
    c_BL = 4 * n_BL + 64  # ranked alike: the one pixel that is the median is so in both
    seen = torch.zeros(POINTS, dtype=torch.bool)
    starts = set()
    for epoch in range(1, 60):
        c_out, n_out = change(built(mask_windows=1, mask_width=0.1), c_BL, n_BL, epoch)
        assert torch.equal(c_out != c_BL, n_out != n_BL)
        for star in range(STARS):
            where = torch.nonzero(n_out[star] != n_BL[star]).flatten()
            assert 19 <= len(where) <= 20 and int(where[-1] - where[0]) <= 19
            assert torch.equal(n_out[star, where], n_BL[star].median().expand(len(where)))
            assert torch.equal(c_out[star, where], c_BL[star].median().expand(len(where)))
            seen[where] = True
            starts.add((epoch, int(where[0])))
    assert bool(seen[5:-5].all())
    assert len(starts) > 59 * 4  # every star its own
    two = change(built(mask_windows=2, mask_width=0.1), c_BL, n_BL)[0] != c_BL
    assert int(two.sum(1).max()) > 30


def test_probability_leaves_the_others_bit_for_bit() -> None:
    c_BL, n_BL = torch.rand(2000, POINTS) + 1, torch.rand(2000, POINTS)
    made = built(
        snr=np.full(2000, 90.0), probability=0.3, noise=0.1, noise_to_snr=10.0, shift_pixels=3.0,
        shift_kms=50.0, scale=0.1, mask_windows=2, tilt=0.2,
    )  # fmt: skip
    c_out, n_out = change(made, c_BL, n_BL)
    c_same, n_same = (c_out == c_BL).all(1), (n_out == n_BL).all(1)
    assert torch.equal(c_same, n_same)
    assert 0.65 < float(c_same.float().mean()) < 0.75


def test_the_draw_is_a_function_of_seed_epoch_and_position() -> None:
    c_BL, n_BL = torch.rand(STARS, POINTS), torch.rand(STARS, POINTS)
    conf = {"noise": 0.1, "shift_pixels": 3.0, "mask_windows": 2, "tilt": 0.1, "probability": 0.9}
    given = c_BL.clone(), n_BL.clone()
    first = change(built(**conf), c_BL, n_BL, 3, 5)
    torch.manual_seed(99)  # the global generator has no say, and is not touched
    state = torch.get_rng_state()
    again = change(built(**conf), c_BL, n_BL, 3, 5)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert torch.equal(c_BL, given[0]) and torch.equal(n_BL, given[1])  # and what was given stays
    others = [change(built(**conf), c_BL, n_BL, 4, 5), change(built(**conf), c_BL, n_BL, 3, 6)]
    other_seed = augment.build(Augment(**conf), 8, GRID, None, CPU)
    assert other_seed is not None
    others.append(change(other_seed, c_BL, n_BL, 3, 5))
    assert not any(torch.equal(first[0], other[0]) for other in others)


def test_one_tensor_for_both_branches_stays_one_spectrum() -> None:
    x_BL = torch.rand(STARS, POINTS) + 1
    c_out, n_out = change(built(noise=0.1, shift_pixels=2.0, mask_windows=1), x_BL, x_BL)
    assert torch.equal(c_out, n_out) and not torch.equal(c_out, x_BL)


def test_only_training_batches_are_changed() -> None:
    flux_NL = torch.rand(20, POINTS) + 1
    rows = Rows(Resident(flux_NL, flux_NL, torch.arange(20), CPU), torch.zeros(20, 1), list("a" * 20))
    batch = next(iter(Batches(rows, 20, 0, augmentation=built(noise=0.1))))
    assert not torch.equal(batch.continuum_BL, flux_NL[batch.index_B])
    assert torch.equal(rows.take(torch.arange(20)).continuum_BL, flux_NL)  # how evaluation takes them
