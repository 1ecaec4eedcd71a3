"""The guard that stops a run before a non-finite update, and what it can say about the cause."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class NonFiniteReport:
    """What was not finite, and the stars and the parameter that showed it first."""

    what: str
    value: float
    gradient_norm: float
    obsids: list[str]
    parameter: str | None


def is_bad(loss: Tensor, norm: Tensor) -> bool:
    """Tell whether the loss or the gradient norm is not finite: one number read from the device."""
    return not math.isfinite(float(loss.detach() + norm))


def inspect(
    network: nn.Module, loss: Tensor, norm: Tensor, predicted_BT: Tensor, obsids: list[str], inputs_BL: Tensor
) -> NonFiniteReport:
    """Say what went wrong in the step that was just refused (slow, and only then).

    The stars named are those whose prediction is not finite when some others' is; else those with the
    largest pixel, since a wild pixel is the usual way for one star to spoil a batch.
    """
    value = float(loss.detach())
    what = "gradient_norm" if math.isfinite(value) else "loss"
    bad_B = ~torch.isfinite(predicted_BT).all(dim=1)
    if not bool(bad_B.any()) or bool(bad_B.all()):
        order = inputs_BL.abs().amax(dim=1).nan_to_num(nan=math.inf).argsort(descending=True)[:3]
        chosen = [obsids[i] for i in order.tolist()]
    else:
        chosen = [obsid for obsid, bad in zip(obsids, bad_B.tolist(), strict=True) if bad][:8]
    parameter = next(
        (
            n
            for n, p in network.named_parameters()
            if p.grad is not None and not bool(torch.isfinite(p.grad).all())
        ),
        None,
    )
    return NonFiniteReport(what, value if what == "loss" else float(norm), float(norm), chosen, parameter)
