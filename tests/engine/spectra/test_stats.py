"""A stats.yaml of the old framework in place of fitting: its numbers are used, and what it lacks is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from engine.conf.data import Data
from engine.errors import BadInput
from engine.spectra import scale, stats
from engine.spectra.stars import Stars
from engine.workspace import Workspace

TARGETS = ["Teff", "logg", "FeH", "CFe"]


def block(mean: float, sd: float, *points: float) -> Any:
    low, quarter, middle, three, high = points
    return {
        "mean": mean, "variance": sd**2, "std_dev": sd, "min": low, "max": high, "25th_percentile": quarter,
        "median_50th_percentile": middle, "75th_percentile": three,
    }  # fmt: skip


def example() -> dict[str, Any]:
    """The statistics that the old framework shipped; label extremes and quartiles are made up."""
    return {
        "Teff": block(5218.3, 663.4, 3800.0, 4780.0, 5120.0, 5650.0, 7900.0),
        "logg": block(2.963, 1.030, 0.1, 2.2, 2.9, 4.0, 4.95),
        "FeH": block(-1.064, 0.973, -4.2, -1.9, -0.8, -0.3, 0.6),
        "CFe": block(0.204, 0.462, -1.2, -0.05, 0.1, 0.3, 3.4),
        "CH": block(-0.86, 1.0, -4.0, -1.5, -0.6, -0.2, 2.1),
        "flux": block(2091.0, 5463.0, 1e-9, 137.0, 481.0, 1618.0, 60717.0),
        "augs_conf": [{"name": "add_noise", "enabled": True, "p": 0.2, "params": {"sigma": 0.01}}],
    }


def write(workspace: Workspace, data: Any) -> None:
    (workspace.root / "conf").mkdir(exist_ok=True)
    (workspace.root / "conf" / "stats.yaml").write_text(yaml.safe_dump(data, sort_keys=False))


def conf(kind: str = "standard", **more: Any) -> Data:
    more = {"stats": "conf/stats.yaml", "continuum_scaler": kind, "label_scaler": kind} | more
    return Data(path="set", targets=TARGETS, **more)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "dataset" / "set").mkdir(parents=True)
    return Workspace(tmp_path)


@pytest.mark.parametrize(
    ("kind", "flux", "teff"),
    [
        ("standard", (2091.0, 5463.0), (5218.3, 663.4)),
        ("minmax", (1e-9, 60717.0 - 1e-9), (3800.0, 4100.0)),
        ("robust", (481.0, 1481.0), (5120.0, 870.0)),
    ],
)
def test_the_numbers_of_the_file_are_used(
    workspace: Workspace, kind: str, flux: tuple[float, float], teff: tuple[float, float]
) -> None:
    write(workspace, example())
    found = stats.fixed(workspace, conf(kind))
    continuum, labels = found.scalers["continuum"], found.scalers["labels"]
    assert (continuum.kind, *continuum.centre, *continuum.scale) == (kind, *flux)
    assert labels.centre.shape == (4,) and (labels.centre[0], labels.scale[0]) == pytest.approx(teff)
    rng = np.random.default_rng(0)
    spectra = rng.lognormal(6, 1, (20, 5)).astype(np.float32)
    truth = rng.normal([5200, 3, -1, 0.2], 0.5, (20, 4)).astype(np.float32)
    stars = Stars(np.arange(20), spectra, spectra, truth, tuple(TARGETS), np.arange(5.0), "f")
    scalers = scale.Scalers.fitted(conf(kind), stars, np.arange(9), found.scalers)
    expected = (spectra.astype(np.float64) - flux[0]) / flux[1]
    np.testing.assert_allclose(scalers.continuum.transform(spectra), expected, rtol=1e-5)
    back = scalers.labels.inverse(scalers.labels.transform(truth))
    np.testing.assert_allclose(back, truth, rtol=1e-4, atol=1e-4)
    assert scalers.normalized.kind == "none"
    assert scale.Scalers.from_state(scalers.to_state()).to_state() == scalers.to_state()
    # one branch alone, given twice: the statistics of the continuum are not laid on normalised flux
    stars.report["copied"] = "normalized"
    assert scale.Scalers.fitted(conf(kind), stars, np.arange(9), found.scalers).continuum.centre[0] != flux[0]
    stars.report["copied"] = "continuum"
    assert scale.Scalers.fitted(conf(kind), stars, np.arange(9), found.scalers).continuum.centre[0] == flux[0]
    stars.branches = ("normalized",)
    assert scale.Scalers.fitted(conf(kind), stars, np.arange(9), found.scalers).continuum.centre[0] != flux[0]


def test_labels_are_found_by_name(workspace: Workspace) -> None:
    write(workspace, dict(reversed(example().items())))
    chosen = conf()
    chosen = chosen.model_copy(update={"targets": ["CH", "Teff"]})
    labels = stats.fixed(workspace, chosen).scalers["labels"]
    assert labels.centre.tolist() == [-0.86, 5218.3]


def test_what_is_said(workspace: Workspace) -> None:
    write(workspace, example())
    notes = stats.fixed(workspace, conf(normalized_scaler="standard")).notes
    assert notes[0] == "statistics of conf/stats.yaml, not fitted: flux, Teff, logg, FeH, CFe"
    assert "nothing for the normalised branch" in notes[1] and "augs_conf is ignored" in notes[2]
    assert stats.fixed(workspace, conf(stats=None)) == stats.Fixed({}, [])
    nothing = stats.fixed(workspace, conf("none"))
    assert nothing.scalers == {}


def without(label: str, key: str | None = None, value: Any = None) -> dict[str, Any]:
    data = example()
    if key is None:
        del data[label]
    elif value is None:
        del data[label][key]
    else:
        data[label][key] = value
    return data


@pytest.mark.parametrize(
    ("data", "kind", "line"),
    [
        (without("FeH"), "standard", "conf/stats.yaml: no block FeH; it has: Teff, logg, CFe, CH, flux"),
        (without("flux"), "robust", "conf/stats.yaml: no block flux"),
        (without("CFe", "std_dev"), "standard", "conf/stats.yaml: CFe: no std_dev, which the standard"),
        (without("flux", "75th_percentile"), "robust", "conf/stats.yaml: flux: no 75th_percentile"),
        (without("logg", "max", "high"), "minmax", "conf/stats.yaml: logg: max: high is not a finite number"),
        (without("logg", "std_dev", float("nan")), "standard", "logg: std_dev: nan is not a finite number"),
        (without("Teff", "std_dev", 0.0), "standard", r"Teff: no spread to scale by \(mean, std_dev\)"),
        ([1, 2], "standard", "conf/stats.yaml: a conf is a mapping"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(workspace: Workspace, data: Any, kind: str, line: str) -> None:
    write(workspace, data)
    with pytest.raises(BadInput, match=line) as error:
        stats.fixed(workspace, conf(kind))
    assert len(error.value.lines) == 1


def test_keys_that_are_not_needed_may_be_missing(workspace: Workspace) -> None:
    data = {name: {"mean": 1.0, "std_dev": 2} for name in (*TARGETS, "flux")}
    write(workspace, data)
    assert set(stats.fixed(workspace, conf()).scalers) == {"continuum", "labels"}
    with pytest.raises(BadInput, match="no min") as error:
        stats.fixed(workspace, conf("minmax"))
    assert len(error.value.lines) == 5  # all at once


def test_per_pixel_and_no_file(workspace: Workspace) -> None:
    with pytest.raises(BadInput, match=r"conf/stats.yaml: no such file \(looked for .*, .*dataset/set/conf"):
        stats.fixed(workspace, conf())
    write(workspace, example())
    with pytest.raises(BadInput, match=r"one number for all pixels; set data\.scaler_scope to pooled"):
        stats.fixed(workspace, conf(scaler_scope="pixel"))
