"""The stylesheet parses a piece of CSS once for the same colours, and anew for others."""

from __future__ import annotations

from typing import Any

import pytest
from textual.css import stylesheet

from tui.sheet import Sheet


def test_a_piece_is_parsed_once_for_the_same_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    real = stylesheet.parse

    def counting(scope: str, css: str, *more: Any, **named: Any) -> Any:
        parsed.append(css)
        return real(scope, css, *more, **named)

    monkeypatch.setattr(stylesheet, "parse", counting)
    sheet = Sheet(variables={"ink": "red"})
    sheet.add_source("A { color: $ink; }", read_from=("a", ""))
    for _ in range(3):
        sheet.set_variables({"ink": "red"})
        sheet.reparse()
    sheet.add_source("B { color: $ink; }", read_from=("b", ""))
    assert len(sheet.rules) == len(parsed) == 2
    before = [rule.styles.color for rule in sheet.rules]
    sheet.set_variables({"ink": "blue"})
    sheet.reparse()
    assert len(parsed) == 4
    assert all(rule.styles.color not in before for rule in sheet.rules)
