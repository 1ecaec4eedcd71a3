"""A small set of made-up stars, so that everything can be tried before real data is at hand.

Owns the recipe (a black body, dust, Gaussian lines that follow the labels, photon noise) and the writing
of the three tables. It imitates no survey: it only has to be plausible, deterministic and learnable.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import BadInput
from engine.spectra.layout import twin
from engine.words import say

FILES = ("final_spectra_continuum.csv", "final_spectra_normalized.csv", "removed_with_rv.csv")
FIRST = 3900.0  # Å, vacuum
STEP = 6.0  # Å of the default grid: 500 points that a network learns in seconds
LEAST_STARS, LEAST_POINTS = 10, 50

# centre in vacuum Å, family, strength at the Sun's labels, width (sigma) in Å
LINES = (
    (3934.78, "ca_hk", 3.0, 7.0), (3969.59, "ca_hk", 2.6, 7.0),
    (4102.89, "balmer", 0.55, 5.0), (4341.68, "balmer", 0.60, 5.0),
    (4862.68, "balmer", 0.70, 5.0), (6564.61, "balmer", 0.85, 5.0),
    (4227.92, "mg", 0.60, 2.5),
    (4287.0, "ch", 0.35, 7.0), (4301.0, "ch", 0.55, 7.0), (4312.0, "ch", 0.65, 5.0),
    (4384.78, "iron", 0.60, 2.5), (4274.0, "iron", 0.40, 4.0), (4046.9, "iron", 0.50, 2.5),
    (4405.9, "iron", 0.45, 2.5), (4530.0, "iron", 0.30, 5.0), (4668.0, "iron", 0.25, 5.0),
    (5271.00, "iron", 0.60, 3.0), (5329.52, "iron", 0.50, 3.0), (5406.0, "iron", 0.35, 3.0),
    (6138.0, "iron", 0.20, 3.0), (6496.0, "iron", 0.22, 3.0),
    (4700.0, "c2", 0.20, 14.0), (4730.0, "c2", 0.35, 7.0), (5140.0, "c2", 0.25, 16.0),
    (5160.0, "c2", 0.40, 6.0), (5610.0, "c2", 0.16, 14.0), (5631.0, "c2", 0.24, 6.0),
    (5168.76, "mg", 0.70, 3.0), (5174.12, "mg", 0.80, 3.0), (5185.05, "mg", 0.90, 3.0),
    (5891.58, "sodium", 0.80, 2.5), (5897.56, "sodium", 0.65, 2.5),
    (8500.36, "ca_triplet", 0.70, 4.0), (8544.44, "ca_triplet", 1.10, 5.0),
    (8664.52, "ca_triplet", 0.95, 5.0),
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """True labels of the made-up stars, each [N], and what else the label table tells."""

    obsid: np.ndarray
    teff: np.ndarray
    logg: np.ndarray
    feh: np.ndarray
    cfe: np.ndarray
    rv: np.ndarray
    snr: np.ndarray
    scale: np.ndarray
    reddening: np.ndarray


def grid(points: int | None = None) -> np.ndarray:
    """Return the wavelengths [L] in vacuum Å: 3900-6900 in steps of 3000/L, but never finer than 1 Å.

    4700 points are then 3900-8599 at 1 Å, wide enough for the Ca II triplet.
    """
    count = points or 500
    step = STEP if points is None else max(1.0, round(3000.0 / count, 2))
    wavelength: np.ndarray = np.round(FIRST + step * np.arange(count), 2)
    return wavelength


def draw(stars: int, seed: int) -> Recipe:
    """Return labels of dwarfs and giants with a metal-poor and a carbon-enhanced tail."""
    rng = np.random.Generator(np.random.PCG64(seed))
    giant = rng.random(stars) < 0.35
    teff = np.where(giant, rng.uniform(4200, 5400, stars), np.clip(rng.normal(5750, 650, stars), 4300, 7000))
    main_sequence = 4.65 - 0.12 * (np.maximum(teff - 4300, 0) / 1000) ** 1.5 + rng.normal(0, 0.08, stars)
    branch = 0.9 + 2.3 * (teff - 4200) / 1200 + rng.normal(0, 0.2, stars)
    logg = np.clip(np.where(giant, branch, main_sequence), 0.3, 4.9)
    kind = rng.random(stars)
    feh = np.select(
        [kind < 0.55, kind < 0.82],
        [rng.normal(-0.15, 0.22, stars), rng.normal(-0.65, 0.3, stars)],
        rng.normal(-1.8, 0.5, stars),
    ).clip(-3.0, 0.5)
    rich = rng.random(stars) < np.where(feh < -1.2, 0.35, 0.08)
    cfe = rng.normal(0.02, 0.12, stars) - 0.25 * (logg < 2.0) + rich * rng.uniform(0.4, 1.8, stars)
    brightness = rng.normal(0, 1, stars)
    snr = np.clip(np.exp(np.log(55) + 0.45 * brightness + rng.normal(0, 0.25, stars)), 20, 150)
    return Recipe(
        obsid=101_000_000 + np.cumsum(rng.integers(1, 400, stars)),
        teff=np.round(teff, 1),
        logg=np.round(logg, 3),
        feh=np.round(feh, 3),
        cfe=np.round(cfe.clip(-0.9, 2.2), 3),
        rv=np.round(rng.normal(-10, 60, stars), 2),
        snr=np.round(snr, 1),
        scale=np.exp(np.log(480) + 1.2 * brightness),
        reddening=rng.exponential(0.08, stars),
    )


def normalized_flux(recipe: Recipe, wavelength: np.ndarray) -> np.ndarray:
    """Return noiseless spectra over their continuum [N, L]: one minus saturating Gaussian lines."""
    families = _strengths(recipe)
    step = float(np.median(np.diff(wavelength)))
    flux = np.ones((len(recipe.teff), len(wavelength)))
    for centre, family, strength, width in LINES:
        if not wavelength[0] - 60 < centre < wavelength[-1] + 60:
            continue
        amount = strength * families[family]
        own = width * (1 + 0.35 * np.sqrt(np.minimum(amount, 9.0)))  # strong lines grow wings
        # a coarse grid sees a line as a poor spectrograph would: wider and shallower, of equal area
        seen = np.sqrt(own**2 + (0.5 * step) ** 2)
        depth = (1 - np.exp(-amount)) * own / seen
        flux *= 1 - 0.92 * depth[:, None] * np.exp(-0.5 * ((wavelength - centre) / seen[:, None]) ** 2)
    return flux


def continuum_flux(recipe: Recipe, wavelength: np.ndarray) -> np.ndarray:
    """Return pseudo-continua [N, L] in raw counts: Planck's law, dust, and the star's brightness."""
    hc_over_k = 1.438777e8  # Å K
    planck = wavelength**-5.0 / np.expm1(hc_over_k / (wavelength * recipe.teff[:, None]))
    at = 5500.0
    norm = at**-5.0 / np.expm1(hc_over_k / (at * recipe.teff))
    extinction = 3.1 * (at / wavelength) ** 1.3  # magnitudes per magnitude of reddening
    dust = 10 ** (-0.4 * recipe.reddening[:, None] * (extinction - 3.1))
    flux: np.ndarray = recipe.scale[:, None] * planck / norm[:, None] * dust
    return flux


def write_demo(
    folder: Path,
    *,
    stars: int = 400,
    points: int | None = None,
    seed: int = 7,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Write the three tables of a made-up set into `folder`, all or none, and return their paths.

    The same arguments give the same bytes. `progress` gets the number of spectra rows written so far,
    of 2 x `stars`. About 3 % of the labels are holes, as in a real catalogue.

    Raises:
        BadInput: tables are there already and `force` is not set, or the set would be too small.
        OSError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    if stars < LEAST_STARS or (points is not None and points < LEAST_POINTS):
        raise BadInput(say("data.demo_small", stars=LEAST_STARS, points=LEAST_POINTS))
    targets = [folder / name for name in FILES]
    there = [p for target in targets for p in (target, twin(target)) if p.exists()]
    if there and not force:
        raise BadInput(say("data.demo_exists", file=there[0]))
    if folder.exists() and not folder.is_dir():
        raise BadInput(say("data.not_a_folder", path=folder))
    made = _missing_folders(folder)
    folder.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".demo-", dir=folder))
    try:
        for target, lines in zip(targets, _tables(stars, points, seed, progress), strict=True):
            with (beside / target.name).open("w", encoding="ascii", newline="\n") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
        _move_in(beside, targets)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        for empty in made:
            empty.rmdir()
        raise
    shutil.rmtree(beside, ignore_errors=True)
    return targets


def _strengths(recipe: Recipe) -> dict[str, np.ndarray]:
    """Return how strong each family of lines is [N], 1 near the Sun's labels."""
    cool = 5040 / recipe.teff - 5040 / 5777  # positive below the Sun's temperature
    iron = 10 ** (0.55 * recipe.feh)
    carbon = recipe.feh + recipe.cfe
    molecules = 1 / (1 + np.exp((recipe.teff - 6200) / 350)) / 0.77  # they fall apart in hot stars
    pressure = recipe.logg - 4.44
    return {
        "balmer": np.exp(-7.5 * cool) * 10 ** (0.04 * pressure),
        "ca_hk": 10 ** (0.45 * recipe.feh) * np.exp(2.0 * cool),
        "ca_triplet": 10 ** (0.40 * recipe.feh) * 10 ** (-0.12 * pressure),
        "iron": iron * np.exp(3.5 * cool) * 10 ** (-0.04 * pressure),
        "mg": 10 ** (0.40 * recipe.feh) * np.exp(3.5 * cool) * 10 ** (0.22 * pressure),
        "sodium": 10 ** (0.45 * recipe.feh) * np.exp(5.0 * cool) * 10 ** (0.12 * pressure),
        "ch": 10 ** (0.60 * carbon) * np.exp(2.5 * cool) * molecules * 10 ** (-0.03 * pressure),
        "c2": 0.35 * 10 ** (0.75 * carbon + 0.35 * recipe.cfe) * np.exp(2.0 * cool) * molecules,
    }


def _tables(
    stars: int, points: int | None, seed: int, progress: Callable[[int], None] | None
) -> Iterator[Iterable[str]]:
    """Yield the lines of the continuum, the normalised and the label table."""
    recipe = draw(stars, seed)
    wavelength = grid(points)
    rng = np.random.Generator(np.random.PCG64([seed, 1]))
    header = "obsid," + ",".join(f"{w:.2f}" for w in wavelength) + "\n"

    def rows(block_of: Callable[[Recipe], np.ndarray], cell: str, before: int) -> Iterator[str]:
        yield header
        form = "%d" + f",{cell}" * len(wavelength) + "\n"
        for start in range(0, stars, 256):
            part = Recipe(*(getattr(recipe, name)[start : start + 256] for name in Recipe.__annotations__))
            values = block_of(part)
            for obsid, row in zip(part.obsid.tolist(), values.tolist(), strict=True):
                yield form % (obsid, *row)
            if progress:
                progress(before + start + len(values))

    def noise(part: Recipe, share: float) -> np.ndarray:
        drawn: np.ndarray = share * rng.standard_normal((len(part.teff), len(wavelength))) / part.snr[:, None]
        return drawn

    # a fitted pseudo-continuum is smoother than the spectrum: a tenth of the noise is left in it
    yield rows(lambda part: continuum_flux(part, wavelength) * (1 + noise(part, 0.1)), "%.6g", 0)
    yield rows(lambda part: normalized_flux(part, wavelength) + noise(part, 1.0), "%.5f", stars)
    yield _label_lines(recipe, np.random.Generator(np.random.PCG64([seed, 2])))


def _label_lines(recipe: Recipe, rng: np.random.Generator) -> Iterator[str]:
    """Yield the label table: one star in eight lacks a label, written empty or as -9999."""
    hole = rng.integers(0, 4, len(recipe.obsid))
    lacks = rng.random(len(recipe.obsid)) < 0.12
    yield "obsid,Teff,logg,FeH,CFe,rv,snr\n"
    for i, obsid in enumerate(recipe.obsid.tolist()):
        cells = [f"{recipe.teff[i]:.1f}", *(f"{v[i]:.3f}" for v in (recipe.logg, recipe.feh, recipe.cfe))]
        if lacks[i]:
            cells[hole[i]] = "-9999" if i % 2 else ""
        yield f"{obsid},{','.join(cells)},{recipe.rv[i]:.2f},{recipe.snr[i]:.1f}\n"


def _missing_folders(folder: Path) -> list[Path]:
    """Return the folders that will have to be made, the deepest first."""
    return [p for p in (folder, *folder.parents) if not p.exists()]


def _move_in(beside: Path, targets: list[Path]) -> None:
    """Rename the finished tables into place; if one cannot be, put everything back as it was."""
    moved: list[Path] = []
    try:
        for target in targets:
            if target.exists():
                target.rename(beside / f"{target.name}.old")
            moved.append(target)
            (beside / target.name).rename(target)
    except BaseException:
        for target in moved:
            target.unlink(missing_ok=True)
            old = beside / f"{target.name}.old"
            if old.exists():
                old.rename(target)
        raise
