"""FITS files of every layout, made small and honest, for each test to spoil in its own way."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

LINES = (4102.89, 4341.68, 4862.68, 5185.05, 6564.61, 8544.44)  # vacuum Å
REAL = Path(__file__).resolve().parents[5] / "shared" / "data" / "lamost_fits"


def smooth(wavelength: np.ndarray) -> np.ndarray:
    """A continuum as a cool star and a spectrograph make it: a hump, a tilt, never below 200."""
    x = (wavelength - 6000) / 2500
    return 200 + 900 * np.exp(-(x**2)) * (1 + 0.25 * x) + 30 * np.sin(2.5 * x)


def lines(wavelength: np.ndarray, depth: float = 0.5, sigma: float = 3.0) -> np.ndarray:
    """Absorption at rest [N]: Gaussians of one depth at `LINES`."""
    away = (wavelength[:, None] - np.array(LINES)[None]) / sigma
    return 1 - depth * np.exp(-0.5 * away**2).sum(axis=1)


class Maker:
    """Writes one star as a FITS file in one of the layouts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def star(self, wavelength: np.ndarray, z: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        noise = np.random.default_rng(seed).standard_normal(len(wavelength))
        flux = smooth(wavelength) * lines(wavelength / (1 + z))
        sigma = smooth(wavelength) / 50
        return flux + noise * sigma, 1 / sigma**2

    def __call__(
        self,
        name: str,
        layout: str = "table",
        *,
        z: float = 1e-4,
        seed: int = 0,
        spoil: Callable[[dict[str, np.ndarray]], None] | None = None,
        **header: Any,
    ) -> Path:
        """Write `name` below the folder; `spoil` changes arrays, `header` cards (None removes one)."""
        from astropy.io import fits

        primary = fits.PrimaryHDU()
        cards = {
            "OBSID": 1000 + seed,
            "CLASS": "STAR",
            "SUBCLASS": "G2",
            "Z": z,
            "VACUUM": True,
            "HELIO": True,
            "SNRG": 40.5,
            "SNRR": 60.0,
            "RA": 10.5,
            "DEC": -3.25,
            "DATA_V": "LAMOST DRX",
            "COEFF0": 3.5682,
            "COEFF1": 1e-4,
        } | header
        hdus: list[Any] = [primary]
        if layout == "medium":
            for arm, first, last in (("B", 3.6926, 3.7303), ("R", 3.79935, 3.8374)):
                loglam = np.arange(first, last, 2e-5)
                rows = self.arrays(10**loglam, z, seed)
                rows["LOGLAM"] = loglam
                del rows["WAVELENGTH"]
                if spoil:
                    spoil(rows)
                hdu = fits.BinTableHDU.from_columns(
                    [fits.Column(n, "E" if n != "LOGLAM" else "D", array=v) for n, v in rows.items()],
                    name=f"COADD_{arm}",
                )
                hdu.header["SNR"] = 90.0 if arm == "B" else 150.0
                hdus.append(hdu)
                cards |= (
                    dict.fromkeys(("CLASS", "SUBCLASS", "Z", "SNRG", "SNRR")) | {"OBJTYPE": "Star"} | header
                )
        else:
            rows = self.arrays(10 ** (3.5682 + 1e-4 * np.arange(3909)), z, seed)
            if spoil:
                spoil(rows)
            if layout == "image":
                primary.data = np.stack([rows[n] for n in rows]).astype(">f4")
            else:
                n = len(rows["FLUX"])
                hdus.append(
                    fits.BinTableHDU.from_columns(
                        [fits.Column(name, f"{n}E", array=v[None]) for name, v in rows.items()], name="COADD"
                    )
                )
        for key, value in cards.items():
            if value is not None:
                primary.header[key] = value
        buffer = io.BytesIO()
        fits.HDUList(hdus).writeto(buffer)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = buffer.getvalue()
        path.write_bytes(gzip.compress(data, 1) if name.endswith(".gz") else data)
        return path

    def arrays(self, wavelength: np.ndarray, z: float, seed: int) -> dict[str, np.ndarray]:
        flux, ivar = self.star(wavelength, z, seed)
        zero = np.zeros(len(flux))
        return {"FLUX": flux, "IVAR": ivar, "WAVELENGTH": wavelength, "ANDMASK": zero, "ORMASK": zero.copy()}


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """`make("a.fits", "image", CLASS="GALAXY")` writes a FITS file below tmp_path/in."""
    return Maker(tmp_path / "in")


@pytest.fixture
def synthetic() -> Any:
    """The recipe of the made-up stars: `smooth`, `lines` and `LINES`."""

    class Recipe:
        LINES = LINES

    Recipe.smooth = staticmethod(smooth)  # type: ignore[attr-defined]
    Recipe.lines = staticmethod(lines)  # type: ignore[attr-defined]
    return Recipe


@pytest.fixture(scope="session")
def real_fits() -> Path:
    """The real files beside the checkout."""
    if not REAL.is_dir():
        pytest.skip(f"needs the real LAMOST files in {REAL}")
    return REAL
