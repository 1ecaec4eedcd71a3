"""Run folders with known numbers, written through the engine's own API."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from engine.runs.events import EventLog
from engine.runs.folder import RunFolder
from engine.runs.record import Record


@pytest.fixture
def made(new_run: Callable[..., RunFolder]) -> Callable[..., Record]:
    """Return made(values, test, *sets): the record of a finished run with these epoch and test values."""

    def made(values: dict[str, Any], test: dict[str, Any] | None = None, *sets: str) -> Record:
        folder = new_run(*sets)
        with closing(EventLog(folder.events)) as log:
            log.append("phase", phase="training")
            log.append("plan", epochs=2, total_steps=20, steps_per_epoch=10, monitor="val_loss")
            for epoch in (1, 2):
                worse = {name: value * (3 - epoch) for name, value in values.items()}
                log.append("epoch", epoch=epoch, step=10 * epoch, values=worse)
            if test is not None:
                log.append("test", epoch=2, values=test, stars=10)
            log.append("end", outcome="finished", exit_code=0, message="")
        record = Record(folder.path)
        record.refresh()
        return record

    return made
