"""`spectui train --from RUN`: the weights are taken over, or it is said why not and nothing is written."""

from __future__ import annotations

import shutil
import signal

import pytest
import torch

from engine.runs import find

from .conftest import House, Trial, as_if_never_disturbed, same

pytestmark = pytest.mark.e2e


def child_of(house: House, parent: Trial, *words: str, code: int = 0, **how: object) -> Trial:
    house.run("train", "--from", parent.run.run_id, *words, code=code, **how)
    return house.new()


def test_the_child_takes_the_weights_and_knows_its_parent(house: House, straight: Trial) -> None:
    one_epoch = ("--train_epochs", "1", "--learning_rate", "1e-12", "--set", "model.dropout=0.0")
    engine = house.run("train", "--from", straight.run.run_id, *one_epoch)
    child = house.new()
    assert child.record.parent == straight.run.run_id
    assert child.record.identity["from"]["source"] == f"{straight.run.run_id}/best.pt"
    (event,) = child.events("weights")
    names = list(straight.checkpoint("best.pt")["weights"])
    assert event["matched"] == names and event["missing"] == event["unexpected"] == event["misshapen"] == []
    assert f"{len(names)} parameters and statistics taken over" in engine.said
    mine, theirs = child.checkpoint()["weights"], straight.checkpoint("best.pt")["weights"]
    assert all(torch.allclose(mine[name], theirs[name], atol=1e-6) for name in names)
    same(child.checkpoint()["scalers"], straight.checkpoint("best.pt")["scalers"])
    shown = (child.run.path / "conf.patch").read_text()
    assert "learning_rate" in shown


def test_another_width_is_refused_and_nothing_is_written(house: House, straight: Trial) -> None:
    before = set(house.workspace.runs.iterdir())
    engine = house.run("train", "--from", straight.run.run_id, "--set", "model.hidden=[12]", code=2)
    refusal = [line for line in engine.lines if "take what matches with --partial" in line]
    assert len(refusal) == 1 and straight.run.run_id in refusal[0]
    assert any("of another shape: layers.0.weight [16, 128] -> [12, 128]" in line for line in engine.lines)
    assert "Traceback" not in engine.said
    assert set(house.workspace.runs.iterdir()) == before


def test_partial_takes_what_fits(house: House, straight: Trial) -> None:
    child = child_of(
        house, straight, "--partial", "--set", "model.hidden=[16, 8]", "--learning_rate", "1e-12",
        "--train_epochs", "1",
    )  # fmt: skip
    (event,) = child.events("weights")
    assert event["matched"] == ["layers.0.weight", "layers.0.bias"]
    assert [text.split()[0] for text in event["misshapen"]] == ["layers.3.weight", "layers.3.bias"]
    assert event["missing"] == ["layers.6.weight", "layers.6.bias"]
    first = child.checkpoint()["weights"]["layers.0.weight"]
    assert torch.allclose(first, straight.checkpoint("best.pt")["weights"]["layers.0.weight"], atol=1e-6)


def test_the_child_outlives_its_parent(house: House) -> None:
    parent = house.train("training.epochs=2")
    whole = child_of(house, parent)
    # killed before its first checkpoint, it has nothing but what it took along
    child = child_of(house, parent, kill=[("update", 3, 0.0)], code=-signal.SIGKILL)
    assert not list(child.run.checkpoints.glob("step-*"))
    shutil.rmtree(parent.run.path)
    engine = child.resume()
    assert f"starting from the weights of {parent.run.run_id}/best.pt" in engine.said
    as_if_never_disturbed(child, whole)


def test_a_child_killed_later_goes_on_from_its_own(house: House, straight: Trial) -> None:
    whole = child_of(house, straight)
    child = child_of(house, straight, kill=[("update", 9, 0.0)], code=-signal.SIGKILL)
    engine = child.resume()
    assert "going on from step 8 " in engine.said
    as_if_never_disturbed(child, whole)


def test_a_run_without_a_checkpoint_gives_nothing(house: House) -> None:
    parent = house.train("training.save_steps=null", kill=[("update", 2, 0.0)], code=-signal.SIGKILL)
    before = find.folders(house.workspace)
    engine = house.run("train", "--from", parent.run.run_id, code=2)
    assert engine.lines == [f"{parent.run.run_id}: no checkpoint to start from"]
    assert find.folders(house.workspace) == before
