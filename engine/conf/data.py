"""What a conf may say about data: where tables are, how they are read, split, scaled, sampled, augmented.

A docstring under a field is its help text in the launch form. Owns no files.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from engine.conf.section import Section

Scaling = Literal["standard", "minmax", "robust", "none"]
Range = Annotated[tuple[float, float], Field(strict=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _ordered(value: tuple[float, float] | None) -> tuple[float, float] | None:
    if value is not None and not value[0] < value[1]:
        raise ValueError("clip_order")
    return value


class Clip(Section):
    """Bounds that pixels are clipped to, per branch; null leaves a branch as it is."""

    continuum: Range | None = None
    """Lowest and highest flux of the continuum branch, in the file's units."""
    normalized: Range | None = (-1.0, 3.0)
    """Lowest and highest flux of the normalised branch."""

    _check = field_validator("continuum", "normalized")(_ordered)


class Split(Section):
    """Which stars train, validate and test. A bare list is taken as the ratios."""

    method: Literal["random", "stratified", "group", "folder", "file"] = "random"
    """random; stratified in FeH bins; group keeps a group's stars together; folder; file of obsid,part."""
    ratios: Annotated[list[float], Field(min_length=3, max_length=3)] = [0.8, 0.1, 0.1]
    """Shares of train, val and test; they add up to 1."""
    seed: int = 42
    """Seed of the split: the same stars fall in the same part whatever else changes."""
    group: str = "star_id"
    """Column of the label file whose equal values stay in one part (method group)."""
    bins: Annotated[int, Field(ge=2, le=100)] = 20
    """Equal-width FeH bins (method stratified)."""
    file: str | None = None
    """CSV of obsid,part (method file), from the data folder or any path."""
    folds: Annotated[int, Field(ge=2)] | None = None
    """Cross-validation: the train and val stars are cut into this many folds; the test part stays."""
    fold: Annotated[int, Field(ge=1)] = 1
    """Which fold validates, from 1."""

    @field_validator("ratios")
    @classmethod
    def _shares(cls, value: list[float]) -> list[float]:
        if any(share < 0 for share in value) or value[0] <= 0 or not abs(sum(value) - 1) <= 1e-6:
            raise ValueError("split_sum")
        return value

    @model_validator(mode="before")
    @classmethod
    def _bare_list(cls, value: Any) -> Any:
        return {"ratios": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _whole(self) -> Split:
        if self.folds is not None and self.fold > self.folds:
            raise ValueError("fold_beyond")
        if self.method == "file" and not self.file:
            raise ValueError("split_needs_file")
        return self


class Resample(Section):
    """Draw training stars unevenly over FeH classes (EMP <= -3 < VMP <= -2 < MP <= -1 < Normal)."""

    strategy: Literal["none", "balanced", "auto", "weights"] = "none"
    """none; balanced draws every class equally; auto raises rare classes to the largest; weights as given."""
    weights: Annotated[list[NotNegative], Field(min_length=4, max_length=4)] = [1.0, 1.0, 1.0, 1.0]
    """Relative weight of EMP, VMP, MP and Normal stars (strategy weights)."""
    column: str = "FeH"
    """Label that the classes are made of."""


class Augment(Section):
    """Changes made to training spectra on the device, anew for each star and epoch, one draw for both."""

    probability: Share = 1.0
    """Chance that a star is changed at all in an epoch."""
    noise: NotNegative = 0.0
    """Gaussian noise, sigma as a share of the branch's median flux; 0 is off."""
    noise_to_snr: Positive | None = None
    """Add noise so that a star's S/N (column snr) falls to this value; stars below it stay."""
    shift_pixels: NotNegative = 0.0
    """Largest shift in pixels, edges padded; 0 is off."""
    shift_kms: NotNegative = 0.0
    """Largest radial-velocity shift in km/s; 0 is off."""
    scale: NotNegative = 0.0
    """Flux of the continuum branch times 1 +- this; 0 is off."""
    mask_windows: Annotated[int, Field(ge=0)] = 0
    """Windows per star that are set to the branch's median; 0 is off."""
    mask_width: Share = 0.05
    """Width of a masked window as a share of the spectrum."""
    tilt: NotNegative = 0.0
    """Largest linear tilt of the continuum branch from end to end, as a share; 0 is off."""


class Data(Section):
    """Which tables to read and how to prepare them."""

    path: str = "spectral"
    """A folder under dataset/, or any path."""
    form: Literal["auto", "tables", "folders", "features"] = "auto"
    """tables: two spectra tables, labels; folders: train/ val/ test/; features: one feature table, labels."""
    continuum: str = "final_spectra_continuum.csv"
    """Table of the continuum branch (.csv, .csv.gz, .feather or .parquet)."""
    normalized: str = "final_spectra_normalized.csv"
    """Table of the normalised branch (.csv, .csv.gz, .feather or .parquet)."""
    features: str = "feature.feather"
    """The one feature table (form features)."""
    labels: str = "removed_with_rv.csv"
    """Table of the labels."""
    branches: Literal["both", "continuum", "normalized"] = "both"
    """Which branches there are (see missing_branch for networks that need another)."""
    missing_branch: Literal["fail", "copy"] = "fail"
    """With one branch only, and a network that takes two: fail, or give it the same spectrum twice."""
    targets: Annotated[list[str], Field(min_length=1)] = ["Teff", "logg", "FeH", "CFe"]
    """Label columns to learn, by name."""
    split: Split = Split()
    """Which stars train, validate and test."""
    clip: Clip = Clip()
    """Bounds that pixels are clipped to."""
    continuum_scaler: Scaling = "standard"
    """Scaling of the continuum branch, fitted on training rows."""
    normalized_scaler: Scaling = "none"
    """Scaling of the normalised branch, fitted on training rows."""
    scaler_scope: Literal["pooled", "pixel"] = "pooled"
    """One number for a whole branch, or one per pixel."""
    label_scaler: Scaling = "standard"
    """Scaling of each label, fitted on training rows."""
    stats: str | None = None
    """A stats.yaml of fixed statistics, used instead of fitting."""
    duplicates: Literal["fail", "first", "mean"] = "fail"
    """What to do when an obsid stands twice in a table."""
    nonfinite: Literal["fail", "interpolate", "drop"] = "interpolate"
    """What to do with a NaN or infinite pixel."""
    max_rows: Annotated[int, Field(ge=3)] | None = None
    """Use only the first N matched stars (for a quick try)."""
    memory_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of RAM above which training reads blocks from the cache instead of holding the set in memory."""
    resample: Resample = Resample()
    """Draw training stars unevenly over FeH classes."""
    augment: Augment = Augment()
    """Changes made to training spectra on the device."""

    @field_validator("targets")
    @classmethod
    def _distinct(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise ValueError("targets_twice")
        return value
