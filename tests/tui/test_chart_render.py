"""Lines and marks to strips."""

from __future__ import annotations

import math

import pytest
from textual.strip import Strip

from tui.charts.lines import COLOURS, Line, Mark, colour_of, dressed, extent, nonfinite_marks
from tui.charts.render import has_points, left_out, render
from tui.charts.series import Series
from tui.charts.strips import cells


def line(name: str, y: list[float], x: list[float] | None = None) -> Line:
    return Line(name, Series.of(name, x or range(len(y)), y))


def is_red(strip: Strip, column: int) -> bool:
    colour = cells(strip)[column][1].color
    return colour is not None and colour.number in (1, 9)


def has_braille(text: str) -> bool:
    return any(0x2800 < ord(character) < 0x2900 for character in text)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (15, 4), (16, 4), (40, 9), (78, 16), (201, 50)])
@pytest.mark.parametrize("marker", ["braille", "hd", "ascii"])
def test_the_size_is_what_was_asked(size: tuple[int, int], marker: str) -> None:
    marks = [Mark(20, "nonfinite", "✗ 损失 nan @20"), Mark(30, "best", "best"), Mark(99, "lr")]
    lines = [line("损失", [math.sin(i / 5) for i in range(60)]), line("b", [1.0])]
    rows = render(lines, marks, *size, marker=marker)  # type: ignore[arg-type]
    assert [row.cell_length for row in rows] == [size[0]] * size[1]
    if marker == "ascii":
        assert "".join(row.text for row in rows).replace("损失", "").isascii()


def test_a_nonfinite_mark_is_red_at_the_column_of_its_step() -> None:
    y = [1.0] * 101
    y[70] = 5.0  # a spike one step wide shows where plotext puts x = 70
    spike = render([line("loss", y)], [], 80, 16, x_range=(0, 100), y_range=(0, 5))
    column = next(i for i, cell in enumerate(cells(spike[2])) if has_braille(cell[0]))
    mark = Mark(70, "nonfinite", "✗ loss nan @70")
    rows = render([line("loss", [1.0] * 101)], [mark], 80, 16, x_range=(0, 100), y_range=(0, 5))
    axis = next(row for row in rows if "✗" in row.text and "└" in row.text)
    assert axis.text.index("✗") == column and is_red(axis, column)
    guides = [row for row in rows if "╎" in row.text]
    assert len(guides) >= 12
    assert all(row.text.index("╎") == column and is_red(row, column) for row in guides)
    label = next(row for row in rows if "✗ loss nan @70" in row.text)
    assert is_red(label, label.text.index("nan"))


def test_a_mark_outside_the_view_is_not_drawn() -> None:
    rows = render([line("loss", [1.0, 2.0])], [Mark(70, "nonfinite"), Mark(math.nan, "nonfinite")], 40, 8)
    assert "✗" not in "".join(row.text for row in rows)


def test_a_gap_stays_a_gap() -> None:
    y = [1.0] * 101
    y[40:61] = [math.nan] * 21
    rows = render([line("loss", y)], [], 101, 8, y_range=(0, 2))
    row = next(row for row in rows if has_braille(row.text)).text
    start = len(row) - 97
    filled = [has_braille(character) for character in row[start:]]
    assert sum(filled[42:55]) == 0 and all(filled[:36]) and all(filled[62:])


def test_a_view_between_two_points_still_shows_the_curve() -> None:
    rows = render([line("loss", [0.0, 100.0], [0, 100])], [], 60, 12, x_range=(40, 60), y_range=(0, 100))
    assert sum(has_braille(row.text) for row in rows) in (2, 3)


def test_a_log_axis_shows_decades_and_leaves_out_what_it_cannot_show() -> None:
    lines = [line("loss", [10.0**-i for i in range(5)] + [0.0, -1.0, math.nan])]
    rows = render(lines, [], 60, 20, log_y=True)
    labels = [row.text.split("┤")[0].strip() for row in rows if "┤" in row.text]
    assert labels == ["1", "0.1", "0.01", "0.001", "0.0001"]
    assert left_out(lines) == 2
    assert left_out(lines, (0, 5)) == 1
    assert not has_points(lines, (5, 7), log_y=True) and has_points(lines, (5, 7), log_y=False)


def test_two_lines_carry_letters_and_one_does_not() -> None:
    a, b = line("train", [1.0, 2.0]), line("val", [2.0, 1.0])
    both = "".join(row.text for row in render([a, b], [], 40, 10))
    assert both.count("A") == both.count("B") == 1
    assert "A" not in "".join(row.text for row in render([a], [], 40, 10))


def test_colours_are_stable_distinct_and_never_red() -> None:
    assert colour_of("train") == colour_of("train")
    assert not {1, 9} & set(COLOURS)
    names = [f"series {i}" for i in range(len(COLOURS))]
    lines = dressed(Line(name, Series(name)) for name in names)
    assert sorted(line.colour or 0 for line in lines) == sorted(COLOURS)
    assert lines[0].colour == colour_of("series 0")
    assert len({line.letter for line in lines}) == len(lines)


def test_a_bad_first_point_is_marked_once_and_widens_the_extent() -> None:
    lines = [line("loss", [math.nan, 1.0], [120, 5])]
    (mark,) = nonfinite_marks(lines, [])
    assert (mark.x, mark.label) == (120, "✗ loss nan @120")
    assert nonfinite_marks(lines, [mark]) == []
    assert extent(lines, [], live=False) == (5, 120)
    assert extent([], [mark], live=False) is not None
    assert extent([], [Mark(math.inf, "nonfinite")], live=True) is None
