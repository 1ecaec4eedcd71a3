"""The rows at the top and bottom of every screen: where you are, and the keys that work here."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual.visual import VisualType
from textual.widgets import Static

from engine.words import say
from tui import keys
from tui.spans import repaint_less
from tui.widgets.plain import harmless, plain

MODES = ("runs", "experiments", "compare", "data")
_MOST_KEYS = 7


class Quiet(Static):
    """A text that repaints only when it says something else: an idle screen sends no bytes."""

    _said: object = None

    def say(self, content: VisualType) -> None:
        """Show `content` if it is not what is shown."""
        if isinstance(content, Text):
            harmless(content)
        if content != self._said:
            first, self._said = self._said is None, content
            # A new layout repaints the whole screen: only where the size follows from the words.
            if first or self.styles.auto_dimensions or not self.size:
                self.update(content, layout=self.styles.auto_dimensions)
            else:
                repaint_less(self, lambda: self.update(content, layout=False))


class TopBar(Quiet):
    """The modes with their number keys, the workspace, and how many runs are live."""

    DEFAULT_CSS = """
    TopBar {
        dock: top; height: 1; background: $panel; color: $foreground; padding: 0 1;
        link-color: $foreground; link-style: none; link-color-hover: $foreground;
        link-background-hover: $primary 30%; link-style-hover: none;
    }
    """

    def tell(self, mode: str, workspace: str, live: int) -> None:
        """Show the mode in force and the facts on the right, as far as they fit."""
        parts = []
        for number, name in enumerate(MODES, 1):
            word = f" {number} {say(f'mode.{name}')} "
            shown = f"[reverse bold]{word}[/]" if name == mode else word
            parts.append(f"[@click=app.mode('{name}')]{shown}[/]")
        left = "[bold]spectui[/] " + "".join(parts)
        taken = cell_len("spectui ") + sum(
            cell_len(f" {i} {say(f'mode.{n}')} ") for i, n in enumerate(MODES, 1)
        )
        right = say("app.live", count=live) if live else ""
        room = self.size.width - 2 - taken - cell_len(right)
        if room > 12:
            right = f"{_tail(workspace, room - 4)}  {right}" if right else _tail(workspace, room - 2)
        gap = max(1, self.size.width - 2 - taken - cell_len(right))
        self.say(f"{left}{' ' * gap}{_escape(plain(right))}")


class KeyBar(Quiet):
    """The keys of this place, most wanted first, as many as fit and seven at most.

    A key that cannot act now is dim; a click does what the key does.
    """

    DEFAULT_CSS = """
    KeyBar {
        dock: bottom; height: 1; background: $panel; color: $text-muted; padding: 0 1;
        link-color: $text-muted; link-style: none; link-color-hover: $foreground;
        link-background-hover: $primary 30%; link-style-hover: none;
    }
    """

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def stand_at(self, where: str) -> None:
        """Show the keys of another place: that of the tab in front."""
        self.where = where
        self.tell()

    def on_resize(self) -> None:
        self.tell()

    def tell(self) -> None:
        """Show the keys as they are now."""
        shown = []
        for key, pressed, word in self._fitting(self.size.width - 2):
            able = not self._why_not(key)
            pressed = f"[bold $accent]{_escape(pressed)}[/]" if able else f"[dim]{_escape(pressed)}[/]"
            word = word if able else f"[dim]{word}[/]"
            shown.append(f"[@click=app.key('{key.id}')]{pressed} {word}[/]")
        self.say("  ".join(shown))

    def _why_not(self, key: keys.Key) -> str:
        asked = getattr(self.app, "why_not", None)
        # The way to a mode is no more dim for standing in it.
        return asked(key.action, self.screen) if asked is not None and key.where != "app" else ""

    def chosen(self, room: int) -> list[tuple[str, str]]:
        """Return the keys and words that fit `room` cells, help last."""
        return [(pressed, word) for _, pressed, word in self._fitting(room)]

    def _fitting(self, room: int) -> list[tuple[keys.Key, str, str]]:
        chosen: list[tuple[keys.Key, str, str]] = []
        wanted = keys.bar(self.where)
        # Help always stands: everything that does not fit is behind it.
        help_key = next(key for key in wanted if key.id == "app.help")
        last = (help_key, help_key.shown(self.where), say("key.app.help"))
        room -= cell_len(f"{last[1]} {last[2]}")
        for key in wanted:
            if key is help_key or len(chosen) == _MOST_KEYS - 1:
                continue
            word, pressed = say(f"key.{key.id}"), key.shown(self.where)
            width = cell_len(f"{pressed} {word}") + 2
            if width <= room:
                chosen.append((key, pressed, word))
                room -= width
        return [*chosen, last]


def _escape(text: str) -> str:
    return text.replace("[", "\\[")


def _tail(text: str, width: int) -> str:
    """Return the end of a path that fits."""
    return text if cell_len(text) <= width else "…" + text[-(width - 1) :]
