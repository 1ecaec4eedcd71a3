"""The list of runs: virtual, so any number of rows costs what is on the screen.

Shows rows that it is given; keeps the cursor and the marks by run id, so they survive sorting and refresh.
What of a run is not at hand is asked for by a message, and shown when it comes. Only rows that look otherwise
than before are drawn again.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from weakref import WeakKeyDictionary

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.cli.text import figure
from engine.errors import BadInput
from engine.runs.arrange import Line
from engine.runs.record import Record
from engine.runs.spark import BAD as SPARK_BAD
from engine.words import say
from tui.theme import MARK
from tui.widgets.moves import MOVES
from tui.widgets.plain import fit, fit_middle, plain
from tui.widgets.run_columns import ALWAYS, DEFAULT, TAIL, Column, column

_GAP = 1
_MARGIN = 2
_LATER = "⋯"
"""Stands where something is still to be read."""
_KINDS = {
    "failed": "bad", "diverged": "bad", "died": "bad", "running": "live", "starting": "waiting",
}  # fmt: skip


class RunList(ScrollView, can_focus=True):
    """Rows of runs with a cursor, marks and a header row."""

    COMPONENT_CLASSES = {
        "run-list--header",
        "run-list--cursor",
        "run-list--bad",
        "run-list--live",
        "run-list--waiting",
        "run-list--mark",
        "run-list--group",
    }
    DEFAULT_CSS = """
    RunList { height: 1fr; background: $background; overflow-x: hidden; }
    RunList .run-list--header { color: $text-muted; text-style: bold; }
    RunList .run-list--cursor { background: $primary 35%; text-style: bold; }
    RunList .run-list--bad { color: $text-error; text-style: bold; }
    RunList .run-list--live { color: $text-success; }
    RunList .run-list--waiting { color: $text-warning; }
    RunList .run-list--mark { color: $text-accent; text-style: bold; }
    RunList .run-list--group { color: $text-accent; text-style: bold; }
    """
    BINDINGS = [
        *MOVES,
        # Else they would scroll sideways, where there is nothing.
        Binding("left", "screen.fold", show=False),
        Binding("right", "screen.unfold", show=False),
    ]

    cursor: reactive[int] = reactive(0, init=False, repaint=False)

    class RunHighlighted(Message):
        """The cursor stands on another run."""

        def __init__(self, record: Record | None) -> None:
            self.record = record
            super().__init__()

    class RunClicked(Message):
        """A run was clicked where the cursor already stood."""

    class TitleClicked(Message):
        """The title of a column was clicked."""

        def __init__(self, column: Column) -> None:
            self.column = column
            super().__init__()

    class CellsLacking(Message):
        """Cells are on the screen whose text is not at hand."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, RunList.CellsLacking)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.lines: Sequence[Line] = []
        self.filling = False
        """Whether the runs are still being read: who has not moved yet stays on the first row."""
        self.marked: set[str] = set()
        self.baseline = ""
        """Id of the run that others are told apart from."""
        self.empty = ""
        self.sort = ""
        self.known: WeakKeyDictionary[Record, dict[str, str]] = WeakKeyDictionary()
        """Texts that had to be read, by run and column."""
        self.lacking: dict[tuple[Record, str], None] = {}
        # Without what has to be read: who shows that reads it, and says so by `choose`.
        self._columns: list[Column] = [column(key) for key in DEFAULT if key != "changed"]
        self._drawn: dict[int, Strip] = {}
        self._any_left = False
        self._looks: dict[str, Style] = {}
        self._sizes_for: tuple[int, bool, int] | None = None
        self._sizes: list[tuple[Column, int]] = []

    @property
    def _width(self) -> int:
        """How wide the rows are: a scroll bar stands beside them, not on them."""
        return self.scrollable_content_region.width

    @property
    def rows(self) -> list[Record]:
        """Return the runs, in the order in which they stand."""
        return [line.record for line in self.lines if line.record is not None]

    @property
    def line(self) -> Line | None:
        """Return the row under the cursor."""
        return self.lines[self.cursor] if 0 <= self.cursor < len(self.lines) else None

    @property
    def current(self) -> Record | None:
        """Return the run under the cursor."""
        return self.line.record if self.line is not None else None

    def choose(self, keys: Sequence[str]) -> None:
        """Show these columns; a key that no run can have is left out."""
        chosen = []
        for key in dict.fromkeys([*keys, *(key for key in ALWAYS if key not in keys)]):
            try:
                chosen.append(column(key))
            except BadInput:
                continue  # kept by another version of the program
        self._columns = chosen
        self.freshen()

    def show(
        self, rows: Sequence[Record] | Sequence[Line], empty: str, place: dict[str, int] | None = None
    ) -> None:
        """Set the rows; the cursor stays on its run, `empty` is said when there is none.

        `place` has the row of each id; without it the row of the cursor's run is looked for.
        """
        before = self.line
        self.lines = [row if isinstance(row, Line) else Line(row.run_id, row) for row in rows]
        self.empty = empty
        self.virtual_size = Size(self._width, len(self.lines) + 1)
        if place is None:
            place = {line.id: at for at, line in enumerate(self.lines)}
        moved = min(self.cursor, max(0, len(self.lines) - 1))
        if before is not None and not (self.filling and self.cursor == 0):
            moved = place.get(before.id, moved)
        if moved != self.cursor:
            self.set_reactive(RunList.cursor, moved)
            self._keep_in_view()
        if self.current is not (before.record if before is not None else None):
            self.post_message(self.RunHighlighted(self.current))
        self.freshen()

    def point_at(self, run_id: str) -> None:
        """Put the cursor on a run, if it is listed."""
        at = next((at for at, line in enumerate(self.lines) if line.id == run_id), None)
        if at is not None:
            self.cursor = at

    def toggle_mark(self) -> None:
        """Mark the run under the cursor, or take its mark away, and move down."""
        if self.current is not None:
            self.marked ^= {self.current.run_id}
            self.freshen({self.current})
        self.action_move(1)

    def freshen(self, only: Container[Record] | None = None) -> None:
        """Draw the rows again that look otherwise than they do on the screen: all, or those of some runs."""
        top = round(self.scroll_offset.y) - 1
        for y in range(self.size.height):
            at = top + y
            if only is not None and not (y and at < len(self.lines) and self.lines[at].record in only):
                continue
            if self._draw(y) != self._drawn.get(y):
                self.refresh(Region(0, y, self._width, 1))

    def watch_cursor(self, before: int, now: int) -> None:
        self._keep_in_view()
        # Only these two rows look otherwise now; where the list scrolls it draws itself.
        for row in (before, now):
            y = row + 1 - round(self.scroll_offset.y)
            if 1 <= y < self.size.height:
                self.refresh(Region(0, y, self._width, 1))
        self.post_message(self.RunHighlighted(self.current))

    def action_move(self, by: int) -> None:
        self.cursor = max(0, min(len(self.lines) - 1, self.cursor + by))

    def action_page(self, by: int) -> None:
        self.action_move(by * max(1, self.size.height - 2))

    def action_edge(self, end: int) -> None:
        self.cursor = max(0, len(self.lines) - 1) if end else 0

    def on_resize(self) -> None:
        self.virtual_size = Size(self._width, len(self.lines) + 1)
        self._keep_in_view()

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            at = _MARGIN
            for shown, size in self._sized(self._width):
                if at <= event.x < at + size + _GAP:
                    self.post_message(self.TitleClicked(shown))
                at += size + _GAP
            return
        row = event.y - 1 + round(self.scroll_offset.y)
        if 0 <= row < len(self.lines):
            if row == self.cursor:
                self.post_message(self.RunClicked())
            self.cursor = row

    # -- drawing ------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        strip = self._drawn[y] = self._draw(y)
        return strip

    def _draw(self, y: int) -> Strip:
        width = self._width
        if y == 0:
            self._any_left = any(
                line.record is not None and line.record.eta is not None for line in self._seen()
            )
            return self._header(width)
        row = y - 1 + round(self.scroll_offset.y)
        if not self.lines and y == 2:
            style = self._style("run-list--header")
            return Strip([Segment(set_cell_size("  " + self.empty, width), style)], width)
        if row >= len(self.lines):
            return Strip.blank(width, self._style())
        line = self.lines[row]
        if line.record is None:
            return self._group(line, row == self.cursor, width)
        return self._row(line.record, line, row == self.cursor, width)

    def notify_style_update(self) -> None:
        self._looks.clear()
        super().notify_style_update()

    def _style(self, component: str = "") -> Style:
        """Return the style of a part, or of the list itself: looked up once, not for each cell."""
        found = self._looks.get(component)
        if found is None:
            found = self.get_component_rich_style(component, partial=True) if component else self.rich_style
            self._looks[component] = found
        return found

    def moves_on(self) -> bool:
        """Tell whether a run on the screen is at work."""
        return any(line.record is not None and line.record.live for line in self._seen())

    def _seen(self) -> Sequence[Line]:
        top = round(self.scroll_offset.y)
        return self.lines[top : top + max(1, self.size.height - 1)]

    def _row(self, record: Record, line: Line, at_cursor: bool, width: int) -> Strip:
        state = record.state
        kind = _KINDS.get(state)
        base = self._style()
        if at_cursor:
            base += self._style("run-list--cursor")
        tint = self._style(f"run-list--{kind}") if kind else Style()
        bad = self._style("run-list--bad")
        mark_style = self._style("run-list--mark")
        sign = MARK if record.run_id in self.marked else "⊙" if record.run_id == self.baseline else " "
        segments = [Segment(f"{sign} ", base + mark_style)]
        for shown, size in self._sized(width):
            style = base + tint if kind == "bad" or shown.key == "state" else base
            text = self._cell(shown, size, record, line) + " " * _GAP
            if shown.key == "spark" and kind != "bad":
                segments += _spark(text, style, base + bad)
            else:
                segments.append(Segment(text, style))
        return Strip(segments).adjust_cell_length(width, base)

    def _group(self, line: Line, at_cursor: bool, width: int) -> Strip:
        group = line.group
        assert group is not None
        style = self._style()
        if at_cursor:
            style += self._style("run-list--cursor")
        style += self._style("run-list--group")
        words = say(
            "runs.group_head", key=plain(group.key), value=plain(group.value), count=group.runs,
            best=figure(group.best),
        )  # fmt: skip
        return Strip([Segment(fit(f"{_fold(line)}{words}", width), style)], width)

    def _header(self, width: int) -> Strip:
        style = self._style() + self._style("run-list--header")
        text = " " * _MARGIN
        key, backwards = self.sort.removeprefix("-"), self.sort.startswith("-")
        for shown, size in self._sized(width):
            word = plain(shown.title)
            if key and key == ("name" if shown.key == "run" else shown.key):
                word = f"{word}{'▼' if backwards else '▲'}"
                word = word if cell_len(word) <= size else fit(word, size - 1).strip() + word[-1]
            text += fit(word, size, right=shown.right) + " " * _GAP
        return Strip([Segment(set_cell_size(text, width), style)], width)

    def _cell(self, shown: Column, size: int, record: Record, line: Line) -> str:
        """Return what a column says of a run, on one row whatever the run is called."""
        if shown.slow(record):
            text = self.known.get(record, {}).get(shown.key, "")
            if shown.key not in self.known.get(record, {}):
                self._lack(record, shown.key)
                text = _LATER
        else:
            text = shown.text(record)
        text = plain(text).replace("\n", "�").replace("\t", "�")
        if shown.key == "run":
            lead = line.tree + (_fold(line) if line.inside else "")
            inside = f" (+{line.inside})" if line.folded else ""
            room = size - cell_len(lead) - len(inside)
            return lead + fit_middle(text, room, TAIL) + inside if room > 4 else fit(lead + text, size)
        return fit(text, size, right=shown.right)

    def _lack(self, record: Record, key: str) -> None:
        if (record, key) not in self.lacking:
            self.lacking[record, key] = None
            self.post_message(self.CellsLacking())

    def _sized(self, width: int) -> list[tuple[Column, int]]:
        """Return the columns that fit with their widths; what is left goes to those that can grow."""
        asked = (width, self._any_left, id(self._columns))
        if asked != self._sizes_for:
            self._sizes_for, self._sizes = asked, self._fitted(width)
        return self._sizes

    def _fitted(self, width: int) -> list[tuple[Column, int]]:
        columns = list(self._columns)
        while sum(c.width + _GAP for c in columns) + _MARGIN > width:
            droppable = [c for c in columns if c.key not in ALWAYS]
            if not droppable:
                break
            columns.remove(max(droppable, key=self._goes))
        rest = width - _MARGIN - sum(c.width + _GAP for c in columns)
        sizes = {}
        for shown in columns:
            more = max(0, min(rest, shown.grows - shown.width)) if shown.grows else 0
            sizes[shown.key] = shown.width + more
            rest -= more
        if rest < 0:
            sizes["run"] = max(8, sizes.get("run", 8) + rest)
        return [(shown, sizes[shown.key]) for shown in columns]

    def _goes(self, shown: Column) -> tuple[int, int]:
        """Return how early a column goes: what is left of a run stays while one is at work."""
        at = self._columns.index(shown)
        if shown.key == "left" and self._any_left:
            return 1, at
        return shown.goes, at

    def _keep_in_view(self) -> None:
        top, height = round(self.scroll_offset.y), max(1, self.size.height - 1)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False)


def _fold(line: Line) -> str:
    return "▸ " if line.folded else "▾ "


def _spark(text: str, style: Style, bad: Style) -> list[Segment]:
    """Return a sparkline with its `!` in red."""
    pieces: list[Segment] = []
    for at, piece in enumerate(text.split(SPARK_BAD)):
        if at:
            pieces.append(Segment(SPARK_BAD, bad))
        if piece:
            pieces.append(Segment(piece, style))
    return pieces
