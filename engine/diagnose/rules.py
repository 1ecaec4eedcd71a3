"""The rules. Each is a function of a record (or a conf) that returns a finding or nothing.

Ids: SP1xx numbers that stopped being numbers, SP3xx what a conf alone tells, SP9xx runs that ended badly.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from engine.conf.tree import get
from engine.diagnose.findings import Finding, Remedy
from engine.errors import BadInput
from engine.runs.record import Record
from engine.words import say
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.conf.schema import Conf

# A run whose numbers break within this many steps never trained: data or a bug, not the learning rate alone.
_FROM_THE_START = 3
_HIGH_RATE = 0.05
_SAFE_CLIP = 1.0
_SAFE_RANGE = [-1.0, 3.0]


def of_run(workspace: Workspace, record: Record) -> list[Finding]:
    """Return the findings on one run, worst first; none on a healthy one."""
    conf = record.conf()
    found = [finding for rule in (_nonfinite, _ended_badly) if (finding := rule(workspace, record, conf))]
    return sorted(found, key=lambda f: ("error", "warning", "info").index(f.severity))


def of_conf(workspace: Workspace, conf: Conf) -> list[Finding]:
    """Return what the conf alone tells, before it is run."""
    plain = conf.plain()
    found: list[Finding] = []
    if conf.training.learning_rate >= _HIGH_RATE:
        lower = Remedy(
            say("diagnose.lower_rate"),
            say("diagnose.lower_rate_why"),
            {"training.learning_rate": _tidy(1e-3)},
        )
        found.append(
            Finding(
                "SP301",
                "warning",
                say("diagnose.SP301"),
                {"learning_rate": conf.training.learning_rate},
                None,
                (lower,),
            )
        )
    if conf.training.gradient_clip_val is None:
        found.append(Finding("SP302", "info", say("diagnose.SP302"), {}, None, (_clip_gradients(plain),)))
    if conf.data.clip.normalized is None:
        found.append(Finding("SP303", "info", say("diagnose.SP303"), {}, None, (_clip_inputs(plain),)))
    if _norm(workspace, plain)[1] == "bn":
        found.append(
            Finding("SP304", "info", say("diagnose.SP304"), {}, None, (_layer_norm(workspace, plain),))
        )
    return found


def _nonfinite(workspace: Workspace, record: Record, conf: dict[str, Any]) -> Finding | None:
    """SP101 and SP102: the loss, the gradient or the validation loss is not a finite number."""
    bad = record.nonfinite
    if bad is None:
        return None
    early = bad.step <= _FROM_THE_START
    evidence: dict[str, Any] = {
        "what": f"{bad.what} = {bad.value}",
        "step": bad.step,
        "epoch": bad.epoch,
        "last_finite_loss": bad.last_finite_loss,
        "learning_rate": bad.learning_rate,
        "gradient_norm": _finite(bad.gradient_norm),
        "lowest_loss": _lowest(record),
        "module": bad.module,
        "parameter": bad.parameter,
        "extreme_flux": _extreme(bad.extremes),
        "obsids": bad.obsids or None,
    }
    evidence = {name: value for name, value in evidence.items() if value is not None}
    remedies = [_layer_norm(workspace, conf), _clip_inputs(conf), _clip_gradients(conf)]
    rate = get(conf, "training.learning_rate")
    if isinstance(rate, int | float) and (rate >= _HIGH_RATE or _climbed(record)):
        remedies.append(
            Remedy(
                say("diagnose.lower_rate"),
                say("diagnose.lower_rate_why"),
                {"training.learning_rate": _tidy(min(rate / 10, 1e-3))},
            )
        )
    identity = "SP101" if early else "SP102"
    last = _last_finite_step(record, bad.step)
    return Finding(
        identity, "error", say(f"diagnose.{identity}", what=bad.what, step=bad.step), evidence,
        (last, bad.step), tuple(remedies),
    )  # fmt: skip


def _ended_badly(workspace: Workspace, record: Record, conf: dict[str, Any]) -> Finding | None:
    """SP901 and SP902: the process is gone without a word, or it said what was wrong."""
    state = record.state
    if state == "died":
        evidence = {"step": record.step, "phase": record.phase or "-", "pid": record.pid}
        return Finding("SP901", "error", say("diagnose.SP901"), evidence, (record.step, record.step))
    if state == "failed":
        message = str((record.end or {}).get("message", ""))
        evidence = {"message": message, "exit_code": (record.end or {}).get("exit_code")}
        return Finding("SP902", "error", say("diagnose.SP902"), evidence, (record.step, record.step))
    return None


def _extreme(stars: list[dict[str, Any]]) -> str | None:
    """Return the most extreme flux of the batch in words of numbers, None when it was not looked for."""
    if not stars or stars[0].get("wavelength") is None:
        return None
    star = stars[0]
    return f"{star['flux']:.4g} @ {star['wavelength']:.1f} Å ({star['branch']}, {star['obsid']})"


# -- remedies -----------------------------------------------------------------------------------------------


def _layer_norm(workspace: Workspace, conf: dict[str, Any]) -> Remedy:
    key, value = _norm(workspace, conf)
    if value == "ln":
        return Remedy(say("diagnose.layer_norm"), say("diagnose.layer_norm_already", key=key))
    if key is not None and _takes(workspace, conf, {key: "ln"}):
        return Remedy(say("diagnose.layer_norm"), say("diagnose.layer_norm_why"), {key: "ln"})
    elsewhere = say("diagnose.layer_norm_elsewhere", model=get(conf, "model.name"))
    return Remedy(say("diagnose.layer_norm"), elsewhere)


def _takes(workspace: Workspace, conf: dict[str, Any], patch: dict[str, Any]) -> bool:
    """Tell whether a conf is good with a patch: another's network may call its LayerNorm otherwise."""
    try:
        check_patch(workspace, conf, patch)
    except BadInput:
        return False
    return True


def _clip_inputs(conf: dict[str, Any]) -> Remedy:
    patch: dict[str, Any] = {}
    if get(conf, "data.clip.normalized") is None:
        patch["data.clip.normalized"] = _SAFE_RANGE
    if get(conf, "data.continuum_scaler") != "robust":
        patch["data.continuum_scaler"] = "robust"
    why = say("diagnose.clip_inputs_why") if patch else say("diagnose.clip_inputs_already")
    return Remedy(say("diagnose.clip_inputs"), why, patch)


def _clip_gradients(conf: dict[str, Any]) -> Remedy:
    now = get(conf, "training.gradient_clip_val")
    if now is not None and now <= _SAFE_CLIP:
        return Remedy(say("diagnose.clip_gradients"), say("diagnose.clip_gradients_already", value=now))
    why = (
        say("diagnose.clip_gradients_why")
        if now is None
        else say("diagnose.clip_gradients_tighter", value=now)
    )
    return Remedy(say("diagnose.clip_gradients"), why, {"training.gradient_clip_val": _SAFE_CLIP})


def _norm(workspace: Workspace, conf: dict[str, Any]) -> tuple[str | None, Any]:
    """Return the conf key that chooses the network's normalisation, and its value ('ln', 'bn')."""
    from engine import catalog

    try:
        network = catalog.find(workspace, str(get(conf, "model.name")))
    except BadInput:
        return None, None
    for field in network.fields:
        names = [(field.name, field)] + [
            (f"{field.name}.{inner.name}", inner) for inner in field.nested or ()
        ]
        for name, inner in names:
            if inner.name in ("norm", "norm_type", "normalization"):
                given = get(conf, f"model.{name}")
                return f"model.{name}", given if given is not None else inner.default or "ln"
    return None, None


# -- evidence -----------------------------------------------------------------------------------------------


def _lowest(record: Record) -> float | None:
    curve = record.curves.get("batch_loss")
    values = [v for v in curve.values if math.isfinite(v)] if curve else []
    return min(values, default=None)


def _climbed(record: Record) -> bool:
    """Tell whether the loss had risen well above its lowest before it broke."""
    lowest, bad = _lowest(record), record.nonfinite
    return bool(bad and bad.last_finite_loss and lowest and bad.last_finite_loss > 5 * lowest)


def _last_finite_step(record: Record, step: int) -> int:
    curve = record.curves.get("batch_loss")
    if curve is None:
        return max(0, step - 1)
    good = [s for s, v in zip(curve.steps, curve.values, strict=True) if math.isfinite(v)]
    return int(good[-1]) if good else 0


def _finite(value: float | None) -> float | str | None:
    """Return the value; a number that JSON cannot say becomes its word."""
    return value if value is None or math.isfinite(value) else str(value)


def _tidy(value: float) -> float:
    return float(f"{value:.3g}")


def check_patch(workspace: Workspace, conf: dict[str, Any], patch: dict[str, Any]) -> Conf:
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
            tree = tree.setdefault(part, {})
        tree[last] = value
    return from_plain(workspace, changed, "patch")


def _deep_copy(tree: Any) -> Any:
    return {k: _deep_copy(v) for k, v in tree.items()} if isinstance(tree, dict) else tree
