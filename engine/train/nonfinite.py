"""What can be said about a step whose loss or gradient is no finite number.

The step was refused before its update, so its batch can be run again from the very same state: once, with
hooks on every part of the network. Slow, and only then. Owns no decision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.train.learn import Gradient, Learner
from engine.train.losses import parted
from engine.train.rows import Batch, Rows

_MOST_STARS = 8
_EXTREMES = 3


@dataclass(frozen=True)
class NonFiniteReport:
    """What was not finite, and what showed it first.

    `module` is the first whose output (or, `direction` backward, the gradient of whose output) was not
    finite, `input_low` and `input_high` the finite range of what went in. `extremes` are the stars of the
    batch with the most extreme flux: obsid, branch, wavelength in angstrom, flux in the file's units, and how
    many scaled units from 0 that is. `reproduced` tells whether running the batch again went bad again.
    """

    what: str
    value: float
    gradient_norm: float
    obsids: list[str]
    parameter: str | None
    module: str | None = None
    direction: str | None = None
    input_low: float | None = None
    input_high: float | None = None
    extremes: list[dict[str, Any]] = field(default_factory=list)
    reproduced: bool = True


@dataclass
class _Seen:
    module: str | None = None
    direction: str | None = None
    low: float | None = None
    high: float | None = None


def inspect(
    learner: Learner, gradient: Gradient, batches: list[Batch], wavelength: np.ndarray | None = None
) -> NonFiniteReport:
    """Say what went wrong in the step that was just refused, by running its `batches` again.

    Gradients, running statistics and generators are left as they were after the refused step.
    """
    rows = learner.state.batches.rows
    parameter = _bad_parameter(learner.state.network)
    after = learner.state.random.quick()
    learner.state.random.rewind(learner.began)
    seen, bad_obsids, worst = _Seen(), [], None
    for batch in batches:
        predicted_BT, seen = _again(learner, batch)
        worst = batch
        if seen.module is not None:
            obsids = [rows.obsids[i] for i in batch.index_B.tolist()]
            bad_B = ~torch.isfinite(predicted_BT).all(dim=1)
            if bool(bad_B.any()) and not bool(bad_B.all()):
                bad_obsids = [obsid for obsid, bad in zip(obsids, bad_B.tolist(), strict=True) if bad]
            break
    learner.state.random.rewind(after)
    extremes = [] if worst is None else extreme_stars(rows, worst, wavelength)
    # A wild pixel is the usual way for one star to spoil a batch: where all predictions are bad, look there.
    obsids = bad_obsids[:_MOST_STARS] or [star["obsid"] for star in extremes]
    value = float(gradient.loss)
    norm = float(gradient.norm)
    what = "gradient_norm" if math.isfinite(value) else "loss"
    return NonFiniteReport(
        what, value if what == "loss" else norm, norm, obsids, parameter, seen.module, seen.direction,
        seen.low, seen.high, extremes, seen.module is not None,
    )  # fmt: skip


def extreme_stars(rows: Rows, batch: Batch, wavelength: np.ndarray | None = None) -> list[dict[str, Any]]:
    """Return the stars whose scaled flux lies farthest out, worst first, each with its worst pixel."""
    stacked_BCL = torch.stack((batch.continuum_BL, batch.normalized_BL), dim=1).abs().nan_to_num(nan=math.inf)
    far_B, place_B = stacked_BCL.flatten(1).max(dim=1)
    raw = rows.source.raw(batch.index_B)
    points = stacked_BCL.shape[2]
    found = []
    for star in far_B.argsort(descending=True)[:_EXTREMES].tolist():
        branch, pixel = divmod(int(place_B[star]), points)
        found.append({
            "obsid": rows.obsids[int(batch.index_B[star])],
            "branch": ("continuum", "normalized")[branch],
            "wavelength": None if wavelength is None else float(wavelength[pixel]),
            "flux": float(raw[branch][star, pixel]),
            "scaled": float(far_B[star]),
        })  # fmt: skip
    return found


def _again(learner: Learner, batch: Batch) -> tuple[Tensor, _Seen]:
    """Run one batch forward and backward with hooks; return the predictions and what went bad first."""
    network, seen = learner.state.network, _Seen()
    ranges: dict[str, tuple[float, float]] = {}

    def note(name: str, direction: str) -> None:
        if seen.module is None:
            seen.module, seen.direction = name, direction
            seen.low, seen.high = ranges.get(name, (None, None))

    def hook(name: str) -> Any:
        def look(_module: nn.Module, inputs: Any, output: Any) -> None:
            ranges[name] = _range(inputs)
            for tensor in _tensors(output):
                if not bool(torch.isfinite(tensor).all()):
                    note(name, "forward")
                elif tensor.requires_grad:
                    tensor.register_hook(watch(name))

        return look

    def watch(name: str) -> Any:
        def look(gradient: Tensor) -> None:
            if not bool(torch.isfinite(gradient).all()):
                note(name, "backward")

        return look

    leaves = [(name or "network", m) for name, m in network.named_modules() if not any(m.children())]
    handles = [module.register_forward_hook(hook(name)) for name, module in leaves]
    kept = [p.grad for p in learner.parameters]
    network.zero_grad(set_to_none=True)
    try:
        predicted: Any = None

        def forward(continuum_BL: Tensor, normalized_BL: Tensor) -> Any:
            nonlocal predicted
            predicted = learner.alone(continuum_BL, normalized_BL)
            return predicted

        loss, _ = learner.look(batch, forward)
        if seen.module is None and not math.isfinite(float(loss.detach())):
            note("loss", "forward")
        if seen.module is None:
            learner.scaled(loss).backward()
            if seen.module is None and (bad := _bad_parameter(network)) is not None:
                note(bad.rpartition(".")[0] or bad, "backward")
    finally:
        for handle in handles:
            handle.remove()
        for parameter, gradient in zip(learner.parameters, kept, strict=True):
            parameter.grad = gradient
    return parted(predicted)[0].detach(), seen


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    return [t for one in output for t in _tensors(one)] if isinstance(output, tuple | list) else []


def _range(inputs: Any) -> tuple[float, float]:
    finite = [t[torch.isfinite(t)] for t in _tensors(inputs)]
    finite = [t for t in finite if t.numel()]
    if not finite:
        return math.nan, math.nan
    return min(float(t.detach().min()) for t in finite), max(float(t.detach().max()) for t in finite)


def _bad_parameter(network: nn.Module) -> str | None:
    """Return the last parameter whose gradient is not finite: the first on the way back."""
    bad = [
        name for name, p in network.named_parameters()
        if p.grad is not None and not bool(torch.isfinite(p.grad).all())
    ]  # fmt: skip
    return bad[-1] if bad else None
