"""The conf of a run: every key as it was resolved, and what differs from where it came from.

Each changed key says its value before and now, against the source conf and against the parent run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import yaml
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from engine.conf.tree import difference, to_yaml
from engine.runs.record import Record
from engine.words import say
from tui import keys
from tui.widgets.bars import Quiet
from tui.widgets.plain import fit
from tui.widgets.row_list import RowList
from tui.widgets.search_box import SearchBox


@dataclass(frozen=True)
class Row:
    """A line of the pane: how it looks, and what is copied of it."""

    text: Text
    yaml: str = ""
    changed: bool = False
    head: bool = False
    """It stands in the list of differences, above the conf itself."""


@dataclass
class Against:
    """What a conf is compared with, in words, and dotted key to {was, is}."""

    words: str
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)


def compared(record: Record, parent: Record | None) -> list[Against]:
    """Return the source conf and the parent run, each with what differs; what is not known is left out."""
    found: list[Against] = []
    if record.stored is None and record.folder.patch.is_file():
        try:
            patch = yaml.safe_load(record.folder.patch.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError):
            patch = {}
        if isinstance(patch, dict):
            changes = {
                str(k): v for k, v in patch.items() if isinstance(v, dict) and {"was", "is"} <= v.keys()
            }
            found.append(Against(say("run.changed", source=record.source or "-"), changes))
    if parent is not None:
        words = say("conf_tab.parent", run=parent.run_id)
        found.append(Against(words, difference(parent.conf(), record.conf())))
    return found


def rows(record: Record, against: list[Against]) -> list[Row]:
    """Return the lines: first what differs, then the whole conf with the changed keys marked."""
    made: list[Row] = []
    for other in against:
        if not other.changes:
            made.append(Row(Text(f"{other.words} {say('conf_tab.nothing')}", "dim")))
            continue
        made.append(Row(Text(other.words, "bold yellow"), head=True))
        for key, both in other.changes.items():
            head = f"* {key}: {_value(both['was'])} → {_value(both['is'])}"
            made.append(Row(Text(head, "yellow"), _yaml_line(key, both["is"]), True, True))
    if made:
        made.append(Row(Text()))
    path: list[str] = []
    for line in to_yaml(record.conf()).splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        path[depth:] = [line.strip().partition(":")[0]]
        key = ".".join(path)
        was = next((a.changes[key]["was"] for a in against if key in a.changes), None)
        changed = any(key in a.changes for a in against)
        text = Text(f"{'* ' if changed else '  '}{line}", "bold yellow" if changed else "")
        if changed:
            text.append(f"  ← {_value(was)}", "not bold dim")
        made.append(Row(text, line, changed))
    return made


class ConfRows(RowList):
    """The lines of a conf."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: list[Row] = []
        self.needle = ""

    def row(self, number: int) -> Text:
        text = self.lines[number].text.copy()
        if self.needle:
            text.highlight_words([self.needle], "reverse bold", case_sensitive=False)
        return text


class ConfPane(Vertical):
    """The conf with a line that says what it is compared with."""

    where: ClassVar[str] = "conf"
    BINDINGS = keys.bindings("conf")
    DEFAULT_CSS = """
    ConfPane #conf-facts { height: 1; padding: 0 1; color: $text-muted; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.all_rows: list[Row] = []
        self.only = False

    def compose(self) -> ComposeResult:
        yield Quiet(id="conf-facts")
        yield ConfRows(id="conf-lines")
        yield SearchBox(placeholder=say("log.search_hint"), id="conf-search", compact=True)

    @property
    def list(self) -> ConfRows:
        return self.query_one(ConfRows)

    def focus_rows(self) -> None:
        """Give the keys to the lines."""
        self.list.focus()

    def tell(self, record: Record, parent: Record | None) -> None:
        """Show the conf of a run."""
        against = compared(record, parent)
        self.all_rows = rows(record, against)
        self._show()

    @property
    def differing(self) -> int:
        """Return how many keys differ, from the source conf and the parent run together."""
        return len({row.yaml.partition(":")[0] for row in self.all_rows if row.changed and row.head})

    def _show(self) -> None:
        chosen = [row for row in self.all_rows if row.head] if self.only else None
        before = self.list.lines[self.list.cursor] if self.list.lines else None
        self.list.lines = self.all_rows if chosen is None else chosen
        place = next((i for i, r in enumerate(self.list.lines) if r is before), None)
        empty = say("conf_tab.no_difference" if self.only else "conf_tab.empty")
        self.list.show(len(self.list.lines), cursor=place, empty=empty)
        differ = (
            say("conf_tab.differ", count=self.differing) if self.differing else say("conf_tab.no_difference")
        )
        parts = [differ, say("conf_tab.only" if self.only else "conf_tab.all")]
        if self.list.needle:
            parts.append(say("log.searched", what=self.list.needle))
        self.query_one("#conf-facts", Quiet).say(Text(fit("  ".join(parts), max(8, self.app.size.width - 2))))

    def action_differences(self) -> None:
        """Show only what differs, or everything."""
        self.only = not self.only
        self._show()

    def action_search(self) -> None:
        self.query_one(SearchBox).open(self.list.needle)

    @on(Input.Submitted, "#conf-search")
    def _searched(self, event: Input.Submitted) -> None:
        self.leave_search()
        self.list.needle = event.value.strip()
        self._show()
        if self.list.needle:
            self._find(range(self.list.cursor, self.list.cursor + len(self.list.lines)))

    @on(SearchBox.Left)
    def leave_search(self) -> None:
        """Close the search line."""
        self.query_one(SearchBox).shut()
        self.focus_rows()

    def action_found(self, by: int) -> None:
        """Go to the next line that has what is searched for, or to the one before; around the ends."""
        if not self.list.needle:
            self.action_search()
            return
        here, count = self.list.cursor, len(self.list.lines)
        self._find(range(here + by, here + by * (count + 1), by))

    def _find(self, places: range) -> None:
        lines, needle = self.list.lines, self.list.needle.lower()
        for place in places:
            if lines and needle in lines[place % len(lines)].text.plain.lower():
                self.list.go(place % len(lines))
                return
        self.notify(say("conf_tab.not_found", what=self.list.needle), markup=False)

    def line(self) -> str:
        """Return the YAML of the line under the cursor."""
        lines = self.list.lines
        return lines[self.list.cursor].yaml.strip() if lines else ""


def _value(value: Any) -> str:
    return "-" if value is None else str(value)


def _yaml_line(key: str, value: Any) -> str:
    return f"{key}: {yaml.safe_dump(value, default_flow_style=True, allow_unicode=True).splitlines()[0]}"
