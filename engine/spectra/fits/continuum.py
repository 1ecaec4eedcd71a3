"""Pseudo-continua, by four methods; flux over continuum is the normalised branch.

Owns the methods, their parameters and the word `METHOD[:name=value,…]`. No method finds a true continuum
in a cool star or in a carbon star: it finds a smooth curve, the same one for every star like it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from engine.errors import BadInput
from engine.words import say

DEFAULT = "spline"
FLOOR = 0.01  # of the median |continuum|: below it a ratio means nothing
_LEAST_BETWEEN_KNOTS = 8
_BLOCK = 256  # rows of the Gaussian weights made at once
# method -> parameter -> (default, lowest, highest)
PARAMETERS: dict[str, dict[str, tuple[float, float, float]]] = {
    "spline": {
        "knots": (200.0, 5.0, 5000.0),  # Å between knots
        "bin": (60.0, 2.0, 5000.0),  # Å in which percentiles are taken
        "low": (25.0, 0.0, 90.0),  # percentile below which a pixel is left out
        "high": (98.0, 50.0, 100.0),
        "passes": (3.0, 1.0, 50.0),
    },
    "polynomial": {
        "degree": (6.0, 0.0, 20.0),
        "low": (1.0, 0.1, 100.0),  # sigma below the fit at which a pixel is left out
        "high": (3.0, 0.1, 100.0),
        "passes": (10.0, 1.0, 50.0),
    },
    "gaussian": {"width": (50.0, 1.0, 5000.0)},  # Å, the L of Ho et al. 2017
    "median": {
        "width": (150.0, 2.0, 5000.0),  # Å
        "percentile": (50.0, 0.0, 100.0),
    },
}


@dataclass(frozen=True)
class Continuum:
    """A method and all of its parameters."""

    method: str
    parameters: Mapping[str, float]


def parse(word: str) -> Continuum:
    """Return the method that 'spline' or 'gaussian:width=80' means, with every default filled in.

    Raises:
        BadInput: an unknown method or parameter, or a value that is no number in its range.
    """
    method, _, rest = word.partition(":")
    if method not in PARAMETERS:
        near = (difflib.get_close_matches(method, PARAMETERS, n=1, cutoff=0.5) or [DEFAULT])[0]
        raise BadInput(say("fits.bad_continuum", word=method, known=", ".join(PARAMETERS), near=near))
    allowed = PARAMETERS[method]
    chosen = {name: default for name, (default, _, _) in allowed.items()}
    for pair in filter(None, rest.split(",")):
        name, _, text = pair.partition("=")
        if name not in allowed:
            known = ", ".join(allowed)
            raise BadInput(say("fits.bad_parameter", method=method, name=name, known=known))
        _, low, high = allowed[name]
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise BadInput(say("fits.bad_value", method=method, name=name, value=text, low=low, high=high))
        chosen[name] = value
    return Continuum(method, chosen)


def continuum(
    choice: Continuum, wavelength: np.ndarray, flux: np.ndarray, ivar: np.ndarray, bad: np.ndarray
) -> np.ndarray:
    """Return the pseudo-continuum [N] of one arm.

    wavelength [N] in Å, ascending; flux [N] with mended pixels; ivar [N]; bad [N] marks pixels to leave
    out of the fit.
    """
    methods: dict[str, Callable[..., np.ndarray]] = {
        "spline": spline,
        "polynomial": polynomial,
        "gaussian": gaussian,
        "median": median,
    }
    return methods[choice.method](wavelength, flux, ivar, bad, **choice.parameters)


def divide(flux: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, int]:
    """Return flux over continuum, both [N], and the number of pixels where the continuum was too low.

    There the floor is divided by instead: a continuum near zero (the blue end of a cool star) would make
    any noise a line.
    """
    floor = FLOOR * float(np.median(np.abs(below)))
    low = below < floor
    return flux / np.where(low, floor or 1.0, below), int(low.sum())


def spline(
    wavelength: np.ndarray, flux: np.ndarray, ivar: np.ndarray, bad: np.ndarray,
    *, knots: float, bin: float, low: float, high: float, passes: float,
) -> np.ndarray:  # fmt: skip
    """Return a least-squares cubic spline [N] through the upper pixels of every bin.

    In each bin of `bin` Å only pixels between the percentiles `low` and `high` of flux over the last fit
    are kept: lines and cosmic rays go. Percentiles are taken per bin so that noise that grows to the blue
    is judged by its own size.
    """
    fitted = _spline(wavelength, flux, ~bad, knots)
    good = np.flatnonzero(~bad)
    bins = ((wavelength[good] - wavelength[0]) // bin).astype(int)
    for _ in range(int(passes)):
        keep = np.zeros(len(flux), bool)
        keep[good] = _between_percentiles((flux - fitted)[good], bins, low, high)
        fitted = _spline(wavelength, flux, keep, knots)
    return fitted


def _between_percentiles(values: np.ndarray, bins: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return which values [N] lie between two percentiles of their own bin; `bins` [N] is ascending."""
    order = np.lexsort((values, bins))
    counts = np.bincount(bins)
    starts = np.cumsum(counts) - counts
    percentile = np.empty(len(values))
    percentile[order] = 100 * (np.arange(len(values)) - starts[bins]) / np.maximum(counts - 1, 1)[bins]
    return (percentile >= low) & (percentile <= high) | (counts < 3)[bins]


def _spline(wavelength: np.ndarray, flux: np.ndarray, keep: np.ndarray, step: float) -> np.ndarray:
    from scipy.interpolate import make_lsq_spline

    x, y = wavelength[keep], flux[keep]
    inner: list[float] = []
    last = 0
    for knot in np.arange(x[0] + step, x[-1] - step / 2, step):
        at = int(np.searchsorted(x, knot))
        # a knot that nothing determines (in a gap) would leave the system singular
        if at - last >= _LEAST_BETWEEN_KNOTS and len(x) - at >= _LEAST_BETWEEN_KNOTS:
            inner.append(float(knot))
            last = at
    t = np.concatenate([[x[0]] * 4, inner, [x[-1]] * 4])
    return np.asarray(make_lsq_spline(x, y, t, k=3)(np.clip(wavelength, x[0], x[-1])))


def polynomial(
    wavelength: np.ndarray, flux: np.ndarray, ivar: np.ndarray, bad: np.ndarray,
    *, degree: float, low: float, high: float, passes: float,
) -> np.ndarray:  # fmt: skip
    """Return a Legendre polynomial [N] fitted with asymmetric clipping.

    Pixels more than `low` sigma below or `high` sigma above the fit are left out of the next one; sigma is
    1.4826 times the median absolute residual of the pixels kept. As the LAMOST pipeline does.
    """
    x = 2 * (wavelength - wavelength[0]) / (wavelength[-1] - wavelength[0]) - 1
    basis = np.polynomial.legendre.legvander(x, int(degree))
    keep = ~bad
    fitted = _least_squares(basis, flux, keep)
    for _ in range(int(passes)):
        residual = flux - fitted
        sigma = 1.4826 * float(np.median(np.abs(residual[keep])))
        new = ~bad & (residual >= -low * sigma) & (residual <= high * sigma)
        if (new == keep).all() or new.sum() < 4 * basis.shape[1]:
            break
        keep = new
        fitted = _least_squares(basis, flux, keep)
    return fitted


def _least_squares(basis: np.ndarray, flux: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return the fit [N] by normal equations: Legendre columns are near orthogonal, and einsum adds up in
    one order whatever the number of threads, so every machine and every worker gets the same digits."""
    used = basis[keep]
    gram = np.einsum("ni,nj->ij", used, used)
    right = np.einsum("ni,n->i", used, flux[keep])
    coefficients = np.linalg.lstsq(gram, right, rcond=None)[0]
    return np.asarray(np.einsum("ni,i->n", basis, coefficients))


def gaussian(
    wavelength: np.ndarray, flux: np.ndarray, ivar: np.ndarray, bad: np.ndarray, *, width: float
) -> np.ndarray:
    """Return the Gaussian-weighted running mean [N] of Ho et al. (2017), with L = `width` Å.

    f(λ0) = Σ w ivar f / Σ w ivar with w = exp(-(λ - λ0)² / 2 L²); bad pixels weigh nothing.
    """
    weight = np.where(bad, 0.0, np.nan_to_num(ivar, posinf=0.0))
    mean = np.empty(len(flux))
    for start in range(0, len(flux), _BLOCK):
        here = wavelength[start : start + _BLOCK]
        a, b = np.searchsorted(wavelength, [here[0] - 6 * width, here[-1] + 6 * width])
        w = np.exp(-0.5 * ((here[:, None] - wavelength[None, a:b]) / width) ** 2) * weight[a:b]
        total = w.sum(axis=1)
        # in the middle of a gap many widths wide nothing weighs anything: the mended flux stands
        weighted = (w * flux[a:b]).sum(axis=1) / np.where(total > 0, total, 1)
        mean[start : start + _BLOCK] = np.where(total > 0, weighted, flux[start : start + _BLOCK])
    return mean


def median(
    wavelength: np.ndarray, flux: np.ndarray, ivar: np.ndarray, bad: np.ndarray,
    *, width: float, percentile: float,
) -> np.ndarray:  # fmt: skip
    """Return a running percentile [N] over `width` Å, smoothed by a Gaussian of a quarter of it.

    The window is counted in pixels, so on a log grid it grows with the wavelength. Bad pixels take part
    with their mended values.
    """
    from scipy.ndimage import gaussian_filter1d, percentile_filter

    step = (wavelength[-1] - wavelength[0]) / (len(wavelength) - 1)
    size = max(3, min(round(width / step), len(flux) // 2) | 1)
    running = percentile_filter(flux, percentile, size=size, mode="reflect")
    return np.asarray(gaussian_filter1d(running, size / 4, mode="nearest"))
