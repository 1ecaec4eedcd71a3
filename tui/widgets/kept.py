"""A widget that keeps its rows as strips and repaints only the cells that changed."""

from __future__ import annotations

from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from tui.charts.strips import changed_spans


class Kept(Widget):
    """Rows that are built when something changed, never while nothing can be seen of them."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._kept: list[Strip] = []
        self._kept_size = Size(0, 0)
        self._kept_old = True

    def build(self, width: int, height: int) -> list[Strip]:
        """Return the rows, each `width` cells wide."""
        raise NotImplementedError

    def rebuild(self) -> None:
        """Build the rows anew and repaint what differs; a hidden widget does so when it is shown."""
        self._kept_old = True
        if not self.is_mounted or not self.size or not self.is_on_screen:
            return
        old, old_size = self._kept, self._kept_size
        self._make()
        if old_size != self._kept_size:
            self.refresh()
            return
        regions = [Region(x, y, width, 1) for y, x, width in changed_spans(old, self._kept)]
        if regions:
            self.refresh(*regions)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return the rows of a region; all are brought up to date first, since a part may be asked for."""
        if self._kept_old or self._kept_size != self.size:
            whole = self._kept_old and crop.size != self.size
            self._make()
            if whole:
                self.call_later(self.refresh)
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """Return one kept row."""
        if y >= len(self._kept):
            return Strip.blank(self.size.width, self.rich_style)
        return self._kept[y].apply_style(self.rich_style)

    def _make(self) -> None:
        self._kept_old = False
        self._kept_size = self.size
        self._kept = self.build(*self.size) if self.size else []
