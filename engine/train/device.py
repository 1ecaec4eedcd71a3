"""Which device and how many threads, and seeds for everything."""

from __future__ import annotations

import hashlib
import os
import random

import numpy as np
import torch

from engine.errors import BadInput
from engine.words import say


def choose_device(wanted: str) -> torch.device:
    """Return the device meant by 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'.

    Raises:
        BadInput: the device is not there.
    """
    if wanted == "auto":
        if torch.cuda.is_available() and "LOCAL_RANK" in os.environ:
            return choose_device("cuda")
        if torch.cuda.is_available():
            return torch.device("cuda", _freest_gpu())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if "LOCAL_RANK" in os.environ and device.index is None and count:
            # the same on every process of a machine, so that none waits for one that is refused
            if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > count:
                processes = os.environ["LOCAL_WORLD_SIZE"]
                raise BadInput(say("train.few_gpus", processes=processes, count=count))
            return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        if (device.index or 0) >= count:
            raise BadInput(say("train.no_gpu", device=wanted, count=count))
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise BadInput(say("train.no_mps"))
    return device


def set_threads(wanted: int | None, saved: int | None = None) -> int:
    """Set and return torch's CPU threads.

    They are `wanted`, else OMP_NUM_THREADS, else those `saved` with the run, else the CPUs that may be used.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Clusters and people who share a machine say it there; OpenMP takes the first of a list.
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    count = wanted or (int(said) if said.isdecimal() and int(said) else saved or affinity)
    torch.set_num_threads(count)
    return count


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that the device has not.

    Raises:
        BadInput: it has not.
    """
    good = {
        "tf32": device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8,
        "fp64": device.type != "mps",
        "bf16": device.type != "cuda" or torch.cuda.is_bf16_supported(),
    }
    if not good.get(precision, True):
        raise BadInput(say("train.no_precision", precision=precision, device=device))


def set_deterministic(wanted: bool) -> None:
    """Allow only algorithms that give the same bits each time, or let a GPU choose its fastest ones."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    if wanted != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(wanted)  # loads the compiler: seconds that most runs need not wait
    torch.backends.cudnn.deterministic = wanted
    torch.backends.cudnn.benchmark = not wanted  # spectra have one length: the search pays once


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (weights and dropout; batch order has its own generator)."""
    random.seed(seed)
    np.random.seed(seed)  # networks that users drop in may use the global generator
    torch.manual_seed(seed)


def generator(device: torch.device | str, *numbers: int) -> torch.Generator:
    """Return a generator on the device whose draws are a function of these numbers alone."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)


def _freest_gpu() -> int:
    free = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]
    return max(range(len(free)), key=free.__getitem__)
