"""From a batch to an update: precision, accumulation over passes and ranks, clipping, and the guard.

Owns arithmetic. It keeps nothing of its own from one step to the next, so it is no part of a checkpoint.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_value_

from engine.train.losses import Loss, Predict
from engine.train.optim import holds_on_device
from engine.train.ranks import Ranks
from engine.train.rows import Batch
from engine.train.state import State

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Arithmetic:
    """How a step computes: precision of the network, and what gradients are clipped to."""

    precision: str = "fp32"
    gradient_clip_val: float | None = None
    gradient_clip: str = "norm"
    keeps_going: bool = False


@dataclass(frozen=True)
class Gradient:
    """What a step came to before its update: loss, what its labels weigh, norm of the gradient."""

    loss: Tensor
    weight: Tensor
    norm: Tensor


class Learner:
    """Turns batches into updates of one state."""

    def __init__(
        self, state: State, forward: Predict, loss_of: Loss, how: Arithmetic, ranks: Ranks | None = None,
        together: DistributedDataParallel | None = None, alone: Predict | None = None,
    ) -> None:  # fmt: skip
        self.state = state
        self.forward = forward
        self.loss_of = loss_of
        self.how = how
        self.ranks = ranks or Ranks()
        self.together = together
        self.alone = alone or forward
        """Forward pass that no other rank takes part in."""
        self.parameters = [p for p in state.network.parameters() if p.requires_grad]
        self.device = self.parameters[0].device
        self.summed = state.batches.accumulate > 1 or not self.ranks.alone
        self.lazy = self.device.type == "cuda" and holds_on_device(state.optimizer)
        """Whether the device alone keeps a bad update from happening, and the host hears of it later."""
        self.held: Tensor | None = None
        self.began = state.random.quick()
        self.norms_P: Tensor | None = None
        """Gradient norms of the parameters that have one, in order, at the step that was just made."""
        self._buffers = [b for b in state.network.buffers() if b.is_floating_point()]
        self._kept = [b.clone() for b in self._buffers]
        self._loss: Tensor | None = None
        self._weight: Tensor | None = None

    def add(self, batch: Batch) -> None:
        """Run a batch forward and backward; its gradients are added to those of the step."""
        if self._loss is None:
            self.began = self.state.random.quick()
            if self._buffers:
                torch._foreach_copy_(self._kept, self._buffers)
            for parameter in self.parameters:
                parameter.grad = None
        with self._quiet():
            loss, weight = self.look(batch)
            if self.summed:
                # Batches and ranks may know different numbers of labels: sums add up, means do not.
                loss = loss * weight
            self.scaled(loss).backward()
        loss, weight = loss.detach(), weight.detach()
        self._loss = loss if self._loss is None else self._loss + loss
        self._weight = weight if self._weight is None else self._weight + weight

    def look(self, batch: Batch, forward: Predict | None = None) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and what its labels weigh."""
        with autocast(self.device, self.how.precision):
            predicted = (forward or self.forward)(batch.continuum_BL, batch.normalized_BL)
        return self.loss_of(predicted, batch.labels_BT)

    def gradient(self) -> Gradient:
        """Return what the batches added since the last update came to."""
        loss, weight = self._loss, self._weight
        if loss is None or weight is None:
            raise AssertionError("no batch was added")
        if self.state.scaler is not None:
            self.state.scaler.unscale_(self.state.optimizer)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if self.summed:
            exact = torch.float32 if self.device.type == "mps" else torch.float64
            loss, weight = self.ranks.total(torch.stack((loss.to(exact), weight.to(exact))))
            divisor = torch.where(weight > 0, weight, 1.0)
            loss = loss / divisor
            torch._foreach_mul_(gradients, (self.ranks.world / divisor).to(gradients[0].dtype))
        self.norms_P = torch.stack(torch._foreach_norm(gradients))
        return Gradient(loss, weight, torch.linalg.vector_norm(self.norms_P))

    def refuses(self, gradient: Gradient) -> bool:
        """Tell whether the update must not be made: the loss or the gradient is no finite number.

        An overflow of the gradient alone is fp16's everyday: its scaler leaves the step out and tries a
        smaller scale. Where the device decides, the answer is always no.
        """
        watched = gradient.loss if self.state.scaler is not None else gradient.loss + gradient.norm
        if not self.lazy:
            return not math.isfinite(float(watched))
        if self.state.scaler is None:
            bad = (~torch.isfinite(watched)).float()
            # Once bad, every later update is left out too, until the host has heard of it.
            self.held = bad if self.how.keeps_going or self.held is None else torch.maximum(self.held, bad)
            self.state.optimizer.found_inf = self.held  # type: ignore[attr-defined]
            self.state.optimizer.grad_scale = None  # type: ignore[attr-defined]
            for now, kept in zip(self._buffers, self._kept, strict=True):
                now.copy_(torch.where(self.held > 0, kept, now))
        return False

    def update(self, gradient: Gradient) -> None:
        """Clip as planned, and update the weights."""
        # After the guard: a norm that is NaN would spread over every gradient and hide the bad one.
        if self.how.gradient_clip_val is not None:
            if self.how.gradient_clip == "value":
                clip_grad_value_(self.parameters, self.how.gradient_clip_val)
            else:
                self._clip(self.how.gradient_clip_val, gradient.norm)
        if self.state.scaler is not None:
            self.state.scaler.step(self.state.optimizer)
            self.state.scaler.update()
        else:
            self.state.optimizer.step()
        self.state.averaged()
        self._loss = self._weight = None

    def _clip(self, most: float, norm: Tensor) -> None:
        """Scale the gradients down to a norm, as torch's `clip_grads_with_norm_` does to the bit.

        At a third of its cost: all gradients are on one device here, and need not be sorted by it.
        """
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        torch._foreach_mul_(gradients, (most / (norm + 1e-6)).clamp(max=1.0))

    def forget(self) -> None:
        """Leave the step out: running statistics are again what they were before its first batch."""
        if self._buffers:
            torch._foreach_copy_(self._buffers, self._kept)
        self.state.optimizer.zero_grad(set_to_none=True)
        self._loss = self._weight = None
        if self.state.scaler is not None:
            self.state.scaler.update()

    def clear(self) -> None:
        """Let go of everything of a step that did not come to its end."""
        self._loss = self._weight = None
        self.state.network.zero_grad(set_to_none=True)

    def scaled(self, loss: Tensor) -> Tensor:
        """Return the loss as it goes into the backward pass: times the scale of fp16."""
        return loss if self.state.scaler is None else self.state.scaler.scale(loss)

    def _quiet(self) -> contextlib.AbstractContextManager[object]:
        """Keep the ranks from averaging gradients that are not complete."""
        if self.together is None or self.state.batches.step_ended:
            return contextlib.nullcontext()
        quiet: contextlib.AbstractContextManager[object] = self.together.no_sync()
        return quiet


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Return where the network computes in half precision; the weights stay as they are."""
    if precision not in AUTOCAST:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=AUTOCAST[precision])


def set_precision(precision: str) -> None:
    """Set the precision of products of float32 matrices: tf32 on GPUs that have it, else full."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def part_norms(names: Iterable[str], norms_P: Iterable[float]) -> dict[str, float]:
    """Return the gradient norm of each part of the network, by the first word of its parameters' names."""
    squares: dict[str, float] = {}
    for name, norm in zip(names, norms_P, strict=True):
        part = name.partition(".")[0]
        squares[part] = squares.get(part, 0.0) + norm * norm
    return {part: math.sqrt(square) for part, square in squares.items()}


def trainable(network: nn.Module) -> list[str]:
    """Return the names of the parameters that learn, in order."""
    return [name for name, parameter in network.named_parameters() if parameter.requires_grad]
