"""Escape sequences to strips, writing over cells, and finding what changed."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tui.charts import strips


def test_sequences_become_styles() -> None:
    first, second = strips.split("\x1b[0mab\x1b[0m\x1b[38;5;10m⣀\x1b[2m⠤\x1b[0m \n\x1b[38;5;3mx\x1b[0m")
    assert [segment.text for segment in first] == ["ab", "⣀", "⠤", " "]
    colours = [style.color.number if style and style.color else None for _, style, _ in first]
    assert colours == [None, 10, 10, None]
    assert [bool(style and style.dim) for _, style, _ in first] == [False, False, True, False]
    assert second.text == "x"


def test_changed_spans_name_the_cells_that_differ_and_no_others() -> None:
    old = [Strip([Segment("abcdefghijklmnopqrstuvwxyz")]), Strip([Segment("same")])]
    new = [Strip([Segment("aXcdYfghijklmnopqrstuvwxyZ")]), Strip([Segment("sa"), Segment("me")])]
    assert strips.changed_spans(old, new) == [(0, 1, 4), (0, 25, 1)]
    assert strips.changed_spans(old, old) == []
    red = [old[0], Strip([Segment("same", Style(color="red"))])]
    assert strips.changed_spans(old, red) == [(1, 0, 4)]
    assert strips.changed_spans(old[:1], old) == [(1, 0, 4)]
    assert strips.changed_spans(old, old[:1]) == [(1, 0, 4)]


def test_writing_over_half_a_wide_character_keeps_the_width() -> None:
    for column in range(-2, 8):
        row = strips.text_cells("a学習率b", strips.PLAIN)
        strips.write(row, column, "損x", strips.PLAIN)
        assert cell_len(strips.join(row).text) == 8, column
    assert strips.text_cells("a\x1b\u0301b", strips.PLAIN) == strips.text_cells("a?b", strips.PLAIN)


def test_shortening_counts_cells() -> None:
    assert strips.shorten("学習率の損失", 6) == "学習 …"
    assert strips.shorten("short", 6) == "short"
    assert strips.shorten("short", 1) == "…"
    assert strips.shorten("short", 0) == ""
