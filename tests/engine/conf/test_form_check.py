"""What a form says while it is typed: near misses, ranges, tables that do not fit, fields without effect."""

from __future__ import annotations

from typing import Any

import pytest

from engine import words
from engine.conf.applies import idle_fields
from engine.conf.form import form_fields
from engine.conf.form_check import problems_of
from engine.conf.load import flatten, get, resolve
from engine.conf.mistakes import allowed
from engine.conf.schema import Conf


@pytest.fixture(autouse=True)
def english() -> Any:
    words.choose("en")
    yield
    words.choose(None)


@pytest.fixture
def form(workspace: Any) -> Any:
    """Return problems(key, value, …): what the form says when these are set, on real tables."""
    conf = resolve(workspace, "demo").conf
    keys = {field.key for field in form_fields(workspace, conf)}

    def problems(**values: Any) -> dict[str, str]:
        plain = conf.plain()
        for name, value in values.items():
            *parents, last = name.split("__")
            place = plain
            for part in parents:
                place = place[part]
            place[last] = value
        return problems_of(workspace, plain, keys)

    return problems


def test_a_good_form_has_no_problem(form: Any) -> None:
    assert form() == {}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("training__schedule", "cosin", "did you mean 'cosine'?"),
        ("training__device", "gpu", "did you mean 'cuda'?"),
        ("training__monitor", "val_teff_mae", "did you mean 'val_Teff_mae'?"),
        ("training__label_weights", {"FEH": 2.0}, "did you mean 'FeH'?"),
        ("training__momentum", 1.5, "must be below 1, got 1.5 (allowed: ≥ 0, < 1)"),
        ("training__epochs", -1, "must be 0 or more, got -1"),
        ("model__name", "MPL", "MLP"),
        ("data__path", "spectra", "there are: spectral"),
        ("data__targets", ["Teff", "loggg"], "logg"),
        ("data__labels", "labls.csv", "no labls.csv"),
    ],
)
def test_each_mistake_stands_at_its_field_with_what_was_meant(
    form: Any, key: str, value: Any, said: str
) -> None:
    told = form(**{key: value})
    assert list(told) == [key.replace("__", ".")] and said in told[key.replace("__", ".")]
    assert "\n" not in "".join(told.values())


def test_what_is_inside_of_a_field_is_named(form: Any) -> None:
    assert form(data__clip__normalized=[1.0, "x"])["data.clip.normalized"].startswith("1: must be a number")


def test_a_group_column_that_the_table_has_not_is_said(form: Any) -> None:
    told = form(data__split__method="group", data__split__group="obsidd")
    assert told["data.split.group"] == "the label table has no column 'obsidd'; did you mean 'obsid'?"
    assert form(data__split__group="obsidd") == {}  # another method: it does not matter


def test_a_range_has_both_ends() -> None:
    assert allowed(("training", "momentum")) == "≥ 0, < 1"
    assert allowed(("training", "ema_decay")) == "> 0, < 1"
    assert allowed(("training", "batch_size")) == "≥ 2"
    assert allowed(("training", "optimizer")) == allowed(("nothing", "there")) == ""


def test_fields_without_effect_say_what_they_need() -> None:
    plain = Conf().plain()
    idle = idle_fields(plain)
    assert set(idle) <= set(flatten(plain)), "a key that is not in a conf"
    assert idle["training.momentum"] == "needs optimizer sgd, rmsprop"
    assert "training.warmup_epochs" not in idle and "training.learning_rate" not in idle
    plain["training"] |= {"optimizer": "sgd", "schedule": "step"}
    idle = idle_fields(plain)
    assert not {"training.momentum", "training.schedule_gamma", "training.schedule_epochs"} & set(idle)
    assert "training.warmup_epochs" in idle and "finetune.learning_rate" in idle
    plain["finetune"] |= {"epochs": 3, "schedule": "warmup_cosine"}
    assert not [key for key in idle_fields(plain) if key.startswith("finetune.")]


def test_every_condition_of_a_field_is_of_keys_and_words_that_there_are() -> None:
    from engine.conf import applies

    plain = Conf().plain()
    for key, other, values in applies._NEEDS:
        asked = other.replace("*", "training.")
        assert key in flatten(plain) or get(plain, key) is not None, key
        section = plain
        for part in asked.split("."):
            section = section[part]
        for value in values:
            changed = Conf().plain()
            *parents, last = asked.split(".")
            place = changed
            for part in parents:
                place = place[part]
            place[last] = value
            if value not in ("file",):
                Conf.model_validate(changed)
