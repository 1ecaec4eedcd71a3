"""What a conf may say: every accepted key, its type, its range and its meaning.

A docstring under a field is its help text in the launch form. Confs are strict and frozen: a wrong type is
an error, not a guess, and a conf never changes after it was read. Owns no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from engine.conf.data import Data
from engine.conf.section import Section

Schedule = Literal[
    "constant", "warmup_constant", "cosine", "warmup_cosine", "cosine_restarts", "step", "exponential",
    "one_cycle", "plateau", "type1", "type2", "type3",
]  # fmt: skip
ERRORS = ("mae", "rmse", "bias", "sigma_mad", "r2", "outlier_rate")
"""Errors of a label that every evaluation records, as val_<label>_<error>."""


class Model(Section):
    """Which network, and its own fields (checked against the network's file)."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, use_attribute_docstrings=True)

    name: str = "FreqInceptionLNet"
    """Registered name of the network."""

    @property
    def fields(self) -> dict[str, Any]:
        """The network's own fields as given."""
        return dict(self.model_extra or {})


def _warm_within(value: float, info: ValidationInfo, rule: str) -> float:
    """Refuse a warm-up that is longer than its stage; a stage of no epochs has none."""
    epochs = info.data.get("epochs", value)
    if str(info.data.get("schedule")).startswith("warmup") and epochs and value > epochs:
        raise ValueError(rule)
    return value


class Training(Section):
    """How to train."""

    epochs: Annotated[int, Field(ge=0)] = 10
    """Passes over the training rows; 0 goes straight to the finetune stage."""
    batch_size: Annotated[int, Field(ge=2)] = 32
    """Stars in a forward pass; over several processes, of all of them together."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Forward passes whose gradients make one step: a step sees batch_size times this many stars."""
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop", "adamw_schedule_free"] = "adam"
    """Update rule; adamw_schedule_free averages the weights instead of lowering the learning rate."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-4
    """Peak learning rate."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Weight decay (decoupled in adamw, L2 in the others)."""
    momentum: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.9
    """Momentum of sgd and rmsprop."""
    schedule: Schedule = "warmup_cosine"
    """How the learning rate moves over the whole run; see it with: spectui schedule CONF."""
    schedule_by: Literal["step", "epoch"] = "step"
    """step: the learning rate moves at every step; epoch: only where an epoch begins."""
    schedule_epochs: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    """Epochs of a period of cosine_restarts, and between the drops of step."""
    schedule_gamma: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.5
    """What step and plateau multiply the learning rate by at each drop, and exponential over each epoch."""
    plateau_patience: Annotated[int, Field(ge=1)] = 5
    """Evaluations without a better value of monitor before plateau drops the learning rate."""
    min_learning_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """The learning rate never falls below this."""
    warmup_epochs: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Epochs over which warmup_cosine and warmup_constant climb to the peak."""
    loss: Literal[
        "mse", "mae", "smooth_l1", "huber", "log_cosh", "focal", "focal_easy", "gaussian_nll"
    ] = "mse"  # fmt: skip
    """Loss on scaled labels; missing labels do not count. gaussian_nll needs a network that gives sigmas."""
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
    ema_decay: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = None
    """Evaluate and keep an exponential moving average of the weights with this decay; null does not."""
    monitor: str = "val_loss"
    """Quantity of an epoch that says which is best: val_loss, train_loss, val_<label>_mae, …"""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many evaluations without improvement; null never."""
    evaluate_every: Annotated[int, Field(ge=1)] = 1
    """Evaluate on the validation rows every N epochs."""
    record_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    """Write recorded steps to the event log at least this often, in seconds."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of weights, batch order and dropout."""
    save_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """Save a checkpoint at least this often, in seconds, also inside an epoch."""
    save_steps: Annotated[int, Field(ge=1)] | None = None
    """Save a checkpoint every N steps too; null does not."""
    keep_checkpoints: Annotated[int, Field(ge=2)] = 2
    """Newest checkpoints to keep besides the best."""
    on_nonfinite: Literal["stop", "skip", "rollback"] = "stop"
    """A loss or gradient that is no number: stop; skip the step; rollback goes back and halves the rate."""
    nonfinite_limit: Annotated[int, Field(ge=1)] = 3
    """Steps in a row that skip leaves out, and times that rollback goes back, before the run stops."""
    precision: Literal["fp32", "tf32", "bf16", "fp16", "fp64"] = "fp32"
    """Of the network's arithmetic; weights, FFT, losses and norms stay fp32. fp64 is for checks."""
    compile: bool = False
    """Compile the parts of the network with torch.compile: minutes at the start, faster steps on a GPU."""
    deterministic: bool = False
    """Use only algorithms that give the same bits on every run; slower on a GPU."""
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
        return _warm_within(value, info, "warmup_long")

    @field_validator("schedule")
    @classmethod
    def _not_twice(cls, value: str, info: ValidationInfo) -> str:
        free = info.data.get("optimizer") == "adamw_schedule_free"
        if free and value not in ("constant", "warmup_constant"):
            raise ValueError("schedule_free")
        return value


class Finetune(Section):
    """A second stage after training, from its best weights; off while epochs is 0."""

    epochs: Annotated[int, Field(ge=0)] = 0
    """Passes over the rows of this stage; 0 turns it off."""
    freeze: list[str] = []
    """Patterns of parts that do not learn, such as [features.*]; their batch statistics stay too."""
    filter: str = ""
    """Use only stars for which this holds, such as FeH < -1; empty means all."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-5
    """Peak learning rate of this stage."""
    schedule: Schedule = "cosine"
    """How the learning rate moves over this stage."""
    warmup_epochs: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Epochs over which warmup_cosine and warmup_constant climb to the peak."""

    @field_validator("warmup_epochs")
    @classmethod
    def _fits(cls, value: float, info: ValidationInfo) -> float:
        return _warm_within(value, info, "warmup_long_finetune")


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
    finetune: Finetune = Finetune()
    tracking: Tracking = Tracking()

    @model_validator(mode="after")
    def _weighs_targets(self) -> Conf:
        weights = self.training.label_weights
        if not set(weights) <= set(self.data.targets):
            raise ValueError("weights_of_others")
        if weights and not any(weights.get(target, 1.0) for target in self.data.targets):
            raise ValueError("weights_zero")
        return self

    @model_validator(mode="after")
    def _stages(self) -> Conf:
        if not self.training.epochs and not self.finetune.epochs:
            raise ValueError("no_epochs")
        free = self.training.optimizer == "adamw_schedule_free"
        if free and self.finetune.epochs and self.finetune.schedule not in ("constant", "warmup_constant"):
            raise ValueError("schedule_free_finetune")
        if self.training.monitor not in monitored(self.data.targets):
            raise ValueError("monitor_unknown")
        return self

    def plain(self) -> dict[str, Any]:
        """Return the whole conf as plain data, ready for YAML and JSON."""
        return {name: _plain(value) for name, value in self.model_dump().items()}


def monitored(targets: Sequence[str]) -> tuple[str, ...]:
    """Return the quantities of an epoch that may say which is best, for these labels."""
    labels = tuple(f"val_{target}_{kind}" for target in targets for kind in ERRORS)
    return ("train_loss", "val_loss", *labels)


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
