"""Choose stars by what is known of them: the language of the viewer's search.

    E = terms joined by `and`; a term is KEY OP VALUE, or a bare text
    KEY = obsid, a label, or any other column of the label table; OP = != < <= > >= = ~ (contains)

`KEY = none` are the stars without a value; a hole is neither below nor above anything. A bare text matches
obsids that contain it, and the words of text columns.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from engine.errors import BadInput
from engine.spectra.stars import Stars
from engine.words import say

_TERM = re.compile(r"^\s*([^\s<>=!~]+)\s*(<=|>=|!=|==|=|<|>|~)\s*(.+?)\s*$")
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_NONE = ("none", "null", "nan", "missing")


class Table(Protocol):
    """Stars with what is known of them: obsid [N] and columns by name [N]."""

    @property
    def obsid(self) -> np.ndarray: ...

    @property
    def columns(self) -> Mapping[str, np.ndarray]: ...


def select(facts: Table, expression: str) -> np.ndarray:
    """Return the rows of the stars that match, ascending; all of them for no expression.

    Raises:
        BadInput: an unknown key, or a term that cannot be read.
    """
    mask = np.ones(len(facts.obsid), bool)
    for term in re.split(r"\s+and\s+", expression.strip(), flags=re.IGNORECASE) if expression.strip() else ():
        mask &= _term(facts, term)
    return np.flatnonzero(mask)


def matching(stars: Stars, expression: str) -> np.ndarray:
    """Return which of the stars of a training set match [N], by their labels and their other columns.

    Raises:
        BadInput: an unknown key, or a term that cannot be read.
    """
    labels = {name: stars.labels[:, place].astype(np.float64) for place, name in enumerate(stars.targets)}
    mask = np.zeros(len(stars), bool)
    mask[select(_Known(stars.obsid, {**labels, **stars.columns}), expression)] = True
    return mask


class _Known:
    def __init__(self, obsid: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        self.obsid, self.columns = obsid, columns


def keys(facts: Table) -> list[str]:
    """Return what a term may ask for."""
    return ["obsid", *facts.columns]


def _term(facts: Table, term: str) -> np.ndarray:
    match = _TERM.match(term)
    if match is None:
        if re.search(r"[<>=~]", term):
            raise BadInput(say("spectrum.bad_term", term=term.strip()))
        return _bare(facts, term.strip().strip("'\""))
    key, sign, word = match[1], match[2], match[3].strip("'\"")
    values = _values(facts, key)
    if sign == "~":
        return np.char.find(np.char.lower(values.astype(str)), word.casefold()) >= 0
    if sign in _ORDER:
        number = _number(word)
        if number is None or values.dtype.kind not in "fi":
            raise BadInput(say("spectrum.no_number", term=term.strip()))
        with np.errstate(invalid="ignore"):
            return np.asarray(_ORDER[sign](values, number))
    same = _equal(values, word)
    return ~same if sign == "!=" else same


def _values(facts: Table, key: str) -> np.ndarray:
    known = {name.casefold(): name for name in keys(facts)}
    name = known.get(key.casefold())
    if name is None:
        near = difflib.get_close_matches(key.casefold(), known, n=1, cutoff=0.6)
        hint = say("conf.did_you_mean", near=known[near[0]]) if near else ""
        raise BadInput(say("spectrum.bad_key", key=key, known=", ".join(keys(facts)[:9])) + hint)
    return facts.obsid if name == "obsid" else facts.columns[name]


def _equal(values: np.ndarray, word: str) -> np.ndarray:
    if word.casefold() in _NONE:
        return np.isnan(values) if values.dtype.kind == "f" else values.astype(str) == ""
    number = _number(word)
    if values.dtype.kind in "fi":
        if number is None:
            raise BadInput(say("spectrum.no_number", term=word))
        return np.asarray(values == number)
    return np.asarray(np.char.lower(values.astype(str)) == word.casefold())


def _bare(facts: Table, text: str) -> np.ndarray:
    wanted = text.casefold()
    columns = [facts.obsid.astype(str), *(v for v in facts.columns.values() if v.dtype.kind in "US")]
    mask = np.zeros(len(facts.obsid), bool)
    for values in columns:
        mask |= np.char.find(np.char.lower(values.astype(str)), wanted) >= 0
    return mask


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
