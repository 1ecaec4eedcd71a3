"""`python -m models.describe`: build one network and print what it costs and how far it sees, as JSON.

A program of its own, so that who asks imports no torch. It reads one JSON object from stdin ({"folder",
"name", "points", "labels", "grid", "variants": [{"name", "fields"}], "seconds"}) and prints one on stdout:
{"flops", "step": {"device", "batch", "seconds"}, "sees": {part: points}, "variants": [{"name", "parameters"},
with "error" where it has no parameters], "error"}. What could not be found out is null or left out.
"""

from __future__ import annotations

import copy
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models import contract, registry

_BATCH = 32
_SEEN = 0.01  # a point counts as seen when its gradient is this share of the largest


def flops(network: nn.Module, points: int) -> int | None:
    """Return the floating-point operations of one star's forward pass; a multiply-add is two.

    Counted without computing anything where the network allows it, else by a real pass.
    """
    for device in ("meta", "cpu"):
        try:
            twin = copy.deepcopy(network).to(device).eval()
            flux_BL = torch.ones(1, points, device=device)
            counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten._fft_r2c: _fft})
            # Without MKL-DNN a recurrent layer is the products that it is made of, and they are counted.
            with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), counter:
                contract.adapter(twin)(flux_BL, flux_BL.clone())
            return int(counter.get_total_flops())
        except Exception:  # noqa: BLE001 - no kernels for this device: the next way, or unknown
            continue
    return None


def _fft(shape: Any, *_: Any, **__: Any) -> int:
    length = max(2, int(shape[-1]))
    return int(2.5 * math.prod(shape) * math.log2(length))


def step(network: nn.Module, points: int, labels: int, budget: float) -> dict[str, Any]:
    """Return the seconds of one training step and of how many stars: what the budget allows, up to 32."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = copy.deepcopy(network).to(device).train()
    call = contract.adapter(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def once(stars: int) -> float:
        flux = [torch.rand(stars, points, device=device) for _ in range(2)]
        wanted_BT = torch.randn(stars, labels, device=device)
        began = time.perf_counter()
        y = call(*flux)
        y_BT = y[0] if isinstance(y, tuple) else y
        optimizer.zero_grad(set_to_none=True)
        loss = (y_BT - wanted_BT).square().mean()
        if isinstance(y, tuple):
            loss = loss + y[1].square().mean()
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    once(2)  # the first pass also pays for memory and for choosing kernels
    star = min(once(2), once(2)) / 2
    batch = _BATCH
    while batch > 2 and star * batch > budget / 2:
        batch //= 2
    rounds = max(1, min(5, int(budget / max(star * batch, 1e-4))))
    cpu = f"cpu ({torch.get_num_threads()})"
    name = torch.cuda.get_device_name() if device.type == "cuda" else cpu
    return {"device": name, "batch": batch, "seconds": min(once(batch) for _ in range(rounds))}


def sees(network: nn.Module, points: int) -> dict[str, int]:
    """Return how many points of a spectrum one position of a part's output depends on, part by part.

    Only parts that still have positions are told: their output, or their last convolution's, is [B, C, L].
    A point counts when its gradient is at least a hundredth of the largest.
    """
    call, was = contract.adapter(network), network.training
    network.eval()
    flux = [torch.rand(3, points).requires_grad_() for _ in range(2)]
    outputs: dict[str, Tensor] = {}

    def keep(child: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.dim() == 3 and output.shape[2] > 2:
                outputs[child] = output

        return hook

    hooks = []
    for child, module in network.named_children():
        hooks += [one.register_forward_hook(keep(child)) for one in module.modules()
                  if one is module or isinstance(one, nn.Conv1d)]  # fmt: skip
    try:
        call(*flux)
        return {child: found for child, y in outputs.items() if (found := _span(y, flux))}
    finally:
        for one in hooks:
            one.remove()
        network.train(was)


def _span(y_BCL: Tensor, flux: list[Tensor]) -> int:
    if not y_BCL.requires_grad:
        return 0
    middle = y_BCL[:, :, y_BCL.shape[2] // 2]
    gradients = torch.autograd.grad(middle.square().sum(), flux, retain_graph=True, allow_unused=True)
    widest = 0
    for gradient in gradients:
        if gradient is not None and gradient.abs().max() > 0:
            size_L = gradient.abs().amax(dim=0)
            places = (size_L >= _SEEN * size_L.max()).nonzero()
            widest = max(widest, int(places[-1] - places[0]) + 1)
    return widest


def describe(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of one network, or the error that kept it from being built."""
    name, points, labels, grid = asked["name"], asked["points"], asked["labels"], asked["grid"]
    found: dict[str, Any] = {"flops": None, "step": None, "sees": {}, "variants": [], "error": None}
    try:
        network = registry.build(name, points=grid, labels=labels)
        contract.materialise(network, grid, labels, name=name)
        found["flops"] = flops(network, grid)
        found["sees"] = sees(network, grid)
        found["step"] = step(network, grid, labels, asked["seconds"])
    except Exception as error:  # noqa: BLE001 - a user's network may raise anything
        found["error"] = str(error) or type(error).__name__
    for variant in asked["variants"]:
        entry = {"name": variant["name"], "parameters": None}
        try:
            network = registry.build(name, points=points, labels=labels, fields=variant["fields"])
            contract.materialise(network, points, labels, name=name)
            entry["parameters"] = contract.count_parameters(network)
        except Exception as error:  # noqa: BLE001 - the same
            entry["error"] = str(error) or type(error).__name__
        found["variants"].append(entry)
    return found


def main() -> int:
    """Answer the question on stdin."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what networks print on the way must not get into the answer
    asked = json.load(sys.stdin)
    registry.discover(Path(asked["folder"]) if asked.get("folder") else None)
    found = describe(asked)
    with os.fdopen(answer, "w", encoding="utf-8") as out:
        json.dump(found, out)
        out.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
