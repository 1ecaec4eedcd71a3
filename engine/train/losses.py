"""Losses on scaled labels; a missing label (NaN in the truth) takes no part."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from engine.conf.schema import Training

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def build_loss(training: Training) -> Loss:
    """Return a function (predicted [B, T], truth [B, T]) -> (mean loss, number of labels that counted).

    mse: mean e^2; l1: mean |e|; huber (Huber 1964): e^2/2 below delta, delta(|e| - delta/2) above.
    """

    def elementwise(predicted_BT: Tensor, truth_BT: Tensor) -> Tensor:
        if training.loss == "mse":
            return functional.mse_loss(predicted_BT, truth_BT, reduction="none")
        if training.loss == "l1":
            return functional.l1_loss(predicted_BT, truth_BT, reduction="none")
        return functional.huber_loss(predicted_BT, truth_BT, reduction="none", delta=training.huber_delta)

    def loss(predicted_BT: Tensor, truth_BT: Tensor) -> tuple[Tensor, Tensor]:
        present_BT = ~torch.isnan(truth_BT)
        # The truth is filled before the difference: NaN times zero is NaN, also in the gradient.
        filled_BT = torch.where(present_BT, truth_BT, predicted_BT.detach())
        count = present_BT.sum()
        total = (elementwise(predicted_BT.float(), filled_BT.float()) * present_BT).sum()
        return total / count.clamp(min=1), count

    return loss
