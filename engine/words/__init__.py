"""Every sentence a user reads, one catalogue per language.

`say("runs.none")` returns the sentence in the chosen language; a missing key falls back to English and a
key that exists nowhere raises, so a typing error cannot reach a screen. The language is set once by
`choose` (from `--lang`, else `SPECTUI_LANG`, `LC_ALL`, `LC_MESSAGES`, `LANG`).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "zh")
_chosen: str | None = None


def choose(language: str | None) -> str:
    """Set and return the language of this process: `language`, or what the environment asks for."""
    global _chosen
    _chosen = language if language in LANGUAGES else from_environment()
    return _chosen


def from_environment() -> str:
    """Return 'zh' when the locale is Chinese, else 'en'."""
    for name in ("SPECTUI_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def language() -> str:
    """Return the language in force."""
    return _chosen or choose(None)


def say(key: str, /, **values: Any) -> str:
    """Return the sentence `key` with its placeholders filled.

    Raises:
        KeyError: no catalogue has the key.
    """
    text = catalogue(language()).get(key)
    if text is None:
        text = catalogue("en")[key]
    return text.format(**values) if values else text


def own(key: str) -> str | None:
    """Return the sentence that the chosen language itself has, None where it has none."""
    return catalogue(language()).get(key)


def has(key: str) -> bool:
    """Tell whether the English catalogue has the key."""
    return key in catalogue("en")


@cache
def catalogue(name: str) -> dict[str, str]:
    """Return the flat catalogue of one language: 'section.key' to sentence."""
    source = Path(__file__).parent / f"{name}.yaml"
    stat = source.stat()
    stamp = [stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size]  # installers may set the first as they like
    # Beside the compiled modules: importing YAML and reading the catalogue takes as long as ten modules.
    compiled = source.parent / "__pycache__" / f"{name}.words.json"
    with contextlib.suppress(OSError, ValueError):
        kept = json.loads(compiled.read_text(encoding="utf-8"))
        if kept["stamp"] == stamp:
            return dict(kept["words"])
    words = _parsed(source)
    if not sys.dont_write_bytecode:
        with contextlib.suppress(OSError):
            beside = compiled.with_name(f".{compiled.name}.{os.getpid()}")
            beside.write_text(json.dumps({"stamp": stamp, "words": words}), encoding="utf-8")
            beside.replace(compiled)
    return words


def _parsed(source: Path) -> dict[str, str]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return dict(_flatten("", yaml.load(source.read_text(encoding="utf-8"), Loader=loader) or {}))


def _flatten(prefix: str, tree: dict[str, Any]) -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat += _flatten(f"{name}.", value)
        elif value is not None:
            flat.append((name, str(value)))
    return flat
