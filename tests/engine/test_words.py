"""The catalogues of words: equal keys and placeholders in every language, and every key that is asked for."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

import engine
from engine import words
from engine.diagnose import rules
from engine.runs.record import STATES

CODE = [Path(engine.__file__).parent, Path(engine.__file__).parent.parent / "tui"]
ENGLISH, CHINESE = words.catalogue("en"), words.catalogue("zh")


def asked() -> list[tuple[str, str, bool]]:
    """Return (place, key, whole) of every `say("…")`: `whole` is False for the start of an f-string."""
    found = []
    for file in sorted(path for folder in CODE for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = getattr(node, "func", None)
            called = name.id if isinstance(name, ast.Name) else getattr(name, "attr", "")
            if not isinstance(node, ast.Call) or called not in ("say", "own") or not node.args:
                continue
            if called == "say" and isinstance(name, ast.Attribute) and ast.unparse(name.value) != "words":
                continue  # another object's method
            place = f"{file.name}:{node.lineno}"
            # `say("a" if … else "b")` asks for both.
            parts = [node.args[0]]
            if isinstance(parts[0], ast.IfExp):
                parts = [parts[0].body, parts[0].orelse]
            for part in parts:
                if isinstance(part, ast.Constant):
                    found.append((place, part.value, True))
                elif isinstance(part, ast.JoinedStr) and isinstance(part.values[0], ast.Constant):
                    found.append((place, part.values[0].value, called == "own"))
    return found


def placeholders(text: str) -> set[str]:
    return {
        re.split(r"[.\[]", name)[0] for _, name, _, _ in string.Formatter().parse(text) if name is not None
    }


def test_both_languages_have_the_same_keys() -> None:
    """Chinese has more: the help of conf keys, whose English is the docstring in the schema."""
    assert sorted(set(ENGLISH) - set(CHINESE)) == []
    assert sorted(key for key in set(CHINESE) - set(ENGLISH) if not key.startswith("field.")) == []


def test_both_languages_have_the_same_placeholders() -> None:
    wrong = [key for key in ENGLISH if placeholders(ENGLISH[key]) != placeholders(CHINESE[key])]
    assert wrong == []


def test_every_sentence_asked_for_is_there() -> None:
    calls = asked()
    assert len(calls) > 150, "the search found next to nothing: it is the search that is wrong"
    missing = [f"{place}: {key}" for place, key, whole in calls if whole and key not in ENGLISH]
    missing += [
        f"{place}: {key}…"
        for place, key, whole in calls
        if not whole and not any(known.startswith(key) for known in ENGLISH)
    ]
    assert [line for line in missing if not line.rpartition(" ")[2].startswith("field.")] == []


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_word(state: str) -> None:
    assert f"state.{state}" in ENGLISH


def test_every_piece_of_evidence_has_a_word() -> None:
    source = Path(rules.__file__).read_text(encoding="utf-8")
    names = re.findall(r'^\s+"(\w+)": ', source, re.MULTILINE)
    assert "last_finite_loss" in names
    assert [name for name in names if f"diagnose.evidence.{name}" not in ENGLISH] == []


def test_every_phase_that_the_engine_reports_has_a_word() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (CODE[0] / "train").glob("*.py"))
    phases = set(re.findall(r'"phase", phase="(\w+)"', source))
    assert phases == {"reading", "loading", "training", "testing"}
    assert [phase for phase in phases if f"phase.{phase}" not in ENGLISH] == []


def test_language_is_the_one_asked_for_or_that_of_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPECTUI_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    assert words.choose(None) == "en"
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert words.choose(None) == "zh"
    monkeypatch.setenv("LC_ALL", "C")
    assert words.choose(None) == "en"
    monkeypatch.setenv("SPECTUI_LANG", "zh")
    assert words.choose("fr") == "zh"
    assert words.choose("en") == "en"
    assert words.say("state.died") == "died"


def test_a_key_that_is_nowhere_is_an_error_and_braces_in_values_are_harmless() -> None:
    with pytest.raises(KeyError):
        words.say("no.such.key")
    assert words.say("runs.unknown", run="{oops} {0}") == "{oops} {0}: no such run"
