"""How large a run will be: measured once by a real child, sums that follow the conf, and the bands."""

from __future__ import annotations

from typing import Any

import pytest

from engine import size
from engine.conf.load import resolve
from engine.conf.schema import Conf
from engine.errors import BadInput
from engine.runs.devices import Gpu

HIDDEN = 16
POINTS, STARS = 64, 60  # of the tables of the tests


def conf_of(workspace: Any, **training: Any) -> Conf:
    sets = [f"training.{key}={value}" for key, value in {"device": "cpu", **training}.items()]
    return resolve(
        workspace, None, flags={"model": "MLP"}, sets=[f"model.hidden=[{HIDDEN}]", "name=x", *sets]
    ).conf


def test_a_child_counts_once_and_other_batches_cost_nothing(
    workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = size.size_of(workspace, conf_of(workspace))
    labels = len(Conf().data.targets)
    assert found.parameters >= 2 * POINTS * HIDDEN + HIDDEN * labels
    assert not found.guessed and found.points == POINTS and found.stars == STARS
    assert found.parts["data"] == STARS * POINTS * 4 * 3  # two branches, and the scaled copy of one
    measured = size.measure(workspace, conf_of(workspace), POINTS)
    # A star is two spectra of float32 going in, at least, and not a hundred times that.
    assert 2 * POINTS * 4 <= measured.star <= 100 * 2 * POINTS * 4
    assert measured.weights >= 4 * found.parameters

    def never(*_words: Any) -> Any:
        raise AssertionError("measured again")

    monkeypatch.setattr(size, "_child", never)
    more = size.size_of(workspace, conf_of(workspace, batch_size=48, optimizer="sgd", momentum=0.0))
    assert more.parts["activations"] - found.parts["activations"] == pytest.approx(16 * measured.star, abs=2)
    assert more.parts["optimizer"] == 0 and found.parts["optimizer"] == 2 * measured.weights
    with pytest.raises(AssertionError, match="measured again"):
        size.measure(workspace, conf_of(workspace), POINTS + 1)


def test_a_network_that_cannot_be_built_is_said_in_one_line(workspace: Any) -> None:
    folder = workspace.networks
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bad.py").write_text(
        "from torch import nn\nfrom models.registry import register_model\n"
        "@register_model('Bad')\nclass Bad(nn.Module):\n"
        "    def __init__(self, points: int, labels: int):\n"
        "        super().__init__()\n        raise ValueError('no such luck')\n"
        "    def forward(self, stacked):\n        return stacked\n"
    )
    conf = resolve(workspace, None, flags={"model": "Bad", "device": "cpu"}).conf
    with pytest.raises(BadInput, match=r"Bad: cannot be built: .*no such luck"):
        size.size_of(workspace, conf)


@pytest.mark.parametrize(("free", "band"), [(1430, "safe"), (1420, "tight"), (1060, "tight"), (1040, "risk")])
def test_the_bands(free: int, band: str) -> None:
    one = size.Size(1, {"a": 400, "b": 600}, size.Device("cpu", free, False), 1, 1, False)
    assert one.needed == 1000 and one.band == band


def test_the_freest_gpu_is_taken_and_one_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [Gpu(0, "a", "H100", 80_000, 10_000), Gpu(1, "b", "H100", 80_000, 70_000)]
    monkeypatch.setattr(size.devices, "gpus", lambda: gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert size.device_of("auto") == size.Device("GPU 1 H100", 70_000, True)
    assert size.device_of("cuda:0").free == 10_000
    assert [one.name for one in size.devices_there()][:2] == ["cuda:0 H100", "cuda:1 H100"]
    with pytest.raises(BadInput, match="cuda:7"):
        size.device_of("cuda:7")
    assert not size.device_of("cpu").gpu


def test_free_memory_is_what_the_machine_says_is_available(tmp_path: Any) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable:   123 kB\n")
    assert size.free_memory(tmp_path / "meminfo") == 123 * 1024
    assert size.free_memory(tmp_path / "gone") == size.memory.limit()[0]
