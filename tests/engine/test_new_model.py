"""A new network: written whole or not at all, and trained as it was written."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import catalog, words
from engine.about_model import about, variants
from engine.cli.parser import build
from engine.conf.load import resolve
from engine.errors import BadInput
from engine.new_model import snake, write_new_model
from engine.train.network import build_network
from engine.workspace import Workspace

torch.set_num_threads(1)
DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_a_new_network_trains_as_it_was_written(workspace: Workspace, processes: Any) -> None:
    written = processes.run("models", "new", "MyAwesomeNet", "--json")
    shown = json.loads(written.stdout)
    assert shown == {
        "source": "models/spectral_prediction/my_awesome_net.py", "conf": "conf/my_awesome_net.yaml"
    }  # fmt: skip
    done = processes.run("train", shown["conf"], "--train_epochs", "2", "--set", "tracking.enabled=false")
    assert done.returncode == 0, done.stderr
    (run,) = workspace.runs.glob("my_awesome_net-*")
    end = json.loads((run / "events.jsonl").read_text().splitlines()[-1])
    assert (end["kind"], end["outcome"]) == ("end", "finished")


def test_what_was_written_is_documented_and_clean(workspace: Workspace) -> None:
    source, conf = write_new_model(workspace, "HTTPNet2")
    assert (source.name, conf.name) == ("http_net2.py", "http_net2.yaml")
    network = catalog.find(workspace, "HTTPNet2")
    assert network.summary and all(field.help for field in network.fields)
    resolved = resolve(workspace, "http_net2").conf
    assert {field.name: field.default for field in network.fields} == resolved.model.fields
    build_network(workspace, resolved, 256)
    lint = ["ruff", "check", "--isolated", "--line-length", "110", "--select", "E,F,W,I,B,UP", str(source)]
    checked = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    assert not list(source.parent.glob(".*")) and not list(conf.parent.glob(".*"))


@pytest.mark.parametrize(
    ("name", "file"), [("MyAwesomeNet", "my_awesome_net"), ("A", "a"), ("AMFN2Net", "amfn2_net")]
)
def test_names_of_files(name: str, file: str) -> None:
    assert snake(name) == file


@pytest.mark.parametrize("name", ["", "3x", "a-b", "../x", "a b", "网络", "x.py"])
def test_a_bad_name_writes_nothing(workspace: Workspace, name: str) -> None:
    with pytest.raises(BadInput, match="cannot be the name of a network"):
        write_new_model(workspace, name)
    assert not list(workspace.networks.glob("*.py"))


def test_nothing_is_overwritten_and_nothing_is_left_half(workspace: Workspace) -> None:
    with pytest.raises(BadInput, match=r"a network is called MLP already: .*mlp\.py:\d+"):
        write_new_model(workspace, "mlp")
    mine = workspace.conf / "my_net.yaml"
    mine.write_text("name: mine\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"conf/my_net\.yaml is there already"):
        write_new_model(workspace, "MyNet")
    assert mine.read_text() == "name: mine\n" and not list(workspace.networks.glob("*my_net*"))
    (workspace.root / "models" / "spectral_prediction").rmdir()
    (workspace.root / "models" / "spectral_prediction").write_text("a file")
    with pytest.raises(BadInput, match="cannot be written"):
        write_new_model(workspace, "Other")
    assert not (workspace.conf / "other.yaml").exists()


def test_a_network_is_described_by_a_child(workspace: Workspace) -> None:
    for path in workspace.conf.glob("*.yaml"):
        path.unlink()
    source, _ = write_new_model(workspace, "Mine")
    text = source.read_text(encoding="utf-8")
    source.write_text(
        text.replace("import torch\n", "from typing import Literal\n\nimport torch\n")
        .replace("dropout: float = 0.1,", 'dropout: float = 0.1, layout: Literal["wide", "narrow"] = "wide",')
        .replace("hidden: units of", "layout: which.\n        hidden: units of")
        .replace(
            "        super().__init__()\n",
            "        super().__init__()\n        channels //= 1 + (layout == 'narrow')\n",
        ),
        encoding="utf-8",
    )
    found = about(workspace, catalog.find(workspace, "Mine"))
    wide, narrow, conf = found["variants"]
    assert [wide["name"], narrow["name"], conf["name"]] == ["Mine", "layout: narrow", "conf/mine.yaml"]
    assert wide["parameters"] == conf["parameters"] > narrow["parameters"] > 0
    assert found["error"] is None and found["step"]["seconds"] > 0 and found["step"]["device"]
    points = found["points"]
    assert points != 4700  # those of the workspace's own spectra
    strided, after = -(-points // 4), -(-points // 8)
    products = 2 * 9 * (2 * 16 * strided + 16 * 32 * after) + 2 * (32 * 64 * 64 + 64 * 4)
    assert found["flops"] == products
    reach = found["receptive_field"]["features"]
    assert 30 <= reach["points"] <= 60  # (9 - 1) * 4 + 9 = 41, and the stretches
    assert reach["angstrom"] > 0


def test_a_network_that_cannot_be_built_says_why(workspace: Workspace) -> None:
    source, _ = write_new_model(workspace, "Mine")
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace("super().__init__()", "raise RuntimeError('no luck')"), encoding="utf-8")
    found = about(workspace, catalog.find(workspace, "Mine"))
    assert "no luck" in found["error"] and found["flops"] is None
    assert "no luck" in found["variants"][0]["error"]


def test_variants_are_not_too_many(workspace: Workspace) -> None:
    network = catalog.find(workspace, "DualBranchSpectralModel")
    names = [variant["name"] for variant in variants(workspace, network)]
    assert names[:4] == [
        "DualBranchSpectralModel", "spectra: normalized", "spectra: continuum", "spectra: stacked"
    ]  # fmt: skip


def test_both_languages_say_it(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    check: Callable[[str], str] = words.say
    monkeypatch.setattr(words, "_chosen", "zh")
    assert "MyAwesomeNet" in check("new_model.bad_name", name="x")  # type: ignore[call-arg]


@pytest.mark.parametrize("guide", ["new-model.md", "new-model.zh-CN.md"])
def test_the_guide_is_true(workspace: Workspace, guide: str) -> None:
    """Its part is found and built, its confs are read, and every verb in it is there."""
    text = (DOCS / guide).read_text(encoding="utf-8")
    (part,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "MyHead" in block]
    (workspace.root / "models" / "parts").mkdir()
    (workspace.root / "models" / "parts" / "my_head.py").write_text(part, encoding="utf-8")
    write_new_model(workspace, "MyAwesomeNet")
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        (workspace.conf / "from_the_guide.yaml").write_text(block, encoding="utf-8")
        build_network(workspace, resolve(workspace, "from_the_guide").conf, 256)
    parser, commands = build("spectui"), re.findall(r"`?(spectui (?:train|models)[^`\n]*)", text)
    for command in commands:
        arguments = parser.parse_args(shlex.split(command)[1:])
        if arguments.verb == "train":
            resolve(workspace, arguments.conf, sets=arguments.sets)
        elif getattr(arguments, "sub", None) == "show":
            assert any(
                one.name == arguments.name
                for one in [*catalog.networks(workspace), *catalog.parts(workspace)]
            )
    assert len(commands) >= 6
