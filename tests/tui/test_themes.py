"""The themes: every text that is read has contrast, curves too, and the choice is kept."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from textual.color import Color

from tui import themes
from tui.charts.lines import COLOURS as CURVES
from tui.config import THEMES
from tui.theme import COLOURS

OURS = [name for name in THEMES if name != themes.ANSI]
TEXTS = ("foreground", "text-primary", "text-accent", "text-warning", "text-error", "text-success")
GROUNDS = ("background", "surface", "panel")


def luminance(colour: Color) -> float:
    def linear(part: int) -> float:
        c = part / 255
        return c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4

    return 0.2126 * linear(colour.r) + 0.7152 * linear(colour.g) + 0.0722 * linear(colour.b)


def contrast(one: Color, other: Color) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", OURS)
def test_text_can_be_read_on_every_ground(name: str) -> None:
    theme = next(t for t in themes.all_of_ours() if t.name == name)
    colours = theme.to_color_system().generate()
    parsed = {part: Color.parse(colours[part]) for part in (*TEXTS, "text-muted", *GROUNDS, "primary")}
    for text, ground in product(TEXTS, GROUNDS):
        assert contrast(parsed[text], parsed[ground]) >= 4.5, (name, text, ground)
    for ground in GROUNDS:
        assert contrast(parsed["text-muted"], parsed[ground]) >= 4.5, (name, "text-muted", ground)
    for state in {colour.removeprefix("$") for colour in COLOURS.values()}:
        assert contrast(Color.parse(colours[state]), parsed["background"]) >= 4.5, (name, state)
    # The row under the cursor of a list.
    cursor = parsed["background"].blend(parsed["primary"], 0.35)
    for text in TEXTS[:1] + TEXTS[3:]:
        assert contrast(parsed[text], cursor) >= 3, (name, text)


@pytest.mark.parametrize("name", OURS)
def test_curves_are_seen_and_differ(name: str) -> None:
    palette = themes.palette(name)
    assert palette is not None
    ground = Color(*palette.background_color)
    colours = [Color(*palette.ansi_colors[index]) for index in (1, *CURVES)]
    assert all(contrast(colour, ground) >= 3 for colour in colours)
    assert len({colour.rgb for colour in colours}) == len(colours)
    assert 1 not in CURVES and 9 not in CURVES, "red is for what went wrong"


def test_the_colour_blind_safe_curves_are_those_of_okabe_and_ito() -> None:
    palette = themes.palette("spectui-safe")
    assert palette is not None
    first = ["#{:02x}{:02x}{:02x}".format(*palette.ansi_colors[i]) for i in CURVES[:5]]
    assert first == ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442"]


@pytest.mark.parametrize(
    ("environment", "configured", "kept", "theme"),
    [
        ({}, "", "", "spectui-dark"),
        ({}, "", "spectui-light", "spectui-light"),
        ({}, "spectui-safe", "spectui-light", "spectui-safe"),
        ({"TERM": "linux"}, "", "spectui-light", "ansi"),
        ({"TERM": "linux"}, "spectui-dark", "", "spectui-dark"),
        ({"NO_COLOR": "1"}, "spectui-dark", "spectui-light", "ansi"),
        ({}, "", "gone", "spectui-dark"),
    ],
)
def test_the_theme_to_begin_with(
    environment: dict[str, str], configured: str, kept: str, theme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert themes.chosen(configured, kept) == theme


async def test_a_theme_is_chosen_by_a_key_and_kept(opened: Any) -> None:
    async with opened() as glass:
        assert glass.app.theme == "spectui-dark"
        await glass.press("f9")
        await glass.sees("theme spectui-light")
        assert glass.app.theme == "spectui-light" and not glass.app.current_theme.dark
        assert glass.app.ansi_theme == themes.palette("spectui-light")
    async with opened() as glass:
        assert glass.app.theme == "spectui-light"
