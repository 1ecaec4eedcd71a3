"""What is wrong with plain data of a conf, each mistake at its place, in one line, with the near miss.

Owns the wording of mistakes and the ranges of numbers. Reads no conf file and changes nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from engine import catalog
from engine.conf.marks import Location
from engine.conf.schema import Conf, monitored
from engine.errors import BadInput
from engine.words import has, say
from engine.workspace import Workspace

_WHOLE: dict[str, Location] = {
    "weights_of_others": ("training", "label_weights"), "weights_zero": ("training", "label_weights"),
    "no_epochs": ("training", "epochs"), "schedule_free_finetune": ("finetune", "schedule"),
    "monitor_unknown": ("training", "monitor"),
}  # fmt: skip
"""Where the rules that compare sections point."""
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_BOUND_ERRORS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_DEVICES = ("auto", "cpu", "cuda", "cuda:0", "mps")
_DEVICE_WORDS = {"gpu": "cuda", "nvidia": "cuda", "metal": "mps"}


def find(workspace: Workspace, data: dict[str, Any]) -> tuple[Conf | None, list[tuple[Location, str]]]:
    """Check data against the schema and the network's own fields.

    Returns the conf (None when the schema refuses the data) and every mistake with its place.
    """
    problems: list[tuple[Location, str]] = []
    conf: Conf | None = None
    try:
        conf = Conf.model_validate(data)
    except ValidationError as error:
        problems += [(_place(item), _explain(item, data)) for item in error.errors(include_url=False)]
    model = data.get("model")
    if conf is not None or (isinstance(model, dict) and isinstance(model.get("name", ""), str)):
        fields = dict(model) if isinstance(model, dict) else {}
        name = fields.pop("name", Conf().model.name)
        try:
            network = catalog.find(workspace, name)
        except BadInput as error:
            problems.append((("model", "name"), catalog.in_one_line(error)))
        else:
            problems += [(tuple(loc), text) for loc, text in catalog.check_fields(network, fields)]
    return conf, problems


def allowed(location: Sequence[str | int]) -> str:
    """Return the range of a number of the schema, such as '> 0, ≤ 1'; empty where there is none."""
    node: Any = _schema()
    for part in location:
        node = _resolved(node).get("properties", {}).get(part)
        if node is None:
            return ""
    return range_of(node)


def range_of(entry: Mapping[str, Any]) -> str:
    """Return the range that an entry of the JSON schema allows."""
    for one in (entry, *entry.get("anyOf", ())):
        found = [f"{sign} {one[name]:g}" for name, sign in _BOUNDS.items() if name in one]
        if found:
            return ", ".join(found)
    return ""


def near_miss(given: Any, known: Sequence[str]) -> str:
    """Return "; did you mean 'x'?" for the known word most like the one given; empty when none is."""
    by_case = {word.casefold(): word for word in known}
    near = difflib.get_close_matches(str(given).casefold(), by_case, n=1, cutoff=0.5)
    return say("conf.did_you_mean", near=by_case[near[0]]) if near else ""


@cache
def _schema() -> dict[str, Any]:
    return Conf.model_json_schema()


def _resolved(entry: dict[str, Any]) -> dict[str, Any]:
    reference = str(entry.get("$ref", "")).rpartition("/")[2]
    found: dict[str, Any] = _schema()["$defs"][reference] if reference else entry
    return found


def _place(item: Any) -> Location:
    location: Location = item["loc"]
    return location or _WHOLE.get(_rule(item), ())


def _rule(item: Any) -> str:
    return str((item.get("ctx") or {}).get("error"))


def _explain(item: Any, data: dict[str, Any]) -> str:
    """Word one pydantic error in the user's language."""
    kind, context = item["type"], dict(item.get("ctx") or {})
    if kind == "extra_forbidden":
        key = str(item["loc"][-1])
        near = difflib.get_close_matches(key, _keys_at(item["loc"][:-1]), n=1, cutoff=0.5)
        return say("conf.unknown_key") + (say("conf.did_you_mean", near=near[0]) if near else "")
    if kind == "value_error":
        return say(f"conf.rule.{_rule(item)}") + _near_of_rule(_rule(item), data)
    context = {name: f"{one:g}" if isinstance(one, float) else one for name, one in context.items()}
    if "expected" in context:
        context["expected"] = str(context["expected"]).replace(" or ", ", ")
    if not has(f"conf.type.{kind}"):
        return str(item["msg"])
    given = item.get("input")
    text = say(f"conf.type.{kind}", given=_short(given), **context)
    if kind == "literal_error" and isinstance(given, str):
        text += near_miss(given, [word.strip().strip("'") for word in context["expected"].split(",")])
    if kind == "string_pattern_mismatch" and item["loc"] == ("training", "device"):
        text += near_miss(_DEVICE_WORDS.get(str(given).casefold(), given), _DEVICES)
    if kind in _BOUND_ERRORS and "," in allowed(item["loc"]):
        text += say("conf.range", range=allowed(item["loc"]))
    return text


def _near_of_rule(rule: str, data: dict[str, Any]) -> str:
    """Return the near miss of a name that another section would have to know."""
    training, section = data.get("training"), data.get("data")
    targets = section.get("targets") if isinstance(section, dict) else None
    targets = targets if isinstance(targets, list) else list(Conf().data.targets)
    if not isinstance(training, dict):
        return ""
    if rule == "monitor_unknown":
        return near_miss(training.get("monitor"), monitored([str(target) for target in targets]))
    if rule == "weights_of_others" and isinstance(training.get("label_weights"), dict):
        strange = [name for name in training["label_weights"] if name not in targets]
        return near_miss(strange[0], [str(target) for target in targets]) if strange else ""
    return ""


def _keys_at(location: tuple[str | int, ...]) -> list[str]:
    section: Any = Conf
    for part in location:
        field = section.model_fields.get(part) if hasattr(section, "model_fields") else None
        if field is None:
            return []
        choices = [field.annotation, *get_args(field.annotation)]
        section = next((c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)), None)
    return list(section.model_fields) if section is not None else []


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"
