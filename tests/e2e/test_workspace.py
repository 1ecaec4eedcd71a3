"""A wheel built from the checkout works anywhere: init, train, and a user's own network dropped in."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# One worker builds the wheel and trains with it.
pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("wheel")]

NETWORK = '''
from torch import nn

from models import register_model


@register_model("MyAwesomeNet")
class MyAwesomeNet(nn.Module):
    """One hidden layer over both branches."""

    def __init__(self, points: int, labels: int, width: int = 16):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * points, width), nn.GELU(), nn.Linear(width, labels))

    def forward(self, x):
        return self.layers(x)
'''


@pytest.fixture(scope="module")
def installed(
    checkout: Path,
    spectui: Any,
    clean_environment: Callable[..., dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """`spectui` from a wheel in a fresh environment that sees the dependencies but not the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    python = folder / "venv" / "bin" / "python"
    for command in (
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, checkout],
        [sys.executable, "-m", "venv", "--without-pip", folder / "venv"],
    ):
        subprocess.run(
            [str(word) for word in command],
            cwd=folder,
            env=clean_environment(),
            check=True,
            capture_output=True,
        )
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--no-deps",
            "--no-index",
            "--quiet",
            str(wheel),
        ],
        cwd=folder,
        env=clean_environment(),
        check=True,
        capture_output=True,
    )
    # A path in a .pth is searched, a .pth in that path is not: the editable checkout stays out of sight.
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    found = subprocess.run(
        [
            str(python),
            "-c",
            "import engine, models, tui; print(engine.__file__, models.__file__, tui.__file__)",
        ],
        cwd=folder,
        env=clean_environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    assert str(checkout) not in found.stdout
    return type(spectui)([str(python.with_name("spectui"))])


@pytest.fixture(scope="module")
def made(installed: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace made by the wheel."""
    target = tmp_path_factory.mktemp("somewhere") / "my spectra"
    done = installed("init", target)
    assert done.code == 0, done.err
    return target


def test_init_makes_every_preset_and_a_place_for_each_thing(made: Path, checkout: Path) -> None:
    presets = {p.relative_to(checkout / "conf") for p in (checkout / "conf").rglob("*.yaml")}
    assert {p.relative_to(made / "conf") for p in (made / "conf").rglob("*.yaml")} == presets
    assert {"conf", "dataset", "models", "runs"} <= {p.name for p in made.iterdir()}
    assert (made / "dataset" / "spectral" / "removed_with_rv.csv").is_file()


def test_the_demo_conf_trains_far_better_than_the_mean(made: Path, installed: Any, tmp_path: Path) -> None:
    done = installed("--root", made, "train", "conf/demo.yaml", cwd=tmp_path)
    assert done.code == 0, done.err
    ratios = {
        label: float(ratio)
        for label, ratio in re.findall(r"^(\w+) +\d+ +\S+ +\S+ +([\d.]+) ", done.out, re.M)
    }
    assert set(ratios) == {"Teff", "logg", "FeH", "CFe"}, done.out
    assert all(ratios[label] < 0.5 for label in ("Teff", "logg", "FeH")), ratios
    assert "spectral_prediction" in done.err, "the run is not in MLflow"
    assert (made / "mlflow.db").is_file() and (made / "mlruns").is_dir()
    assert not list(tmp_path.iterdir()), "something was left in the folder it was called from"


def test_init_keeps_what_is_there(made: Path, installed: Any) -> None:
    (made / "conf" / "mine.yaml").write_text("model: {name: MLP}\n")
    done = installed("init", made)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1 and str(made) in done.err
    assert (made / "conf" / "mine.yaml").exists()
    (made / "conf" / "mine.yaml").unlink()


def test_a_dropped_network_trains_without_touching_anything_else(
    made: Path, installed: Any, tmp_path: Path
) -> None:
    (made / "models" / "spectral_prediction" / "my_awesome_net.py").write_text(NETWORK)
    (made / "conf" / "my_awesome_net.yaml").write_text(
        "name: awesome\nmodel: {name: MyAwesomeNet, width: 8}\ntraining: {epochs: 2, learning_rate: 1e-3}\n"
        "tracking: {enabled: false}\n"
    )
    listed = {m["name"]: m for m in installed("models", "--json", cwd=made).json}
    # 2 x 4700 points into 16 units (the default width) into 4 labels, with biases
    assert listed["MyAwesomeNet"]["parameters"] == 9400 * 16 + 16 + 16 * 4 + 4
    assert listed["MyAwesomeNet"]["source"] == "models/spectral_prediction/my_awesome_net.py"
    assert "MyAwesomeNet" in installed("confs", cwd=made).out
    done = installed("train", "my_awesome_net", cwd=tmp_path, env={"SPECTUI_ROOT": str(made)})
    assert done.code == 0, done.err
    (run,) = installed("runs", "--filter", "name=awesome", "--json", cwd=made).json
    assert (run["model"], run["state"], run["params"]["model.width"]) == ("MyAwesomeNet", "finished", 8)


def test_root_environment_and_folder_choose_the_same_workspace(
    made: Path, installed: Any, tmp_path: Path
) -> None:
    by_folder = installed("confs", "--json", cwd=made)
    by_flag = installed("--root", made, "confs", "--json", cwd=tmp_path)
    flag_after_verb = installed("confs", "--json", "--root", made, cwd=tmp_path)
    by_environment = installed("confs", "--json", cwd=tmp_path, env={"SPECTUI_ROOT": str(made)})
    assert by_folder.json and by_folder.json == by_flag.json == flag_after_verb.json == by_environment.json
    other = tmp_path / "other"
    (other / "conf").mkdir(parents=True)
    wins = installed("--root", other, "confs", "--json", cwd=made, env={"SPECTUI_ROOT": str(made)})
    assert wins.json == []


def test_elsewhere_is_no_workspace(installed: Any, tmp_path: Path) -> None:
    done = installed("runs", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "spectui init" in done.err
    assert not list(tmp_path.iterdir())
