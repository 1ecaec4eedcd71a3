"""What a person chose on the screen, kept for the next start: columns, order, filter, axes, tab, theme.

One small file per person and workspace, `<cache>/view-<uid>.json`, written whole. It can be thrown away at
any time and is never needed: what cannot be read counts as nothing chosen. Owns no widgets.
"""

from __future__ import annotations

import json
import os
from typing import Any, TypeVar

from engine.runs.folder import write_json
from engine.workspace import Workspace

T = TypeVar("T")


class View:
    """Names with plain JSON values, such as `runs.sort` or `charts.x`."""

    def __init__(self, workspace: Workspace) -> None:
        self.path = workspace.cache / f"view-{os.getuid()}.json"
        self._values: dict[str, Any] = {}
        self.changed = False
        try:
            read = json.loads(self.path.read_text(encoding="utf-8"))
            self._values = read if isinstance(read, dict) else {}
        except (OSError, ValueError):
            self._values = {}

    def get(self, name: str, default: T) -> T:
        """Return what was chosen, or the default when there is nothing, or something of another type."""
        value = self._values.get(name, default)
        return value if isinstance(value, type(default)) else default

    def set(self, name: str, value: Any) -> None:
        """Choose a value; it is on disk at the next `save`."""
        if self._values.get(name) != value:
            self._values[name] = value
            self.changed = True

    def save(self) -> None:
        """Write the file if anything was chosen since the last time; a disk that refuses costs nothing."""
        if not self.changed:
            return
        self.changed = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, self._values)
        except OSError:
            return  # a full or read-only disk: the choice lasts as long as the app
