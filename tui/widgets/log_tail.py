"""The lines of a log, drawn as they come into view: followed at the end, wrapped, of any levels."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from pathlib import Path

from rich.text import Text
from textual.strip import Strip

from engine.words import say
from tui.log_lines import Lines, LogFile, level, may_have_level
from tui.widgets.row_list import RowList

LEVELS = ("all", "warning", "error")
_STYLES = {"error": "bold red", "warning": "yellow"}


class LogTail(RowList):
    """The lines of a log file, of all levels or of some."""

    def __init__(self, path: Path, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.file = LogFile(path)
        self.following = True
        self.wrap = False
        self.coloured = True
        self.level = "all"
        self.needle = ""
        self.kept: array[int] = array("Q")
        """Numbers of the lines of the level that is shown, when not all are."""

    def line(self, row: int) -> int:
        """Return the number of the line that stands in a row."""
        return row if self.level == "all" else self.kept[row]

    def row_of(self, line: int) -> int:
        """Return the row of a line, or of the one after it that is shown."""
        return line if self.level == "all" else bisect_left(self.kept, line)

    def rows(self) -> int:
        return self.file.count if self.level == "all" else len(self.kept)

    def row(self, number: int) -> Text:
        text = Text(self.file.text(self.line(number)), no_wrap=True)
        if self.coloured:
            text.stylize(_STYLES.get(level(text.plain), ""))
        if self.needle:
            text.highlight_words([self.needle], "reverse bold", case_sensitive=sensitive(self.needle))
        return text

    def catch_up(self) -> bool:
        """Look for new lines; at the end of them if it follows. Tell whether anything changed."""
        had, base = self.file.lines.ends, self.file.lines
        if not self.file.catch_up():
            return False
        if self.level != "all":
            if base is not self.file.lines:
                self.kept = array("Q")
                had = 0
            self.keep(self.file.lines, had, self.file.lines.ends)
        self.tell()
        return True

    def keep(self, lines: Lines, first: int, last: int) -> None:
        """Add the lines between two numbers that are of the level."""
        for low, texts in lines.chunks(first, last, may=may_have_level):
            self.kept.extend(low + i for i, text in enumerate(texts) if fits(self.level, text))

    def tell(self) -> None:
        """Show the rows there are now."""
        count = self.rows()
        if self.level != "all" and self.file.there:
            empty = say(f"log.none.{self.level}")
        else:
            empty = say("log.empty" if self.file.there else "log.missing")
        self.show(count, cursor=count - 1 if self.following else None, empty=empty)

    def set_follow(self, following: bool) -> None:
        self.following = following
        if following:
            self.go(self.count - 1)

    def go(self, number: int) -> None:
        super().go(number)
        if self.following and self.cursor < self.count - 1:
            self.following = False
            self.post_message(self.CursorMoved(self))

    def number_at(self, y: int) -> int | None:
        if not self.wrap:
            return super().number_at(y)
        seen = self._wrapped()
        return seen[y][0] if y < len(seen) else None

    def render_line(self, y: int) -> Strip:
        if not self.wrap or not self.count:
            return super().render_line(y)
        seen = self._wrapped()
        if y >= len(seen):
            return Strip.blank(self.size.width, self.rich_style)
        number, text, first = seen[y]
        return self.drawn(number, text, first)

    def _wrapped(self) -> list[tuple[int, Text, bool]]:
        """Return (row, piece, first) of every line of the screen; at the end it is filled from below."""
        height, top = self.size.height, round(self.scroll_offset.y)
        at_end = top >= self.count - height
        numbers = range(self.count - 1, -1, -1) if at_end else range(top, self.count)
        seen: list[tuple[int, Text, bool]] = []
        for number in numbers:
            text = self.row(number)
            text.expand_tabs(8)
            text.no_wrap = False
            pieces = list(text.wrap(self.app.console, max(8, self.width - 2), overflow="fold")) or [Text()]
            told = [(number, piece, place == 0) for place, piece in enumerate(pieces)]
            seen = told + seen if at_end else seen + told
            if len(seen) >= height:
                break
        return seen[-height:] if at_end else seen[:height]

    def keep_in_view(self) -> None:
        super().keep_in_view()
        if not self.wrap or not self.size.height or not self.count:
            return
        # A line may take several rows: move on until the one under the cursor is among what is seen.
        for _ in range(self.size.height):
            seen = {number for number, _, _ in self._wrapped()}
            if self.cursor in seen:
                return
            step = 1 if self.cursor > max(seen) else -1
            self.scroll_to(y=round(self.scroll_offset.y) + step, animate=False, force=True, immediate=True)


def fits(wanted: str, text: str) -> bool:
    """Tell whether a line is of a level, or worse."""
    found = level(text)
    return found == "error" or (wanted == "warning" and found == "warning")


def sensitive(needle: str) -> bool:
    """Capitals are meant; without any, either case is."""
    return needle != needle.lower()
