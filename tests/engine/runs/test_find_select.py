"""Which runs are meant by a word, by a filter, and in which order."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from engine.errors import BadInput
from engine.runs import find, select
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder, write_json
from engine.runs.record import Record
from engine.workspace import Workspace

NewRun = Callable[..., RunFolder]


def test_a_word_may_be_an_id_a_prefix_a_name_an_mlflow_id_or_the_last(
    workspace: Workspace, new_run: NewRun
) -> None:
    first = new_run("name=alpha")
    time.sleep(0.01)
    second = new_run("name='beta run'")
    write_json(first.tracking, {"run_id": "f" * 32})
    for word, run in [
        (first.run_id, first), (first.run_id[:-2], first), ("alpha", first), ("f" * 32, first), ("al", first),
        ("beta run", second), ("@last", second),
    ]:  # fmt: skip
        assert find.find(workspace, word).run_id == run.run_id, word
    assert [r.run_id for r in find.records(workspace)] == [second.run_id, first.run_id]


def test_words_that_mean_none_or_more_name_candidates(workspace: Workspace, new_run: NewRun) -> None:
    with pytest.raises(BadInput, match="no runs yet"):
        find.find(workspace, "@last")
    one, two = new_run("name=alpha"), new_run("name=alpha")
    with pytest.raises(BadInput) as caught:
        find.find(workspace, "alpha")
    assert "more than one run is meant" in caught.value.lines[0]
    assert one.run_id in caught.value.lines[0]
    assert two.run_id in caught.value.lines[0]
    typo = one.run_id.replace("alpha", "alpah")
    with pytest.raises(BadInput) as caught:
        find.find(workspace, typo)
    assert caught.value.lines[0].startswith(f"{typo}: no such run; did you mean ")
    assert one.run_id in caught.value.lines[0]
    with pytest.raises(BadInput, match=r"zzz: no such run; see: spectui runs"):
        find.find(workspace, "zzz")


def test_folders_that_are_no_runs_are_left_out(workspace: Workspace, new_run: NewRun) -> None:
    run = new_run()
    (workspace.runs / ".new-tiny-1").mkdir()
    (workspace.runs / "notes").mkdir()
    (workspace.runs / "README.md").touch()
    assert find.folders(workspace) == [run.path]
    assert find.folders(Workspace(workspace.root / "elsewhere")) == []


@pytest.fixture
def three(workspace: Workspace, new_run: NewRun) -> list[Record]:
    """Runs a (finished, val_loss 0.5), b (diverged, val_loss NaN), c (no metric); confs that differ."""
    ended = {"a": ("finished", 0.5), "b": ("diverged", float("nan"))}
    for name, size, clip in [("a", 8, "null"), ("b", 16, "[1, 2]"), ("c", 32, "[0, 2]")]:
        run = new_run(f"name={name}", f"training.batch_size={size}", f"data.clip.continuum={clip}")
        log = EventLog(run.events)
        if name in ended:
            outcome, loss = ended[name]
            log.append("epoch", epoch=1, step=3, values={"val_loss": loss, "learning_rate": 1e-3})
            log.append("end", outcome=outcome, exit_code=0, message="")
        log.close()
    return sorted(find.records(workspace), key=lambda r: r.name)


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        (None, "abc"), ("", "abc"), ("  ", "abc"),
        ("finished", "a"), ("tiny", ""), ("MLP", "abc"),
        ("state = finished", "a"), ("state != finished", "bc"), ("state=finished", "a"), ("state ~ ed", "ab"),
        ("best.val_loss < 0.6", "a"), ("best.val_loss >= 0.5", "a"), ("best.val_loss > 0.5", ""),
        ("metric.val_loss = 0.5", "a"), ("metric.val_loss != 0.5", "b"),
        ("param.training.batch_size >= 16", "bc"), ("training.batch_size <= 16", "ab"),
        ("param.training.batch_size = 16", "b"), ("param.training.patience = null", "abc"),
        ("param.training.patience != null", ""), ("param.tracking.enabled = false", "abc"),
        ("param.data.targets ~ logg", "abc"), ("param.model.nothing ~ n", ""),
        ("model = mlp and state = finished", "a"), ("name = 'c' AND model ~ M", "c"),
        ("age < 3600", "abc"), ("age > 3600", ""), ("epoch >= 1", "ab"), ("model < 3", ""),
    ],
)  # fmt: skip
def test_filters(three: list[Record], expression: str | None, names: str) -> None:
    assert "".join(r.name for r in select.select(three, expression)) == names


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("stat = finished", "stat: unknown key; use one of run_id, name"),
        ("stat = finished", "; did you mean 'state'? (filter, column 1: stat = finished)"),
        ("loss < 1", "loss: unknown key"),
        ("loss < 1", "did you mean metrics.loss, params.loss, tags.loss?"),
        ("state =", "for example: state = running (filter, column 8: the end)"),
        ("name = a and best.val_loss <", "expected a value to compare best.val_loss with"),
        (
            "= finished",
            "expected a term: KEY OP VALUE, a text, NOT or a bracket (filter, column 1: = finished)",
        ),
    ],
)
def test_filters_that_make_no_sense_say_so(three: list[Record], expression: str, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        select.select(three, expression)
    (line,) = caught.value.lines
    assert problem in line


@pytest.mark.parametrize(
    ("key", "names"),
    [
        (None, "abc"), ("name", "abc"), ("-name", "cba"), ("param.training.batch_size", "abc"),
        ("-param.training.batch_size", "cba"), ("best.val_loss", "abc"), ("-last.val_loss", "abc"),
        ("state", "bac"), ("param.data.targets", "abc"), ("param.data.clip.continuum", "cba"),
        ("param.data.clip", "acb"),
    ],
)  # fmt: skip
def test_sorting(three: list[Record], key: str | None, names: str) -> None:
    """Runs without a value, or with NaN, come last either way."""
    in_order = select.sort(three, key)
    assert "".join(r.name for r in in_order) == names


def test_sorting_by_an_unknown_key_is_refused(three: list[Record]) -> None:
    with pytest.raises(BadInput, match="loss: unknown key"):
        select.sort(three, "-loss")
