"""The processes of one run: who writes, what they agree on, how their gradients become one.

One process is the usual case and costs nothing here. Under torchrun every rank reads the same tables, takes
its share of each batch, and ends at the same step as the others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from engine.train.stop import Stop, Stopped

AGREE_STEPS = 10
"""Ranks look at each other's flags every so many steps: reading them waits for the device."""
_PATIENCE = timedelta(hours=12)
"""The others wait while the first rank looks at the validation rows; torchrun ends them when it dies."""
_GONE = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the run folder and speaks."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        return self.world == 1

    def share(self, count: int) -> slice:
        """Return which of the `count` rows of a batch are this rank's."""
        return slice(count * self.rank // self.world, count * (self.rank + 1) // self.world)

    def wrap(self, network: nn.Module, device: torch.device, *, idle: bool = False) -> nn.Module:
        """Return the network whose backward pass averages the gradients over the ranks.

        `idle` tells that some of its parameters take no part in the forward pass.
        """
        if self.alone:
            return network
        if device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
            return DistributedDataParallel(network, device_ids=[device.index], find_unused_parameters=idle)
        return DistributedDataParallel(network, find_unused_parameters=idle)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over the ranks (the values themselves are changed)."""
        if not self.alone:
            distributed.all_reduce(values)
        return values

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether any rank has it; the same on every rank."""
        if self.alone:
            return flags
        found = self.total(torch.tensor([float(flag) for flag in flags]))
        return tuple(bool(value) for value in found.tolist())

    def heed(self, stop: Stop) -> None:
        """Raise `Stopped` on every rank when any of them was asked to stop."""
        if self.hear(stop):
            raise Stopped(stop.by)

    def hear(self, stop: Stop) -> bool:
        """Tell whether any rank was asked to stop; then each one knows it, and by what."""
        wishes = [by for asked, by in self.gathered((stop.asked, stop.by)) if asked]
        if wishes:
            stop.asked, stop.by = True, wishes[0]
        return bool(wishes)

    def lost(self, error: BaseException) -> bool:
        """Tell whether an error only says that another rank is gone."""
        if self.alone or not isinstance(error, RuntimeError):
            return False
        return isinstance(error, distributed.DistError) or any(word in str(error) for word in _GONE)

    def told(self, value: Any) -> Any:
        """Return what the first rank has."""
        if self.alone:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def gathered(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in order, on every rank."""
        if self.alone:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value)
        return values


def number_of_ranks() -> int:
    """Return how many processes torchrun started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join() -> Ranks:
    """Join the other processes that torchrun started; a run of one process joins nobody."""
    if number_of_ranks() == 1:
        return Ranks()
    both = torch.cuda.is_available() and distributed.is_nccl_available()
    distributed.init_process_group("cpu:gloo,cuda:nccl" if both else "gloo", timeout=_PATIENCE)
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def leave(ranks: Ranks) -> None:
    """Part from the others."""
    if not ranks.alone and distributed.is_initialized():
        distributed.destroy_process_group()
