"""Every layout is read, every real file is, and what is broken says how."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.spectra.fits import Rejected
from engine.spectra.fits.choices import choose
from engine.spectra.fits.process import process
from engine.spectra.fits.read import read

# file: obsid, layout, wavelength from, pixels, class, last Å (first is 3699.99 but for the medium one)
FILES = {
    "3706009.fits": ("3706009", "table", "WAVELENGTH", 3909, "STAR", 9099.14),
    "med-58025-HIP9645901_sp02-051.fits.gz": ("589002051", "medium", "LOGLAM", 7577, "STAR", 6877.01),
    "spec-55859-F5902_sp01-001_dr7.fits.gz": ("101001", "image", "row 2", 3908, "STAR", 9097.04),
    "spec-55859-F5902_sp01-013_dr8.fits.gz": ("101013", "table", "WAVELENGTH", 3908, "STAR", 9097.04),
    "spec-55859-F5902_sp03-232.fits.gz": ("103232", "image", "row 2", 3906, "STAR", 9092.85),
    "spec-55862-B6212_sp06-003.fits": (
        "spec-55862-B6212_sp06-003",
        "image",
        "COEFF0, COEFF1",
        3904,
        "STAR",
        9088.67,
    ),
    "spec-55862-B6212_sp06-005.fits": (
        "spec-55862-B6212_sp06-005",
        "image",
        "COEFF0, COEFF1",
        3904,
        "STAR",
        9088.67,
    ),
    "spec-55863-M31_011N40_B1_sp07-211.fits.gz": ("1607211", "image", "row 2", 3892, "STAR", 9063.59),
    "spec-55917-B5591705_sp13-116.fits": ("19013116", "image", "row 2", 3904, "STAR", 9088.67),
    "spec-57032-HD132901N475049V01_sp07-078.fits": ("295107078", "image", "row 2", 3909, "STAR", 9099.14),
    "spec-58575-HD103621N361936B01_sp03-002.fits": ("740103002", "image", "row 2", 3909, "STAR", 9099.14),
}


@pytest.mark.parametrize("name", FILES)
def test_real_files(real_fits: Path, name: str) -> None:
    obsid, layout, source, pixels, kind, last = FILES[name]
    spectrum = read(real_fits / name)
    facts = spectrum.facts
    assert (spectrum.obsid, spectrum.layout, spectrum.wavelength_from) == (obsid, layout, source)
    assert len(spectrum.flux) == len(spectrum.ivar) == len(spectrum.bad) == len(spectrum.wavelength) == pixels
    assert facts.kind == kind and facts.vacuum is True and facts.heliocentric is True
    assert spectrum.wavelength[0] == pytest.approx(4927.2 if layout == "medium" else 3699.986, abs=0.01)
    assert spectrum.wavelength[-1] == pytest.approx(last, abs=0.01)
    assert all(
        values.dtype == np.dtype("=f8") for values in (spectrum.wavelength, spectrum.flux, spectrum.ivar)
    )
    assert len(spectrum.arms) == (2 if layout == "medium" else 1)
    assert (facts.z is None) == (layout == "medium") and facts.class_from == (
        "OBJTYPE" if layout == "medium" else "CLASS"
    )
    row = process(real_fits / name, choose())
    assert np.isfinite(row.continuum).all() and np.isfinite(row.normalized).all()
    covered = np.ones(4901, bool)
    for first, end in row.facts["uncovered"]:
        covered[first : end + 1] = False
    assert np.median(row.continuum[covered]) == pytest.approx(1)
    assert 0.9 < np.median(row.normalized[covered]) < 1.02


@pytest.mark.parametrize(
    "name", ["3706009.fits", "spec-55859-F5902_sp01-013_dr8.fits.gz", "spec-55859-F5902_sp03-232.fits.gz"]
)
def test_h_alpha_of_real_stars_is_at_rest(real_fits: Path, name: str) -> None:
    """The header's Z brings the line home; one of the three moves at -320 km/s, which is 7 Å."""
    grid = np.arange(3900, 8801.0)
    near = np.abs(grid - 6564.61) < 15
    depth = 1 - process(real_fits / name, choose()).normalized[near]
    assert (grid[near] * depth).sum() / depth.sum() == pytest.approx(6564.61, abs=1.0)


@pytest.mark.parametrize("layout", ["image", "table", "medium"])
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_layouts(make: Any, layout: str, packed: str) -> None:
    spectrum = read(make(f"a.fits{packed}", layout))
    assert spectrum.layout == layout and spectrum.obsid == "1000"
    assert spectrum.flux.dtype == np.dtype("=f8") and np.isfinite(spectrum.flux).all()
    if layout == "medium":
        assert spectrum.facts.snr == {"B": 90.0, "R": 150.0} and spectrum.facts.class_from == "OBJTYPE"
        blue, red = spectrum.arms
        assert spectrum.wavelength[blue].max() < 5400 and spectrum.wavelength[red].min() > 6290
    else:
        assert spectrum.facts.snr == {"g": 40.5, "r": 60.0} and spectrum.facts.ra == 10.5
        assert spectrum.facts.z == 1e-4 and spectrum.facts.data_v == "LAMOST DRX"


def test_row_two_that_is_no_wavelength_is_not_taken(make: Any) -> None:
    good = read(make("good.fits", "image"))

    def ones(rows: dict[str, np.ndarray]) -> None:
        rows["WAVELENGTH"] = np.ones(3909)

    def backwards(rows: dict[str, np.ndarray]) -> None:
        rows["WAVELENGTH"] = rows["WAVELENGTH"][::-1].copy()

    def far(rows: dict[str, np.ndarray]) -> None:
        rows["WAVELENGTH"] = rows["WAVELENGTH"] * 3

    for i, spoil in enumerate((ones, backwards, far)):
        spectrum = read(make(f"{i}.fits", "image", spoil=spoil))
        assert spectrum.wavelength_from == "COEFF0, COEFF1"
        np.testing.assert_allclose(spectrum.wavelength, good.wavelength, rtol=1e-7)
    with pytest.raises(Rejected) as caught:
        read(make("none.fits", "image", spoil=ones, COEFF0=None, COEFF1=None))
    assert caught.value.key == "no_wavelength"
    old = read(make("old.fits", "image", spoil=ones, COEFF0=None, COEFF1=None, CRVAL1=3.5682, CD1_1=1e-4))
    np.testing.assert_allclose(old.wavelength, good.wavelength, rtol=1e-7)


def test_missing_values_of_headers(make: Any) -> None:
    spectrum = read(make("spec-1-A_sp01-001.fits.gz", OBSID=None, Z=-9999.0, SNRG=-9999, VACUUM=None, RA="?"))
    facts = spectrum.facts
    assert (spectrum.obsid, facts.obsid_from) == ("spec-1-A_sp01-001", "file name")
    assert facts.z is None and facts.snr == {"r": 60.0} and facts.vacuum is None and facts.ra is None
    assert read(make("b.fits", OBSID="  77 ")).obsid == read(make("c.fits", OBSID=77.0)).obsid == "77"


def broken(folder: Path, make: Any) -> dict[str, tuple[Path, str]]:
    from astropy.io import fits

    folder.mkdir(exist_ok=True)
    made: dict[str, tuple[Path, str]] = {}

    def keep(name: str, data: bytes, key: str) -> None:
        (folder / name).write_bytes(data)
        made[name] = (folder / name, key)

    whole = make("whole.fits").read_bytes()
    image = make("image.fits", "image").read_bytes()
    packed = gzip.compress(whole)
    keep("empty.fits", b"", "empty")
    keep("text.fits", b"no FITS at all\n" * 500, "not_fits")
    keep("short_text.fits", b"x", "not_fits")
    keep("half.fits", whole[: len(whole) // 2], "cut_off")
    keep("half_image.fits", image[: len(image) // 2], "cut_off")
    keep("half.fits.gz", packed[: len(packed) // 2], "damaged_gz")
    keep("header_only.fits.gz", packed[:60], "damaged_gz")
    keep("not_gz.fits.gz", b"\x1f\x8b" + b"rubbish" * 30, "damaged_gz")
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 0xFF
    keep("flipped.fits.gz", bytes(flipped), "damaged_gz")
    fits.PrimaryHDU().writeto(folder / "nothing.fits")
    made["nothing.fits"] = (folder / "nothing.fits", "no_data")
    fits.PrimaryHDU(np.zeros((3, 4, 5))).writeto(folder / "cube.fits")
    made["cube.fits"] = (folder / "cube.fits", "bad_shape")
    fits.PrimaryHDU(np.zeros((1, 4000))).writeto(folder / "one_row.fits")
    made["one_row.fits"] = (folder / "one_row.fits", "bad_shape")
    table = fits.BinTableHDU.from_columns([fits.Column("FLUX", "E", array=np.zeros(99))], name="COADD")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / "columns.fits")
    made["columns.fits"] = (folder / "columns.fits", "no_columns")
    (folder / "gone.fits").symlink_to(folder / "nowhere")
    made["gone.fits"] = (folder / "gone.fits", "unreadable")
    return made


def test_broken_files_say_how(tmp_path: Path, make: Any) -> None:
    for name, (path, key) in broken(tmp_path / "broken", make).items():
        with pytest.raises(Rejected) as caught:
            read(path)
        assert caught.value.key == key, f"{name}: {caught.value}"


def test_class_speed_and_emptiness_are_judged(make: Any) -> None:
    def refused(*words: Any, **choices: Any) -> str:
        with pytest.raises(Rejected) as caught:
            process(make(*words, **header), choose(**choices))
        return caught.value.key

    header: dict[str, Any] = {"CLASS": "GALAXY", "Z": 0.02}
    assert refused("galaxy.fits") == "not_a_star"
    assert (
        process(make("any.fits", CLASS="GALAXY", Z=0.02), choose(any_class=True)).facts["class"] == "GALAXY"
    )
    header = {"Z": 0.02}
    assert refused("fast.fits") == "too_fast"
    header = {"spoil": lambda rows: rows["IVAR"].__setitem__(slice(0, 2500), 0)}
    assert refused("masked.fits") == "masked"
    header = {"spoil": lambda rows: rows["FLUX"].__imul__(-1)}
    assert refused("negative.fits") == "no_flux"
    header = {}
    assert refused("off.fits", grid_word="9500:9900:1") == "off_grid"
    assert refused("edge.fits", grid_word="8000:10000:1", min_coverage=0.6) == "coverage"
    with pytest.raises(Rejected) as caught:
        process(make("columns.fits"), choose(rv_column="rv"), {"1000": 120_000.0})
    assert caught.value.key == "too_fast" and caught.value.values["source"] == "column"
