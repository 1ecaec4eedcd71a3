"""The loss in a few cells: its shape, its memory, and what was no finite number."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from engine.runs.events import EventLog
from engine.runs.folder import RunFolder
from engine.runs.record import Record
from engine.runs.spark import CELLS, Spark, draw
from engine.track import listing, sparks
from engine.workspace import Workspace


def spark_of(values: list[float], at_once: int = 1) -> Spark:
    spark = Spark()
    for first in range(0, len(values), at_once):
        part = values[first : first + at_once]
        spark.add(range(first + 1, first + 1 + len(part)), part)
    return spark


def test_the_greater_the_loss_the_higher_the_block() -> None:
    assert draw([1.0, 2.0, 3.0, 8.0], [False] * 4) == "▁▂▃█"
    # Over more than a decade its order of magnitude counts: else everything after the first would be flat.
    assert draw([1000.0, 10.0, 0.1], [False] * 3) == "█▅▁"
    assert draw([2.0, None, 2.0], [False] * 3) == "▁·▁"
    assert draw([], []) == ""


def test_any_number_of_steps_takes_the_same_room_and_keeps_its_shape() -> None:
    for count in (7, 40, 1000, 100_000):
        cells = spark_of([1 + 9 * (1 - n / count) for n in range(count)], 17).cells()
        assert len(cells) <= CELLS and cells[0] == "█" and cells[-1] == "▁"
        assert cells == "".join(sorted(cells, reverse=True)), cells
    assert len(spark_of([1.0] * 100_000, 50).sums) <= 40


def test_one_value_that_is_no_number_stays_to_be_seen_however_much_follows() -> None:
    for bad in (math.nan, math.inf, -math.inf):
        values = [2.0] * 100 + [bad] + [1.0] * 50_000
        assert spark_of(values, 13).cells().count("!") == 1
    spark = spark_of([1.0] * 1000)
    spark.mark(1001)
    assert spark.cells().endswith("!")
    spark.cut(500)
    assert "!" not in spark.cells()


def test_a_record_without_curves_has_it_and_prefers_what_is_recorded_each_step(
    new_run: Callable[..., RunFolder],
) -> None:
    run = new_run()
    log = EventLog(run.events)
    log.append("epoch", epoch=1, step=10, values={"val_loss": 1.0, "train_loss": 3.0})
    record = Record(run.path, keep_curves=False)
    record.refresh()
    assert record.spark is not None and record.curves == {}
    for first in (11, 21):
        steps = list(range(first, first + 10))
        log.append("steps", epoch=2, step=steps, columns={"batch_loss": [100.0 / s for s in steps]})
    record.refresh()
    assert record.spark.cells()[0] == "█" and record.spark.cells()[-1] == "▁"
    log.append("nonfinite", step=31, epoch=2, what="loss", value=math.nan, obsids=[])
    log.close()
    record.refresh()
    assert record.spark.cells().endswith("!")


@pytest.mark.xdist_group("mlflow")
def test_a_run_of_mlflow_alone_has_the_same_by_sql(mlflow_store: Workspace) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    api = MlflowClient(f"sqlite:///{mlflow_store.mlflow_db}")
    experiment = api.create_experiment("elsewhere")
    good, bad = (api.create_run(experiment, run_name=name).info.run_id for name in ("good", "bad"))
    for run, at in ((good, -1), (bad, 650)):
        points = [math.nan if step == at else 1000 - step for step in range(1, 1000)]
        api.log_batch(run, [Metric("val_loss", value, 0, step) for step, value in enumerate(points, 1)])
    found = {record.name: sparks.told(record) for record in listing.all_records(mlflow_store)}
    assert found["good"] == spark_like_a_ramp() == "".join(sorted(found["good"], reverse=True))
    assert found["bad"].index("!") == 6 and len(found["bad"]) == CELLS


def spark_like_a_ramp() -> str:
    means = [1000 - (step + 0.5) * 99.9 for step in range(CELLS)]
    return draw(means, [False] * CELLS)
