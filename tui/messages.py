"""Messages from outside the screen: what feeds and workers found. Level-triggered ones replace each other."""

from __future__ import annotations

from textual.message import Message


class RunsChanged(Message):
    """The list of runs, or something in it, is not what it was."""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunsChanged)


class ConfsChanged(Message):
    """A file under conf/ or models/ came, went or changed."""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, ConfsChanged)
