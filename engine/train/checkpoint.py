"""Checkpoints: one file each, whole or not at all, loadable with `weights_only=True`, complete in itself.

`step-<n>.pt` is written beside its place, synced and renamed; `last.pt` and `best.pt` are hard links that
are replaced by rename. Only rank 0 of a run writes here.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.conf.load import to_yaml
from engine.errors import BadInput
from engine.runs.folder import write_json, write_whole
from engine.words import say

FORMAT = 2


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, and what every one of them carries besides the state."""

    folder: Path
    facts: Mapping[str, Any]
    keep: int = 2

    def sweep(self) -> list[str]:
        """Remove what a killed process left half-written; return the names. The run's lock must be held."""
        strays = list(self.folder.glob(".*.tmp"))
        for stray in strays:
            stray.unlink(missing_ok=True)
        return [p.name for p in strays]

    def save(
        self, state: Mapping[str, Any], weights: Mapping[str, Tensor], *, step: int, epoch: int, best: bool
    ) -> Path:
        """Write a checkpoint, link it as last (and best), drop old ones; return its path.

        `state` is what a run goes on from; `weights` are those to evaluate and predict with, stored once
        where they are the same tensors.
        """
        path = self.folder / f"step-{step:08d}.pt"
        beside = self.folder / f".{path.name}.{os.getpid()}.tmp"
        whole = {
            "format": FORMAT, "step": step, "epoch": epoch, "best": best, **self.facts,
            "weights": dict(weights), "state": dict(state),
        }  # fmt: skip
        try:
            with beside.open("wb") as file:
                torch.save(whole, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        link(path, self.folder / "last.pt")
        if best:
            link(path, self.folder / "best.pt")
        self._sync()
        self._retire()
        return path

    def _retire(self) -> None:
        kept = {
            (self.folder / name).stat().st_ino
            for name in ("best.pt", "last.pt")
            if (self.folder / name).exists()
        }
        steps = sorted(self.folder.glob("step-*.pt"))
        for old in steps[: -self.keep]:
            if old.stat().st_ino not in kept:
                old.unlink()

    def _sync(self) -> None:
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def link(path: Path, name: Path) -> None:
    """Give a checkpoint another name, in one move."""
    beside = name.with_name(f".{name.name}.{os.getpid()}.tmp")
    beside.unlink(missing_ok=True)
    try:
        os.link(path, beside)
    except OSError:
        # Some network file systems have no hard links: a copy costs space but says the same.
        beside.write_bytes(path.read_bytes())
    beside.replace(name)
    beside.unlink(missing_ok=True)  # two names of one file stay two names when one is moved onto the other


def newest(folder: Path) -> tuple[Path, dict[str, Any], list[str]] | None:
    """Return the newest checkpoint that is whole, with its contents, and the names of damaged ones set aside.

    A damaged one is renamed to `.bad`: it is no longer in the way and can still be looked at.
    """
    damaged: list[str] = []
    files = sorted(folder.glob("step-*.pt"), reverse=True)
    # last.pt is one of them, or the only one left where somebody copied a run without its links
    for path in [*files, *(p for p in (folder / "last.pt",) if p.exists())]:
        try:
            return path, load(path), damaged
        except BadInput:
            path.replace(path.with_name(f"{path.name}.bad"))
            damaged.append(path.name)
    return None


def weights_of(whole: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """Return the weights to evaluate with; the first format had only those of training."""
    weights: Mapping[str, Tensor] = whole.get("weights") or whole["state"]["network"]
    return weights


def export(folder: Path, whole: Mapping[str, Any]) -> Path:
    """Write the weights of a checkpoint as safetensors, and beside them all that is needed to use them.

    `best.safetensors`, `conf.yaml` and `scaling.json` (scalers, labels, wavelengths in angstrom, versions).
    """
    from safetensors.torch import save

    folder.mkdir(exist_ok=True)
    path = folder / "best.safetensors"
    beside = folder / f".{path.name}.{os.getpid()}.tmp"
    weights = {name: value.detach().contiguous().clone() for name, value in weights_of(whole).items()}
    facts = {
        "scalers": whole["scalers"], "targets": whole["targets"], "versions": whole["versions"],
        "fingerprint": whole["fingerprint"], "step": whole["step"], "epoch": whole["epoch"],
        "wavelength": whole["wavelength"].tolist(),
    }  # fmt: skip
    metadata = {"format": "pt", "model": str(whole["conf"]["model"]["name"]), "epoch": str(whole["epoch"])}
    try:
        beside.write_bytes(save(weights, metadata=metadata))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    write_whole(folder / "conf.yaml", to_yaml(whole["conf"]))
    write_json(folder / "scaling.json", facts)
    return path


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU, without running any code in it.

    Raises:
        BadInput: missing, damaged, or of a later format.
    """
    try:
        # PyTorch does not look at the checksums that it wrote: one flipped bit would be a wrong weight.
        with zipfile.ZipFile(path) as parts:
            if bad := parts.testzip():
                raise ValueError(f"{bad}: wrong checksum")
        whole = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise BadInput(say("checkpoint.missing", file=path)) from error
    except Exception as error:  # broken bytes raise whatever the unpickler meets; it is named
        problem = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(say("checkpoint.damaged", file=path, error=problem)) from error
    if not isinstance(whole, dict) or whole.get("format", 0) > FORMAT:
        raise BadInput(say("checkpoint.later", file=path))
    return whole
