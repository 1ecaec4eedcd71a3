"""What can be done about a finding: remedies made from a conf, each one change that the conf's schema takes.

A maker returns None where its change is not possible or already made, unless the remedy is one of the
guide's own: those are always told, with a reason in place of the patch. Never applies anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from engine.conf.tree import get
from engine.diagnose.findings import Remedy
from engine.errors import BadInput
from engine.words import say
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.conf.schema import Conf

SAFE_CLIP = 1.0
SAFE_RANGE = [-1.0, 3.0]
HIGH_RATE = 0.05
SAFE_RATE = 1e-3
SMALL_BATCH = 16
SAFE_MOMENTUM = 0.01
_NORM_NAMES = ("norm", "norm_type", "normalization", "normalization_type")
_MOMENTUM_NAMES = ("bn_momentum", "batch_norm_momentum", "norm_momentum", "momentum")

Plain = Mapping[str, Any]


def ranked(scored: Iterable[tuple[float, Remedy | None]]) -> tuple[Remedy, ...]:
    """Return remedies by score, highest first; those that no conf key can do come last."""
    there = [(score, remedy) for score, remedy in scored if remedy is not None]
    there.sort(key=lambda pair: (not pair[1].patch, -pair[0]))
    return tuple(remedy for _, remedy in there)


def of_guide(*scored: tuple[float, Remedy]) -> tuple[Remedy, ...]:
    """Return the guide's own remedies by score: first of all, and told also where no key does them."""
    return tuple(remedy for _, remedy in sorted(scored, key=lambda pair: -pair[0]))


def remedy(name: str, patch: dict[str, Any] | None = None, **words: Any) -> Remedy:
    """Return the remedy whose title and reason the catalogues have under a name."""
    return Remedy(say(f"diagnose.{name}"), say(f"diagnose.{name}_why", **words), patch or {})


# -- the guide's own ----------------------------------------------------------------------------------------


def layer_norm(workspace: Workspace, conf: Plain) -> Remedy:
    """LayerNorm in place of BatchNorm."""
    key, value = norm_of(workspace, conf)
    title = say("diagnose.layer_norm")
    if value == "ln":
        return Remedy(title, say("diagnose.layer_norm_already", key=key))
    if key is not None and takes(workspace, conf, {key: "ln"}):
        return Remedy(title, say("diagnose.layer_norm_why"), {key: "ln"})
    return Remedy(title, say("diagnose.layer_norm_elsewhere", model=get(conf, "model.name")))


def clip_inputs(conf: Plain) -> Remedy:
    """Clip the inputs; where that is on, scale them robustly."""
    title = say("diagnose.clip_inputs")
    if get(conf, "data.clip.normalized") is None:
        return Remedy(title, say("diagnose.clip_inputs_why"), {"data.clip.normalized": SAFE_RANGE})
    if get(conf, "data.continuum_scaler") != "robust":
        return Remedy(title, say("diagnose.clip_inputs_robust"), {"data.continuum_scaler": "robust"})
    return Remedy(title, say("diagnose.clip_inputs_already"))


def scale_robustly(conf: Plain) -> Remedy | None:
    """Scale the continuum branch by median and quartiles."""
    if get(conf, "data.continuum_scaler") == "robust":
        return None
    return remedy("scale_robustly", {"data.continuum_scaler": "robust"})


def clip_gradients(conf: Plain) -> Remedy:
    """Turn gradient clipping on, or make it tighter."""
    title, now = say("diagnose.clip_gradients"), get(conf, "training.gradient_clip_val")
    if now is not None and now <= SAFE_CLIP:
        return Remedy(title, say("diagnose.clip_gradients_already", value=now))
    why = "diagnose.clip_gradients_why" if now is None else "diagnose.clip_gradients_tighter"
    return Remedy(title, say(why, value=now), {"training.gradient_clip_val": SAFE_CLIP})


def norm_momentum(workspace: Workspace, conf: Plain) -> Remedy:
    """A smaller momentum of BatchNorm, 0.01."""
    title = say("diagnose.norm_momentum")
    key, value = field_of(workspace, conf, _MOMENTUM_NAMES)
    if key is None:
        return Remedy(title, say("diagnose.norm_momentum_elsewhere", model=get(conf, "model.name")))
    if isinstance(value, int | float) and value <= SAFE_MOMENTUM:
        return Remedy(title, say("diagnose.norm_momentum_already", key=key))
    if not takes(workspace, conf, {key: SAFE_MOMENTUM}):
        return Remedy(title, say("diagnose.norm_momentum_elsewhere", model=get(conf, "model.name")))
    return Remedy(title, say("diagnose.norm_momentum_why"), {key: SAFE_MOMENTUM})


def larger_batch(conf: Plain, stars: int | None = None) -> Remedy:
    """A larger batch, as memory allows."""
    title, now = say("diagnose.larger_batch"), get(conf, "training.batch_size")
    wanted = max(32, 4 * now) if isinstance(now, int) else 32
    wanted = min(wanted, max(2, stars // 4)) if stars else wanted
    if isinstance(now, int) and now >= wanted:
        return Remedy(title, say("diagnose.larger_batch_already", value=now))
    return Remedy(title, say("diagnose.larger_batch_why", value=now), {"training.batch_size": wanted})


# -- others -------------------------------------------------------------------------------------------------


def lower_rate(conf: Plain, why: str = "lower_rate_why", **words: Any) -> Remedy | None:
    """A tenth of the learning rate, and no more than Adam usually bears."""
    rate = get(conf, "training.learning_rate")
    if not isinstance(rate, int | float):
        return None
    return _with_rate(conf, min(rate / 10, SAFE_RATE), "lower_rate", why, **words)


def higher_rate(conf: Plain) -> Remedy | None:
    """Ten times the learning rate, but never a reckless one."""
    rate = get(conf, "training.learning_rate")
    if not isinstance(rate, int | float) or rate * 3 > SAFE_RATE * 10:
        return None
    return _with_rate(conf, min(rate * 10, SAFE_RATE * 10), "higher_rate", "higher_rate_why")


def _with_rate(conf: Plain, rate: float, title: str, why: str, **words: Any) -> Remedy:
    patch: dict[str, Any] = {"training.learning_rate": tidy(rate)}
    floor = get(conf, "training.min_learning_rate")
    if isinstance(floor, int | float) and floor > patch["training.learning_rate"]:
        patch["training.min_learning_rate"] = 0.0  # the schema wants the floor below the peak
    return Remedy(say(f"diagnose.{title}"), say(f"diagnose.{why}", **words), patch)


def set_to(conf: Plain, key: str, value: Any, name: str, **words: Any) -> Remedy | None:
    """One key set to a value; None where it has that value already."""
    return None if get(conf, key) == value else remedy(name, {key: value}, **words)


def longer(conf: Plain, factor: int = 2) -> Remedy | None:
    """More epochs."""
    epochs = get(conf, "training.epochs")
    if not isinstance(epochs, int) or not epochs:
        return None
    return remedy("longer", {"training.epochs": epochs * factor}, epochs=epochs)


def precision(conf: Plain, value: str, name: str) -> Remedy | None:
    """Another precision of the network's arithmetic."""
    return set_to(conf, "training.precision", value, name)


def patience(conf: Plain, evaluations: int) -> Remedy | None:
    """Stop early."""
    now = get(conf, "training.patience")
    if isinstance(now, int) and now <= evaluations:
        return None
    return remedy("stop_early", {"training.patience": evaluations}, evaluations=evaluations)


def half_batch(conf: Plain) -> Remedy | None:
    """Half the batch, and as many stars a step as before."""
    batch = get(conf, "training.batch_size")
    if not isinstance(batch, int) or batch < 4:
        return None
    return remedy("half_batch", {"training.batch_size": batch // 2}, value=batch)


def dropout(workspace: Workspace, conf: Plain, value: float) -> Remedy | None:
    """More dropout, where the network has such a field."""
    key, now = field_of(workspace, conf, ("dropout", "dropout_rate"))
    if key is None or (isinstance(now, int | float) and now >= value):
        return None
    return remedy("more_dropout", {key: value}) if takes(workspace, conf, {key: value}) else None


# -- what a network takes -----------------------------------------------------------------------------------


def norm_of(workspace: Workspace, conf: Plain) -> tuple[str | None, Any]:
    """Return the conf key that chooses the network's normalisation, and its value ('ln', 'bn')."""
    key, value = field_of(workspace, conf, _NORM_NAMES)
    return key, "ln" if key is not None and value is None else value


def field_of(workspace: Workspace, conf: Plain, names: Iterable[str]) -> tuple[str | None, Any]:
    """Return the conf key of the network's first field with one of these names, and its value."""
    from engine import catalog

    try:
        network = catalog.find(workspace, str(get(conf, "model.name")))
    except BadInput:
        return None, None
    wanted = set(names)
    for field in network.fields:
        inside = [(f"{field.name}.{inner.name}", inner) for inner in field.nested or ()]
        for name, inner in [(field.name, field), *inside]:
            if inner.name in wanted:
                given = get(conf, f"model.{name}")
                return f"model.{name}", given if given is not None else inner.default
    return None, None


def takes(workspace: Workspace, conf: Plain, patch: dict[str, Any]) -> bool:
    """Tell whether a conf is good with a patch: another's network may call its LayerNorm otherwise."""
    try:
        check_patch(workspace, conf, patch)
    except BadInput:
        return False
    return True


def check_patch(workspace: Workspace, conf: Plain, patch: dict[str, Any]) -> Conf:
    """Return the conf with a remedy applied, checked.

    Raises:
        BadInput: the patched conf is not a valid one.
    """
    from engine.conf.load import from_plain

    changed = _deep_copy(conf)
    for key, value in patch.items():
        *parents, last = key.split(".")
        tree = changed
        for part in parents:
            if not isinstance(tree.get(part), dict):
                tree[part] = {}
            tree = tree[part]
        tree[last] = value
    return from_plain(workspace, changed, "patch")


def tidy(value: float) -> float:
    """Return a number with three digits."""
    return float(f"{value:.3g}")


def _deep_copy(tree: Any) -> Any:
    return {k: _deep_copy(v) for k, v in tree.items()} if isinstance(tree, Mapping) else tree
