"""The list of runs: virtual, so any number of rows costs what is on the screen.

Shows rows that it is given; keeps the cursor and the marks by run id, so they survive sorting and refresh.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.cli.text import duration, figure
from engine.runs.record import Record
from engine.words import say
from tui.theme import GLYPHS, MARK
from tui.widgets.plain import fit, fit_middle, plain


@dataclass(frozen=True)
class Column:
    """One column: its words, its width, what it says of a run, and how early it goes when room is short."""

    name: str
    width: int
    text: Callable[[Record], str]
    goes: int = 0
    right: bool = False


def _age(record: Record) -> str:
    return duration(max(0.0, time.time() - record.created_at))


def _called(record: Record) -> str:
    """Return the run's id; of one that was given another name, that and the end of its id."""
    if record.stored is not None:
        return record.name
    renamed = record.name != record.identity.get("name", record.name)
    return f"{record.name}  {record.run_id[-_TAIL:]}" if renamed else record.run_id


COLUMNS: tuple[Column, ...] = (
    Column("state", 11, lambda r: f"{GLYPHS[r.state]} {say(f'state.{r.state}')}"),
    Column("run", 0, _called),
    Column("model", 18, lambda r: r.model, goes=3),
    Column("epoch", 9, lambda r: f"{r.epoch}/{r.epochs}" if r.epochs else "-", right=True),
    Column("best", 9, lambda r: figure(r.best.get("val_loss", r.best.get("train_loss"))), right=True),
    Column("last", 9, lambda r: figure(r.last.get("val_loss", r.last.get("batch_loss"))), goes=2, right=True),
    Column("left", 7, lambda r: duration(r.eta) if r.eta is not None else "", goes=5, right=True),
    Column("took", 7, lambda r: duration(r.duration), goes=4, right=True),
    Column("age", 7, _age, goes=1, right=True),
)
_NAME_WIDTH = 22
# Of a run id that is too long, this much of its end stays: time and the four hex digits.
_TAIL = 11
_GAP = 1


class RunList(ScrollView, can_focus=True):
    """Rows of runs with a cursor, marks and a header row."""

    COMPONENT_CLASSES = {
        "run-list--header",
        "run-list--cursor",
        "run-list--bad",
        "run-list--live",
        "run-list--waiting",
        "run-list--mark",
    }
    DEFAULT_CSS = """
    RunList { height: 1fr; background: $background; overflow-x: hidden; }
    RunList .run-list--header { color: $text-muted; text-style: bold; }
    RunList .run-list--cursor { background: $primary 35%; text-style: bold; }
    RunList .run-list--bad { color: $text-error; text-style: bold; }
    RunList .run-list--live { color: $text-success; }
    RunList .run-list--waiting { color: $text-warning; }
    RunList .run-list--mark { color: $text-accent; text-style: bold; }
    """
    BINDINGS = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup,ctrl+u", "page(-1)", show=False),
        Binding("pagedown,ctrl+d", "page(1)", show=False),
        Binding("home,g", "edge(0)", show=False),
        Binding("end,G", "edge(1)", show=False),
    ]

    cursor: reactive[int] = reactive(0, init=False)

    class RunHighlighted(Message):
        """The cursor stands on another run."""

        def __init__(self, record: Record | None) -> None:
            self.record = record
            super().__init__()

    class RunClicked(Message):
        """A run was clicked where the cursor already stood."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: list[Record] = []
        self.marked: set[str] = set()
        self.empty = ""

    @property
    def current(self) -> Record | None:
        """Return the run under the cursor."""
        return self.rows[self.cursor] if 0 <= self.cursor < len(self.rows) else None

    def show(self, rows: list[Record], empty: str) -> None:
        """Set the rows; the cursor stays on its run, `empty` is said when there is none."""
        before = self.current
        self.rows, self.empty = rows, empty
        self.virtual_size = Size(self.size.width, len(rows) + 1)
        place = next(
            (i for i, r in enumerate(rows) if before is not None and r.run_id == before.run_id), None
        )
        moved = place if place is not None else min(self.cursor, max(0, len(rows) - 1))
        if moved != self.cursor:
            self.set_reactive(RunList.cursor, moved)
            self._keep_in_view()
        if self.current is not before:
            self.post_message(self.RunHighlighted(self.current))
        self.refresh()

    def toggle_mark(self) -> None:
        """Mark the run under the cursor, or take its mark away, and move down."""
        if self.current is not None:
            self.marked ^= {self.current.run_id}
            self.action_move(1)
            self.refresh()

    def watch_cursor(self) -> None:
        self._keep_in_view()
        self.refresh()
        self.post_message(self.RunHighlighted(self.current))

    def action_move(self, by: int) -> None:
        self.cursor = max(0, min(len(self.rows) - 1, self.cursor + by))

    def action_page(self, by: int) -> None:
        self.action_move(by * max(1, self.size.height - 2))

    def action_edge(self, end: int) -> None:
        self.cursor = max(0, len(self.rows) - 1) if end else 0

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self.rows) + 1)

    def on_click(self, event: object) -> None:
        row = getattr(event, "y", 0) - 1 + round(self.scroll_offset.y)
        if 0 <= row < len(self.rows):
            if row == self.cursor:
                self.post_message(self.RunClicked())
            self.cursor = row

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y == 0:
            return self._line(
                [(c.name, say(f"runs.column.{c.name}")) for c in self._columns()], "run-list--header", width
            )
        row = y - 1 + round(self.scroll_offset.y)
        if not self.rows and y == 2:
            style = self.get_component_rich_style("run-list--header", partial=True)
            return Strip([Segment(set_cell_size("  " + self.empty, width), style)], width)
        if row >= len(self.rows):
            return Strip.blank(width, self.rich_style)
        return self._row(self.rows[row], row == self.cursor, width)

    def _row(self, record: Record, at_cursor: bool, width: int) -> Strip:
        state = record.state
        kind = {
            "failed": "bad",
            "diverged": "bad",
            "died": "bad",
            "running": "live",
            "starting": "waiting",
        }.get(state)
        base = self.rich_style
        if at_cursor:
            base += self.get_component_rich_style("run-list--cursor", partial=True)
        tint = self.get_component_rich_style(f"run-list--{kind}", partial=True) if kind else Style()
        mark_style = self.get_component_rich_style("run-list--mark", partial=True)
        segments = [Segment(f"{MARK} " if record.run_id in self.marked else "  ", base + mark_style)]
        whole_row = state in ("failed", "diverged", "died")
        for column, size in self._sized(width):
            style = base + tint if whole_row or column.name == "state" else base
            segments.append(Segment(_cell(column, size, record) + " " * _GAP, style))
        return Strip(segments).adjust_cell_length(width, base)

    def _line(self, cells: list[tuple[str, str]], component: str, width: int) -> Strip:
        style = self.rich_style + self.get_component_rich_style(component, partial=True)
        words = dict(cells)
        text = "  " + "".join(
            fit(words[c.name], size, right=c.right) + " " * _GAP for c, size in self._sized(width)
        )
        return Strip([Segment(set_cell_size(text, width), style)], width)

    def _columns(self) -> list[Column]:
        return [column for column, _ in self._sized(self.size.width)]

    def _sized(self, width: int) -> list[tuple[Column, int]]:
        """Return the columns that fit with their widths; the run's name takes what is left."""
        columns = list(COLUMNS)
        while sum((c.width or _NAME_WIDTH) + _GAP for c in columns) + 2 > width:
            droppable = [c for c in columns if c.goes]
            if not droppable:
                break
            columns.remove(max(droppable, key=lambda c: c.goes))
        rest = width - 2 - sum(c.width + _GAP for c in columns)
        return [(c, c.width or max(8, min(44, rest))) for c in columns]

    def _keep_in_view(self) -> None:
        top, height = round(self.scroll_offset.y), max(1, self.size.height - 1)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False)


def _cell(column: Column, size: int, record: Record) -> str:
    """Return what a column says of a run, on one row whatever the run is called."""
    text = plain(column.text(record)).replace("\n", "�").replace("\t", "�")
    if column.name == "run":
        return fit_middle(text, size, _TAIL)
    return fit(text, size, right=column.right)
