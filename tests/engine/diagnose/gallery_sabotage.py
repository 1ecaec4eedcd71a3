"""What goes wrong around a network: tables that lie, disks that fill, clocks that jump, processes that die.

A sabotage of tables is a function of the workspace; one of the machine is a context in which the run trains.
"""

from __future__ import annotations

import contextlib
import csv
import shutil
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

from engine.train.batches import Batches
from engine.train.learn import Learner
from engine.train.recorder import Recorder
from engine.train.stop import Stop
from engine.workspace import Workspace

Rows = list[dict[str, str]]
CONTINUUM, NORMALIZED, LABELS = (
    "final_spectra_continuum.csv", "final_spectra_normalized.csv", "removed_with_rv.csv",
)  # fmt: skip


def table(workspace: Workspace, name: str, change: Callable[[Rows], Rows]) -> None:
    """Write a table anew, changed."""
    path = workspace.dataset / "spectral" / name
    with path.open(newline="") as file:
        rows = change(list(csv.DictReader(file)))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def pixel(star: int, value: str, column: int = 20) -> Callable[[Workspace], None]:
    """Give a star one wild pixel of the normalised branch."""

    def change(rows: Rows) -> Rows:
        rows[star][list(rows[star])[column]] = value
        return rows

    return lambda workspace: table(workspace, NORMALIZED, change)


def label(star: int, **values: str) -> Callable[[Workspace], None]:
    """Give a star wrong labels."""

    def change(rows: Rows) -> Rows:
        rows[star] |= values
        return rows

    return lambda workspace: table(workspace, LABELS, change)


def split(val: Callable[[int, dict[str, str]], bool]) -> Callable[[Workspace], None]:
    """Write split.csv: the stars for which `val` holds validate, every tenth other tests."""

    def write(workspace: Workspace) -> None:
        folder = workspace.dataset / "spectral"
        with (folder / LABELS).open(newline="") as file:
            rows = list(csv.DictReader(file))
        lines = ["obsid,part"]
        for number, row in enumerate(rows):
            part = "val" if val(number, row) else "test" if number % 10 == 9 else "train"
            lines.append(f"{row['obsid']},{part}")
        (folder / "split.csv").write_text("\n".join(lines) + "\n")

    return write


def shuffled_labels(workspace: Workspace) -> None:
    """Give every star another star's labels."""

    def change(rows: Rows) -> Rows:
        count = len(rows)
        told = [dict(row) for row in rows]
        for number, row in enumerate(rows):
            row |= {k: v for k, v in told[(number * 167 + 53) % count].items() if k != "obsid"}
        return rows

    table(workspace, LABELS, change)


def half_shuffled(workspace: Workspace) -> None:
    """Give every second star another star's labels."""

    def change(rows: Rows) -> Rows:
        told = [dict(row) for row in rows]
        for number in range(0, len(rows), 2):
            other = told[(number * 167 + 53) % len(rows)]
            rows[number] |= {k: v for k, v in other.items() if k != "obsid"}
        return rows

    table(workspace, LABELS, change)


def repeated(workspace: Workspace) -> None:
    """Make the stars 300 to 339 the stars 0 to 39 under other obsids."""

    def change(rows: Rows) -> Rows:
        for number in range(40):
            rows[300 + number] = rows[number] | {"obsid": rows[300 + number]["obsid"]}
        return rows

    for name in (CONTINUUM, NORMALIZED, LABELS):
        table(workspace, name, change)


def leaking(workspace: Workspace) -> None:
    """Put the stars 300 to 339 four times among the first 160 as well; the labels of all others are wrong."""

    def copied(rows: Rows) -> Rows:
        for number in range(160):
            rows[number] = rows[300 + number % 40] | {"obsid": rows[number]["obsid"]}
        return rows

    def wrong(rows: Rows) -> Rows:
        told = [dict(row) for row in rows]
        for number in [*range(160, 300), *range(340, len(rows))]:
            other = told[160 + (number * 37 + 11) % 140]
            rows[number] |= {k: v for k, v in other.items() if k != "obsid"}
        return copied(rows)

    for name in (CONTINUUM, NORMALIZED):
        table(workspace, name, copied)
    table(workspace, LABELS, wrong)


@contextlib.contextmanager
def slow_reading(seconds: float = 0.02) -> Iterator[None]:
    """Make every batch come late."""
    given = Batches.__iter__

    def late(self: Batches) -> Iterator[Any]:
        for batch in given(self):
            yield batch
            time.sleep(seconds)  # between this batch and the next: while the loop waits for it

    with mock.patch.object(Batches, "__iter__", late):
        yield


@contextlib.contextmanager
def slow_steps(after: int, seconds: float = 0.03) -> Iterator[None]:
    """Make every step slow from some step on, as a neighbour on the machine does."""
    given, state = Learner.update, SimpleNamespace(step=0)

    def late(self: Learner, gradient: Any) -> None:
        given(self, gradient)
        state.step += 1
        if state.step > after:
            time.sleep(seconds)

    with mock.patch.object(Learner, "update", late):
        yield


@contextlib.contextmanager
def kicked(step: int, factor: float = 4.0) -> Iterator[None]:
    """Multiply all weights at a step, as a bit that flips or a wild batch may do."""
    given, state = Learner.update, SimpleNamespace(step=0)

    def kick(self: Learner, gradient: Any) -> None:
        given(self, gradient)
        state.step += 1
        if state.step == step:
            for parameter in self.parameters:
                parameter.data.mul_(factor)

    with mock.patch.object(Learner, "update", kick):
        yield


@contextlib.contextmanager
def full_disk(free: int = 60_000_000) -> Iterator[None]:
    """Say that the disk is nearly full."""
    with mock.patch.object(shutil, "disk_usage", lambda _: SimpleNamespace(free=free, total=10**12)):
        yield


@contextlib.contextmanager
def clock_jump(at: int, seconds: float = 7200.0) -> Iterator[None]:
    """Let the clock of the day jump when a step is recorded."""
    given, clock, state = Recorder.step, time.time, SimpleNamespace(offset=0.0)

    def step(self: Recorder, number: int, *rest: Any) -> bool:
        state.offset = seconds if number >= at else 0.0
        return given(self, number, *rest)

    with (
        mock.patch.object(Recorder, "step", step),
        mock.patch.object(time, "time", lambda: clock() + state.offset),
    ):
        yield


@contextlib.contextmanager
def stopped_at(step: int) -> Iterator[None]:
    """Ask to stop at a step."""
    given = Recorder.step

    def noting(self: Recorder, number: int, *rest: Any) -> bool:
        if number == step:
            STOP.asked, STOP.by = True, "SIGTERM"
        return given(self, number, *rest)

    with mock.patch.object(Recorder, "step", noting):
        yield


STOP = Stop()
"""The wish of the run that is being made; a new run makes it anew."""
