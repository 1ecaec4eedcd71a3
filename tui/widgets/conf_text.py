"""The conf of a run as text: every key, with what was changed against its source in the foreground."""

from __future__ import annotations

from typing import Any

import yaml
from rich.text import Text

from engine.conf.load import to_yaml
from engine.runs.record import Record
from engine.words import say
from tui.widgets.plain import harmless


def conf_text(record: Record) -> Text:
    """Return the resolved conf; changed keys are marked with '*' and show what they were."""
    patch: dict[str, Any] = {}
    if record.stored is None and record.folder.patch.is_file():
        patch = yaml.safe_load(record.folder.patch.read_text(encoding="utf-8")) or {}
    text = Text()
    if patch:
        text.append(say("run.changed", source=record.source or "-") + "\n", "bold yellow")
        for key, both in patch.items():
            text.append(f"* {key}: {both['was']} → {both['is']}\n", "yellow")
        text.append("\n")
    path: list[str] = []
    for line in to_yaml(record.conf()).splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.strip().partition(":")[0]
        path[depth:] = [name]
        changed = ".".join(path) in patch
        text.append(f"{'* ' if changed else '  '}{line}\n", "bold yellow" if changed else "")
    return harmless(text)


def yaml_source(source: str) -> Text:
    """Return a conf file as it was written, comments dim and keys in colour."""
    text = Text()
    for line in source.splitlines():
        body, mark, comment = _split_comment(line)
        key, colon, rest = body.partition(":")
        if colon:
            text.append(key, "cyan")
            text.append(colon + rest)
        else:
            text.append(body)
        text.append(f"{mark}{comment}\n", "dim italic")
    return harmless(text)


def _split_comment(line: str) -> tuple[str, str, str]:
    """Split at a '#' that starts a comment (at the start, or after a space and outside quotes)."""
    quote = ""
    for place, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (place == 0 or line[place - 1].isspace()):
            return line[:place], "#", line[place + 1 :]
    return line, "", ""
