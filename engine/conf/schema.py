"""What a conf may say: every accepted key, its type, its range and its meaning.

A docstring under a field is its help text in the launch form. Confs are strict and frozen: a wrong type is
an error, not a guess, and a conf never changes after it was read. Owns no files.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Scaling = Literal["standard", "minmax", "robust", "none"]
Range = Annotated[tuple[float, float], Field(strict=False)]


class Section(BaseModel):
    """A part of a conf: strict, frozen, unknown keys refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, validate_default=True
    )


class Model(Section):
    """Which network, and its own fields (checked against the network's file)."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, use_attribute_docstrings=True)

    name: str = "FreqInceptionLNet"
    """Registered name of the network."""

    @property
    def fields(self) -> dict[str, Any]:
        """The network's own fields as given."""
        return dict(self.model_extra or {})


class Clip(Section):
    """Bounds that pixels are clipped to, per branch; null leaves a branch as it is."""

    continuum: Range | None = None
    """Lowest and highest flux of the continuum branch, in the file's units."""
    normalized: Range | None = (-1.0, 3.0)
    """Lowest and highest flux of the normalised branch."""

    @field_validator("continuum", "normalized")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError("clip_order")
        return value


class Data(Section):
    """Which tables to read and how to prepare them."""

    path: str = "spectral"
    """A folder under dataset/, or any path."""
    continuum: str = "final_spectra_continuum.csv"
    """File of the continuum branch (.csv or .csv.gz)."""
    normalized: str = "final_spectra_normalized.csv"
    """File of the normalised branch (.csv or .csv.gz)."""
    labels: str = "removed_with_rv.csv"
    """File of the labels (.csv or .csv.gz)."""
    targets: Annotated[list[str], Field(min_length=1)] = ["Teff", "logg", "FeH", "CFe"]
    """Label columns to learn, by name."""
    split: Annotated[list[float], Field(min_length=3, max_length=3)] = [0.8, 0.1, 0.1]
    """Shares of train, val and test; they add up to 1."""
    split_seed: int = 42
    """Seed of the split: the same stars fall in the same part whatever else changes."""
    clip: Clip = Clip()
    """Bounds that pixels are clipped to."""
    continuum_scaler: Scaling = "standard"
    """Scaling of the continuum branch, one pooled number fitted on training rows."""
    label_scaler: Scaling = "standard"
    """Scaling of each label, fitted on training rows."""
    duplicates: Literal["fail", "first", "mean"] = "fail"
    """What to do when an obsid stands twice in a table."""
    nonfinite: Literal["fail", "interpolate", "drop"] = "interpolate"
    """What to do with a NaN or infinite pixel."""
    max_rows: Annotated[int, Field(ge=3)] | None = None
    """Use only the first N matched stars (for a quick try)."""

    @field_validator("split")
    @classmethod
    def _shares(cls, value: list[float]) -> list[float]:
        if any(share < 0 for share in value) or value[0] <= 0 or not abs(sum(value) - 1) <= 1e-6:
            raise ValueError("split_sum")
        return value

    @field_validator("targets")
    @classmethod
    def _distinct(cls, value: list[str]) -> list[str]:
        if len(set(value)) != len(value):
            raise ValueError("targets_twice")
        return value


class Training(Section):
    """How to train."""

    epochs: Annotated[int, Field(ge=1)] = 10
    """Passes over the training rows."""
    batch_size: Annotated[int, Field(ge=2)] = 32
    """Stars in a step."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """Update rule."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-4
    """Peak learning rate."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Weight decay (decoupled in adamw, L2 in adam)."""
    schedule: Literal["constant", "cosine", "warmup_cosine"] = "warmup_cosine"
    """How the learning rate moves, step by step, over the whole run."""
    warmup_epochs: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Epochs over which warmup_cosine climbs to the peak."""
    loss: Literal["mse", "l1", "huber"] = "mse"
    """Loss on scaled labels; missing labels do not count."""
    huber_delta: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Where the Huber loss turns from square to line, in scaled units."""
    gradient_clip_val: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 20.0
    """Largest global L2 norm of the gradient; null turns clipping off."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many evaluations without improvement; null never."""
    evaluate_every: Annotated[int, Field(ge=1)] = 1
    """Evaluate on the validation rows every N epochs."""
    record_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    """Write recorded steps to the event log at least this often, in seconds."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of weights, batch order and dropout."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads; null takes OMP_NUM_THREADS, else what the process may use."""

    @field_validator("warmup_epochs")
    @classmethod
    def _fits(cls, value: float, info: ValidationInfo) -> float:
        if info.data.get("schedule") == "warmup_cosine" and value > info.data.get("epochs", value):
            raise ValueError("warmup_long")
        return value


class Tracking(Section):
    """Where the run is recorded besides its folder."""

    enabled: bool = True
    """Replicate the run into MLflow."""
    experiment: Annotated[str, Field(min_length=1)] = "spectral_prediction"
    """MLflow experiment."""
    uri: str | None = None
    """MLflow tracking URI; null means MLFLOW_TRACKING_URI, else the workspace's mlflow.db."""


class Conf(Section):
    """One run, whole."""

    version: Literal[1] = 1
    """Version of the conf's form."""
    name: Annotated[str, Field(min_length=1, max_length=80)] = "run"
    """Name of the run (the model_id that people know)."""
    description: str = ""
    """One line on what this conf is for."""
    model: Model = Model()
    data: Data = Data()
    training: Training = Training()
    tracking: Tracking = Tracking()

    def plain(self) -> dict[str, Any]:
        """Return the whole conf as plain data, ready for YAML and JSON."""
        return {name: _plain(value) for name, value in self.model_dump().items()}


def _plain(value: Any) -> Any:
    """Turn tuples into lists; whole-number keys (a network's kernel sizes) stay whole numbers."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


KNOWN_FLAGS: dict[str, str] = {
    "model": "model.name",
    "model_id": "name",
    "batch_size": "training.batch_size",
    "learning_rate": "training.learning_rate",
    "train_epochs": "training.epochs",
    "gradient_clip_val": "training.gradient_clip_val",
    "patience": "training.patience",
    "seed": "training.seed",
    "device": "training.device",
}
"""Flags that people know from other frameworks, and the keys they set."""
TEXT_FLAGS = ("model", "model_id", "device")
"""Those whose value is text, also when it looks like a number (`--model_id 2026`)."""
