"""Each step alone: frames, masks, grids, resampling, continua."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.errors import BadInput
from engine.spectra.fits import continuum, frame, grid, mask
from engine.spectra.fits.choices import choose
from engine.spectra.fits.process import process
from engine.spectra.fits.resample import pixel_edges, resample

# air, vacuum Å of well-known lines
PAIRS = (
    (3933.66, 3934.78),
    (4101.74, 4102.89),
    (4340.47, 4341.68),
    (4861.33, 4862.68),
    (5183.60, 5185.05),
    (5889.95, 5891.58),
    (6562.79, 6564.61),
    (7698.96, 7701.08),
    (8542.09, 8544.44),
    (8662.14, 8664.52),
)


def test_line_pairs_and_round_trip() -> None:
    air, vacuum = np.array(PAIRS).T
    np.testing.assert_allclose(frame.to_vacuum(air), vacuum, atol=0.011)
    np.testing.assert_allclose(frame.to_air(vacuum), air, atol=0.011)
    wavelength = np.linspace(3000, 12000, 20_000)
    np.testing.assert_allclose(frame.to_vacuum(frame.to_air(wavelength)), wavelength, rtol=0, atol=1e-8)
    assert 5000 - frame.to_air(np.array([5000.0]))[0] == pytest.approx(1.39, abs=0.01)


def test_frames_and_velocity_are_never_mixed() -> None:
    rest = np.array([4862.68, 6564.61])
    z = frame.redshift(-320.0)
    observed = rest * (1 + z)
    np.testing.assert_allclose(frame.convert(observed, vacuum=True, z=z, frame="vacuum"), rest, atol=1e-9)
    in_air = frame.to_air(observed)
    np.testing.assert_allclose(frame.convert(in_air, vacuum=False, z=z, frame="vacuum"), rest, atol=1e-8)
    expected = frame.to_air(rest)
    np.testing.assert_allclose(frame.convert(observed, vacuum=True, z=z, frame="air"), expected, atol=1e-9)
    assert frame.velocity(z) == pytest.approx(-320)


def centre(row: Any, line: float, wavelength: np.ndarray) -> float:
    near = np.abs(wavelength - line) < 12
    depth = 1 - row.normalized[near]
    depth[depth < 0.1] = 0  # noise
    return float((wavelength[near] * depth).sum() / depth.sum())


@pytest.mark.parametrize("layout", ["image", "table", "medium"])
@pytest.mark.parametrize("rv", [-600.0, 0.0, 450.0])
def test_lines_come_home(make: Any, layout: str, rv: float) -> None:
    """A line is at rest after the shift by Z or by a column, and where it was without one."""
    line, z = 6564.61, frame.redshift(rv)
    wavelength = grid.parse("6400:6700:0.5").wavelength()
    for name, choices, speeds in (
        ("header", choose(grid_word="6400:6700:0.5"), None),
        ("column", choose(grid_word="6400:6700:0.5", rv_column="rv"), {"1000": rv}),
    ):
        header = {"Z": z if name == "header" else 0.0005}
        row = process(make(f"{name}.fits", layout, z=z, **header), choices, speeds)
        assert centre(row, line, wavelength) == pytest.approx(line, abs=0.3)
        assert row.facts["rv"] == pytest.approx(rv, abs=0.01) and row.facts["rv_from"] == name
    row = process(make("none.fits", layout, z=z), choose(grid_word="6400:6700:0.5", rv="none"))
    assert centre(row, line * (1 + z), wavelength) == pytest.approx(line * (1 + z), abs=0.3)
    assert row.facts["rv"] is None and row.facts["rv_from"] == "none"


def test_air_in_and_air_out(make: Any) -> None:
    wavelength = grid.parse("6400:6700:0.5").wavelength()

    def to_air(rows: dict[str, np.ndarray]) -> None:
        rows["WAVELENGTH"] = frame.to_air(rows["WAVELENGTH"])

    from_air = process(make("air.fits", spoil=to_air, VACUUM=False), choose(grid_word="6400:6700:0.5"))
    assert centre(from_air, 6564.61, wavelength) == pytest.approx(6564.61, abs=0.3)
    assert from_air.facts["frame"] == "air" and from_air.facts["frame_from"] == "VACUUM"
    into_air = process(make("vacuum.fits"), choose(grid_word="6400:6700:0.5", frame="air"))
    assert centre(into_air, 6562.79, wavelength) == pytest.approx(6562.79, abs=0.3)
    silent = process(make("silent.fits", VACUUM=None), choose())
    assert silent.facts["frame"] == "vacuum" and silent.facts["frame_from"] == "assumed"


def test_bad_pixels() -> None:
    flux = np.array([1, 2, np.nan, 0, 3, 0, 0, 4, 5, 6.0])
    ivar = np.array([1, 0, 1, 1, -1, 1, 1, np.inf, 1, np.nan])
    andmask = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 0], bool)
    assert mask.bad_pixels(flux, ivar, andmask).tolist() == [0, 1, 1, 0, 1, 1, 1, 1, 1, 1]


def test_gaps_are_bridged_by_straight_lines() -> None:
    wavelength = np.linspace(4000, 4100, 101)
    truth = 3 + 0.02 * (wavelength - 4000)
    bad = np.zeros(101, bool)
    bad[[10, 30, 31, 32]] = bad[40:70] = bad[:3] = bad[-2:] = True
    flux = np.where(bad, 1e9, truth)
    mended = mask.interpolate(wavelength, flux, bad)
    np.testing.assert_allclose(mended[3:-2], truth[3:-2], rtol=1e-12)
    assert mended[0] == mended[2] == pytest.approx(np.median(truth[3:6]))
    assert flux[10] == 1e9, "the input must stay as it was"
    assert mask.runs(bad) == [(0, 3), (10, 11), (30, 33), (40, 70), (99, 101)]
    assert mask.inner(~bad) == slice(3, 99) and mask.inner(np.zeros(4, bool)) == slice(0, 0)


def test_telluric_bands_are_those_of_the_observed_frame(make: Any) -> None:
    at = np.array([6850.0, 6900.0, 7650.0, 7720.0, 5578.9, 5590.0, 9000.0])
    assert mask.telluric(at).tolist() == [False, True, True, False, True, False, True]
    keep = process(make("a.fits", z=0.001), choose())
    masked = process(make("a.fits", z=0.001), choose(telluric=True))
    assert keep.facts["masked_pixels"] == 0 and masked.facts["masked_pixels"] > 500
    ranges = [(3900 + a, 3900 + b) for a, b in masked.facts["masked"]]
    first = next(r for r in ranges if r[0] > 7500)  # the O2 A band, moved with the star
    assert first[0] == pytest.approx(7596.1 / 1.001, abs=2) and first[1] == pytest.approx(
        7702.1 / 1.001, abs=2
    )


def test_masks_are_counted_mended_and_kept(make: Any) -> None:
    def spoil(rows: dict[str, np.ndarray]) -> None:
        rows["FLUX"][1500:1505] = 1e6
        rows["ANDMASK"][1500:1505] = 64
        rows["FLUX"][2000] = np.nan
        rows["FLUX"][-20:] = 0
        rows["IVAR"][:300] = 0

    row = process(make("a.fits", z=0, spoil=spoil), choose(grid_word="3900:9090:1"))
    assert row.facts["masked_share"] == pytest.approx(326 / 3909, abs=1e-4)
    assert row.normalized.max() < 1.3 and np.isfinite(row.continuum).all()
    w = 10 ** (3.5682 + 1e-4 * np.arange(3909))
    place = next((3900 + a, 3900 + b) for a, b in row.facts["masked"] if b - a > 3)
    assert place[0] == pytest.approx(w[1500], abs=1.5) and place[1] == pytest.approx(w[1504], abs=1.5)
    (first, blue_end), (red_start, last) = row.facts["uncovered"]
    assert first == 0 and 3900 + blue_end == pytest.approx(w[300], abs=2) and last == 5190
    assert 3900 + red_start == pytest.approx(w[-20], abs=2)
    assert (row.normalized[: blue_end + 1] == 1).all() and len(set(row.continuum[red_start:].tolist())) == 1
    assert row.facts["uncovered_pixels"] == blue_end + 1 + 5191 - red_start


def test_grid_words() -> None:
    linear = grid.parse("3900:8800:1")
    assert linear.points == 4901 and linear.columns()[0] == "3900.00" and linear.columns()[-1] == "8800.00"
    np.testing.assert_array_equal(linear.edges()[:2], [3899.5, 3900.5])
    assert (
        grid.parse("3600:7359.2:0.8").points == 4700
        and grid.parse("3600:7359.2:0.8").columns()[1] == "3600.80"
    )
    log = grid.parse("log:3700:9100:1e-4")
    assert log.points == 3909 and log.wavelength()[0] == pytest.approx(3700)
    np.testing.assert_allclose(np.diff(np.log10(log.edges())), 1e-4)
    for made in (log, grid.parse("4950:5350:0.05"), grid.parse("3900:4000:0.125")):
        names = np.array(made.columns(), float)
        assert np.abs(names - made.wavelength()).max() < 6e-5 and (np.diff(names) > 1e-4).all()


@pytest.mark.parametrize(
    "word",
    [
        "",
        "3900",
        "3900:8800",
        "a:b:c",
        "8800:3900:1",
        "3900:8800:0",
        "3900:8800:-1",
        "3900:3903:1",
        "nan:8800:1",
        "3900:8800:0.0001",
        "log:3900:8800",
        "log:3900:8800:2",
        "lin:3900:8800:1",
        "3900:8800:1:1",
        "0:8800:1",
        "390:880:1",
    ],
)
def test_bad_grid_words(word: str) -> None:
    with pytest.raises(BadInput) as caught:
        grid.parse(word)
    assert len(caught.value.lines) == 1 and f"--grid {word}" in caught.value.lines[0]


@pytest.mark.parametrize("word", ["4000:4990:0.37", "4000:4990:1", "4000:4985:7.3", "log:4000:4990:1e-4"])
def test_resampling_conserves_flux(word: str) -> None:
    rng = np.random.default_rng(1)
    wavelength = np.cumsum(rng.uniform(0.4, 1.6, 1200)) + 3950
    flux = np.stack([rng.uniform(1, 5, 1200), np.ones(1200)])
    edges = grid.parse(word).edges()
    new = resample(wavelength, flux, np.zeros(1200, bool), edges)
    assert new.covered.all() and not new.masked.any()
    old = pixel_edges(wavelength)
    total = np.concatenate([[0], np.cumsum(flux[0] * np.diff(old))])
    expected = np.diff(np.interp([edges[0], edges[-1]], old, total))[0]
    assert (new.flux[0] * np.diff(edges)).sum() == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(new.flux[1], 1, rtol=1e-12)
    for at in (0, 5, len(edges) // 2, len(edges) - 2):  # each pixel alone, the slow and plain way
        share = [
            max(0.0, min(edges[at + 1], old[i + 1]) - max(edges[at], old[i])) for i in range(len(wavelength))
        ]
        assert new.flux[0, at] == pytest.approx(np.dot(share, flux[0]) / (edges[at + 1] - edges[at]))


def test_resampling_tells_what_it_rests_on() -> None:
    wavelength = np.arange(4000.0, 4101.0)
    bad = np.zeros(101, bool)
    bad[20:25] = True
    new = resample(wavelength, np.ones((1, 101)), bad, np.arange(3989.5, 4111.0, 1.0))
    assert new.covered.tolist() == [False] * 10 + [True] * 101 + [False] * 10
    assert np.isnan(new.flux[0, ~new.covered]).all() and (new.flux[0, new.covered] == 1).all()
    assert np.flatnonzero(new.masked).tolist() == list(range(30, 35))


@pytest.mark.parametrize(
    "word", ["spline", "polynomial", "gaussian:width=50", "median", "spline:knots=120,low=30"]
)
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_each_continuum_flattens(synthetic: Any, word: str, noise: float) -> None:
    wavelength = 10 ** (3.5682 + 1e-4 * np.arange(3909))
    truth = synthetic.smooth(wavelength)
    flux = truth * synthetic.lines(wavelength)
    flux = flux * (1 + noise * np.random.default_rng(3).standard_normal(len(flux)))
    bad = np.zeros(len(flux), bool)
    bad[1000:1010] = True
    flux[bad] = 1e5
    mended = mask.interpolate(wavelength, flux, bad)
    below = continuum.continuum(continuum.parse(word), wavelength, mended, np.full(len(flux), 1e-4), bad)
    ratio, floored = continuum.divide(mended, below)
    assert floored == 0 and np.isfinite(ratio).all()
    # a running mean goes down into a line, so it is judged further away from one
    reach = 15 if word.startswith(("spline", "poly")) else 120
    away = np.abs(wavelength[:, None] - np.array(synthetic.LINES)).min(axis=1) > reach
    away &= (wavelength > 3850) & (wavelength < 8950)
    inside = (below / truth)[away]
    assert np.abs(inside - 1).max() < 0.05 and np.abs(np.median(inside) - 1) < 0.03
    assert ratio[np.abs(wavelength - 6564.61).argmin()] < 0.75, "the line must stay a line"


@pytest.mark.parametrize("method", continuum.PARAMETERS)
def test_arms_of_medium_resolution_are_normalised_apart(make: Any, method: str) -> None:
    def scaled(rows: dict[str, np.ndarray]) -> None:
        if rows["LOGLAM"][0] > 3.75:  # the red arm in other units
            rows["FLUX"] *= 50
            rows["IVAR"] /= 2500

    choices = choose(grid_word="4940:6850:0.5", continuum_word=method)
    plain = process(make("a.fits", "medium"), choices)
    other = process(make("b.fits", "medium", spoil=scaled), choices)
    np.testing.assert_allclose(other.normalized, plain.normalized, rtol=1e-4)
    np.testing.assert_allclose(other.continuum, plain.continuum, rtol=1e-4)
    assert plain.facts["arms_used"] == 2 and np.abs(np.median(plain.normalized) - 1) < 0.03
    gap = (grid.parse("4940:6850:0.5").wavelength() > 5400) & (
        grid.parse("4940:6850:0.5").wavelength() < 6250
    )
    assert (plain.normalized[gap] == 1).all() and np.ptp(plain.continuum[gap]) < 0.5


@pytest.mark.parametrize(
    "word",
    [
        "splin",
        "",
        "gaussian:size=3",
        "gaussian:width",
        "gaussian:width=x",
        "median:width=-5",
        "polynomial:degree=99",
    ],
)
def test_bad_continuum_words(word: str) -> None:
    with pytest.raises(BadInput) as caught:
        continuum.parse(word)
    assert len(caught.value.lines) == 1 and "--continuum" in caught.value.lines[0]


def test_all_wrong_choices_are_told_at_once() -> None:
    with pytest.raises(BadInput) as caught:
        choose(grid_word="x", continuum_word="y", frame="water", rv="guess", max_masked=3)
    assert len(caught.value.lines) == 5


def test_a_star_that_is_dark_in_the_blue_has_no_wild_pixels(make: Any) -> None:
    def dark(rows: dict[str, np.ndarray]) -> None:
        rows["FLUX"] *= 1 / (1 + np.exp(-(rows["WAVELENGTH"] - 5200) / 60))

    for method in continuum.PARAMETERS:
        row = process(make("dark.fits", spoil=dark), choose(continuum_word=method))
        assert np.abs(row.normalized).max() < 100, method
