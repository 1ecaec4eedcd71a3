"""Run a network over rows without learning: loss, predictions, errors in the labels' own units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.spectra.scale import Scaler
from engine.train.losses import Loss
from engine.train.metrics import label_errors
from engine.train.rows import Rows
from engine.train.stop import Stop

Forward = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """Loss in scaled units (mean over labels that are present), predictions and truth in K and dex [N, T]."""

    loss: float
    predicted_NT: NDArray[np.float32]
    truth_NT: NDArray[np.float32]
    errors: dict[str, dict[str, float]]


@torch.no_grad()
def evaluate(
    network: nn.Module,
    forward: Forward,
    rows: Rows,
    loss_of: Loss,
    labels: Scaler,
    targets: list[str],
    *,
    batch_size: int,
    stop: Stop | None = None,
) -> Evaluation:
    """Evaluate `rows` in order.

    Raises:
        Stopped: stopping was asked in between.
    """
    was_training = network.training
    network.eval()
    try:
        total = torch.zeros((), dtype=torch.float64)
        counted = torch.zeros((), dtype=torch.float64)
        parts: list[Tensor] = []
        index_N = torch.arange(len(rows), device=rows.index_device)
        for start in range(0, len(rows), batch_size):
            if stop is not None:
                stop.check()
            batch = rows.take(index_N[start : start + batch_size])
            predicted_BT = forward(batch.continuum_BL, batch.normalized_BL)
            loss, count = loss_of(predicted_BT, batch.labels_BT)
            total += loss.cpu().double() * count.cpu()
            counted += count.cpu()
            parts.append(predicted_BT.float().cpu())
    finally:
        network.train(was_training)
    predicted_NT = labels.inverse(torch.cat(parts).numpy()).astype(np.float32)
    truth_NT = labels.inverse(rows.labels_NT.float().cpu().numpy()).astype(np.float32)
    return Evaluation(
        float(total / counted.clamp(min=1)),
        predicted_NT,
        truth_NT,
        label_errors(predicted_NT, truth_NT, targets),
    )
