"""Losses on scaled labels; a missing label (NaN in the truth) takes no part."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from engine.conf.schema import Training

Predicted = Tensor | tuple[Tensor, Tensor]
"""What a network gives: scaled labels [B, T], or these and the logarithm of their sigmas."""
Predict = Callable[[Tensor, Tensor], Predicted]
Loss = Callable[[Predicted, Tensor], tuple[Tensor, Tensor]]
Elementwise = Callable[[Tensor, Tensor, Tensor | None], Tensor]
_LOG_2 = math.log(2.0)
_LOG_SIGMA = 10.0  # a sigma beyond e^10 times the scatter of a label, or below e^-10, says nothing


def build_loss(training: Training, targets: Sequence[str] = ()) -> Loss:
    """Return a function (predicted [B, T], truth [B, T]) -> (mean loss, what the labels that counted weigh).

    Losses are computed in float32 whatever the precision of the network (float64 stays).

    Of the error e, with d = huber_delta, g = focal_gamma, t = focal_threshold:

    mse         e^2
    mae         |e|
    smooth_l1   e^2/(2d) below d, |e| - d/2 above
    huber       e^2/2 below d, d(|e| - d/2) above (Huber 1964, Ann. Math. Stat. 35, 73)
    log_cosh    log cosh e, as e + softplus(-2e) - log 2, which does not overflow
    focal       |e|^g |e|: large errors weigh more
    focal_easy  (1 - min(e^2/t, 1))^g e^2: errors of e^2 beyond t weigh nothing and are never learned
    gaussian_nll  log s + e^2/(2 s^2), with the network's own sigma s for each label of each star (Nix &
                Weigend 1994, ICNN, 55)

    With `label_weights` the mean is weighted by label; `targets` names the T labels in order.
    """
    elementwise = _elementwise(training)
    weight_T = None
    if training.label_weights:
        weight_T = torch.tensor([training.label_weights.get(target, 1.0) for target in targets])

    def loss(predicted: Predicted, truth_BT: Tensor) -> tuple[Tensor, Tensor]:
        predicted_BT, log_sigma_BT = parted(predicted)
        present_BT = ~torch.isnan(truth_BT)
        # The truth is filled before the difference: NaN times zero is NaN, also in the gradient.
        filled_BT = torch.where(present_BT, truth_BT, predicted_BT.detach())
        each_BT = elementwise(wide(predicted_BT), wide(filled_BT), log_sigma_BT)
        if weight_T is None:
            count = present_BT.sum()
            return (each_BT * present_BT).sum() / count.clamp(min=1), count
        weight_BT = present_BT * weight_T.to(each_BT.device)
        total = weight_BT.sum()
        return (each_BT * weight_BT).sum() / torch.where(total > 0, total, 1.0), total

    return loss


def parted(predicted: Predicted) -> tuple[Tensor, Tensor | None]:
    """Return the labels a network gave and the logarithm of their sigmas, None if it gives none."""
    return predicted if isinstance(predicted, tuple) else (predicted, None)


def wide(values: Tensor) -> Tensor:
    """Return the values in float32; float64 stays."""
    return values if values.dtype == torch.float64 else values.float()


def _elementwise(training: Training) -> Elementwise:
    if training.loss == "gaussian_nll":
        return _gaussian_nll
    plain = _of_error(training)
    return lambda predicted, truth, log_sigma: plain(predicted, truth)


def _gaussian_nll(predicted: Tensor, truth: Tensor, log_sigma: Tensor | None) -> Tensor:
    if log_sigma is None:
        raise ValueError("gaussian_nll needs a network that gives sigmas")
    variance = (2.0 * wide(log_sigma).clamp(-_LOG_SIGMA, _LOG_SIGMA)).exp()
    return functional.gaussian_nll_loss(predicted, truth, variance, eps=1e-9, reduction="none")


def _of_error(training: Training) -> Callable[[Tensor, Tensor], Tensor]:
    delta, gamma, threshold = training.huber_delta, training.focal_gamma, training.focal_threshold

    def mse(predicted: Tensor, truth: Tensor) -> Tensor:
        return functional.mse_loss(predicted, truth, reduction="none")

    def mae(predicted: Tensor, truth: Tensor) -> Tensor:
        return functional.l1_loss(predicted, truth, reduction="none")

    def smooth_l1(predicted: Tensor, truth: Tensor) -> Tensor:
        return functional.smooth_l1_loss(predicted, truth, reduction="none", beta=delta)

    def huber(predicted: Tensor, truth: Tensor) -> Tensor:
        return functional.huber_loss(predicted, truth, reduction="none", delta=delta)

    def log_cosh(predicted: Tensor, truth: Tensor) -> Tensor:
        error = predicted - truth
        return error + functional.softplus(-2.0 * error) - _LOG_2

    def focal(predicted: Tensor, truth: Tensor) -> Tensor:
        return (predicted - truth).abs().pow(gamma + 1.0)

    def focal_easy(predicted: Tensor, truth: Tensor) -> Tensor:
        square = mse(predicted, truth)
        # without the clamp at a hair above 0 the derivative of 0^gamma is not finite for gamma below 1
        return (1.0 - square / threshold).clamp(min=1e-12).pow(gamma) * square

    kinds = {
        "mse": mse, "mae": mae, "smooth_l1": smooth_l1, "huber": huber, "log_cosh": log_cosh, "focal": focal,
        "focal_easy": focal_easy,
    }  # fmt: skip
    return kinds[training.loss]
