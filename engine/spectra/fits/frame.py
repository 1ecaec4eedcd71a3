"""Wavelength frames: vacuum or air, observed or at rest.

Owns the conversions. Which frame a file is in is the header's to say, which is wanted is the user's.
"""

from __future__ import annotations

import numpy as np

LIGHT_KM_S = 299_792.458
FRAMES = ("vacuum", "air")
_PASSES = 6  # the fixed point gains four digits a pass


def refraction(vacuum: np.ndarray) -> np.ndarray:
    """Return the index of refraction of standard air [N] for vacuum wavelengths [N] in Å.

    Source: Birch & Downs (1994) as given by Morton (2000, ApJS 130, 403) and adopted by the IAU;
    valid from 2,000 Å to the near infrared.
    """
    s2 = (1e4 / vacuum) ** 2  # wavenumber in inverse microns, squared
    index: np.ndarray = 1 + 8.34254e-5 + 2.406147e-2 / (130 - s2) + 1.5998e-4 / (38.9 - s2)
    return index


def to_air(vacuum: np.ndarray) -> np.ndarray:
    """Return air wavelengths [N] in Å for vacuum wavelengths [N] in Å."""
    air: np.ndarray = vacuum / refraction(vacuum)
    return air


def to_vacuum(air: np.ndarray) -> np.ndarray:
    """Return vacuum wavelengths [N] in Å for air wavelengths [N] in Å: the exact inverse of `to_air`.

    The index is a function of the vacuum wavelength, so the fixed point λ = λ_air n(λ) is iterated to
    the last digits of a double.
    """
    vacuum = air
    for _ in range(_PASSES):
        vacuum = air * refraction(vacuum)
    return vacuum


def to_rest(observed: np.ndarray, z: float) -> np.ndarray:
    """Return rest-frame wavelengths [N] for observed ones [N], both in vacuum Å: λ / (1 + z)."""
    rest: np.ndarray = observed / (1 + z)
    return rest


def convert(wavelength: np.ndarray, *, vacuum: bool, z: float, frame: str) -> np.ndarray:
    """Return observed wavelengths [N] in Å, in air or vacuum, as rest wavelengths [N] in the wanted frame.

    The Doppler shift acts in vacuum and the index of air depends on the wavelength in the observatory, so
    the way is always observed -> vacuum -> rest -> wanted frame. For a rest frame in air the index is
    taken at the rest wavelength, as line lists do.
    """
    rest = to_rest(wavelength if vacuum else to_vacuum(wavelength), z)
    return to_air(rest) if frame == "air" else rest


def redshift(rv: float) -> float:
    """Return z for a radial velocity in km/s in LAMOST's convention, rv = c z."""
    return rv / LIGHT_KM_S


def velocity(z: float) -> float:
    """Return the radial velocity in km/s for z in LAMOST's convention, rv = c z."""
    return z * LIGHT_KM_S
