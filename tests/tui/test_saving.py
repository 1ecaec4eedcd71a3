"""An edited conf is saved with its comments, its base and its sections by name; whole or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from engine.conf.load import from_plain, resolve
from engine.conf.schema import Conf
from engine.errors import BadInput
from tui import saving

COMMENTED = """\
# What this is for.
name: mine

model:
  name: MLP
  hidden: [64, 32]   # two layers
training:
  # slow and sure
  learning_rate: 1e-4
  batch_size: 64     # fits the laptop
"""


def changed(workspace: Any, conf: Conf, **values: Any) -> Conf:
    plain = conf.plain()
    for name, value in values.items():
        *parents, last = name.split("__")
        place = plain
        for part in parents:
            place = place[part]
        place[last] = value
    return from_plain(workspace, plain, "test")


@pytest.fixture
def mine(workspace: Any) -> Conf:
    (workspace.conf / "mine.yaml").write_text(COMMENTED)
    return resolve(workspace, "mine").conf


def resaved(workspace: Any, source: str | None, conf: Conf) -> str:
    """Save as conf/new.yaml and return the text; it means the conf, and nothing else is left behind."""
    target = saving.target_of(workspace, "new")
    before = {path.name for path in workspace.conf.iterdir()}
    saving.write(workspace, target, saving.text_of(workspace, source, conf))
    assert resolve(workspace, "new").conf == conf
    assert {path.name for path in workspace.conf.iterdir()} == before | {"new.yaml"}
    return target.read_text()


def test_only_what_changed_changes_in_the_text(workspace: Any, mine: Conf) -> None:
    conf = changed(workspace, mine, training__batch_size=128, model__hidden=[64, 16])
    text = resaved(workspace, "conf/mine.yaml", conf)
    assert text == COMMENTED.replace("64     #", "128    #").replace("[64, 32]", "[64, 16]")
    assert (workspace.conf / "mine.yaml").read_text() == COMMENTED


def test_new_keys_and_nulls_are_added_and_the_rest_stays(workspace: Any, mine: Conf) -> None:
    conf = changed(
        workspace, mine, training__gradient_clip_val=None, training__label_weights={"FeH": 2.0},
        data__split__ratios=[0.6, 0.2, 0.2], description="a: b # c",
    )  # fmt: skip
    text = resaved(workspace, "conf/mine.yaml", conf)
    assert text.startswith(COMMENTED.rstrip()[:60]) and "# slow and sure" in text and "1e-4" in text


def test_base_and_sections_by_name_are_kept_where_they_still_hold(workspace: Any) -> None:
    for folder, text in (("training", "# of the part\nepochs: 3\nbatch_size: 16\n"), ("data", "seed_: 1\n")):
        (workspace.conf / folder).mkdir(exist_ok=True)
        (workspace.conf / folder / "quick.yaml").write_text(text)
    (workspace.conf / "under.yaml").write_text("model: {name: MLP}\ntraining: {seed: 7}\n")
    (workspace.conf / "top.yaml").write_text("base: under.yaml  # below\nname: top\ntraining: quick\n")
    conf = resolve(workspace, "top").conf
    text = resaved(workspace, "conf/top.yaml", changed(workspace, conf, name="other"))
    assert text == "base: under.yaml  # below\nname: other\ntraining: quick\n"
    (workspace.conf / "new.yaml").unlink()
    text = resaved(workspace, "conf/top.yaml", changed(workspace, conf, training__epochs=4))
    assert "base: under.yaml  # below" in text and "epochs: 4\n" in text and "training: quick" not in text
    # What the part left to the default, the base says otherwise.
    assert "seed: 42" in text and "# of the part" in text


def test_another_network_leaves_no_field_of_the_first(workspace: Any, mine: Conf) -> None:
    conf = from_plain(workspace, mine.plain() | {"model": {"name": "StarNet"}}, "test")
    text = resaved(workspace, "conf/mine.yaml", conf)
    assert "hidden" not in text and "# slow and sure" in text


def test_a_base_with_fields_of_another_network_is_not_built_on(workspace: Any, mine: Conf) -> None:
    (workspace.conf / "top.yaml").write_text("base: mine.yaml\n")
    conf = from_plain(workspace, mine.plain() | {"model": {"name": "StarNet"}}, "test")
    text = resaved(workspace, "conf/top.yaml", conf)
    assert "base" not in text


@pytest.mark.parametrize("source", [None, "conf/gone.yaml", "conf/broken.yaml"])
def test_without_a_source_what_differs_from_the_defaults_is_written(
    workspace: Any, mine: Conf, source: str | None
) -> None:
    (workspace.conf / "broken.yaml").write_text("training: [\n")
    text = resaved(workspace, source, mine)
    assert "batch_size: 64" in text and "momentum" not in text


def test_names_are_checked_and_files_that_are_there_stay(workspace: Any, mine: Conf) -> None:
    for bad in ("", "a/b", "../x", ".hidden", "a b", "x" * 99):
        with pytest.raises(BadInput, match="no name for a conf"):
            saving.target_of(workspace, bad)
    with pytest.raises(BadInput, match=r"differs from conf/mine.yaml by capitals"):
        saving.target_of(workspace, "Mine")
    assert saving.target_of(workspace, "conf/mine.yaml") == workspace.conf / "mine.yaml"
    with pytest.raises(BadInput, match="is there already"):
        saving.write(workspace, workspace.conf / "mine.yaml", "name: x\n")
    assert (workspace.conf / "mine.yaml").read_text() == COMMENTED
    saving.write(workspace, workspace.conf / "mine.yaml", "name: x\n", replace=True)
    assert (workspace.conf / "mine.yaml").read_text() == "name: x\n"


def test_a_text_that_is_no_conf_is_never_written(workspace: Any, mine: Conf) -> None:
    before = sorted(path.name for path in workspace.conf.iterdir())
    with pytest.raises(BadInput, match="epochs"):
        saving.write(workspace, workspace.conf / "new.yaml", "training: {epochs: many}\n")
    assert sorted(path.name for path in workspace.conf.iterdir()) == before


def test_mistakes_of_an_edited_text_have_their_lines(workspace: Any) -> None:
    with pytest.raises(BadInput) as caught:
        saving.read_back(workspace, "name: x\ntraining:\n  epochs: -1\n  batch_sise: 3\n", "form.yaml")
    assert [line.partition(" ")[0] for line in caught.value.lines] == ["form.yaml:3:3:", "form.yaml:4:3:"]
    assert "did you mean 'batch_size'" in caught.value.lines[1]


def test_changes_are_the_lines_that_go_and_come() -> None:
    assert saving.changes("a\nb\nc\n", "a\nx\nc\n") == ["-b", "+x"]
