"""Run a network over rows without learning: loss, predictions, errors in the labels' own units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.spectra.scale import Scaler
from engine.train.learn import autocast
from engine.train.losses import Loss, Predict, parted
from engine.train.metrics import label_errors
from engine.train.rows import Rows
from engine.train.stop import Stop


@dataclass(frozen=True)
class Evaluation:
    """Loss in scaled units (mean over labels that are present), predictions and truth in K and dex [N, T].

    `sigma_NT` are the network's own uncertainties, None if it gives none.
    """

    loss: float
    predicted_NT: NDArray[np.float32]
    truth_NT: NDArray[np.float32]
    errors: dict[str, dict[str, float]]
    sigma_NT: NDArray[np.float32] | None = None


@torch.no_grad()
def evaluate(
    network: nn.Module,
    forward: Predict,
    rows: Rows,
    loss_of: Loss,
    labels: Scaler,
    targets: list[str],
    *,
    batch_size: int,
    stop: Stop | None = None,
    precision: str = "fp32",
) -> Evaluation:
    """Evaluate `rows` in order.

    Raises:
        Stopped: stopping was asked in between.
    """
    was_training = network.training
    network.eval()
    try:
        total = torch.zeros((), dtype=torch.float32 if rows.labels_NT.device.type == "mps" else torch.float64)
        total = counted = total.to(rows.labels_NT.device)
        parts: list[Tensor] = []
        sigmas: list[Tensor] = []
        index_N = torch.arange(len(rows), device=rows.index_device)
        for start in range(0, len(rows), batch_size):
            if stop is not None:
                stop.check()
            batch = rows.take(index_N[start : start + batch_size])
            with autocast(batch.labels_BT.device, precision):
                predicted = forward(batch.continuum_BL, batch.normalized_BL)
            loss, count = loss_of(predicted, batch.labels_BT)
            # kept on the device: a copy to the host would wait for it, batch by batch
            total = total + loss.to(total.dtype) * count
            counted = counted + count
            predicted_BT, log_sigma_BT = parted(predicted)
            parts.append(predicted_BT.float())
            if log_sigma_BT is not None:
                sigmas.append(log_sigma_BT.float().exp())
    finally:
        network.train(was_training)
    predicted_NT = labels.inverse(torch.cat(parts).cpu().numpy()).astype(np.float32)
    truth_NT = labels.inverse(rows.labels_NT.float().cpu().numpy()).astype(np.float32)
    return Evaluation(
        float(total / counted.clamp(min=1)),
        predicted_NT,
        truth_NT,
        label_errors(predicted_NT, truth_NT, targets),
        torch.cat(sigmas).cpu().numpy() * np.abs(labels.scale).astype(np.float32) if sigmas else None,
    )
