"""The run list arranged: filters, groups, trees of children, and parents that lead round in a ring."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest

from engine.runs import arrange as lists
from engine.runs.arrange import FLAT, Order, arrange
from engine.runs.changed import changed, told
from engine.runs.folder import RunFolder
from engine.runs.record import Record


@pytest.fixture
def runs(new_run: Callable[..., RunFolder]) -> Callable[..., list[Record]]:
    """Return runs('a', 'b<a'): records by those ids, the second a child of the first."""
    one = Record(new_run().path, keep_curves=False)

    def make(*words: str) -> list[Record]:
        made = []
        for word in words:
            record = copy.copy(one)
            record.run_id, _, parent = word.partition("<")
            record.name, record.parent = record.run_id, parent or None
            record.best, record.tags = {}, {}
            made.append(record)
        return made

    return make


def drawn(records: list[Record], **order: Any) -> list[str]:
    lines = arrange(records, Order(**order)).lines
    return [f"{line.tree}{line.id}{'+' if line.folded else ''}" for line in lines]


def test_children_stand_under_their_parents_where_the_first_of_the_tree_would(runs: Any) -> None:
    records = runs("new", "grandchild<child", "x", "child<root", "twin<root", "root", "y<elsewhere")
    wanted = ["new", "root", "├ child", "  └ grandchild", "└ twin", "x", "y"]
    assert drawn(records) == wanted
    assert drawn(records, folded=frozenset(["child"])) == [
        "new", "root", "├ child+", "└ twin", "x", "y"
    ]  # fmt: skip
    (root,) = [
        line for line in arrange(records, Order(folded=frozenset(["root"]))).lines if line.id == "root"
    ]
    assert (root.inside, root.folded) == (3, True)
    assert drawn(records, group=FLAT) == [record.run_id for record in records]
    # A child without its parent in the list stands by itself.
    assert drawn(records, filter="name = grandchild") == ["grandchild"]


def test_parents_that_lead_round_or_far_lose_no_run(runs: Any) -> None:
    rng = random.Random(6)
    for _ in range(200):
        names = [f"r{n}" for n in range(8)]
        records = runs(*(f"{name}<{rng.choice(names)}" for name in names))
        found = arrange(records, Order())
        assert sorted(line.id for line in found.lines) == names
        assert all(found.lines[at].id == name for name, at in found.place.items())
    chain = runs("r0", *(f"r{n}<r{n - 1}" for n in range(1, 3000)))
    assert len(drawn(chain)) == 3000 and drawn(chain, folded=frozenset(["r0"])) == ["r0+"]


def test_groups_by_a_parameter_have_their_count_and_best(runs: Any) -> None:
    records = runs("a", "b", "c", "d")
    for record, rate, best in zip(records, (10, 2, 10, None), (0.3, 0.2, 0.1, 0.4), strict=True):
        record._conf = {"training": {"batch_size": rate}}
        record.best = {"val_loss": best}
    key = "training.batch_size"
    assert drawn(records, group=key) == [
        f"{key}=2", "  b", f"{key}=10", "  a", "  c", f"{key}=-", "  d"
    ]  # fmt: skip
    # What is sorted by counts for the groups too: that of the best run is first.
    found = arrange(records, Order(group=key, sort="best.val_loss", folded=frozenset([f"{key}=10"])))
    assert [line.id for line in found.lines] == [f"{key}=10", f"{key}=2", "b", f"{key}=-", "d"]
    group = found.lines[0].group
    assert group is not None and (group.runs, group.best) == (2, 0.1)
    assert (found.matched, found.total) == (4, 4)


def test_what_makes_no_sense_is_said_and_loses_no_rows(runs: Any) -> None:
    records = runs("a", "b")
    found = arrange(records, Order(filter="nosuch = 1"), otherwise="name = a")
    assert "nosuch" in found.problem and [line.id for line in found.lines] == ["a"]
    found = arrange(records, Order(sort="nosuch.key"))
    assert "nosuch" in found.problem and len(found.lines) == 2


def test_only_questions_to_confs_are_taken_for_slow() -> None:
    for order in (Order(), Order(filter="state = running and best.val_loss < 1", sort="-age", group="model")):
        assert not lists.reads_confs(order)
    for order in (Order(filter="training.batch_size = 4"), Order(sort="params.x"), Order(group="model.name")):
        assert lists.reads_confs(order)


def test_what_a_run_changed_against_its_conf_or_against_another(new_run: Callable[..., RunFolder]) -> None:
    plain, other = Record(new_run().path), Record(new_run("training.batch_size=4", "name=other").path)
    assert changed(plain) == {}
    assert changed(other) == {"training.batch_size": 4}
    assert changed(other, plain) == {"training.batch_size": 4}
    assert changed(plain, other) == {"training.batch_size": plain.conf()["training"]["batch_size"]}
    assert changed(other, other) == {}
    assert told(
        {"training.batch_size": 4, "model.name": "MLP", "data.clip": None, "a.x": 1e-4, "b.x": True}
    ) == ("batch_size=4 model.name=MLP clip=null a.x=0.0001 b.x=true")
