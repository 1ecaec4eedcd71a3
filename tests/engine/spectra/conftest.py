"""A small honest data set that each test spoils in its own way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import engine.words
from engine.workspace import Workspace

POINTS, STARS = 24, 12
CONTINUUM, NORMALIZED, LABELS = (
    "final_spectra_continuum.csv",
    "final_spectra_normalized.csv",
    "removed_with_rv.csv",
)


@dataclass
class Clip:
    continuum: list[float] | None = None
    normalized: list[float] | None = field(default_factory=lambda: [-1.0, 3.0])


@dataclass
class Conf:
    """A stand-in for the conf section `data`."""

    path: str = "small"
    continuum: str = CONTINUUM
    normalized: str = NORMALIZED
    labels: str = LABELS
    targets: list[str] = field(default_factory=lambda: ["Teff", "logg", "FeH", "CFe"])
    split: list[float] = field(default_factory=lambda: [0.8, 0.1, 0.1])
    split_seed: int = 1
    clip: Clip = field(default_factory=Clip)
    continuum_scaler: str = "standard"
    label_scaler: str = "standard"
    duplicates: str = "fail"
    nonfinite: str = "fail"
    max_rows: int | None = None


class Small:
    """Three tables as lists of cells, to be spoiled and written."""

    def __init__(self, workspace: Workspace) -> None:
        rng = np.random.default_rng(0)
        self.workspace = workspace
        self.folder = workspace.dataset / "small"
        self.conf = Conf()
        grid = [f"{3900 + i:.2f}" for i in range(POINTS)]
        self.flux = rng.uniform(100, 200, (STARS, POINTS)).round(3)
        self.ratio = rng.uniform(0.5, 1.1, (STARS, POINTS)).round(4)
        self.truth = rng.normal([5500, 4, -0.5, 0.1], [500, 1, 0.5, 0.2], (STARS, 4)).round(3)
        ids = [str(1001 + 7 * i) for i in range(STARS)]
        self.tables: dict[str, list[list[str]]] = {
            CONTINUUM: [["obsid", *grid]],
            NORMALIZED: [["obsid", *grid]],
            LABELS: [["obsid", "Teff", "logg", "FeH", "CFe", "rv", "name"]],
        }
        for i, obsid in enumerate(ids):
            self.tables[CONTINUUM].append([obsid, *map(str, self.flux[i])])
            self.tables[NORMALIZED].append([obsid, *map(str, self.ratio[i])])
            self.tables[LABELS].append([obsid, *map(str, self.truth[i]), "0.0", f"HD {i}"])

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, rows in self.tables.items():
            (self.folder / name).write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.words, "_chosen", "en")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def small(workspace: Workspace) -> Small:
    return Small(workspace)


@pytest.fixture
def conf() -> Conf:
    return Conf()


@pytest.fixture(scope="session")
def real() -> Workspace:
    """The data beside the checkout, read as a workspace whose paths are data/miles and data/hybrid_cfe."""
    shared = Path(__file__).resolve().parents[4] / "shared"
    if not (shared / "data" / "miles").is_dir():
        pytest.skip(f"needs the real tables in {shared / 'data'}")
    return Workspace(shared)
