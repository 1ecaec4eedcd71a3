"""The rows at the top and bottom of every screen: where you are, and the keys that work here."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text
from textual.visual import VisualType
from textual.widgets import Static

from engine.words import say
from tui import keys
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
            self._said = content
            self.update(content)


class TopBar(Quiet):
    """The modes with their number keys, the workspace, and how many runs are live."""

    DEFAULT_CSS = """
    TopBar { dock: top; height: 1; background: $panel; color: $foreground; padding: 0 1; }
    """

    def tell(self, mode: str, workspace: str, live: int) -> None:
        """Show the mode in force and the facts on the right, as far as they fit."""
        parts = []
        for number, name in enumerate(MODES, 1):
            word = f" {number} {say(f'mode.{name}')} "
            parts.append(f"[reverse bold]{word}[/]" if name == mode else word)
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
    """The keys of this place, most wanted first, as many as fit and seven at most."""

    DEFAULT_CSS = """
    KeyBar { dock: bottom; height: 1; background: $panel; color: $text-muted; padding: 0 1; }
    """

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def on_resize(self) -> None:
        chosen = self.chosen(self.size.width - 2)
        self.say("  ".join(f"[bold $accent]{_escape(k)}[/] {word}" for k, word in chosen))

    def chosen(self, room: int) -> list[tuple[str, str]]:
        """Return the keys and words that fit `room` cells, help last."""
        chosen: list[tuple[str, str]] = []
        wanted = keys.bar(self.where)
        # Help always stands: everything that does not fit is behind it.
        help_key = next(key for key in wanted if key.id == "app.help")
        room -= cell_len(f"{help_key.shown(self.where)} {say('key.app.help')}")
        for key in wanted:
            if key is help_key or len(chosen) == _MOST_KEYS - 1:
                continue
            word = say(f"key.{key.id}")
            width = cell_len(f"{key.shown(self.where)} {word}") + 2
            if width <= room:
                chosen.append((key.shown(self.where), word))
                room -= width
        return [*chosen, (help_key.shown(self.where), say("key.app.help"))]


def _escape(text: str) -> str:
    return text.replace("[", "\\[")


def _tail(text: str, width: int) -> str:
    """Return the end of a path that fits."""
    return text if cell_len(text) <= width else "…" + text[-(width - 1) :]
