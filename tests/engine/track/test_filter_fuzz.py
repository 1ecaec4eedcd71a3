"""The filter language against MLflow itself, and against noise. SPECTUI_FUZZ_CASES draws more."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from engine.runs import select
from engine.runs.record import Record
from engine.track import listing, read
from engine.workspace import Workspace

pytestmark = pytest.mark.xdist_group("mlflow")

CASES = int(os.environ.get("SPECTUI_FUZZ_CASES", "250"))
_spec = importlib.util.spec_from_file_location("filter_store", Path(__file__).with_name("filter_store.py"))
assert _spec is not None and _spec.loader is not None
filter_store = importlib.util.module_from_spec(_spec)
sys.modules["filter_store"] = filter_store
_spec.loader.exec_module(filter_store)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> tuple[list[Record], Any, str]:
    """The runs of a store with odd keys and values as we read them, MLflow's client, the experiment."""
    folder = tmp_path_factory.mktemp("odd")
    database, api, experiment = filter_store.fill(folder, mlflow_template)
    records = [listing.as_record(Workspace(folder), run) for run in read.stored_runs(database)]
    assert len(records) > 20
    return records, api, experiment


def test_what_mlflow_accepts_finds_the_same_runs(odd: tuple[list[Record], Any, str]) -> None:
    records, api, experiment = odd
    draw = random.Random(20)
    ids = [record.run_id for record in records]
    found_some = refused = 0
    for number in range(CASES):
        expression = filter_store.accepted(draw, ids)
        try:
            theirs = {run.info.run_id for run in api.search_runs([experiment], expression, max_results=1000)}
        except Exception:  # noqa: BLE001 - the parser under MLflow has its own ways
            refused += 1
            continue
        ours = {record.run_id for record in select.select(records, expression)}
        assert ours == theirs, f"{number}: {expression!r}"
        found_some += 0 < len(theirs) < len(records)
    assert found_some > CASES / 4, "expressions that tell runs apart"
    assert refused < CASES / 10


LEFT_OVER = [
    "metrics.val_loss < 1 AND", "AND metrics.val_loss < 1", "metrics.val_loss < 1 params.a_b = 'x'",
    "metrics.val_loss < 1 AND AND metrics.Loss != 3", "AND", "tags.Loss = 'it''s'", "tags.Loss != 'a\\'b'",
    "run_id IN ('a',)", "run_id IN ('a' 'b')", "params.Loss LIKE 'a\\%'",
]  # fmt: skip


@pytest.mark.parametrize("expression", LEFT_OVER)
def test_what_mlflow_lets_pass_means_the_same(odd: tuple[list[Record], Any, str], expression: str) -> None:
    records, api, experiment = odd
    theirs = {run.info.run_id for run in api.search_runs([experiment], expression, max_results=1000)}
    assert {record.run_id for record in select.select(records, expression)} == theirs


PIECES = [
    "metrics", "params", "tags", ".", "best", "(", ")", "(", "val_loss", "<", "<=", "=", "!=", "~", "'", '"',
    "`", "and", "OR", "not", "IN", "IS", "NULL", "LIKE", "1", "-1e5", "2h", "null", ",", "[", "]", "\\",
    "\x00", "\ud800", "state", "running", "%", "age", "start_time", "2026-01-01", ";", "--", "9" * 400, "!",
    "日本", "\n", "{}", "{x}", "datasets.name", "params.a.b.c", "min(", "max()", "best('a')", "*", "١", "inf",
    "run_id", "nan", "1_0",
]  # fmt: skip


def test_noise_is_refused_in_one_line_or_means_something(odd: tuple[list[Record], Any, str]) -> None:
    records, _, _ = odd
    draw = random.Random(7)
    ids = [record.run_id for record in records]
    outcomes = {"refused": 0, "answered": 0}
    for number in range(CASES * 8):
        if number % 2:
            expression = "".join(
                draw.choice(PIECES) + draw.choice(["", " "]) for _ in range(draw.randint(1, 12))
            )
        else:
            letters = list(filter_store.accepted(draw, ids))
            for _ in range(draw.randint(1, 4)):
                place = draw.randrange(len(letters))
                letters[place : place + draw.randint(0, 2)] = draw.choice(PIECES)
            expression = "".join(letters)
        try:
            found = select.select(records, expression)
            outcomes["answered"] += 1
            assert set(found) <= set(records)
        except BadInput as error:
            outcomes["refused"] += 1
            (line,) = error.lines
            assert "\n" not in line
        select.complete(expression, draw.randint(0, len(expression)), records)
    assert min(outcomes.values()) > CASES


def test_what_nests_deeply_or_is_long_is_no_trouble(odd: tuple[list[Record], Any, str]) -> None:
    records, _, _ = odd
    with pytest.raises(BadInput, match="brackets in one another"):
        select.select(records, "(" * 5000 + "state = running" + ")" * 5000)
    assert select.select(records, "not " * 5001 + "nothing-like-it") == records
    assert len(select.select(records, " or ".join(["state = running"] * 5000))) < len(records)
    pattern = "%a" * 3000 + "%b"
    assert select.select(records, f"params.Loss LIKE '{pattern}'") == []
