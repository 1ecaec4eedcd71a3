"""Hostile data never harms the process: an abort inside plotext would fail here and not kill pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CASES = int(os.environ.get("SPECTUI_FUZZ_CASES", "300"))

FUZZ = """
import math, random, sys
from tui.charts.cursor import marked_words, next_point, place_words, readings, with_cursor
from tui.charts.legend import title_strip
from tui.charts.lines import Line, Mark, dressed, extent, nonfinite_marks
from tui.charts.plate import Frame
from tui.charts.render import draw, left_out, has_points
from tui.charts.series import Series
from tui.charts.warp import Warp

KINDS = ["nonfinite", "best", "checkpoint", "lr"]
X_KINDS = ["step", "epoch", "relative", "wall"]
BAD = [math.nan, math.inf, -math.inf, 1e300, -1e300, 1.7e308, -1.7e308, 5e-324, 1e-310, 0.0, -0.0, 1e16, -1.0]

def column(rng, n):
    kind = rng.randrange(7)
    if kind == 0: return [rng.choice(BAD)] * n
    if kind == 1: return [rng.choice(BAD) for _ in range(n)]
    if kind == 2: return [float(i) for i in range(n)]
    if kind == 3: return [rng.gauss(0, 1) if rng.random() > .05 else rng.choice(BAD) for _ in range(n)]
    if kind == 4: return [10.0 ** rng.uniform(-320, 308) for _ in range(n)]
    if kind == 5: return [1e16 + 2 * i for i in range(n)]
    return [math.exp(-i / 50) + rng.random() * .1 for i in range(n)]

def number(rng):
    return rng.choice([*BAD, rng.uniform(-5, 500)])

def warp_of(rng):
    kind = rng.randrange(4)
    if kind == 0: return None
    if kind == 1: return Warp(rng.choice([1e-9, 0.01, 1.0]))
    steps = sorted({float(rng.randrange(900)) for _ in range(rng.choice([1, 2, 30]))})
    base = rng.choice([0.0, 1.7e9, 1e12])
    places = sorted(base + rng.choice([0.0, rng.random(), rng.random() * 1e7]) for _ in steps)
    return Warp(steps=steps, places=places)

for case in range(int(sys.argv[1])):
    rng = random.Random(case)
    lines = []
    for i in range(rng.choice([0, 1, 1, 2, 10, 30])):
        n = rng.choice([0, 1, 2, 3, 50, 700])
        x = [float(j) for j in range(n)] if rng.random() < .6 else column(rng, n)
        series = Series.of(f"s{i}", x, column(rng, n))
        lines.append(Line(series.name, series, weight=rng.choice([0, 0, .9]), dim=rng.random() < .2,
                          warp=warp_of(rng)))
    lines = dressed(lines)
    marks = [Mark(number(rng), rng.choice(KINDS), rng.choice(["", "x" * 90, "\\x1b[2J损\\n"]))
             for _ in range(rng.choice([0, 2, 60]))]
    marks += nonfinite_marks(lines, marks)
    width, height = rng.choice([1, 2, 3, 5, 17, 40, 78]), rng.choice([1, 2, 3, 4, 5, 9, 16])
    log_y = rng.random() < .4
    view = rng.choice([None, extent(lines, marks, live=rng.random() < .5), (number(rng), number(rng))])
    wanted = rng.choice([None, None, (number(rng), number(rng))])
    kind = rng.choice(X_KINDS)
    picture = draw(lines, marks, width, height, log_y=log_y, clip=rng.random() < .4, x_range=view,
                   y_range=wanted, marker=rng.choice(["braille", "hd", "ascii"]),
                   frame=Frame(gutter=rng.choice([0, 7]), x_kind=kind))
    ends = (lines[-1].x_bounds() if lines else None) or (0.0, 1.0)
    cursor = rng.choice([None, number(rng), *ends])
    rows = with_cursor(picture, cursor)
    assert picture.clipped >= 0 and picture.per_column >= 0
    if cursor is not None:
        found = readings(lines, cursor, baseline=rng.random() < .5)
        words = [place_words(cursor, kind), *marked_words(marks, cursor, abs(number(rng)))]
        assert title_strip("t", lines, words, width, readings=found).cell_length == width
        for columns in (-10, -1, 0, 1, 10): next_point(lines, cursor, columns, abs(number(rng)))
    assert title_strip("t", lines, [], width).cell_length == width
    if view: left_out(lines, view), has_points(lines, view, log_y=log_y)
print("survived")
"""


def test_hostile_data_is_drawn_at_the_right_size() -> None:
    command = [sys.executable, "-W", "error", "-c", FUZZ, str(CASES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "survived"


def test_importing_the_widget_imports_neither_numpy_nor_plotext() -> None:
    code = "import sys, tui.charts.widget; print(sorted({'numpy', 'plotext', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
