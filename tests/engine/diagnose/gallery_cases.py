"""The runs of the gallery: what each trains, what is done to it, and what has to be found at which steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from engine.workspace import Workspace
from tests.engine.diagnose import gallery_sabotage as sabotage

Steps = tuple[int, int] | None
_SPLIT = ("data.split.method=file", "data.split.file=split.csv")
_KNOWN_SPLIT = (sabotage.split(lambda n, row: n % 8 == 7),)  # stars 8 and 9 train, whatever the seed
_BN = ("model.normalization_settings.norm_type=bn",)
_SMALL = (
    "model.frequency_branch.mlp_output_dim=16",
    "model.frequency_branch.conv_layers=[{out_channels: 8, kernel_size: 5, stride: 2}]",
    "model.inception_branch.blocks=[{out_channels_per_path: {3: 4, 5: 4}, channel_attention_reduction: 4}]",
    "model.sequence_module.lstm_hidden_dim=16",
    "model.sequence_module.lstm_layers=1",
    "model.prediction_head.hidden_dims=[32]",
)


@dataclass(frozen=True)
class Case:
    """One run. `finds` are the ids that must be found and the range of steps in which it begins.

    `also` are ids that are right as well and need not be there; anything else of severity warning or above is
    a false alarm. `alive_after` looks at it as a living process so many seconds after its last event.
    """

    name: str
    sets: tuple[str, ...] = ()
    model: str = ""
    finds: Mapping[str, Steps] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    tables: tuple[Callable[[Workspace], None], ...] = ()
    around: tuple[Callable[[], AbstractContextManager[Any]], ...] = ()
    alive_after: float = 0.0
    kill_at: int = 0
    kills: int = 1

    @property
    def healthy(self) -> bool:
        return not self.finds

    @property
    def flags(self) -> dict[str, str]:
        return {"model": self.model} if self.model else {}


def _train(*pairs: str) -> tuple[str, ...]:
    return tuple(f"training.{pair}" for pair in pairs)


HEALTHY = (
    Case("mlp"),
    Case("mlp_mae", _train("loss=mae", "schedule=cosine", "epochs=30", "learning_rate=2e-3")),
    Case("mlp_wide", (*_train("epochs=12"), "model.hidden=[256, 128]", "model.dropout=0.2")),
    Case("mlp_deep", (*_train("epochs=25"), "model.hidden=[64, 64, 64, 64]")),
    Case("star_net", _train("epochs=15"), "StarNet"),
    Case("star_net_huber", _train("loss=huber", "optimizer=adamw", "schedule=constant"), "StarNet"),
    Case("freq_ln", (*_SMALL, *_train("epochs=30", "learning_rate=3e-3")), "FreqInceptionLNet"),
    Case(
        "freq_bn_large_batch",
        (*_SMALL, *_BN, *_train("epochs=30", "learning_rate=3e-3", "batch_size=64")),
        "FreqInceptionLNet",
    ),
    Case("batch_net", _train("batch_size=64", "epochs=25"), "BatchNet"),
    Case("smooth_l1_step", _train("loss=smooth_l1", "schedule=step", "schedule_epochs=6")),
    Case("log_cosh_exponential", _train("loss=log_cosh", "schedule=exponential", "schedule_gamma=0.9")),
    Case("focal_plateau", _train("loss=focal", "schedule=plateau", "epochs=30")),
    Case(
        "gaussian_nll", (*_train("loss=gaussian_nll", "epochs=30", "learning_rate=2e-3"), "model.sigmas=true")
    ),
    Case("one_cycle", _train("schedule=one_cycle", "batch_size=64", "epochs=30")),
    Case("cosine_restarts", _train("schedule=cosine_restarts", "schedule_epochs=8", "epochs=24")),
    Case("sgd_momentum", _train("optimizer=sgd", "learning_rate=1e-2", "epochs=25")),
    Case("schedule_free", _train("optimizer=adamw_schedule_free", "schedule=constant", "learning_rate=3e-3")),
    Case("bf16", _train("precision=bf16")),
    Case("moving_average", _train("ema_decay=0.9")),
    Case("finetuned", ("finetune.epochs=5", "finetune.learning_rate=1e-4")),
    Case("stopped_early", _train("patience=3", "epochs=60", "learning_rate=2e-3")),
    Case("augmented", ("data.augment.noise=0.02", "data.augment.shift_pixels=1")),
    Case("one_label", ("data.targets=[Teff]",)),
    Case("no_clipping", _train("gradient_clip_val=null")),
    Case("no_validation", ("data.split.ratios=[0.9, 0.0, 0.1]",)),
    Case(
        "stratified_and_resampled",
        (
            "data.split.method=stratified",
            "data.resample.strategy=auto",
            *_train("learning_rate=3e-3", "epochs=30"),
        ),
    ),
    Case("accumulated", _train("accumulate=2", "batch_size=16")),
    Case("long", (*_train("epochs=80", "batch_size=64"), "model.hidden=[16]")),
    Case("stopped_midway", around=(partial(sabotage.stopped_at, 100),)),
    Case("alive", alive_after=3.0),
    Case("few_epochs", _train("epochs=2")),
)

SICK = (
    # numbers that stopped being numbers
    Case("nan_at_once", ("data.clip.normalized=null", *_train("gradient_clip_val=null")),
         finds={"SP101": (0, 2)}, tables=tuple(sabotage.pixel(star, "1e38") for star in range(200))),
    Case("nan_bn_no_clip", ("data.clip.normalized=null", *_train("gradient_clip_val=null", "batch_size=256")),
         "BatchNet", finds={"SP101": (0, 2)},
         tables=tuple(sabotage.pixel(star, "1e38") for star in range(200))),
    Case("nan_out_of_the_blue", ("data.clip.normalized=null", *_SPLIT, *_train("batch_size=8", "seed=2")),
         finds={"SP102": (3, 60)}, tables=(sabotage.pixel(8, "1e38"), *_KNOWN_SPLIT)),
    Case("nan_after_a_climb", _train("optimizer=sgd", "learning_rate=3.0", "momentum=0.0",
         "schedule=warmup_constant", "warmup_epochs=5", "gradient_clip_val=null"), "Keyhole",
         finds={"SP103": (40, 110)}),
    Case("nan_in_fp16", ("data.clip.normalized=null", *_SPLIT, *_train("precision=fp16")),
         finds={"SP104": (0, 60)}, tables=(sabotage.pixel(8, "2e5"), *_KNOWN_SPLIT)),
    Case("scaler_collapsed", (*_train("precision=fp16", "epochs=6", "loss=focal", "gradient_clip_val=null"),
         "data.label_scaler=none"), finds={"SP105": (1, 80)}, also=("SP502", "SP501", "SP402", "SP408")),
    Case("left_out", ("data.clip.normalized=null", *_SPLIT,
         *_train("on_nonfinite=skip", "nonfinite_limit=9")),
         finds={"SP106": (1, 40)}, tables=(sabotage.pixel(8, "1e38"), *_KNOWN_SPLIT)),
    Case("val_not_finite", ("data.clip.normalized=null", *_SPLIT), finds={"SP102": (8, 12)},
         tables=(sabotage.pixel(0, "1e38"), sabotage.split(lambda n, row: n % 8 == 0))),
    # gradients and spikes
    Case("exploding", _train("optimizer=sgd", "learning_rate=0.4", "schedule=warmup_constant",
         "warmup_epochs=10"), "Exploding", finds={"SP201": (50, 180)}, also=("SP204", "SP205")),
    Case("vanishing", _train("learning_rate=1e-4"), "Vanishing", finds={"SP202": (1, 200)}),
    Case("spikes", ("data.clip.normalized=null", *_SPLIT, *_train("batch_size=16", "gradient_clip_val=1.0")),
         finds={"SP203": (5, 100)},
         tables=(*(sabotage.pixel(8 * n, "2000", 10 + 11 * n) for n in (1, 3, 5)), *_KNOWN_SPLIT)),
    Case("spike_that_stays", _train("optimizer=sgd", "learning_rate=1e-3", "epochs=30",
         "gradient_clip_val=0.1"), finds={"SP204": (195, 205)}, also=("SP201",),
         around=(partial(sabotage.kicked, 200, 3.0),)),
    Case("diverging", _train("optimizer=sgd", "learning_rate=2.4", "momentum=0.0",
         "schedule=warmup_constant", "warmup_epochs=20", "gradient_clip_val=null"), "Keyhole",
         finds={"SP205": (150, 199)}, also=("SP201",)),
    Case("always_clipped", _train("gradient_clip_val=0.001", "optimizer=sgd"), finds={"SP206": (1, 200)}),
    # rate, schedule, fit
    Case("plateau", (*_train("schedule=constant", "epochs=60", "learning_rate=1e-2"),
         "data.targets=[logg, FeH]"), "Balmer", finds={"SP401": (20, 400)}),
    Case("rate_too_low", _train("learning_rate=3e-6", "schedule=constant"), finds={"SP402": (1, 20)}),
    Case("rate_too_low_sgd", _train("learning_rate=1e-5", "schedule=constant", "optimizer=sgd"),
         finds={"SP402": (1, 20)}),
    Case("rate_too_high", _train("learning_rate=0.3", "schedule=constant"), finds={"SP403": (1, 10)}),
    Case("rate_too_high_deep", (*_train("learning_rate=0.3", "schedule=cosine"), "model.hidden=[64, 64, 64]"),
         finds={"SP403": (1, 10)}),
    Case("schedule_ends_early", _train("schedule=type1", "epochs=30"), finds={"SP404": (60, 90)}),
    Case("schedule_ends_early_exp", _train("schedule=exponential", "schedule_gamma=0.4"),
         finds={"SP404": (40, 70)}),
    Case("schedule_jumps", _train("schedule=cosine_restarts", "schedule_epochs=10", "epochs=30",
         "learning_rate=1e-2"), "StarNet", finds={"SP405": (95, 205)}),
    Case("small_batch_norm", (*_train("batch_size=4", "learning_rate=3e-3", "schedule=constant", "epochs=30"),
         "model.norm_momentum=0.9"), "BatchNet", finds={"SP406": (1, 900)}),
    Case("small_batch_norm_wide", (*_train("batch_size=4", "learning_rate=1e-2", "schedule=constant",
         "epochs=25"), "model.norm_momentum=0.7", "model.width=32"), "BatchNet", finds={"SP406": (1, 900)}),
    Case("overfitted", (*_train("epochs=100", "schedule=constant", "learning_rate=3e-3"), "data.max_rows=80",
         "data.split.ratios=[0.25, 0.65, 0.1]", "model.hidden=[256, 256]"), finds={"SP407": (1, 80)},
         also=("SP504", "SP505")),
    Case("overfitted_wide", (*_train("epochs=100", "schedule=constant", "learning_rate=3e-3"),
         "data.max_rows=80", "data.split.ratios=[0.25, 0.65, 0.1]", "model.hidden=[512, 256]"),
         finds={"SP407": (1, 80)}, also=("SP504", "SP505"), tables=(sabotage.shuffled_labels,)),
    Case("underfitted", _train("epochs=6", "learning_rate=1e-4", "schedule=cosine"),
         finds={"SP408": (1, 20)}),
    # labels, stars, splits
    Case("predicts_the_mean", _train("epochs=15"), "Deaf", finds={"SP501": (1, 20)}),
    Case("starved_label", ("training.label_weights={Teff: 1000.0}", *_train("epochs=25")),
         finds={"SP502": (1, 20)}),
    Case("starved_by_units", ("data.label_scaler=none", *_train("learning_rate=1e-2", "epochs=40")),
         finds={"SP502": (1, 20)}),
    Case("out_of_reach", _train("epochs=80", "learning_rate=5e-3"), "Bounded", finds={"SP503": (300, 800)}),
    Case("bad_star", _SPLIT, finds={"SP504": (1, 240)},
         tables=(sabotage.label(16, Teff="48000", FeH="9.9"), sabotage.split(lambda n, row: n % 8 == 0)),
         also=("SP505",)),
    Case("mismatch", _SPLIT, finds={"SP505": (0, 0)},
         tables=(sabotage.split(lambda n, row: (row["logg"] or "9") < "3.2"),)),
    Case("star_in_both", _SPLIT, finds={"SP506": (0, 0)},
         tables=(sabotage.repeated, sabotage.split(lambda n, row: n >= 300 and n < 340))),
    Case("leakage", (*_SPLIT, *_train("epochs=40", "learning_rate=3e-3")), "StarNet",
         finds={"SP507": (100, 500)}, also=("SP506",),
         tables=(sabotage.leaking, sabotage.split(lambda n, row: n >= 300 and n < 340))),
    # speed and memory
    Case("starved_of_data", _train("epochs=20"), finds={"SP601": (1, 20)},
         around=(partial(sabotage.slow_reading, 0.03),)),
    Case("slowed_down", _train("epochs=30", "batch_size=16"), finds={"SP602": (250, 330)},
         around=(partial(sabotage.slow_steps, 300, 0.05),)),
    Case("memory_grows", _train("epochs=20", "learning_rate=1e-2"), "Leaky", finds={"SP603": (1, 30)}),
    # the process and the machine
    Case("half_dead", _train("epochs=20", "learning_rate=1e-2"), "HalfDead", finds={"SP701": (150, 200)}),
    Case("stalled", alive_after=3600.0, finds={"SP702": (180, 240)}),
    Case("disk_nearly_full", finds={"SP703": (1, 240)}, around=(partial(sabotage.full_disk),)),
    Case("clock_jumped", finds={"SP704": (100, 120)}, around=(partial(sabotage.clock_jump, 105),)),
    Case("died_again_and_again", _train("epochs=60", "save_steps=20"), kill_at=60, kills=4,
         finds={"SP901": (60, 700), "SP705": (0, 700)}),
    Case("died", _train("epochs=60"), kill_at=40, finds={"SP901": (40, 700)}),
    Case("failed", model="Breaks", finds={"SP902": (15, 25)}),
    Case("out_of_memory", ("model.why=DefaultCPUAllocator can't allocate memory",), "Breaks",
         finds={"SP902": (15, 25)}),
)  # fmt: skip

CASES = HEALTHY + SICK
