"""The themes: dark, light, safe for the colour-blind (Okabe and Ito), and the terminal's own sixteen colours.

Charts draw with ANSI indices (`tui.charts.lines.COLOURS`); what an index looks like is the theme's matter, so
curves follow it too. Owns colours only: every pair that is read is checked for contrast by a test.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from rich.terminal_theme import TerminalTheme
from textual.app import App
from textual.filter import Monochrome, NoColor
from textual.theme import BUILTIN_THEMES, Theme

from tui.config import THEMES

ANSI = "ansi"
# Terminals with sixteen colours: the terminal's own palette, not muddy guesses at ours.
_SIXTEEN = ("xterm", "linux", "vt100", "vt220", "screen", "ansi")


def _theme(
    name: str, text: Mapping[str, str], background: str, surface: str, panel: str, *, dark: bool
) -> Theme:
    variables = {f"text-{part}": text[part] for part in ("primary", "accent", "warning", "error", "success")}
    return Theme(
        name=name, dark=dark, background=background, surface=surface, panel=panel,
        primary=text["primary"], secondary=text["muted"], accent=text["accent"], warning=text["warning"],
        error=text["error"], success=text["success"], foreground=text["foreground"],
        variables=variables | {"text": text["foreground"], "text-muted": text["muted"]},
    )  # fmt: skip


_DARK = {
    "foreground": "#e2e6ea", "muted": "#a3adb8", "primary": "#5cb0ea", "accent": "#f0a94a",
    "warning": "#e5c04e", "error": "#ff8080", "success": "#6ccf7f",
}  # fmt: skip
_LIGHT = {
    "foreground": "#1c2024", "muted": "#505760", "primary": "#0b5a99", "accent": "#7d4300",
    "warning": "#6e4a00", "error": "#a81c28", "success": "#17602a",
}  # fmt: skip
_SAFE = {
    "foreground": "#ececec", "muted": "#adb3ba", "primary": "#56b4e9", "accent": "#f0e442",
    "warning": "#e69f00", "error": "#ff8f4a", "success": "#2fc79a",
}  # fmt: skip

_OURS: dict[str, Theme] = {
    "spectui-dark": _theme("spectui-dark", _DARK, "#101418", "#171c22", "#222a33", dark=True),
    "spectui-light": _theme("spectui-light", _LIGHT, "#fafafa", "#f0f1f3", "#e3e6ea", dark=False),
    "spectui-safe": _theme("spectui-safe", _SAFE, "#0f1115", "#171a20", "#23272f", dark=True),
    ANSI: replace(BUILTIN_THEMES["ansi-dark"], name=ANSI),
}

# Black, red, green, yellow, blue, magenta, cyan, white; the bright ones after them.
_PALETTES: dict[str, tuple[str, str]] = {
    "spectui-dark": (
        "#101418 #ff6b6b #6ccf7f #e5c04e #6aa9f0 #d592e0 #5fc9d3 #c9d1d9",
        "#7d8794 #ff8585 #a8e8b3 #ffe08a #9cc9ff #f0b8f7 #9be8ef #ffffff",
    ),
    "spectui-light": (
        "#1c2024 #b3202c #1a6b2f #7a5200 #0b4fa5 #8a2b8f #006a73 #3d444c",
        "#6a727c #c62f36 #4a7d12 #996300 #3b6fd0 #b0489f #0a7f8b #101418",
    ),
    # Okabe and Ito's eight, which differ for every kind of colour blindness; lighter ones after them.
    "spectui-safe": (
        "#0f1115 #d55e00 #009e73 #e69f00 #56b4e9 #cc79a7 #f0e442 #d0d0d0",
        "#868d96 #ff8f4a #5fd3b0 #ffc857 #9bd3f5 #e6a8c8 #f7f2a0 #ffffff",
    ),
}


def register(app: App[Any]) -> None:
    """Make the themes known to an app; where no colour is wanted there are no greys instead either."""
    for theme in all_of_ours():
        app.register_theme(theme)
    if app.no_color:
        app._filters = [NoColor() if isinstance(f, Monochrome) else f for f in app._filters]


def wear(app: App[Any], name: str) -> None:
    """Change the colours of an app, those of its charts too."""
    colours = palette(name)
    if colours is not None:
        app.ansi_theme_dark = app.ansi_theme_light = colours
    app.theme = name


def after(name: str) -> str:
    """Return the theme that comes after another."""
    place = THEMES.index(name) if name in THEMES else -1
    return THEMES[(place + 1) % len(THEMES)]


def all_of_ours() -> list[Theme]:
    """Return the themes in the order in which they are offered."""
    return [_OURS[name] for name in THEMES]


@cache
def palette(name: str) -> TerminalTheme | None:
    """Return what the sixteen ANSI colours look like in a theme; None where the terminal decides."""
    if name not in _PALETTES:
        return None
    normal, bright = ([_rgb(one) for one in half.split()] for half in _PALETTES[name])
    theme = _OURS[name]
    return TerminalTheme(_rgb(str(theme.background)), _rgb(str(theme.foreground)), normal, bright)


def forced() -> bool:
    """Tell whether only the terminal's own colours will do: sixteen of them, or none wanted."""
    return "NO_COLOR" in os.environ or os.environ.get("TERM") in _SIXTEEN


def chosen(configured: str, kept: str) -> str:
    """Return the theme to begin with: by the terminal, the config, the last choice on the screen."""
    if "NO_COLOR" in os.environ:
        return ANSI
    if configured in _OURS:
        return configured
    if forced():
        return ANSI
    return kept if kept in _OURS else THEMES[0]


def _rgb(text: str) -> tuple[int, int, int]:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
