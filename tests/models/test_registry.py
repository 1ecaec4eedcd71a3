"""Names, near misses, files that are dropped in, broken or doubled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import models
from models import registry
from models.errors import DuplicateModel, UnknownModel

ROOT = Path(models.__file__).resolve().parents[1]
NETWORK = '''
from __future__ import annotations
from torch import Tensor, nn
from models import register_model

@register_model("{name}")
class Net(nn.Module):
    """A network for tests."""

    def __init__(self, points: int, labels: int, width: int = {width}) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(points, width), nn.Linear(width, labels))

    def forward(self, normalized_BL: Tensor) -> Tensor:
        return self.layers(normalized_BL)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    registry.discover(None)


def drop(folder: Path, file: str, name: str, width: int = 3) -> Path:
    path = folder / file
    path.write_text(NETWORK.format(name=name, width=width), encoding="utf-8")
    return path


def test_names_by_pattern() -> None:
    assert {"FreqInceptionLNet", "MLP", "StarNet"} <= set(registry.names())
    assert registry.names("Star*") == ["StarNet"]
    assert registry.names("nothing*") == []


def test_a_dropped_file_is_found_and_built(folder: Path) -> None:
    drop(folder, "my_net.py", "MyAwesomeNet")
    (folder / "_helper.py").write_text("raise RuntimeError", encoding="utf-8")
    assert registry.discover(folder) == []
    assert "MyAwesomeNet" in registry.names() and "StarNet" in registry.names()
    network = registry.build("MyAwesomeNet", points=8, labels=2, fields={"width": 5})
    assert network.layers[0].out_features == 5
    registry.discover(None)
    assert "MyAwesomeNet" not in registry.names()
    registry.discover(folder)
    assert "MyAwesomeNet" in registry.names()


def test_an_edited_file_is_read_again_and_only_then(folder: Path) -> None:
    path = drop(folder, "my_net.py", "Edited")
    registry.discover(folder)
    first = registry.get("Edited")
    registry.discover(folder)
    assert registry.get("Edited") is first
    drop(folder, "my_net.py", "Edited", width=9)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000))
    registry.discover(folder)
    assert registry.build("Edited", points=8, labels=2).layers[0].out_features == 9
    path.unlink()
    registry.discover(folder)
    assert "Edited" not in registry.names()


def test_unknown_name_has_near_misses() -> None:
    with pytest.raises(UnknownModel, match="did you mean 'StarNet'") as caught:
        registry.build("starnt", points=8, labels=2)
    assert caught.value.name == "starnt" and caught.value.near[0] == "StarNet"


def test_a_broken_file_hides_only_itself(folder: Path) -> None:
    drop(folder, "good.py", "Good")
    broken = drop(folder, "bad.py", "Bad")
    broken.write_text(broken.read_text(encoding="utf-8") + "\nundefined_name\n", encoding="utf-8")
    (folder / "worse.py").write_text("def (:\n", encoding="utf-8")
    (folder / "exits.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    errors = {error.path.name: error.error for error in registry.discover(folder)}
    assert set(errors) == {"bad.py", "worse.py", "exits.py"}
    assert errors["bad.py"].startswith("line 17: NameError")
    assert errors["worse.py"].startswith("line 1: SyntaxError")
    registry.build("Good", points=8, labels=2)
    with pytest.raises(UnknownModel, match=r"bad\.py: line 17: NameError") as caught:
        registry.build("Bad", points=8, labels=2)  # half a file is no file
    assert len(caught.value.broken) == 3


def test_two_files_with_one_name(folder: Path) -> None:
    first, second = drop(folder, "a.py", "Twice"), drop(folder, "b.py", "Twice")
    drop(folder, "c.py", "Once")
    registry.discover(folder)
    registry.build("Once", points=8, labels=2)
    with pytest.raises(DuplicateModel) as caught:
        registry.build("Twice", points=8, labels=2)
    assert caught.value.files == [first.resolve(), second.resolve()]
    assert str(first) in str(caught.value) and str(second) in str(caught.value)


def test_one_file_with_one_name_twice_is_broken(folder: Path) -> None:
    path = drop(folder, "a.py", "Same")
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text + text[text.index("@register") :].replace("class Net", "class Other"), encoding="utf-8"
    )
    (error,) = registry.discover(folder)
    assert "DuplicateModel" in error.error


def test_our_own_folder_and_copies_of_it_are_not_loaded_twice(folder: Path) -> None:
    registry.discover(registry.PACKAGE_FOLDER)
    registry.build("StarNet", points=64, labels=2)
    original = (registry.PACKAGE_FOLDER / "star_net.py").read_text(encoding="utf-8")
    (folder / "star_net.py").write_text(original, encoding="utf-8")
    registry.discover(folder)
    registry.build("StarNet", points=64, labels=2)
    (folder / "star_net.py").write_text(original + "# edited\n", encoding="utf-8")
    registry.discover(folder)
    with pytest.raises(DuplicateModel):
        registry.build("StarNet", points=64, labels=2)


def test_an_ordinary_import_is_the_same_class() -> None:
    from models.spectral_prediction.star_net import StarNet

    assert registry.get("StarNet") is StarNet
    assert registry.files("StarNet") == [registry.PACKAGE_FOLDER / "star_net.py"]


def test_a_network_may_import_its_neighbour(folder: Path) -> None:
    (folder / "_my_blocks.py").write_text("WIDTH = 6\n", encoding="utf-8")
    path = drop(folder, "uses.py", "Uses")
    text = path.read_text(encoding="utf-8").replace("= 3", "= WIDTH")
    path.write_text(text.replace("from torch", "from _my_blocks import WIDTH\nfrom torch"), encoding="utf-8")
    before = list(sys.path)
    assert registry.discover(folder) == []
    assert registry.build("Uses", points=8, labels=2).layers[0].out_features == 6
    assert sys.path == before


def test_decorator_without_a_name_says_how() -> None:
    with pytest.raises(TypeError, match=r'@register_model\("NameOfTheNetwork"\)'):
        registry.register_model(dict)  # type: ignore[arg-type]


def test_importing_the_package_leaves_torch_and_the_engine_out() -> None:
    program = "import sys, models; print([n for n in ('torch', 'engine', 'pydantic') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_networks_import_nothing_of_the_engine() -> None:
    program = """if True:
        import sys
        from models import registry, contract, count
        registry.names()
        print([name for name in sys.modules if name.split('.')[0] in ('engine', 'tui')])"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_counting_program_prints_only_json(folder: Path) -> None:
    path = drop(folder, "chatty.py", "Chatty")
    noisy = "import os\nprint('hello')\nos.write(1, b'hello')\nfrom torch"
    path.write_text(path.read_text(encoding="utf-8").replace("from torch", noisy), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "models.count",
        "--folder",
        str(folder),
        "--points",
        "64",
        "--labels",
        "2",
        "--only",
        "Chatty",
        "StarNet",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    counts = json.loads(done.stdout)
    assert counts["Chatty"] == {"parameters": 64 * 3 + 3 + 3 * 2 + 2, "parts": {"layers": 203}, "error": None}
    assert set(counts) == {"Chatty", "StarNet"}
