"""The course of a run before there is one: its steps, its peak, and tables that cannot be counted."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from engine.conf.data import Data
from engine.conf.schema import Finetune, Training
from engine.course import UNCOUNTED, course_of, steps_of, training_stars
from engine.errors import BadInput
from engine.workspace import Workspace

ROWS = "\n".join(["obsid,Teff,logg,FeH,CFe", *(f"{i},5000,4.5,0.0,0.1" for i in range(50))])
FLUX = "obsid,3900,3901\n1,1.0,1.0\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    folder = tmp_path / "dataset" / "spectral"
    folder.mkdir(parents=True)
    for name in ("continuum", "normalized"):
        (folder / f"final_spectra_{name}.csv").write_text(FLUX)
    (folder / "removed_with_rv.csv").write_text(ROWS)
    return Workspace(tmp_path)


def course(stars: int | None = 1000, points: int = 10, **settings: Any) -> Any:
    return course_of(Training(**{"learning_rate": 1e-3, "epochs": 20} | settings), stars, points)


def test_steps_come_from_stars_and_batches() -> None:
    found = course(1000, batch_size=32, schedule="constant")
    assert (found.per_epoch, found.steps, found.counted) == (32, 640, True)
    assert (found.points[0], found.points[-1], found.last) == ((0, 1e-3), (639, 1e-3), 1e-3)
    guessed = course(None)
    assert (guessed.per_epoch, guessed.counted) == (UNCOUNTED, False)


@pytest.mark.parametrize(("stars", "batch", "steps"), [(64, 32, 2), (65, 32, 2), (66, 32, 3), (1, 32, 1)])
def test_a_last_batch_of_one_star_is_no_step(stars: int, batch: int, steps: int) -> None:
    assert steps_of(stars, batch) == steps


@pytest.mark.parametrize("points", [2, 10, 200])
def test_the_peak_is_found_between_the_points(points: int) -> None:
    """Few points miss the step at which the warm-up ends, or at which a cosine starts again."""
    warm = course(32 * 100, points, schedule="warmup_cosine", warmup_epochs=0.37)
    assert warm.peak[1] == pytest.approx(1e-3)
    if points > 2:
        assert warm.peak == (36, 1e-3)
    assert course(32 * 100, points, schedule="exponential").peak == (0, 1e-3)


def test_more_steps_than_can_be_counted_are_bad_input() -> None:
    with pytest.raises(BadInput, match=r"training\.epochs: more steps than can be counted"):
        course(epochs=10**400)


def test_training_stars_are_counted_from_the_labels(workspace: Workspace) -> None:
    assert training_stars(workspace, Data()) == 40
    assert training_stars(workspace, Data(max_rows=20)) == 16
    assert training_stars(workspace, Data(path="nowhere")) is None


@pytest.mark.parametrize(
    "damage",
    [gzip.compress(ROWS.encode())[:40], b"\x1f\x8b", b"", b"\xff\xfe\x00"],
    ids=["cut", "magic", "empty", "binary"],
)
def test_a_damaged_table_is_no_mistake_here(damage: bytes, workspace: Workspace) -> None:
    (workspace.dataset / "spectral" / "removed_with_rv.csv").write_bytes(damage)
    found = training_stars(workspace, Data())
    assert found is None or found >= 1


def test_an_empty_folder_of_training_stars_is_not_counted(workspace: Workspace) -> None:
    for part, rows in (("train", ROWS.partition("\n")[0] + "\n"), ("val", ROWS), ("test", ROWS)):
        folder = workspace.dataset / "parts" / part
        folder.mkdir(parents=True)
        for name in ("continuum", "normalized"):
            (folder / f"final_spectra_{name}.csv").write_text(FLUX)
        (folder / "removed_with_rv.csv").write_text(rows)
    assert training_stars(workspace, Data(path="parts")) is None


def test_passes_that_make_a_step_make_fewer_steps() -> None:
    assert course(1000, batch_size=32, accumulate=3).per_epoch == 11


def test_fine_tuning_follows_with_a_rate_of_its_own() -> None:
    stage = Finetune(epochs=5, learning_rate=1e-5, schedule="constant")
    found = course_of(Training(epochs=20, learning_rate=1e-3, schedule="constant"), 1000, 9, stage)
    assert (found.epochs, found.steps, found.finetune_at) == (25, 800, 640)
    rates = dict(found.points)
    assert rates[640] == found.last == 1e-5
    assert rates[0] == found.peak[1] == 1e-3
    alone = course_of(Training(epochs=0), 1000, 9, stage)
    assert (alone.epochs, alone.finetune_at, alone.last) == (5, 0, 1e-5)


def test_no_epochs_at_all_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"finetune\.epochs is 0 too"):
        course(epochs=0)
