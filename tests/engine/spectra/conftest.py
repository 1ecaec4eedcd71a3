"""A small honest data set that each test spoils in its own way."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import engine.words
from engine.conf.data import Data
from engine.conf.section import Section
from engine.workspace import Workspace

POINTS, STARS = 24, 12
CONTINUUM, NORMALIZED, LABELS = (
    "final_spectra_continuum.csv",
    "final_spectra_normalized.csv",
    "removed_with_rv.csv",
)


def section(conf: Any) -> SimpleNamespace:
    """Return a conf section as an object that a test may change."""
    plain = {name: getattr(conf, name) for name in type(conf).model_fields}
    return SimpleNamespace(
        **{name: section(value) if isinstance(value, Section) else value for name, value in plain.items()}
    )


def data_conf(**changes: Any) -> Any:
    """Return the conf section `data` as it is by default, but refusing what it would mend."""
    made = section(Data())
    made.path, made.targets, made.nonfinite = "small", list(made.targets), "fail"
    for name, value in changes.items():
        setattr(made, name, value)
    return made


class Small:
    """Three tables as lists of cells, to be spoiled and written."""

    def __init__(self, workspace: Workspace) -> None:
        rng = np.random.default_rng(0)
        self.workspace = workspace
        self.folder = workspace.dataset / "small"
        self.conf = data_conf()
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
def conf() -> Any:
    return data_conf()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real tables beside the checkout."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "data"
    if not (folder / "miles").is_dir():
        pytest.skip(f"needs the real tables in {folder}")
    return folder
