"""Sections of a network given by name: what a name stands for, what is refused, what a base hands down."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from engine import catalog, presets_folder
from engine.conf.form import form_fields
from engine.conf.form_check import problems_of
from engine.conf.load import from_plain, get, resolve
from engine.conf.marks import parse
from engine.conf.parts import names
from engine.errors import BadInput
from engine.train.network import build_network
from engine.workspace import Workspace
from models import contract

torch.set_num_threads(1)
PART = '''
from torch import nn
from models import register_head

@register_head("MyHead")
class MyHead(nn.Module):
    """A head for tests."""

    def __init__(self, in_channels: int, labels: int, width: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_channels, width), nn.Linear(width, labels))

    def forward(self, x):
        return self.layers(x.mean(dim=2))
'''


def write(workspace: Workspace, name: str, text: str) -> Path:
    path = workspace.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def dual(workspace: Workspace) -> Workspace:
    """A workspace with a part in a file, and a conf that names it."""
    write(workspace, "conf/backbone/tiny.yaml", "name: PyramidCNNBackbone\nstem: 4\nchannels: [8]\n")
    write(
        workspace,
        "conf/x.yaml",
        "model: {name: DualBranchSpectralModel, backbone: tiny, head: DecoderHead}\n",
    )
    return workspace


def test_a_name_is_a_file_or_a_registered_part(dual: Workspace) -> None:
    conf = resolve(dual, "x").conf
    assert conf.model.fields["backbone"] == {"name": "PyramidCNNBackbone", "stem": 4, "channels": [8]}
    assert conf.model.fields["head"] == {"name": "DecoderHead"}
    assert {"tiny", "ResNet50Backbone1D"} <= set(names(dual, "backbone"))
    network = build_network(dual, conf, 256)
    assert contract.count_parts(network)["backbone"] == 28 + 8 + 4 * 8 * 3 + 3 * 8 * 8 * 3 + 4 * 8 + 5 * 16


def test_a_word_of_the_command_line_names_a_part_and_then_sets_its_fields(dual: Workspace) -> None:
    write(
        dual,
        "conf/x.yaml",
        "model: {name: DualBranchSpectralModel, backbone: {name: DilatedCNNBackbone, blocks: 3}}\n",
    )
    conf = resolve(dual, "x", sets=["model.backbone=tiny", "model.backbone.stem=6"]).conf
    assert conf.model.fields["backbone"] == {"name": "PyramidCNNBackbone", "stem": 6, "channels": [8]}


def test_another_part_takes_nothing_over_from_the_base(dual: Workspace) -> None:
    write(
        dual, "conf/y.yaml", "base: x.yaml\nmodel: {backbone: {name: DilatedCNNBackbone}, head: {units: 8}}\n"
    )
    fields = resolve(dual, "y").conf.model.fields
    assert fields["backbone"] == {"name": "DilatedCNNBackbone"}
    assert fields["head"] == {"name": "DecoderHead", "units": 8}  # the same part keeps the base's
    write(dual, "conf/y.yaml", "base: x.yaml\nmodel: {backbone: AdjusterBackbone, head: null}\n")
    assert resolve(dual, "y", sets=["model.head=MultiTaskHead"]).conf.model.fields["backbone"] == {
        "name": "AdjusterBackbone"
    }


def test_every_mistake_in_a_part_is_told_with_its_place(dual: Workspace) -> None:
    write(dual, "conf/backbone/bad.yaml", "name: PyramidCNNBackbone\nsteem: 4\nnorm: batchh\n")
    write(
        dual,
        "conf/x.yaml",
        "model:\n  name: DualBranchSpectralModel\n  backbone: bad\n  head: DecodrHead\n"
        "  fusion: 3\n  global_branch: {heads: 2}\n  local_branch: {name: ConvBranch, in_length: 9}\n",
    )
    with pytest.raises(BadInput) as caught:
        resolve(dual, "x")
    assert sorted(caught.value.lines) == [
        "conf/backbone/bad.yaml:2:1: model.backbone.steem: unknown field 'steem' of PyramidCNNBackbone; "
        "did you mean 'stem'?",
        "conf/backbone/bad.yaml:3:1: model.backbone.norm: unknown norm 'batchh'; did you mean 'batch'?",
        "conf/x.yaml:4:3: model.head: unknown head 'DecodrHead'; did you mean 'DecoderHead'?",
        "conf/x.yaml:5:3: model.fusion: 3 will not do; expected text or a mapping (key: value)",
        "conf/x.yaml:6:3: model.global_branch: needs a name, such as {name: …}; see the names of each global "
        "branch with: spectui models --parts",
        "conf/x.yaml:7:36: model.local_branch.in_length: in_length is set by the data; remove it",
    ]


def test_a_part_of_the_workspace_is_found_and_built(dual: Workspace) -> None:
    write(dual, "models/parts/my_head.py", PART)
    assert [part.file.name for part in catalog.parts(dual, "head") if not part.builtin] == ["my_head.py"]
    conf = resolve(dual, "x", sets=["model.head={name: MyHead, width: 5}"]).conf
    network = build_network(dual, conf, 256)
    assert contract.count_parts(network)["head"] == 64 * 5 + 5 + 5 * 4 + 4
    with pytest.raises(BadInput, match="unknown field 'widht' of MyHead; did you mean 'width'"):
        resolve(dual, "x", sets=["model.head={name: MyHead, widht: 5}"])


def test_a_broken_part_hides_only_itself(dual: Workspace) -> None:
    write(dual, "models/parts/bad.py", "x = 1\ndef (:\n")
    write(dual, "models/parts/worse.py", PART.replace("MyHead", "Worse") + "\nundefined\n")
    resolve(dual, "x")
    with pytest.raises(BadInput, match=r"unknown head 'zzz'.*models/parts/bad\.py: .*line 2"):
        resolve(dual, "x", sets=["model.head={name: zzz}"])
    conf = resolve(dual, "x", sets=["model.head=Worse"]).conf  # its source is good, its import is not
    with pytest.raises(BadInput, match=r"worse\.py: .*line \d+: NameError"):
        build_network(dual, conf, 256)


def test_the_form_offers_the_names_and_takes_them(dual: Workspace) -> None:
    conf = resolve(dual, "x").conf
    fields = {field.key: field for field in form_fields(dual, conf)}
    head, backbone = fields["model.head"], fields["model.backbone"]
    assert (head.kind, head.text) == ("choice", "DecoderHead") and "MultiTaskHead" in head.choices
    assert backbone.kind == "text" and "stem: 4" in backbone.text  # what has fields is shown with them
    assert fields["model.fusion"].text == "add"
    plain = conf.plain()
    plain["model"]["head"] = "LSTMHead"
    assert "model.head" not in problems_of(dual, plain, list(fields))
    assert get(from_plain(dual, plain, "form").plain(), "model.head.name") == "LSTMHead"
    plain["model"]["head"] = "LSTMHeat"
    assert "did you mean 'LSTMHead'" in problems_of(dual, plain, list(fields))["model.head"]


def test_reading_and_importing_agree_on_every_part_of_ours(workspace: Workspace) -> None:
    from models import registry

    for kind in catalog.PART_KINDS:
        read = {part.name: part for part in catalog.parts(workspace, kind)}
        assert sorted(read) == registry.names(kind=kind) != []
        for name, part in read.items():
            cls = registry.get(name, kind)
            assert (part.cls, part.file) == (cls.__name__, registry.files(name, kind)[0])
            assert part.summary.endswith(".") and all(field.help for field in part.fields), name
            defaults = {f.name: f.default for f in part.fields if f.default is not None}
            assert catalog.check_fields(workspace, part, defaults) == [], name
    assert registry.KINDS[1:] == catalog.PART_KINDS


SECTIONS = [
    (path.parent.name, path.stem)
    for kind in catalog.PART_KINDS
    for path in sorted((presets_folder() / kind).glob("*.yaml"))
]
TOTALS = {
    "dual_branch": 5_519_140, "dual_branch_dilated": 510_596, "dual_branch_inception": 1_592_660,
    "dual_branch_pyramid": 4_230_468, "dual_branch_transformer": 2_842_884,
    "dual_branch_multi_layer_inception": 5_455_108, "dual_branch_res_inception": 6_152_476,
    "dual_branch_no_backbone": 5_479_284, "dual_branch_concat": 1_660_772, "dual_branch_film": 3_929_060,
    "dual_branch_gru": 2_062_308, "dual_branch_lstm_head": 377_812, "dual_branch_simple_head": 327_636,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), SECTIONS)
def test_every_preset_of_a_part_builds(workspace: Workspace, kind: str, name: str) -> None:
    sets = [f"model.{kind}={name}"]
    if kind == "global_branch" and name != "global":
        sets.append("model.backbone=null")  # these read the spectrum itself
    network = build_network(workspace, resolve(workspace, "dual_branch", sets=sets).conf, 512)
    assert contract.count_parts(network)[kind] > 0
    text = (workspace.conf / kind / f"{name}.yaml").read_text(encoding="utf-8")
    assert re.search(r"# [A-Z].* [a-z]+ ", text) and re.search(r"#.*[\u4e00-\u9fff]", text), "both languages"


@pytest.mark.parametrize("name", TOTALS)
def test_presets_have_the_published_totals(workspace: Workspace, name: str) -> None:
    network = build_network(workspace, resolve(workspace, name).conf, 4800)
    assert contract.count_parameters(network) == TOTALS[name]


def test_every_registered_part_has_a_preset(workspace: Workspace) -> None:
    for kind in ("backbone", "global_branch", "local_branch", "head"):
        files = (workspace.conf / kind).glob("*.yaml")
        shipped = {parse(path.read_text(encoding="utf-8"), path.name).data["name"] for path in files}
        assert shipped == {part.name for part in catalog.parts(workspace, kind)}
