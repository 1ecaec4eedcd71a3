"""Training in this process, on one thread, in well under a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from engine.conf.load import Resolved
from engine.runs import find
from engine.runs.events import Tail
from engine.runs.folder import RunFolder
from engine.runs.record import Record
from engine.train import attempt, outputs
from engine.train.stop import Stop
from engine.workspace import Workspace


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Bits depend on the number of threads; and two cores are shared."""
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


@dataclass
class Trained:
    """A run that has ended."""

    code: int
    run: RunFolder

    @property
    def record(self) -> Record:
        record = Record(self.run.path)
        record.refresh()
        return record

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in Tail(self.run.events).poll() if event["kind"] == kind]

    def checkpoint(self, name: str = "last.pt") -> dict[str, Any]:
        loaded: dict[str, Any] = torch.load(self.run.checkpoints / name, weights_only=True)
        return loaded

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        weights: dict[str, torch.Tensor] = self.checkpoint()["state"]["network"]
        return weights


@pytest.fixture
def train(
    workspace: Workspace, tiny: Callable[..., Resolved], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Trained]:
    """`train('training.epochs=3')` trains conf/tiny.yaml here and now; without figures, which cost most."""
    monkeypatch.setattr(attempt, "draw_curves", lambda record: [])
    monkeypatch.setattr(outputs, "draw", lambda *_: None)

    def train(*sets: str, stop: Stop | None = None) -> Trained:
        before = set(find.folders(workspace))
        code = attempt.foreground(workspace, tiny(*sets), stop or Stop())
        (path,) = set(find.folders(workspace)) - before
        return Trained(code, RunFolder(path))

    return train
