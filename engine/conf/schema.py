"""What a conf may say: every accepted key, its type, its range and its meaning.

A docstring under a field is its help text in the launch form. Confs are strict and frozen: a wrong type is
an error, not a guess, and a conf never changes after it was read. Owns no files.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from engine.conf.data import Data
from engine.conf.section import Section


class Model(Section):
    """Which network, and its own fields (checked against the network's file)."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, use_attribute_docstrings=True)

    name: str = "FreqInceptionLNet"
    """Registered name of the network."""

    @property
    def fields(self) -> dict[str, Any]:
        """The network's own fields as given."""
        return dict(self.model_extra or {})


class Training(Section):
    """How to train."""

    epochs: Annotated[int, Field(ge=1)] = 10
    """Passes over the training rows."""
    batch_size: Annotated[int, Field(ge=2)] = 32
    """Stars in a step."""
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    """Update rule."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-4
    """Peak learning rate."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Weight decay (decoupled in adamw, L2 in the others)."""
    momentum: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.9
    """Momentum of sgd and rmsprop."""
    schedule: Literal[
        "constant", "cosine", "warmup_cosine", "cosine_restarts", "step", "exponential", "one_cycle", "type1",
        "type2", "type3",
    ] = "warmup_cosine"  # fmt: skip
    """How the learning rate moves, step by step, over the whole run; see it with: spectui schedule CONF."""
    schedule_epochs: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    """Epochs of a period of cosine_restarts, and between the drops of step."""
    schedule_gamma: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.5
    """What step multiplies the learning rate by at each drop, and exponential over each epoch."""
    min_learning_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """The learning rate never falls below this."""
    warmup_epochs: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Epochs over which warmup_cosine climbs to the peak."""
    loss: Literal["mse", "mae", "smooth_l1", "huber", "log_cosh", "focal", "focal_easy"] = "mse"
    """Loss on scaled labels; missing labels do not count."""
    huber_delta: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Where huber and smooth_l1 turn from square to line, in scaled units."""
    focal_gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.5
    """How much focal raises large errors, and focal_easy lowers them."""
    focal_threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    """Squared error, in scaled units, beyond which focal_easy learns nothing."""
    label_weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    """Weight of a label in the loss, by name; 1 where it is not named."""
    gradient_clip_val: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 20.0
    """Largest gradient, as gradient_clip says; null turns clipping off."""
    gradient_clip: Literal["norm", "value"] = "norm"
    """norm: the global L2 norm of the gradient is clipped; value: each element of it."""
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

    @field_validator("min_learning_rate")
    @classmethod
    def _below_the_peak(cls, value: float, info: ValidationInfo) -> float:
        if value > info.data.get("learning_rate", value):
            raise ValueError("floor_above")
        return value

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

    @model_validator(mode="after")
    def _weighs_targets(self) -> Conf:
        weights = self.training.label_weights
        if not set(weights) <= set(self.data.targets):
            raise ValueError("weights_of_others")
        if weights and not any(weights.get(target, 1.0) for target in self.data.targets):
            raise ValueError("weights_zero")
        return self

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
