"""The demonstration set is whole, deterministic and learnable, and the report tells what is there."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.conf.data import Split as SplitConf
from engine.errors import BadInput
from engine.spectra import DataConf, split, stars, synthetic
from engine.spectra.check import check, format_report

CONTINUUM, NORMALIZED, LABELS = synthetic.FILES


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from engine.workspace import Workspace

    root = tmp_path_factory.mktemp("demo")
    synthetic.write_demo(root / "dataset" / "demo")
    return Workspace(root)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_demo_is_deterministic(demo: Any, tmp_path: Path) -> None:
    synthetic.write_demo(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(demo.dataset / "demo")
    synthetic.write_demo(tmp_path / "other", seed=8)
    assert contents(tmp_path / "other")[LABELS] != contents(tmp_path / "again")[LABELS]


def test_demo_looks_like_the_real_thing(demo: Any, conf: Any) -> None:
    conf.path = "demo"
    header = (demo.dataset / "demo" / CONTINUUM).read_text().split("\n", 1)[0].split(",")
    assert header[:3] == ["obsid", "3900.00", "3906.00"] and len(header) == 501
    assert (demo.dataset / "demo" / LABELS).read_text().startswith("obsid,Teff,logg,FeH,CFe,rv,snr\n")
    loaded = stars.load(demo, conf)
    assert loaded.continuum.shape == (400, 500) and loaded.obsid.dtype == np.int64
    assert all(0 < holes < 40 for holes in loaded.report["labels_missing"].values())
    assert sum(loaded.report["wild"].values()) == 0 and loaded.report["clipped"]["normalized"] == 0
    low, high = np.nanmin(loaded.labels, axis=0), np.nanmax(loaded.labels, axis=0)
    assert low[0] >= 4200 and high[0] <= 7000 and low[1] < 2 and high[1] > 4.4 and low[2] < -2 and high[3] > 1
    assert (loaded.continuum > 0).all() and 0.8 < np.median(loaded.normalized) < 1.05


def test_demo_can_be_learned(demo: Any, conf: Any) -> None:
    """Ridge regression on the normalised branch beats the mean by far on every label."""
    conf.path = "demo"
    loaded = stars.load(demo, conf)
    parts = split.divide(loaded, SplitConf(ratios=[0.75, 0.05, 0.2], seed=3), demo.dataset)
    for i, (target, share) in enumerate(zip(loaded.targets, (0.3, 0.35, 0.35, 0.7), strict=True)):
        there = np.isfinite(loaded.labels[:, i])
        train, test = (rows[there[rows]] for rows in (parts.train, parts.test))
        x = loaded.normalized[train] - loaded.normalized[train].mean(0)
        y = loaded.labels[train, i]
        gram = x @ x.T + 1.0 * np.eye(len(x))
        weights = x.T @ np.linalg.solve(gram, y - y.mean())
        guess = (loaded.normalized[test] - loaded.normalized[train].mean(0)) @ weights + y.mean()
        error = np.abs(guess - loaded.labels[test, i]).mean()
        plain = np.abs(y.mean() - loaded.labels[test, i]).mean()
        assert error < share * plain, f"{target}: {error:.3f} against {plain:.3f}"


@pytest.mark.parametrize(
    ("points", "last", "count"), [(None, 6894.0, 500), (4700, 8599.0, 4700), (60, 6850.0, 60)]
)
def test_grid(points: int | None, last: float, count: int) -> None:
    wavelength = synthetic.grid(points)
    assert (wavelength[0], wavelength[-1], len(wavelength)) == (3900, last, count)


def test_lines_follow_the_labels() -> None:
    """G band follows carbon, H-beta temperature, Mg b gravity, Fe I and the Ca II triplet metals."""
    sun = {
        "teff": 5777.0,
        "logg": 4.44,
        "feh": 0.0,
        "cfe": 0.0,
        "rv": 0.0,
        "snr": 99.0,
        "scale": 1.0,
        "reddening": 0.0,
    }

    def depth(at: float, **labels: float) -> float:
        values = {k: np.array([v]) for k, v in (sun | labels).items()}
        recipe = synthetic.Recipe(obsid=np.array([1]), **values)
        return float(1 - synthetic.normalized_flux(recipe, np.arange(3900, 8700, 1.0))[0, int(at) - 3900])

    assert depth(4305, cfe=0.5) > depth(4305) + 0.03 > depth(4305, cfe=-0.5) + 0.06
    assert depth(4862, teff=6800) > depth(4862) > depth(4862, teff=4500)
    assert depth(5185) > depth(5185, logg=1.5) + 0.05
    assert depth(5271) > depth(5271, feh=-1) + 0.1 and depth(8544) > depth(8544, feh=-1) + 0.1


def test_demo_refuses_to_overwrite(tmp_path: Path) -> None:
    synthetic.write_demo(tmp_path, stars=10, points=50)
    before = contents(tmp_path)
    with pytest.raises(BadInput, match="there already") as caught:
        synthetic.write_demo(tmp_path, stars=12, points=50)
    assert (
        len(caught.value.lines) == 1 and "--force" in caught.value.lines[0] and contents(tmp_path) == before
    )
    synthetic.write_demo(tmp_path, stars=12, points=50, force=True)
    assert contents(tmp_path).keys() == before.keys() and contents(tmp_path) != before
    (tmp_path / CONTINUUM).rename(tmp_path / f"{CONTINUUM}.gz")
    (tmp_path / NORMALIZED).unlink()
    (tmp_path / LABELS).unlink()
    with pytest.raises(BadInput, match=r"continuum\.csv\.gz: there already"):
        synthetic.write_demo(tmp_path, stars=12, points=50)


@pytest.mark.parametrize("sizes", [{"stars": 3}, {"points": 10}])
def test_demo_too_small(tmp_path: Path, sizes: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="at least 10 stars and 50 points"):
        synthetic.write_demo(tmp_path / "x", **sizes)  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()


def test_demo_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def stop(rows: int) -> None:
        if rows > 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic.write_demo(tmp_path / "a" / "b", stars=10, points=50, progress=stop)
    assert not list(tmp_path.iterdir())


def test_demo_on_a_full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.write_demo(tmp_path, stars=10, points=50)
    before = contents(tmp_path)
    rename, calls = Path.rename, []

    def full(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == 4:  # the first table is in place, the second is set aside
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space"):
        synthetic.write_demo(tmp_path, stars=12, points=50, force=True)
    assert contents(tmp_path) == before


def test_check_agrees_with_the_demo(demo: Any) -> None:
    report = check(demo, DataConf(path="demo"))
    assert [p for p in report["problems"] if p["severity"] != "info"] == []
    assert report["split"] == {"train": 320, "val": 40, "test": 40}
    assert "Nothing here would stop a training run." in format_report(report)
    assert report["grid"]["gaps"] == [] and report["grid"]["step"] == 6 and report["grid"]["kind"] == "linear"
    noise = report["snr"]
    assert noise["column"]["name"] == "snr"
    assert 0.4 < noise["estimate"]["median"] / noise["column"]["median"] < 1.2
