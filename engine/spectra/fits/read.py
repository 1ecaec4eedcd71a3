"""One reader for every layout that LAMOST has released.

| layout | where | wavelength |
|---|---|---|
| image | primary image (rows, N): flux, ivar, row 2, andmask, ormask | row 2 if it is one, else 10^(COEFF0 + COEFF1 i) |
| table | table COADD, one row of vectors or one row a pixel | WAVELENGTH, or 10^LOGLAM |
| medium | tables COADD_B and COADD_R | the same, per arm |

Owns layouts, byte order and the ways in which a file can be broken. Judges nothing: whether a class is
wanted or a pixel is good enough is for the later steps to say.
"""  # noqa: E501 - a table

from __future__ import annotations

import gzip
import io
import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from engine.spectra.fits import Rejected
from engine.spectra.fits.header import Facts, facts, number
from engine.spectra.headers import DAMAGED

LOWEST, HIGHEST = 3000.0, 12000.0  # Å: a row or column outside is no wavelength of this survey
LEAST_PIXELS = 50
ARMS = ("B", "R")


@dataclass(frozen=True)
class Spectrum:
    """One star as the file has it.

    wavelength [N] in Å (in the frame that `facts.vacuum` names, as observed), ascending within each arm;
    flux [N]; ivar [N] in flux^-2; bad [N] true where ANDMASK is not 0: bad in every exposure. `arms` are
    the pixels of each arm: one for low resolution, blue and red for medium. `layout` is a row of the
    table above, `wavelength_from` what the wavelengths were taken from.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    bad: np.ndarray
    arms: tuple[slice, ...]
    layout: str
    wavelength_from: str
    facts: Facts

    @property
    def obsid(self) -> str:
        """The star's id: OBSID, else the file's name."""
        return self.facts.obsid


@dataclass(frozen=True)
class _Arm:
    wavelength: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    bad: np.ndarray
    wavelength_from: str


def read(path: Path) -> Spectrum:
    """Return the spectrum in a FITS file, packed or not.

    Raises:
        Rejected: it is no FITS file, it is cut off or damaged, or it holds no spectrum of these layouts.
    """
    from astropy.io import fits

    try:
        if path.stat().st_size == 0:
            raise Rejected("empty")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            # no memory map: a file that shrinks while it is mapped ends the process
            with fits.open(_unpacked(path), memmap=False) as hdus:
                len(hdus)  # reads every header, and so sees where the file ends
                if any("truncated" in str(w.message) for w in caught):
                    raise Rejected("cut_off")
                return _spectrum(hdus, path)
    except DAMAGED as error:  # before OSError: a bad gzip is one
        raise Rejected("damaged_gz", why=error) from error
    except OSError as error:
        if error.errno is not None:
            raise Rejected("unreadable", why=error.strerror or error) from error
        raise Rejected("not_fits", why=" ".join(str(error).split())[:120]) from error


def _unpacked(path: Path) -> Path | BinaryIO:
    """Return the file, or the bytes in it when it is a gzip, by what it is and not by its name.

    astropy would unpack it too, but takes the end of a torn gzip for the end of the FITS file.
    """
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return io.BytesIO(gzip.decompress(path.read_bytes())) if packed else path


def _spectrum(hdus: Any, path: Path) -> Spectrum:
    """Choose the layout by what is in the file, not by its release."""
    primary = hdus[0]
    if primary.data is not None and primary.data.ndim == 2:
        return _join([_image(primary)], "image", facts(primary.header, path))
    tables = {hdu.name: hdu for hdu in hdus[1:] if getattr(hdu, "columns", None) is not None}
    if "COADD" in tables:
        return _join([_table(tables["COADD"])], "table", facts(primary.header, path))
    arms = {arm: tables[f"COADD_{arm}"] for arm in ARMS if f"COADD_{arm}" in tables}
    if arms:
        snr = {arm: number(hdu.header.get("SNR")) for arm, hdu in arms.items()}
        return _join([_table(hdu) for hdu in arms.values()], "medium", facts(primary.header, path, snr))
    if primary.data is not None:
        raise Rejected("bad_shape", shape=primary.data.shape)
    raise Rejected("no_data", hdus=", ".join(hdu.name or "?" for hdu in hdus))


def _image(hdu: Any) -> _Arm:
    rows = _native(hdu.data)
    if len(rows) < 2 or rows.shape[1] < LEAST_PIXELS:
        raise Rejected("bad_shape", shape=rows.shape)
    bad = rows[3] != 0 if len(rows) > 3 else np.zeros(rows.shape[1], bool)
    # DR1 keeps a normalised spectrum where later releases keep the wavelength
    if len(rows) > 2 and is_wavelength(rows[2]):
        return _Arm(rows[2], rows[0], rows[1], bad, "row 2")
    wavelength = _from_coefficients(hdu.header, rows.shape[1])
    return _Arm(wavelength, rows[0], rows[1], bad, "COEFF0, COEFF1")


def _from_coefficients(header: Mapping[str, Any], pixels: int) -> np.ndarray:
    """Return the wavelengths [N] in Å that the header's log10 grid means."""
    first, step = number(header.get("COEFF0")), number(header.get("COEFF1"))
    if first is None or step is None:
        first, step = number(header.get("CRVAL1")), number(header.get("CD1_1"))
    if first is None or step is None or not 0 < first < 5 or not 0 < step < 0.01:
        raise Rejected("no_wavelength")
    wavelength: np.ndarray = 10 ** (first + step * np.arange(pixels))
    if not is_wavelength(wavelength):
        raise Rejected("no_wavelength")
    return wavelength


def _table(hdu: Any) -> _Arm:
    columns = {name.upper(): name for name in hdu.columns.names}
    lacking = [name for name in ("FLUX", "IVAR") if name not in columns]
    if lacking or not {"WAVELENGTH", "LOGLAM"} & set(columns):
        raise Rejected("no_columns", table=hdu.name, columns=", ".join(columns))

    def column(name: str) -> np.ndarray:
        return _native(hdu.data[columns[name]])

    flux = column("FLUX")
    # one row of vectors, or one row a pixel
    if flux.ndim > 1 and len(flux) != 1:
        raise Rejected("bad_shape", shape=flux.shape)
    if "WAVELENGTH" in columns:
        wavelength, source = column("WAVELENGTH").ravel(), "WAVELENGTH"
    else:
        wavelength, source = 10 ** column("LOGLAM").ravel(), "LOGLAM"
    if not is_wavelength(wavelength):
        raise Rejected("no_wavelength")
    flux = flux.ravel()
    if len(flux) < LEAST_PIXELS:
        raise Rejected("bad_shape", shape=flux.shape)
    bad = column("ANDMASK").ravel() != 0 if "ANDMASK" in columns else np.zeros(len(flux), bool)
    return _Arm(wavelength, flux, column("IVAR").ravel(), bad, source)


def is_wavelength(values: np.ndarray) -> bool:
    """Tell whether values [N] can be wavelengths in Å: rising all the way, within the survey's range."""
    inside = len(values) > 1 and bool((values >= LOWEST).all() and (values <= HIGHEST).all())
    return inside and bool((np.diff(values) > 0).all())


def _native(values: Any) -> np.ndarray:
    """Return values as float64 of this machine: FITS is big-endian, and torch and pandas refuse that."""
    return np.asarray(values).astype(np.float64)


def _join(arms: Sequence[_Arm], layout: str, said: Facts) -> Spectrum:
    ends = np.cumsum([0, *(len(arm.flux) for arm in arms)]).tolist()
    return Spectrum(
        wavelength=np.concatenate([arm.wavelength for arm in arms]),
        flux=np.concatenate([arm.flux for arm in arms]),
        ivar=np.concatenate([arm.ivar for arm in arms]),
        bad=np.concatenate([arm.bad for arm in arms]),
        arms=tuple(slice(a, b) for a, b in itertools.pairwise(ends)),
        layout=layout,
        wavelength_from=arms[0].wavelength_from,
        facts=said,
    )
