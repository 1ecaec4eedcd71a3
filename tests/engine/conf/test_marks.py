"""YAML in: what is a number, what is a word, what is refused, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.conf.marks import parse, parse_value, read
from engine.errors import BadInput


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("1E5", 1e5), ("-2.5e+3", -2500.0), (".5", 0.5), ("3.", 3.0), ("-7", -7),
        ("true", True), ("FALSE", False), ("null", None), ("~", None), (".inf", float("inf")),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("off", "off"), ("1:30", "1:30"), ("007", "007"),
        ("1_000", "1_000"), ("2026-01-31", "2026-01-31"), ("0x10", "0x10"), ("1e", "1e"),
        ("[1, 2e0]", [1, 2.0]), ("'1e-4'", "1e-4"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    for got in (parse(f"a: {text}", "x.yaml").data["a"], parse_value(text)):
        assert got == value
        assert type(got) is type(value)


def test_a_value_that_is_no_yaml_stays_text() -> None:
    assert parse_value("@x") == "@x"
    assert parse_value("[1") == "[1"
    assert parse_value("!!int x") == "!!int x"


def test_marks_point_at_keys_and_at_items_of_nested_lists() -> None:
    marked = parse("a:\n  - [1, 2]\n  - {b: [3, 4]}\nc: {d: 5}\n", "x.yaml")
    shown = {location: str(mark) for location, mark in marked.marks.items()}
    assert shown[("a",)] == "x.yaml:1:1"
    assert shown[("a", 0, 1)] == "x.yaml:2:9"
    assert shown[("a", 1, "b")] == "x.yaml:3:6"
    assert shown[("a", 1, "b", 1)] == "x.yaml:3:13"
    assert shown[("c", "d")] == "x.yaml:4:5"
    assert str(marked.mark(("a", 0, 7, "nowhere"))) == "x.yaml:2:5", "else the nearest parent"


def test_keys_that_are_whole_numbers_keep_their_place() -> None:
    marked = parse("paths: {3: 16, 5: 8}\n", "x.yaml")
    assert marked.data == {"paths": {3: 16, 5: 8}}
    assert str(marked.marks[("paths", 5)]) == "x.yaml:1:16"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3: 'a' stands twice (first on line 1); keep one"),
        ("t:\n  3: 1\n  5: 2\n  3: 4\n", "x.yaml:4: '3' stands twice (first on line 2); keep one"),
        (
            "- 1\n- 2\n",
            "x.yaml: a conf is a mapping of sections (model:, data:, training:), this file is not",
        ),
        (
            "just words",
            "x.yaml: a conf is a mapping of sections (model:, data:, training:), this file is not",
        ),
        ("? [1, 2]\n: 3\n", "x.yaml:1: a key must be a word or a whole number"),
        ("a: [1, 2\nb: 3\n", "x.yaml:2:2: not YAML:"),
        ("a: 1\n\tb: 2\n", "x.yaml:2:1: not YAML:"),
        ("a: 1\n--- \nb: 2\n", "x.yaml:2:1: not YAML:"),
        ("a: !!python/object:os.system {}", "x.yaml:1:4: not YAML:"),
        ("a: !!int many", "x.yaml: not YAML:"),
        ("a: &a {b: *a}", "x.yaml: not YAML:"),
        ("a: \x00", "x.yaml: not YAML:"),
    ],
)
def test_what_is_refused_is_named_with_its_line(text: str, line: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(text, "x.yaml")
    assert caught.value.lines[0].startswith(line)


@pytest.mark.parametrize("text", ["", "# nothing but words\n", "---\n"])
def test_an_empty_file_is_an_empty_conf(text: str) -> None:
    assert parse(text, "x.yaml").data == {}


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    for name in ("latin.yaml", "absent.yaml"):
        with pytest.raises(BadInput, match=name):
            read(tmp_path / name, name)
    with pytest.raises(BadInput, match="cannot be read"):
        read(tmp_path, "folder")


def test_a_byte_order_mark_does_not_become_part_of_a_key(tmp_path: Path) -> None:
    file = tmp_path / "bom.yaml"
    file.write_bytes(b"\xef\xbb\xbfname: x\r\nversion: 1\r\n")
    assert read(file, "bom.yaml").data == {"name": "x", "version": 1}
