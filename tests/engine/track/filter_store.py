"""A real MLflow store with odd runs in it, and expressions that MLflow's grammar accepts, drawn at random."""

from __future__ import annotations

import math
import random
import shutil
from pathlib import Path
from typing import Any

KEYS = ["val_loss", "a/b", "a b", "a.b", "loss-1", "数", "Loss"]
METRICS = [0.5, 0.0, -1.5, 1e-9, math.nan, math.inf, -math.inf, 3.0, 1e308]
TEXTS = [
    "", "a", "A", "abc", "ABC", "a%c", "a_c", "日本", "Ä", "ä", "0.5", "1e-3", "null", "True",
    "it's", 'say "x"', "a\nb", "x" * 300, "[1, 2]", " padded ", "nan", "\\", "a\\'b",
]  # fmt: skip
STATUSES = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]


def fill(folder: Path, template: Path, count: int = 40) -> tuple[Path, Any, str]:
    """Make the store; return its file, a client and the id of the experiment."""
    from mlflow import MlflowClient
    from mlflow.entities import Dataset, DatasetInput, InputTag

    database = folder / "mlflow.db"
    shutil.copy(template, database)
    api = MlflowClient(f"sqlite:///{database}")
    experiment = api.create_experiment("odd", artifact_location=str(folder / "artifacts"))
    draw = random.Random(5)
    for number in range(count):
        run = api.create_run(
            experiment,
            start_time=1_700_000_000_000 + draw.choice([0, 1, 1000, 86_400_000]) * number,
            run_name=draw.choice(["run", "Run", f"run {number}", "日本", "a_c", None]),
            tags={key: draw.choice(TEXTS) for key in draw.sample(KEYS, draw.randint(0, 4))},
        ).info.run_id
        for key in draw.sample(KEYS, draw.randint(0, 5)):
            for step in range(draw.randint(1, 3)):
                api.log_metric(run, key, draw.choice(METRICS), step=step)
        for key in draw.sample(KEYS, draw.randint(0, 5)):
            api.log_param(run, key, draw.choice(TEXTS))
        for _ in range(draw.choice([0, 0, 1, 2])):
            context = [InputTag("mlflow.data.context", draw.choice(["training", "Test", "日本"]))]
            data = Dataset(draw.choice(["stars", "Stars"]), draw.choice(["d1", "d2"]), "local", "x")
            api.log_inputs(run, datasets=[DatasetInput(data, context if draw.random() < 0.8 else [])])
        status = draw.choice(STATUSES)
        if status in ("FINISHED", "FAILED", "KILLED"):
            api.set_terminated(run, status, end_time=1_700_000_500_000 + number)
        else:
            api.update_run(run, status=status)
        if draw.random() < 0.1:
            api.delete_run(run)
    return database, api, experiment


def quoted(text: str, draw: random.Random) -> str:
    """Write a text in quotes; one that a quote ends early is no text of the grammar."""
    return f"'{text}'" if draw.random() < 0.8 or '"' in text else f'"{text}"'


def key(draw: random.Random) -> str:
    """Write a key in one of the forms that MLflow takes."""
    name = draw.choice([*KEYS, "nosuch"])
    if name in ("val_loss", "Loss", "nosuch", "a.b"):
        return draw.choice([name, f"`{name}`", f'"{name}"'])
    return draw.choice([f"`{name}`", f'"{name}"'])


def pattern(draw: random.Random) -> str:
    """Draw a pattern of LIKE."""
    return "".join(
        draw.choice(["%", "_", "a", "A", "b", "c", "日", "Ä", "ä", "run", "0", ""]) for _ in range(4)
    )


def text_part(draw: random.Random) -> str:
    """Write an operator and a text."""
    sign = draw.choice(["=", "!=", "LIKE", "ILIKE", "like", "ilike"])
    text = draw.choice([t for t in TEXTS if "'" not in t]) if "=" in sign else pattern(draw)
    return f"{sign} {quoted(text, draw)}"


def term(draw: random.Random, ids: list[str]) -> str:
    """Write one comparison that MLflow accepts."""
    kind = draw.randrange(8)
    if kind <= 1:
        space = draw.choice(["", " "])
        number = draw.choice(
            ["0.5", "0", "-1.5", "1e-9", "3", "1e308", ".5", "1.", "1E-2", "1.7976931348623157e308"]
        )
        sign = draw.choice(["<", "<=", "=", "!=", ">=", ">"])
        return f"{draw.choice(['metrics', 'metric', '`metrics`'])}.{key(draw)}{space}{sign}{space}{number}"
    if kind == 2:
        name = draw.choice(["params", "param", "parameter", "parameters"])
        return f"{name}.{key(draw)} {text_part(draw)}"
    if kind == 3:
        return f"{draw.choice(['tags', 'tag'])}.{key(draw)} {text_part(draw)}"
    if kind == 4:
        where = f"{draw.choice(['tags', 'params'])}.{key(draw)}"
        return f"{where} {draw.choice(['IS NULL', 'IS NOT NULL', 'is null', 'is not null'])}"
    if kind == 5:
        ahead = draw.choice(["", "attributes.", "attribute.", "attr.", "run."])
        name = draw.choice(["start_time", "end_time", "created", "Created"])
        sign = draw.choice(["<", "<=", "=", "!=", ">=", ">"])
        return f"{ahead}{name} {sign} {1_700_000_000_000 + draw.choice([0, 5000, 500_010])}"
    if kind == 6:
        ahead = draw.choice(["", "attributes.", "attr.", "run."])
        name, values = draw.choice(
            [("status", STATUSES), ("run_name", ["run", "Run", "日本"]), ("user_id", ["unknown", ""]),
             ("run_id", ids), ("artifact_uri", ["x"]), ("`run name`", ["run"])]
        )  # fmt: skip
        if name == "run_id" and draw.random() < 0.5:
            some = ", ".join(f"'{i}'" for i in draw.sample(ids, draw.randint(1, 4)))
            return f"{ahead}run_id {draw.choice(['IN', 'NOT IN', 'in', 'not in'])} ({some})"
        sign = draw.choice(["=", "!=", "LIKE", "ILIKE"])
        return f"{ahead}{name} {sign} {quoted(draw.choice(values) if '=' in sign else pattern(draw), draw)}"
    what, values = draw.choice(
        [("name", ["stars", "Stars"]), ("digest", ["d1", "d2"]), ("context", ["training", "test"])]
    )
    if draw.random() < 0.4:
        some = ", ".join(f"'{v}'" for v in draw.sample(values, draw.randint(1, 2)))
        return f"{draw.choice(['datasets', 'dataset'])}.{what} {draw.choice(['IN', 'NOT IN'])} ({some})"
    sign = draw.choice(["=", "!=", "LIKE", "ILIKE"])
    return f"dataset.{what} {sign} {quoted(draw.choice(values) if '=' in sign else pattern(draw), draw)}"


def accepted(draw: random.Random, ids: list[str]) -> str:
    """Write an expression that MLflow accepts, now and then with what it lets pass."""
    joint = draw.choice([" AND ", " and ", "  AND\n", " And "])
    return joint.join(term(draw, ids) for _ in range(draw.choice([1, 1, 1, 2, 3])))
