"""The real tables beside the checkout train as they are: holes in the labels, packed files, 4700 points."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the real tables are not beside the checkout ({DATA})"),
]


@pytest.mark.parametrize("name", ["miles", pytest.param("hybrid_cfe", marks=pytest.mark.slow)])
def test_star_net_trains_on_real_tables(name: str, spectui: Any, tmp_path: Path, checkout: Path) -> None:
    (tmp_path / "conf").mkdir()
    for preset in (checkout / "conf").glob("*.yaml"):
        (tmp_path / "conf" / preset.name).write_bytes(preset.read_bytes())
    here = spectui.at(tmp_path)
    done = here(
        "train",
        "star_net",
        "--set",
        f"data.path={DATA / name}",
        "--set",
        "data.max_rows=200",
        "--train_epochs",
        "1",
        "--set",
        "tracking.enabled=false",
    )
    assert done.code == 0, done.err
    run = here("show", "@last", "--json").json
    assert run["state"] == "finished"
    for label in ("Teff", "logg", "FeH", "CFe"):
        assert run["test"][f"{label}_n"] > 0, "no test star has this label"
        assert math.isfinite(run["test"][f"{label}_mae"]) and math.isfinite(run["test"][f"{label}_mean_mae"])
    with (Path(run["folder"]) / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows if row["part"] == "test"] == [
        "Teff", "logg", "FeH", "CFe", "all (scaled)",
    ]  # fmt: skip
