"""From a conf file and overrides to a checked conf, or to every mistake with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import engine.words
from engine import presets_folder
from engine.cli.parser import build
from engine.conf.load import difference, flatten, from_plain, get, locate, resolve, to_yaml
from engine.conf.schema import KNOWN_FLAGS, Conf, Section
from engine.conf.tree import SECTIONS
from engine.errors import BadInput
from engine.workspace import Workspace

Write = Callable[..., Path]


@pytest.fixture
def write(workspace: Workspace) -> Write:
    """`write(text)` is conf/x.yaml with that text; a second argument gives another name under conf/."""

    def write(text: str, name: str = "x.yaml") -> Path:
        path = workspace.conf / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def mistakes(workspace: Workspace, path: Any = "x", **overrides: Any) -> list[str]:
    """Return the lines that a conf is refused with."""
    with pytest.raises(BadInput) as caught:
        resolve(workspace, path, **overrides)
    return caught.value.lines


# -- mistakes -----------------------------------------------------------------------------------------------


def test_every_mistake_is_told_at_once_with_place_key_and_near_miss(
    workspace: Workspace, write: Write
) -> None:
    write(
        "version: 1\n"
        "model:\n"
        "  name: FreqInceptionLNet\n"
        "  normalization_settings:\n"
        "    norm_typ: ln\n"
        "training:\n"
        "  batch_sise: 64\n"
        "  batch-size: 64\n"
        "  epochs: 3.5\n"
        "  optimizer: lion\n"
        "  float: 1\n"
        "data:\n"
        "  clip:\n"
        "    normalized: [3, -1]\n"
        "  targets: [Teff, 3]\n"
    )
    assert sorted(mistakes(workspace)) == [
        "conf/x.yaml:10:3: training.optimizer: must be one of 'adam', 'adamw', 'sgd', 'rmsprop', "
        "'adamw_schedule_free', got 'lion'",
        "conf/x.yaml:11:3: training.float: unknown key",
        "conf/x.yaml:14:5: data.clip.normalized: the first bound must be below the second, "
        "for example [-1, 3]",
        "conf/x.yaml:15:19: data.targets.1: must be text, got 3",
        "conf/x.yaml:5:5: model.normalization_settings.norm_typ: unknown field 'norm_typ' of "
        "FreqInceptionLNet; did you mean 'norm_type'?",
        "conf/x.yaml:7:3: training.batch_sise: unknown key; did you mean 'batch_size'?",
        "conf/x.yaml:8:3: training.batch-size: unknown key; did you mean 'batch_size'?",
        "conf/x.yaml:9:3: training.epochs: must be a whole number, got 3.5",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("training: {learning_rate: true}", "training.learning_rate: must be a number, got True"),
        ("training: {learning_rate: '1e-3'}", "training.learning_rate: must be a number, got '1e-3'"),
        ("training: {batch_size: 1}", "training.batch_size: must be 2 or more, got 1"),
        ("training: {batch_size: '32'}", "training.batch_size: must be a whole number, got '32'"),
        ("training: {epochs: true}", "training.epochs: must be a whole number, got True"),
        ("training: {patience: soon}", "training.patience: must be a whole number, got 'soon'"),
        ("training: {learning_rate: .nan}", "training.learning_rate: must be a finite number, got nan"),
        (
            "training: {gradient_clip_val: .inf}",
            "training.gradient_clip_val: must be a finite number, got inf",
        ),
        ("training: {min_learning_rate: 1}", "training.min_learning_rate: above training.learning_rate"),
        ("training: {label_weights: 3}", "training.label_weights: must be a mapping such as {FeH: 2}, got 3"),
        ("training: {label_weights: {Te: 2}}", "training.label_weights: names a label that is not in"),
        ("training: {label_weights: {Teff: -1}}", "training.label_weights.Teff: must be 0 or more"),
        ("training: {gradient_clip_val: 0}", "training.gradient_clip_val: must be above 0, got 0"),
        ("training: {seed: 4294967296}", "training.seed: must be below 4294967296, got 4294967296"),
        ("training: {device: gpu}", "training.device: not one of the accepted forms, got 'gpu'"),
        ("training: {warmup_epochs: 11}", "training.warmup_epochs: longer than training.epochs"),
        ("training: 5", "training: must be a section with keys, got 5"),
        ("training: {3: 4}", "training.3: a key must be a word"),
        ("tracking: {enabled: yes}", "tracking.enabled: must be true or false, got 'yes'"),
        ("tracking: {experiment: ''}", "tracking.experiment: must not be empty"),
        ("name: 3", "name: must be text, got 3"),
        (f"name: {'x' * 81}", "name: takes at most 80 characters"),
        ("data: {split: [0.8, 0.1]}", "data.split.ratios: needs at least 3 entries, got [0.8, 0.1]"),
        (
            "data: {split: [0.5, 0.1, 0.1, 0.3]}",
            "data.split.ratios: takes at most 3 entries, got [0.5, 0.1, 0.1, 0.3]",
        ),
        ("data: {split: [0.8, 0.1, 0.2]}", "data.split.ratios: three shares that add up to 1"),
        ("data: {split: [0.8, .nan, 0.2]}", "data.split.ratios: three shares that add up to 1"),
        ("data: {split: [0, 0.5, 0.5]}", "data.split.ratios: three shares that add up to 1"),
        ("data: {targets: [FeH, FeH]}", "data.targets: a label stands twice"),
        ("data: {targets: FeH}", "data.targets: must be a list, got 'FeH'"),
        ("data: {clip: {continuum: 3}}", "data.clip.continuum: must be a list of two numbers, got 3"),
        ("data: {clip: {continuum: [3]}}", "data.clip.continuum.1: must be given"),
        ("data: {clip: {continuum: [true, 3]}}", "data.clip.continuum.0: must be a number, got True"),
        ("data: {max_rows: 2}", "data.max_rows: must be 3 or more, got 2"),
        ("version: 2", "version: must be one of 1, got 2"),
        ("model: {name: StarNett}", "model.name: unknown model 'StarNett'; did you mean 'StarNet'?"),
        (
            "model: {name: MLP, hiden: [3]}",
            "model.hiden: unknown field 'hiden' of MLP; did you mean 'hidden'?",
        ),
        ("model: {name: MLP, points: 4}", "model.points: points is set by the data; remove it"),
        ("model: {name: MLP, hidden: 8}", "model.hidden: 8 will not do; expected a list"),
    ],
)
def test_a_mistake_names_its_key(workspace: Workspace, write: Write, text: str, line: str) -> None:
    write(f"description: one mistake below\n{text}\n")
    (found,) = mistakes(workspace)
    place, _, said = found.partition(": ")
    assert place.startswith("conf/x.yaml:2:")
    assert said.startswith(line)


def test_every_sentence_about_a_mistake_is_there_in_both_languages(workspace: Workspace) -> None:
    """Provoke every kind of error that pydantic has for our schema: none may keep pydantic's English."""
    wrong: list[Any] = [
        None, True, 0, -1, 1, 0.5, 1e99, 10**30, float("nan"), float("inf"), "", "x", "x" * 99,
        [], [1], ["x"] * 5, [3, 2], [0.5, 0.5, 0.5], ["a", "a"], {}, {"x": 1}, {1: 1},
    ]  # fmt: skip
    keys = [*flatten(Conf().plain()), "model", "data", "training", "tracking", "data.clip", "training.odd"]
    spoiled = []
    for key in keys:
        for value in wrong:
            data: dict[str, Any] = {}
            *parents, last = key.split(".")
            tree = data
            for part in parents:
                tree = tree.setdefault(part, {})
            tree[last] = value
            spoiled.append(data)

    def said(language: str) -> list[list[str]]:
        engine.words.choose(language)
        lines = []
        for data in spoiled:
            try:
                from_plain(workspace, data, "x")
            except BadInput as error:
                lines.append(error.lines)
        return lines

    english, chinese = said("en"), said("zh")
    assert len(english) == len(chinese) > 300
    for en, zh in zip(english, chinese, strict=True):
        for one, other in zip(en, zh, strict=True):
            assert one != other, "a sentence that is the same in both languages was not translated"
            assert not any(word in one for word in ("Input should", "Value error", "valid ")), one


def test_a_conf_that_is_not_there_names_near_misses(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a path that is good from here comes first
    (line,) = mistakes(workspace, "conf/dem.yaml")
    assert line.startswith("conf/dem.yaml: no such conf; did you mean conf/demo.yaml")
    assert mistakes(workspace, "zzz") == ["zzz: no such conf; see: spectui confs"]
    assert locate(workspace, "demo") == locate(workspace, "conf/demo.yaml") == workspace.conf / "demo.yaml"


def test_the_root_comes_first_and_a_dot_means_here(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    (here / "conf").mkdir(parents=True)
    for name in ("conf/demo.yaml", "conf/only.yaml"):
        (here / name).write_text("name: of here\n")
    monkeypatch.chdir(here)
    assert resolve(workspace, "conf/demo.yaml").conf.name == "demo"
    for path in ("./conf/demo.yaml", "conf/only.yaml", here / "conf" / "demo.yaml"):
        assert resolve(workspace, path).conf.name == "of here"


def test_another_network_leaves_the_fields_of_the_first(workspace: Workspace, write: Write) -> None:
    write("model: {name: MLP, hidden: [8]}\n")
    assert resolve(workspace, "x", flags={"model": "StarNet"}).conf.plain()["model"] == {"name": "StarNet"}
    kept = resolve(workspace, "x", flags={"model": "MLP"}).conf.plain()["model"]
    assert kept == {"name": "MLP", "hidden": [8]}


# -- composition --------------------------------------------------------------------------------------------


def test_base_is_merged_deeply_and_marks_say_which_file(workspace: Workspace, write: Write) -> None:
    write(
        "name: low\ntraining:\n  epochs: 7\n  batch_size: 8\ndata:\n  clip:\n    continuum: [0, 1]\n",
        "low.yaml",
    )
    write("base: low.yaml\nname: mid\ntraining: {epochs: 9}\n", "mid.yaml")
    write("base: mid.yaml\ndata:\n  clip:\n    normalized: null\n")
    conf = resolve(workspace, "x").conf
    assert (conf.name, conf.training.epochs, conf.training.batch_size) == ("mid", 9, 8)
    assert (conf.data.clip.continuum, conf.data.clip.normalized) == ((0, 1), None)
    write("training:\n  batch_size: few\n", "low.yaml")
    assert mistakes(workspace)[0].startswith("conf/low.yaml:2:3: training.batch_size: ")


def test_bases_that_lead_back_or_nowhere_are_refused(workspace: Workspace, write: Write) -> None:
    write("base: b.yaml\n", "a.yaml")
    write("base: a.yaml\n", "b.yaml")
    assert mistakes(workspace, "a") == ["conf/a.yaml: base: leads back to this file"]
    write("base: x.yaml\n")
    assert mistakes(workspace) == ["conf/x.yaml: base: leads back to this file"]
    write("base: gone.yaml\n")
    assert mistakes(workspace)[0].startswith("conf/x.yaml: base: gone.yaml: no such file")


def test_a_section_given_by_name_is_read_from_its_folder(workspace: Workspace, write: Write) -> None:
    write("epochs: 4\nbatch_size: 8\n", "training/short.yaml")
    write("training: short\n")
    assert resolve(workspace, "x").conf.training.epochs == 4
    write("base: x.yaml\ntraining: {batch_size: 5}\n", "y.yaml")
    both = resolve(workspace, "y").conf.training
    assert (both.epochs, both.batch_size) == (4, 5)
    write("epochs: 4\nbach_size: 8\n", "training/short.yaml")
    (line,) = mistakes(workspace)
    assert line.startswith(
        "conf/training/short.yaml:2:1: training.bach_size: unknown key; did you mean 'batch_size'"
    )
    write("training: long\n")
    assert mistakes(workspace) == [
        "conf/x.yaml:1:1: training: no file conf/training/long.yaml; there are: short"
    ]


def test_model_conf_brings_the_fields_of_a_network(workspace: Workspace, write: Write) -> None:
    file = write("hidden: [4, 4]\n", "fields/mlp.yaml")
    resolved = resolve(workspace, None, flags={"model": "MLP"}, model_conf=file)
    assert resolved.conf.model.fields == {"hidden": [4, 4]}
    write("model:\n  name: MLP\n  hidden: [3]\n", "fields/mlp.yaml")
    assert resolve(workspace, "demo", model_conf=file).conf.model.name == "MLP"
    write("hiden: [4]\n", "fields/mlp.yaml")
    (line,) = mistakes(workspace, None, flags={"model": "MLP"}, model_conf=file)
    assert line.startswith(f"{file}:1:1: model.hiden: unknown field 'hiden' of MLP")
    assert "no such conf" in mistakes(workspace, None, model_conf="gone.yaml")[0]


# -- overrides ----------------------------------------------------------------------------------------------


def test_set_and_flags_change_keys_in_order(workspace: Workspace) -> None:
    resolved = resolve(
        workspace,
        "demo",
        sets=["training.batch_size=64", "data.clip.continuum=[0, 2]", "training.batch_size=16"],
        flags={"batch_size": "8", "learning_rate": "1e-4", "patience": "null"},
    )
    conf = resolved.conf
    assert (conf.training.batch_size, conf.training.learning_rate) == (16, 1e-4)
    assert conf.data.clip.continuum == (0, 2)
    assert resolved.patch == {
        "training.learning_rate": {"was": 1e-3, "is": 1e-4},
        "training.batch_size": {"was": 32, "is": 16},
        "data.clip.continuum": {"was": None, "is": [0, 2]},
    }


def test_overrides_that_are_wrong_say_which_word(workspace: Workspace) -> None:
    assert mistakes(workspace, "demo", sets=["training.batch_size"]) == [
        "--set training.batch_size: write it as section.key=value, for example --set training.batch_size=64"
    ]
    assert mistakes(workspace, "demo", sets=["training.bach_size=3"]) == [
        "--set training.bach_size: unknown key; did you mean 'batch_size'?"
    ]
    assert mistakes(workspace, "demo", flags={"batch_size": "few"}) == [
        "--batch_size: training.batch_size: must be a whole number, got 'few'"
    ]


def test_a_mistake_in_an_override_does_not_point_into_the_file(workspace: Workspace, write: Write) -> None:
    write("data:\n  clip:\n    normalized: [0, 2]\n")
    (line,) = mistakes(workspace, "x", sets=["data.clip.normalized=[a, 2]"])
    assert line.startswith("--set data.clip.normalized: ")


def test_names_that_look_like_numbers_are_names(workspace: Workspace) -> None:
    assert resolve(workspace, "demo", flags={"model_id": "2026"}).conf.name == "2026"
    assert resolve(workspace, "demo", flags={"model_id": "1e-4"}).conf.name == "1e-4"


def test_whole_number_keys_can_be_set(workspace: Workspace, write: Write) -> None:
    write("model:\n  name: MLP\n")
    assert "model.3" in mistakes(workspace, "x", sets=["model.3=4"])[0]
    block = "model.inception_branch.blocks=[{out_channels_per_path: {3: 8, 5: 8}}]"
    resolved = resolve(workspace, None, sets=[block])
    assert resolved.conf.model.fields["inception_branch"]["blocks"] == [
        {"out_channels_per_path": {3: 8, 5: 8}}
    ]


def test_overrides_may_repair_a_conf_that_is_wrong_alone(workspace: Workspace, write: Write) -> None:
    write("training:\n  epochs: none\n")
    assert resolve(workspace, "x", sets=["training.epochs=3"]).patch == {
        "training.epochs": {"was": None, "is": 3}
    }


def test_a_conf_without_overrides_has_no_patch(workspace: Workspace) -> None:
    resolved = resolve(workspace, "demo")
    assert resolved.patch == {}
    assert resolved.source == "conf/demo.yaml"
    assert resolve(workspace, None).source is None


def test_difference_and_flatten_take_lists_as_leaves() -> None:
    old = {"a": {"b": 1, "c": [1, 2]}, "d": {}}
    new = {"a": {"b": 1, "c": [1]}, "d": {"e": 3}}
    assert difference(old, new) == {
        "a.c": {"was": [1, 2], "is": [1]}, "d": {"was": {}, "is": None}, "d.e": {"was": None, "is": 3},
    }  # fmt: skip
    assert get(new, "d.e") == 3
    assert get(new, "d.e.f") is None
    assert get(new, "nowhere.at.all") is None


# -- schema -------------------------------------------------------------------------------------------------


def test_every_known_flag_sets_a_key_of_the_schema_and_is_an_option(workspace: Workspace) -> None:
    keys = flatten(Conf().plain())
    samples = {"model": "StarNet", "model_id": "n", "device": "cpu", "learning_rate": "0.5", "patience": "4",
               "gradient_clip_val": "4", "train_epochs": "40", "batch_size": "4", "seed": "4"}  # fmt: skip
    assert set(samples) == set(KNOWN_FLAGS)
    for flag, key in KNOWN_FLAGS.items():
        assert key in keys
        # What the option gives goes through `cli.training` as this same mapping.
        arguments = build("spectui").parse_args(["train", "demo", f"--{flag}", samples[flag]])
        conf = resolve(workspace, None, flags={flag: getattr(arguments, flag)}).conf
        assert get(conf.plain(), key) != keys[key], flag


def test_resolved_confs_round_trip_through_yaml(workspace: Workspace) -> None:
    blocks = [{"out_channels_per_path": {3: 8, 5: 8}, "use_pooling": False}]
    plain = resolve(workspace, "freq_inception_l_net").conf.plain()
    plain["model"]["inception_branch"] = {"blocks": blocks}
    plain["name"], plain["description"] = "1e-4", "yes: #no, 'and' 007 · 光谱"
    conf = from_plain(workspace, plain, "x")
    file = workspace.conf / "again.yaml"
    file.write_text(to_yaml(conf.plain()), encoding="utf-8")
    assert resolve(workspace, file).conf == conf
    # What reads conf.yaml without our loader must see the same.
    assert yaml.safe_load(file.read_text(encoding="utf-8")) == conf.plain()


@pytest.mark.parametrize("name", ["demo", "freq_inception_l_net", "mlp", "star_net"])
def test_every_preset_is_a_good_conf(workspace: Workspace, name: str) -> None:
    conf = resolve(workspace, name).conf
    assert conf.name == name
    assert conf.description


def _sections(section: type[Section]) -> list[type[Section]]:
    below = [f.annotation for f in section.model_fields.values()]
    kinds = [k for k in below if isinstance(k, type) and issubclass(k, Section)]
    return [section, *(deeper for kind in kinds for deeper in _sections(kind))]


def test_every_key_says_what_it_means_and_is_frozen() -> None:
    for section in _sections(Conf):
        for name, field in section.model_fields.items():
            is_section = isinstance(field.annotation, type) and issubclass(field.annotation, Section)
            assert field.description or is_section, f"{section.__name__}.{name} has no help"
    with pytest.raises(ValueError, match="frozen"):
        Conf().training.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize("conf", sorted(path.stem for path in presets_folder().glob("*.yaml")))
def test_every_preset_takes_a_single_epoch(workspace: Workspace, conf: str) -> None:
    """The first thing people try is one epoch."""
    assert resolve(workspace, conf, flags={"train_epochs": "1"}).conf.training.epochs == 1


def test_the_plain_half_knows_the_sections_of_the_schema() -> None:
    assert tuple(Conf.model_fields) == SECTIONS
