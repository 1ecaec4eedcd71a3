"""Places to look at: labelled above the curves, under them a guide, at the column of their x."""

from __future__ import annotations

from tui.charts import Frame, Line, Mark, Series
from tui.charts.render import render


def draw(marks: list[Mark], frame: Frame, width: int = 88, height: int = 12) -> list[str]:
    series = Series.of("flux", range(4000, 4801), [1.0] * 801)
    rows = render([Line("flux", series)], marks, width, height, frame=frame, y_range=(0, 1.5))
    assert [row.cell_length for row in rows] == [width] * height
    return [row.text for row in rows]


def test_a_place_is_labelled_over_its_column() -> None:
    frame = Frame(plain_x=True, gutter=8, label_rows=2)
    spike = Series.of("flux", range(4000, 4801), [float(x == 4341) for x in range(4000, 4801)])
    drawn = [row.text for row in render([Line("flux", spike)], [], 88, 12, frame=frame, y_range=(0, 1))]
    top = drawn[2]  # under two rows for labels, the tip of the spike shows where plotext puts 4341
    column = next(i for i, c in enumerate(top) if 0x2800 < ord(c) < 0x2900)
    rows = draw([Mark(4341, "line", "Hγ")], frame)
    assert rows[1].index("Hγ") + 1 == column and rows[0].strip() == ""
    guides = [row for row in rows if "┊" in row]
    assert len(guides) >= 6 and all(row.index("┊") == column for row in guides)


def test_wanted_places_come_first_and_labels_never_touch() -> None:
    marks = [Mark(4341, "line", "first"), Mark(4345, "line", "second"), Mark(4350, "faint", "third")]
    rows = draw(marks, Frame(label_rows=2))
    assert "first" in rows[1] and "second" in rows[0] and not any("third" in row for row in rows)
    assert "┊" not in "".join(draw(marks, Frame(label_rows=0)))


def test_a_band_is_underlined_and_a_bad_pixel_stays_red() -> None:
    marks = [Mark(4280, "line", until=4320), Mark(4500, "nonfinite", "✗ 1 px"), Mark(4600, "clipped"),
             Mark(4700, "zero"), Mark(4900, "line", until=5000)]  # fmt: skip
    rows = draw(marks, Frame(plain_x=True, gutter=8))
    axis = next(row for row in rows if row.lstrip().startswith("└"))
    assert 4 <= axis.count("═") <= 6 and axis.count("✗") == axis.count("!") == axis.count("o") == 1
    assert axis.index("═") < axis.index("✗") < axis.index("!") < axis.index("o")


def test_a_frame_lines_charts_up_and_writes_wavelengths_out() -> None:
    plain = draw([], Frame(plain_x=True, gutter=8))
    assert "4200" in plain[-1] and "4.2k" not in plain[-1] and plain[0][7] in "│┤"
    assert "4.2k" in draw([], Frame())[-1]
    bare = draw([], Frame(gutter=8, x_axis=False))
    assert "└" not in "".join(bare) and all(row[7] in "│┤" for row in bare)
