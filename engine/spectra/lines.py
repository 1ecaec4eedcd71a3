"""The lines a spectroscopist looks for: where they lie in air and in vacuum, and what they tell.

Owns the list and the way between the two frames. Knows no table: which frame a table is in, its reader
must know (LAMOST is vacuum, classical line lists and MILES as published are air; 1.4 Å apart at 5000 Å).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from engine.words import has, say

if TYPE_CHECKING:
    import numpy as np

Frame = Literal["vacuum", "air"]
FRAMES: tuple[Frame, Frame] = ("vacuum", "air")
LIGHT = 299_792.458  # km/s


@dataclass(frozen=True)
class SpectralLine:
    """One line, or the head of a band; wavelengths in Å.

    `band` is the (low, high) range in air of a band or of a telluric region. `tells` names what its strength
    depends on. `rank` 1 is labelled first where room is short, 3 last.
    """

    name: str
    air: float
    vacuum: float
    kind: Literal["line", "band", "telluric"]
    tells: tuple[str, ...] = ()
    rank: int = 2
    band: tuple[float, float] | None = None


@dataclass(frozen=True)
class Placed:
    """A line at its place in one frame; `low` and `high` are the same as `at` for a line without a band."""

    line: SpectralLine
    at: float
    low: float
    high: float


# Both wavelengths are written down, not computed: a test holds one against the other, so that a slip of the
# hand in either shows. Values: NIST Atomic Spectra Database; molecular heads: Pearse & Gaydon 1976;
# telluric ranges: as masked by LAMOST work.
LINES: tuple[SpectralLine, ...] = (
    SpectralLine("H9", 3835.39, 3836.47, "line", ("Teff", "logg"), 3),
    SpectralLine("CN 3883", 3883.4, 3884.5, "band", ("n", "carbon"), 2, (3850.0, 3883.4)),
    SpectralLine("H8", 3889.05, 3890.15, "line", ("Teff",), 3),
    SpectralLine("Ca K", 3933.66, 3934.78, "line", ("[Fe/H]", "ism", "activity"), 1),
    SpectralLine("Ca H", 3968.47, 3969.59, "line", ("[Fe/H]", "ism", "activity"), 2),
    SpectralLine("Hε", 3970.07, 3971.20, "line", ("Teff",), 3),
    SpectralLine("Sr II", 4077.71, 4078.86, "line", ("logg", "s_process"), 3),
    SpectralLine("Hδ", 4101.74, 4102.89, "line", ("Teff",), 1),
    SpectralLine("Sr II", 4215.52, 4216.71, "line", ("logg", "s_process"), 3),
    SpectralLine("CN 4216", 4216.0, 4217.2, "band", ("n", "carbon"), 2, (4142.0, 4216.0)),
    SpectralLine("Ca I", 4226.73, 4227.92, "line", ("Teff", "logg"), 2),
    SpectralLine("CH G", 4314.0, 4315.2, "band", ("[C/Fe]",), 1, (4280.0, 4320.0)),
    SpectralLine("Hγ", 4340.47, 4341.68, "line", ("Teff",), 2),
    SpectralLine("Fe I", 4383.55, 4384.78, "line", ("[Fe/H]",), 2),
    SpectralLine("Mg II", 4481.2, 4482.4, "line", ("Teff",), 3),
    SpectralLine("Ba II", 4554.03, 4555.31, "line", ("s_process",), 2),
    SpectralLine("C2 4737", 4737.1, 4738.4, "band", ("[C/Fe]",), 2, (4670.0, 4737.1)),
    SpectralLine("Hβ", 4861.33, 4862.68, "line", ("Teff",), 1),
    SpectralLine("Ba II", 4934.08, 4935.45, "line", ("s_process",), 3),
    SpectralLine("C2 5165", 5165.2, 5166.6, "band", ("[C/Fe]",), 2, (5100.0, 5165.2)),
    SpectralLine("Mg b", 5167.32, 5168.76, "line", ("logg", "[Mg/Fe]"), 3),
    SpectralLine("Mg b", 5172.68, 5174.12, "line", ("logg", "[Mg/Fe]"), 3),
    SpectralLine("Mg b", 5183.60, 5185.05, "line", ("logg", "[Mg/Fe]"), 1),
    SpectralLine("MgH", 5211.0, 5212.5, "band", ("cool_dwarfs",), 3),
    SpectralLine("Fe I", 5269.54, 5271.00, "line", ("[Fe/H]",), 2),
    SpectralLine("Fe I", 5270.36, 5271.82, "line", ("[Fe/H]",), 3),
    SpectralLine("Fe I", 5328.04, 5329.52, "line", ("[Fe/H]",), 3),
    SpectralLine("O I sky", 5577.34, 5578.89, "telluric", (), 3),
    SpectralLine("C2 5635", 5635.5, 5637.1, "band", ("[C/Fe]",), 2, (5560.0, 5635.5)),
    SpectralLine("Na D2", 5889.95, 5891.58, "line", ("Teff", "ism"), 1),
    SpectralLine("Na D1", 5895.92, 5897.56, "line", ("Teff", "ism"), 3),
    SpectralLine("TiO 6159", 6159.0, 6160.7, "band", ("cool_stars",), 3),
    SpectralLine("Ca I", 6162.17, 6163.88, "line", ("logg",), 2),
    SpectralLine("O I sky", 6300.30, 6302.05, "telluric", (), 3),
    SpectralLine("O I sky", 6363.78, 6365.54, "telluric", (), 3),
    SpectralLine("Hα", 6562.79, 6564.61, "line", ("Teff", "activity"), 1),
    SpectralLine("Li I", 6707.8, 6709.7, "line", ("youth",), 2),
    SpectralLine("CaH2", 6814.0, 6815.9, "band", ("cool_dwarfs",), 3, (6814.0, 6846.0)),
    SpectralLine("O2 B", 6867.0, 6868.9, "telluric", (), 2, (6867.0, 6944.0)),
    SpectralLine("CaH3", 6960.0, 6961.9, "band", ("cool_dwarfs",), 3, (6960.0, 6990.0)),
    SpectralLine("TiO 7053", 7053.0, 7054.9, "band", ("cool_stars",), 2, (7053.0, 7125.0)),
    SpectralLine("H2O", 7186.0, 7188.0, "telluric", (), 2, (7160.0, 7340.0)),
    SpectralLine("O2 A", 7594.0, 7596.1, "telluric", (), 1, (7594.0, 7700.0)),
    SpectralLine("K I", 7664.90, 7667.01, "line", ("ism",), 3),
    SpectralLine("K I", 7698.96, 7701.08, "line", ("ism",), 3),
    SpectralLine("Na I", 8183.26, 8185.51, "line", ("cool_dwarfs",), 2),
    SpectralLine("Na I", 8194.82, 8197.08, "line", ("cool_dwarfs",), 3),
    SpectralLine("H2O", 8227.0, 8229.3, "telluric", (), 2, (8130.0, 8350.0)),
    SpectralLine("Ca T", 8498.02, 8500.36, "line", ("[Fe/H]", "logg"), 2),
    SpectralLine("Pa16", 8502.48, 8504.82, "line", ("Teff",), 3),
    SpectralLine("Ca T", 8542.09, 8544.44, "line", ("[Fe/H]", "logg"), 1),
    SpectralLine("Pa15", 8545.38, 8547.73, "line", ("Teff",), 3),
    SpectralLine("Pa14", 8598.39, 8600.75, "line", ("Teff",), 3),
    SpectralLine("Ca T", 8662.14, 8664.52, "line", ("[Fe/H]", "logg"), 2),
    SpectralLine("Pa13", 8665.02, 8667.40, "line", ("Teff",), 3),
    SpectralLine("Pa12", 8750.47, 8752.87, "line", ("Teff",), 3),
    SpectralLine("H2O", 8940.0, 8942.5, "telluric", (), 2, (8940.0, 9800.0)),
)


def refraction(vacuum: float) -> float:
    """Return the refractive index of dry air at 15 °C and 1013 hPa for a vacuum wavelength in Å.

    Morton 2000, ApJS 130, 403, equation 8 (after Birch & Downs 1994), the IAU standard since.
    """
    s2 = (1e4 / vacuum) ** 2
    return 1.0 + 8.34254e-5 + 2.406147e-2 / (130.0 - s2) + 1.5998e-4 / (38.9 - s2)


def to_air(vacuum: float) -> float:
    """Return the air wavelength in Å; below 2000 Å air is not used and nothing changes."""
    return vacuum / refraction(vacuum) if vacuum >= 2000.0 else vacuum


def to_vacuum(air: float) -> float:
    """Return the vacuum wavelength in Å whose air wavelength is `air`; exact inverse of `to_air`."""
    if air < 1999.35:
        return air
    vacuum = air
    for _ in range(4):  # each turn gains five digits: the index hardly moves
        vacuum = air * refraction(vacuum)
    return vacuum


def lines_between(low: float, high: float, frame: Frame = "vacuum", rv: float = 0.0) -> list[Placed]:
    """Return the lines and bands that touch low to high (Å), ascending.

    `rv` (km/s) is the star's: in a rest-frame spectrum, sky and telluric features lie shifted against it.
    """
    found = []
    for line in LINES:
        shift = 1.0 / (1.0 + rv / LIGHT) if line.kind == "telluric" else 1.0
        at = getattr(line, frame) * shift
        ends = line.band or (line.air, line.air)
        first, last = (end if frame == "air" else to_vacuum(end) for end in ends)
        first, last = (at, at) if line.band is None else (first * shift, last * shift)
        if max(at, last) >= low and min(at, first) <= high:
            found.append(Placed(line, at, first, last))
    return sorted(found, key=lambda placed: placed.at)


def about(line: SpectralLine) -> str:
    """Return what a line tells, in words: 'Teff, activity'."""
    if line.kind == "telluric":
        return say("lines.telluric")
    return ", ".join(say(f"lines.{word}") if has(f"lines.{word}") else word for word in line.tells)


def depths(
    wavelength: np.ndarray, flux: np.ndarray, frame: Frame, *, half: float = 3.0
) -> list[tuple[Placed, float]]:
    """Return (line, depth) for the lines on this grid: 1 - the lowest normalised flux within `half` Å.

    For a band it is 1 - the mean flux over the band. Sky and telluric places are left out, and so is a line
    none of whose pixels is a finite number.
    """
    import numpy as np

    x, y = np.asarray(wavelength, np.float64), np.asarray(flux, np.float64)
    found = []
    for placed in lines_between(float(x[0]), float(x[-1]), frame):
        if placed.line.kind == "telluric":
            continue
        banded = placed.high > placed.low
        low, high = (placed.low, placed.high) if banded else (placed.at - half, placed.at + half)
        part = y[(x >= low) & (x <= high)]
        part = part[np.isfinite(part)]
        if len(part):
            found.append((placed, 1.0 - float(part.mean() if banded else part.min())))
    return found
