"""Networks known from their source: the same as the registry knows by importing them, without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import catalog, words
from engine.catalog import counts
from engine.errors import BadInput
from engine.workspace import Workspace
from models import contract, registry

ROOT = catalog.PACKAGE_FOLDER.parents[1]
NETWORK = '''
import typing as t
from collections.abc import Mapping, Sequence
from typing import Literal, Optional, TypedDict, Union
import a_package_that_is_not_installed
from models import register_model

Mode = Literal["fast", "slow"]

class Base(TypedDict):
    size: int

class Group(Base, total=False):
    rate: float
    """how much of it"""
    inner: "Inner"

class Inner(TypedDict, total=False):
    names: list[str]

SIZES: Group = {"size": 3, "rate": 0.5}

@register_model("Typed")
class Typed(a_package_that_is_not_installed.Module):
    """Every kind of annotation."""

    def __init__(self, points, needed: int, mode: Mode = "fast", pair: tuple[int, float] = (1, 2.0),
                 many: tuple[int, ...] = (1,), either: Union[int, list[int]] = 1,
                 maybe: Optional[Group] = None,
                 groups: Sequence[Group] = (), table: Mapping[str, float] = {},
                 odd: "Unknown[int]" = None, free=object(), *, only: t.List[bool] = [True],
                 labels: int = 4) -> None: ...

    def forward(self, stacked_B2L): ...
'''
SMALL = '''
from torch import nn
from models import register_model

@register_model("{name}")
class {name}(nn.Module):
    """A network for tests.

    Args:
        width: units in
            the middle.
    """

    def __init__(self, points: int, labels: int, width: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * points, width), nn.Linear(width, labels))

    def forward(self, x):
        return self.layers(x)
'''


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    words.choose("en")
    made = Workspace(tmp_path.resolve())
    made.networks.mkdir(parents=True)
    yield made
    registry.discover(None)


def drop(workspace: Workspace, file: str, text: str) -> Path:
    path = workspace.networks / file
    path.write_text(text, encoding="utf-8")
    return path


def messages(network: catalog.Network, fields: dict[str, Any]) -> dict[tuple[str | int, ...], str]:
    return {loc[1:]: text for loc, text in catalog.check_fields(network, fields)}


def test_reading_and_importing_agree_on_every_network_of_ours(workspace: Workspace) -> None:
    read = {network.name: network for network in catalog.networks(workspace)}
    assert sorted(read) == registry.names()
    for name, network in read.items():
        cls = registry.get(name)
        assert network.inputs == contract.inputs_of(cls), name
        assert network.cls == cls.__name__ and network.builtin and network.broken is None
        assert network.file == registry.files(name)[0]
        assert network.summary and network.summary in (cls.__doc__ or "")
        assert all(field.help for field in network.fields), name


def test_the_folder_is_the_registry_s() -> None:
    assert catalog.PACKAGE_FOLDER == registry.PACKAGE_FOLDER


def test_published_defaults_are_known_without_building(workspace: Workspace) -> None:
    network = catalog.find(workspace, "FreqInceptionLNet")
    fields = {field.name: field for field in network.fields}
    assert "points" not in fields and "labels" not in fields
    branch = {field.name: field for field in fields["frequency_branch"].nested or []}
    assert (branch["dropout"].default, branch["dropout"].annotation) == (0.2, "float")
    assert branch["mlp_output_dim"].help
    defaults = {name: field.default for name, field in fields.items()}
    assert catalog.check_fields(network, defaults) == []
    registry.build("FreqInceptionLNet", points=64, labels=4, fields=defaults)


def test_a_dropped_file_is_found_by_both_and_builds(workspace: Workspace) -> None:
    path = drop(workspace, "my_net.py", SMALL.format(name="MyAwesomeNet"))
    drop(workspace, "_helper.py", "not python")
    network = catalog.find(workspace, "MyAwesomeNet")
    assert (network.file, network.line, network.builtin) == (path, 6, False)
    assert network.inputs == ("concatenated",)
    assert [(field.name, field.default, field.help) for field in network.fields] == [
        ("width", 3, "units in the middle.")
    ]
    registry.discover(workspace.networks)
    assert contract.inputs_of(registry.get("MyAwesomeNet")) == network.inputs
    contract.materialise(registry.build("MyAwesomeNet", points=8, labels=2, fields={"width": 5}), 8, 2)


def test_an_edited_file_is_read_again(workspace: Workspace) -> None:
    path = drop(workspace, "my_net.py", SMALL.format(name="First"))
    assert catalog.find(workspace, "First")
    drop(workspace, "my_net.py", SMALL.format(name="Second"))
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000))
    assert catalog.find(workspace, "Second")
    with pytest.raises(BadInput):
        catalog.find(workspace, "First")


def test_unknown_name(workspace: Workspace) -> None:
    drop(workspace, "bad.py", "x = 1\ndef (:\n")
    with pytest.raises(BadInput) as caught:
        catalog.find(workspace, "StarNt")
    first, known, broken = caught.value.lines
    assert first == "unknown model 'StarNt'; did you mean 'StarNet'?"
    assert known == "known models: FreqInceptionLNet, MLP, StarNet"
    assert broken.startswith("models/spectral_prediction/bad.py: ") and "line 2: invalid syntax" in broken
    with pytest.raises(BadInput) as caught:
        catalog.find(workspace, "zzz")
    assert caught.value.lines[0] == "unknown model 'zzz'"


def test_a_broken_file_is_one_entry(workspace: Workspace) -> None:
    drop(workspace, "bad.py", "def (:\n")
    drop(workspace, "nul.py", "a\0b")
    drop(workspace, "latin.py", "# coding: nonsense\n")
    broken = {network.name: network.broken for network in catalog.networks(workspace) if network.broken}
    assert set(broken) == {"bad", "nul", "latin"}
    assert catalog.find(workspace, "MLP")


def test_two_files_with_one_name(workspace: Workspace) -> None:
    drop(workspace, "a.py", SMALL.format(name="Twice"))
    drop(workspace, "b.py", SMALL.format(name="Twice"))
    with pytest.raises(BadInput, match=r"a\.py:6 and .*b\.py:6"):
        catalog.find(workspace, "Twice")


def test_a_copy_of_ours_is_not_a_second_network(workspace: Workspace) -> None:
    original = (catalog.PACKAGE_FOLDER / "star_net.py").read_text(encoding="utf-8")
    drop(workspace, "star_net.py", original)
    assert catalog.find(workspace, "StarNet").builtin
    drop(workspace, "star_net.py", original + "# mine\n")
    with pytest.raises(BadInput, match="two models are called 'StarNet'"):
        catalog.find(workspace, "StarNet")
    checkout = Workspace(ROOT)
    assert catalog.find(checkout, "StarNet").builtin


def test_annotations_are_read_without_running_anything(workspace: Workspace) -> None:
    drop(workspace, "typed.py", NETWORK)
    network = catalog.find(workspace, "Typed")
    fields = {field.name: field for field in network.fields}
    assert network.inputs == ("stacked",)
    assert fields["needed"].required and not fields["mode"].required
    assert fields["pair"].default == [1, 2.0] and fields["only"].default == [True]
    assert fields["free"].annotation == "" and fields["free"].default is None
    nested = {field.name: field for field in fields["maybe"].nested or []}
    assert list(nested) == ["size", "rate", "inner"]
    assert (nested["rate"].default, nested["rate"].help) == (0.5, "how much of it")
    assert not nested["size"].required
    assert [field.name for field in nested["inner"].nested or []] == ["names"]


GOOD: list[dict[str, Any]] = [
    {},
    {"mode": "slow"},
    {"pair": [1, 2]},
    {"many": [1, 2, 3]},
    {"many": (1, 2)},
    {"either": [1]},
    {"either": 2},
    {"maybe": None},
    {"maybe": {"size": 1}},
    {"groups": [{"size": 1, "inner": {"names": ["a"]}}]},
    {"table": {"a": 1.5}},
    {"odd": object()},
    {"free": {1: 2}},
    {"only": [False]},
]


@pytest.mark.parametrize("fields", GOOD)
def test_good_fields(workspace: Workspace, fields: dict[str, Any]) -> None:
    drop(workspace, "typed.py", NETWORK)
    assert messages(catalog.find(workspace, "Typed"), {"needed": 1, **fields}) == {}


BAD: list[tuple[dict[str, Any], tuple[str | int, ...], str]] = [
    ({"moed": "slow"}, ("moed",), "unknown field 'moed' of Typed; did you mean 'mode'?"),
    ({"qqq": 1}, ("qqq",), "it takes: needed, mode, pair"),
    ({"mode": "quick"}, ("mode",), "'quick' will not do; expected one of 'fast', 'slow'"),
    ({"needed": 1.0}, ("needed",), "1.0 will not do; expected a whole number"),
    ({"needed": True}, ("needed",), "True will not do; expected a whole number"),
    ({"needed": "1"}, ("needed",), "'1' will not do; expected a whole number"),
    ({"pair": [1, "x"]}, ("pair", 1), "'x' will not do; expected a finite number"),
    ({"many": [1, 2.5]}, ("many", 1), "2.5 will not do; expected a whole number"),
    ({"either": "x"}, ("either",), "'x' will not do; expected a whole number or a list"),
    ({"maybe": {}}, ("maybe", "size"), "Typed needs 'size'"),
    ({"maybe": {"size": 1, "rte": 2}}, ("maybe", "rte"), "did you mean 'rate'?"),
    ({"maybe": {"size": 1, "rate": float("inf")}}, ("maybe", "rate"), "inf will not do; expected a finite"),
    (
        {"groups": [{"size": 1, "inner": {"name": []}}]},
        ("groups", 0, "inner", "name"),
        "did you mean 'names'?",
    ),
    ({"table": {"a": "b"}}, ("table", "a"), "'b' will not do; expected a finite number"),
    ({"table": {1: 2.0}}, ("table", 1), "1 will not do; expected text"),
    ({"table": [1]}, ("table",), "[1] will not do; expected a mapping"),
    ({"points": 5}, ("points",), "points is set by the data; remove it"),
]


@pytest.mark.parametrize(("fields", "loc", "text"), BAD)
def test_bad_fields(
    workspace: Workspace, fields: dict[str, Any], loc: tuple[str | int, ...], text: str
) -> None:
    drop(workspace, "typed.py", NETWORK)
    found = messages(catalog.find(workspace, "Typed"), {"needed": 1, **fields})
    assert list(found) == [loc]
    assert text in found[loc]


def test_all_mistakes_at_once_and_the_path_in_front(workspace: Workspace) -> None:
    drop(workspace, "typed.py", NETWORK)
    found = catalog.check_fields(catalog.find(workspace, "Typed"), {"moed": 1, "pair": 3}, path=("a", "b"))
    assert sorted(loc for loc, _ in found) == [("a", "b", "moed"), ("a", "b", "needed"), ("a", "b", "pair")]


def test_an_older_network_takes_any_field(workspace: Workspace) -> None:
    text = SMALL.format(name="Older").replace("points: int, labels: int, width: int = 3", "configs")
    drop(workspace, "older.py", text)
    network = catalog.find(workspace, "Older")
    assert network.open and network.fields == []
    assert messages(network, {"anything": {"at": "all"}}) == {}
    assert list(messages(network, {"labels": 3})) == [("labels",)]


def test_inputs_in_the_decorator_win(workspace: Workspace) -> None:
    text = SMALL.format(name="Said").replace('"Said")', '"Said", inputs=("normalized",))')
    drop(workspace, "said.py", text)
    registry.discover(workspace.networks)
    assert (
        catalog.find(workspace, "Said").inputs == contract.inputs_of(registry.get("Said")) == ("normalized",)
    )


def test_methods_of_a_base_in_the_same_file_are_seen(workspace: Workspace) -> None:
    text = (
        SMALL.format(name="Parent") + '\n@register_model("Child")\nclass Child(Parent):\n    """A child."""\n'
    )
    drop(workspace, "family.py", text)
    registry.discover(workspace.networks)
    child = catalog.find(workspace, "Child")
    assert [field.name for field in child.fields] == ["width"]
    assert child.inputs == contract.inputs_of(registry.get("Child"))


def test_counts_are_remembered_and_only_the_stale_are_counted(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop(workspace, "my_net.py", SMALL.format(name="Mine"))
    asked: list[list[str]] = []
    child = counts._child

    def spy(workspace: Workspace, names: list[str], *rest: Any) -> Any:
        asked.append(list(names))
        return child(workspace, names, *rest)

    monkeypatch.setattr(counts, "_child", spy)

    first = catalog.parameter_counts(workspace, points=64, labels=2, names=["Mine", "MLP", "no such"])
    assert first["Mine"] == catalog.Count(128 * 3 + 3 + 3 * 2 + 2, {"layers": 395})
    assert catalog.parameter_counts(workspace, points=64, labels=2, names=["Mine", "MLP"]) == first
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000))
    assert catalog.parameter_counts(workspace, points=64, labels=2, names=["Mine", "MLP"]) == first
    assert asked == [["Mine", "MLP"], ["Mine"]]

    stored = json.loads((workspace.cache / "models.json").read_text(encoding="utf-8"))
    assert len(stored) == 2  # the outdated entry has gone
    assert [file.name for file in workspace.cache.iterdir()] == ["models.json"]
    (workspace.cache / "models.json").write_text("{torn", encoding="utf-8")
    assert catalog.parameter_counts(workspace, points=64, labels=2, names=["Mine"]) == {"Mine": first["Mine"]}


def test_counting_is_not_fooled_by_the_workspace_nor_brought_down_by_a_network(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace.root / "models" / "__init__.py").write_text("raise SystemExit('shadowed')", encoding="utf-8")
    drop(
        workspace,
        "crash.py",
        SMALL.format(name="Crash").replace("super().__init__()", "import os; os._exit(9)"),
    )
    drop(workspace, "wrong.py", SMALL.format(name="Wrong").replace("(width, labels)", "(width, 7)"))
    monkeypatch.chdir(workspace.root)
    monkeypatch.setenv("PYTHONPATH", str(workspace.root))
    found = catalog.parameter_counts(workspace, points=64, labels=2, names=["Crash", "Wrong", "StarNet"])
    assert found["StarNet"].error is None and found["StarNet"].parameters
    assert "code 9" in (found["Crash"].error or "")
    assert "it gave (2, 7)" in (found["Wrong"].error or "")


def test_a_count_that_takes_too_long_is_given_up(workspace: Workspace) -> None:
    found = catalog.parameter_counts(workspace, points=64, names=["MLP"], timeout=0.01)
    assert "0.01 s" in (found["MLP"].error or "")
    assert "MLP" not in counts._read(workspace)


def test_a_read_only_cache_costs_nothing_but_time(workspace: Workspace) -> None:
    workspace.cache.write_text("a file where the folder should be", encoding="utf-8")
    found = catalog.parameter_counts(workspace, points=64, labels=2, names=["MLP"])
    assert found["MLP"].parameters


def test_both_languages_have_the_same_words() -> None:
    english, chinese = words.catalogue("en"), words.catalogue("zh")
    mine = [key for key in english if key.startswith(("catalog.", "models."))]
    assert mine and all(key in chinese for key in mine)


def test_the_catalog_knows_nothing_of_torch() -> None:
    program = """if True:
        import sys
        from pathlib import Path
        from engine import catalog, workspace
        network = catalog.find(workspace.Workspace(Path('/nowhere')), 'FreqInceptionLNet')
        catalog.check_fields(network, {'x': 1})
        print([m for m in sys.modules if m.split('.')[0] in ('torch', 'models', 'numpy', 'textual')])"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
