"""What a form comes to as it is typed: its problems, its size, and who waits for a slot. Two lines at most.

Follows the form a moment behind it, like the preview of the learning rate; everything is found in threads.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from rich.text import Text
from textual import work
from textual.message import Message
from textual.timer import Timer
from textual.worker import get_current_worker

from engine.conf.applies import idle_fields
from engine.conf.form_check import checked, problems_of
from engine.conf.schema import Conf
from engine.errors import BadInput
from engine.words import say
from engine.workspace import Workspace
from tui.widgets.bars import Quiet

_PAUSE = 0.2  # seconds without a key before anything is looked at
_COLOURS = {"safe": "green", "tight": "bold yellow", "risk": "bold red"}


@dataclass(frozen=True)
class Waits:
    """The queue as a form tells it."""

    waiting: int
    running: int
    free: bool


class FormState(Quiet):
    """A line on the size of what was typed, and one on the queue."""

    class Checked(Message):
        """The problems of what was typed are known, by key, the fields that have nothing to act on, and the
        conf (None while there is none).
        """

        def __init__(self, problems: dict[str, str], idle: dict[str, str], conf: Conf | None) -> None:
            self.problems, self.idle, self.conf = problems, idle, conf
            super().__init__()

    class Sized(Message):
        """The size of what was typed is known, or why it is not; `devices` are those that are there."""

        def __init__(self, text: Text, devices: list[str], waits: Waits | None) -> None:
            self.text, self.devices, self.waits = text, devices, waits
            super().__init__()

    def __init__(self, workspace: Workspace, id: str | None = None) -> None:
        super().__init__(id=id)
        self.workspace = workspace
        self.devices: list[str] = []
        """The devices of this machine in words, as of the last look."""
        self._waiting: Timer | None = None
        self._last_key = 0.0
        self._known = True
        self._busy = False
        self._next: Conf | None = None
        self._text = Text(say("size.waits"), "dim")
        self._waits: Waits | None = None

    def follow(self, typed: Callable[[], dict[str, Any]], keys: Callable[[], Collection[str]]) -> None:
        """Look at what the form holds once no key has come for a moment; it is asked then."""
        self._last_key = time.monotonic()
        if self._waiting is None:
            self._waiting = self.set_timer(_PAUSE, lambda: self._look_after_a_pause(typed, keys))

    def _look_after_a_pause(
        self, typed: Callable[[], dict[str, Any]], keys: Callable[[], Collection[str]]
    ) -> None:
        # One timer for a whole burst of keys.
        self._waiting = None
        left = self._last_key + _PAUSE - time.monotonic()
        if left > 0:
            self._waiting = self.set_timer(left, lambda: self._look_after_a_pause(typed, keys))
        else:
            self.look(typed(), keys())

    @work(thread=True, exclusive=True, group="form-state")
    def look(self, plain: dict[str, Any], keys: Collection[str]) -> None:
        """Check plain data of a conf; what is fit to run is sized after that."""
        worker = get_current_worker()
        problems, idle = problems_of(self.workspace, plain, keys), idle_fields(plain)
        conf = checked(self.workspace, plain)
        if not worker.is_cancelled:
            self.post_message(self.Checked(problems, idle, conf))

    def on_form_state_checked(self, event: Checked) -> None:
        self.find_size(event.conf)

    def find_size(self, conf: Conf | None) -> None:
        """Find the size of a run of this conf (None: none yet); while one is being found, the newest waits.

        In a daemon thread and not in a worker: it may build a network, and quitting must not wait for it.
        """
        self._next = conf
        self._known = conf is not None
        if conf is None or self._busy:
            self._show(self._text if conf is not None else Text(say("size.waits"), "dim"))
            return
        self._busy, self._next = True, None
        if not self.devices:
            self._show(Text(say("size.measuring"), "dim"))

        def find() -> None:
            self.post_message(self.Sized(*_found(self.workspace, conf)))

        threading.Thread(target=find, name="size", daemon=True).start()

    def on_form_state_sized(self, event: Sized) -> None:
        self._busy = False
        self.devices, self._waits = event.devices, event.waits
        self._show(event.text if self._known else self._text)
        if self._next is not None:
            self.find_size(self._next)

    def on_mount(self) -> None:
        self._show(self._text)

    def _show(self, text: Text) -> None:
        self._text = text
        whole = text.copy()
        if self._waits is not None:
            free = say("launch.slot_free" if self._waits.free else "launch.no_slot")
            counts = {"waiting": self._waits.waiting, "running": self._waits.running, "free": free}
            whole.append("\n" + say("launch.now_or_queue", **counts), "dim")
        self.say(whole)


def _found(workspace: Workspace, conf: Conf) -> tuple[Text, list[str], Waits | None]:
    """Return the line on the size, the devices that are there, and the queue; for a thread."""
    from engine import size
    from engine.size_words import in_bytes, line

    try:
        found = size.size_of(workspace, conf)
        text, band = Text(line(found)), say(f"size.band.{found.band}")
        place = text.plain.rfind(band)
        text.stylize(_COLOURS[found.band], place, place + len(band))
    except (BadInput, OSError) as error:
        lines = error.lines if isinstance(error, BadInput) else [str(error)]
        text = Text(say("size.unknown", problem=lines[0]), "yellow")
    there = [say("launch.device", name=one.name, free=in_bytes(one.free)) for one in size.devices_there()]
    return text, there, _waits(workspace, conf)


def _waits(workspace: Workspace, conf: Conf) -> Waits | None:
    from engine.runs import devices, queue, slots
    from engine.runs.folder import RunFolder
    from engine.runs.queue_state import read

    try:
        listing = queue.listing(workspace)
        folders = [RunFolder(workspace.runs / run.run_id) for run in listing.running]
        notes = {one.run_id: one.read_json(one.process) for one in folders}
        places = slots.Slots(workspace, read(workspace).slots, notes, devices.gpus())
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        free = not listing.paused and places.take(conf.training.device, visible) is not None
        return Waits(len(listing.waiting), len(listing.running), free)
    except (BadInput, OSError, ValueError):
        return None
