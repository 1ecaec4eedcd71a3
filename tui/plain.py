"""A spectrum or a learning rate in a plain terminal: text, drawn by the charts of the app.

For `spectui data spectrum` and `spectui schedule`. Colour only where stdout is a terminal that wants it;
letters and signs say the same without.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.color import ColorSystem
from textual.strip import Strip

from engine.words import say
from tui.charts.legend import title_strip
from tui.charts.lines import Marker, dressed
from tui.charts.plate import Frame
from tui.charts.render import render
from tui.widgets.rate_curve import rate_curve
from tui.widgets.spectrum_curves import curves, line_marks

if TYPE_CHECKING:
    from engine.conf.data import Data
    from engine.course import Course
    from engine.spectra.facts import Facts

_WIDTH, _HEIGHT = 80, 24
_LEAST = (20, 6)  # columns of the drawing, rows of one branch
_GUTTER = 8
_COURSE_HEIGHT = 12


def drawing(
    facts: Facts, conf: Data, stars: Sequence[int], pixels: slice, arguments: argparse.Namespace
) -> list[str]:
    """Return the branches of the first star, a second laid over it, above each other as lines of text.

    Of `arguments`: width and height of the whole drawing (None: the terminal's), and frame.
    """
    screen = shutil.get_terminal_size((_WIDTH, _HEIGHT))
    width = max(_LEAST[0], arguments.width or screen.columns)
    # two rows of the screen are left for the facts above and the prompt below
    height = arguments.height or max(_HEIGHT, screen.lines) - 2
    each = max(_LEAST[1], (height - 1) // len(facts.branches))
    wavelength = facts.wavelength[pixels]
    low, high = float(wavelength[0]), float(wavelength[-1])
    rv = facts.number("rv", stars[0])
    places = line_marks(low, high, arguments.frame, rv if rv == rv else 0.0)
    lines = [say("spectrum.frame_words", frame=say(f"spectrum.frame.{arguments.frame}"))]
    for branch in facts.branches:
        drawn, bad, counts = curves(facts, conf.clip, branch, stars, pixels)
        last = branch == facts.branches[-1]
        frame = Frame(plain_x=True, gutter=_GUTTER, x_axis=last, label_rows=2 if each >= 10 else 1)
        words = told(counts)
        strips = [title_strip(say(f"spectrum.branch.{branch}"), dressed(drawn), words, width)]
        strips += render(drawn, [*places, *bad], width, each - 1, marker=_marker(), frame=frame)
        lines += [_text(strip) for strip in strips]
    return lines


def course(course: Course) -> list[str]:
    """Return the learning rate over a run as lines of text, as wide as the terminal."""
    width = max(_LEAST[0], shutil.get_terminal_size((_WIDTH, _HEIGHT)).columns)
    curve = rate_curve(course)
    words = [say("charts.log") if curve.log_y else ""]
    strips = [title_strip(curve.title, dressed(curve.lines), words, width)]
    strips += render(curve.lines, [], width, _COURSE_HEIGHT - 1, log_y=curve.log_y, marker=_marker())
    return [_text(strip) for strip in strips]


DRAWINGS: dict[str, Callable[..., list[str]]] = {"spectrum": drawing, "schedule": course}
"""What can be drawn, by the name that the verb asks for."""


def told(counts: dict[str, int]) -> list[str]:
    """Return what is said of a branch's bad pixels: glyph, number and word."""
    return [say(f"spectrum.told.{name}", pixels=count) for name, count in counts.items() if count]


def _marker() -> Marker:
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return "braille" if utf8 else "ascii"


def _text(strip: Strip) -> str:
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return strip.text.rstrip()
    text = "".join(
        segment.style.render(segment.text, color_system=ColorSystem.EIGHT_BIT)
        if segment.style
        else segment.text
        for segment in strip
    )
    return text.rstrip()
