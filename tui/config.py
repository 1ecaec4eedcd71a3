"""What a person wants everywhere: `~/.config/spectui/config.toml` (XDG_CONFIG_HOME is respected).

Owns the file's keys and their checks: every mistake of the file at once, one line each. Never imports Textual
(some of the settings must be known before) and never writes the file.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from engine import words
from engine.errors import BadInput
from engine.words import say

THEMES = ("spectui-dark", "spectui-light", "spectui-safe", "ansi")


@dataclass(frozen=True)
class Config:
    """The settings, each with what is in force without a file."""

    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By id of the key table: the keys that do it instead."""
    theme: str = ""
    """Empty: by what the terminal can, or what was chosen on the screen."""
    lang: str = ""
    mouse: bool = True
    charset: str = "auto"
    """`braille` or `ascii`: what curves are drawn with."""
    chart_hz: float = 0.0
    """How often a second live charts are drawn again; 0: by the connection."""
    slow_link: str = "auto"
    """`yes`: few bytes; `auto`: over SSH half as many looks."""
    bell: bool = True
    """The terminal's bell when a run ends or goes wrong."""
    notify: bool = True
    """A desktop message (OSC 9) when a run ends or goes wrong."""
    title: bool = True
    """How many runs are live, and what went wrong, in the terminal's title."""


_CHOICES: dict[str, tuple[str, ...]] = {
    "theme": THEMES,
    "lang": words.LANGUAGES,
    "charset": ("auto", "braille", "ascii"),
    "slow_link": ("auto", "yes", "no"),
}
_HZ = (0.1, 10.0)
_SECONDS, _SSH_SECONDS, _SLOW_SECONDS = 0.5, 1.0, 2.0


def poll_seconds(config: Config, slow: bool) -> float:
    """Return how long to wait between two looks at live runs."""
    if config.chart_hz:
        return 1.0 / config.chart_hz
    if slow:
        return _SLOW_SECONDS
    over_ssh = config.slow_link == "auto" and "SSH_CONNECTION" in os.environ
    return _SSH_SECONDS if over_ssh else _SECONDS


def file() -> Path:
    """Return where the file is, or would be."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG rules: a relative path is to be ignored.
    folder = Path(base) if base.startswith("/") else Path.home() / ".config"
    return folder / "spectui" / "config.toml"


def read(path: Path | None = None) -> Config:
    """Return the settings of a file; without one, what is in force then.

    Raises:
        BadInput: the file cannot be read, is no TOML, or has keys or values that mean nothing.
    """
    path = file() if path is None else path
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(say("config.unreadable", file=path, error=str(error))) from error
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        where = f"{path}:{place[1]}:{place[2]}" if place else str(path)
        what = re.sub(r"\s*\(at [^)]*\)$", "", str(error))
        raise BadInput(say("config.no_toml", file=where, error=what)) from error
    problems: list[str] = []
    found: dict[str, Any] = {}
    known = [each.name for each in fields(Config)]
    for name, value in given.items():
        if name not in known:
            problems.append(say("config.unknown", file=path, key=name) + near(name, known))
            continue
        problem, found[name] = _keys(value) if name == "keys" else _value(name, value)
        problems += [say("config.wrong", file=path, key=name, problem=problem)] if problem else []
    if problems:
        raise BadInput(problems)
    return Config(**found)


def near(name: str, known: Iterable[str]) -> str:
    """Return the words that name the near miss, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return say("conf.did_you_mean", near=close[0]) if close else ""


def _value(name: str, value: Any) -> tuple[str, Any]:
    """Return what is wrong with a value (nothing: empty), and the value."""
    default = getattr(Config(), name)
    if isinstance(default, bool):
        return ("" if isinstance(value, bool) else say("config.not_bool", value=value)), value
    if name == "chart_hz":
        low, high = _HZ
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
        return ("" if fits else say("config.not_hz", value=value, low=low, high=high)), value
    if name == "slow_link" and isinstance(value, bool):
        value = "yes" if value else "no"
    choices = _CHOICES[name]
    if value in choices:
        return "", value
    hint = near(str(value), choices)
    return say("config.not_one_of", value=value, choices=", ".join(choices)) + hint, value


def _keys(value: Any) -> tuple[str, dict[str, tuple[str, ...]]]:
    """Return what is wrong with [keys], and the keys by id; `runs.stop` may be written without quotes."""
    found: dict[str, tuple[str, ...]] = {}
    if not isinstance(value, dict):
        return say("config.keys_no_table"), found
    todo = list(value.items())
    while todo:
        name, given = todo.pop(0)
        if isinstance(given, dict):
            todo += [(f"{name}.{inner}", below) for inner, below in given.items()]
            continue
        listed = [given] if isinstance(given, str) else given
        if not isinstance(listed, list) or not listed or not all(isinstance(k, str) and k for k in listed):
            return say("config.key_no_text", id=name, value=given), found
        found[name] = tuple(listed)
    return "", found
