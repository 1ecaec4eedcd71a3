"""System: what the machine is doing and who uses it, the runs first; read only while it is shown."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from engine.cli import system as told
from engine.runs.machine import Machine, Watch
from engine.spectra.check_words import size_words
from engine.words import say
from tui import keys
from tui.screens.base import Place
from tui.widgets.bars import Quiet
from tui.widgets.plain import fit

_SECONDS = 1.0
_SECONDS_SLOW = 5.0
_HISTORY = 120
_BAR = 20
_BLOCKS = " ▁▂▃▄▅▆▇█"
_LABEL = 12
_BUSY = 0.9


class SystemScreen(Place):
    """Processors, memory, disk and GPUs, with what they did in the last minutes."""

    where: ClassVar[str] = "system"
    BINDINGS = keys.bindings("system")

    def __init__(self) -> None:
        super().__init__()
        self.seen: Machine | None = None
        self.paused = False
        self._watch: Watch | None = None
        self._past: dict[str, deque[float]] = {}

    def compose_body(self) -> ComposeResult:
        yield Quiet(id="system-title")
        with VerticalScroll(id="system-box", can_focus=False):
            yield Quiet(id="system-text")

    def on_mount(self) -> None:
        self._watch = Watch(self.spectui.workspace.root)
        self.set_interval(_SECONDS_SLOW if self.spectui.slow else _SECONDS, self.look)
        self.look()

    @work(thread=True, exclusive=True, group="system", exit_on_error=False)
    def look(self) -> None:
        """Read /proc and ask for the GPUs: milliseconds, or seconds where nvidia-smi is asked."""
        if self.paused or self._watch is None or not self.is_current:
            return
        live = [row for row in self.spectui.feed.rows if row.live]
        seen = self._watch.look(live)
        self.app.call_from_thread(self._saw, seen)

    def _saw(self, seen: Machine) -> None:
        first = self.seen is None
        self.seen = seen
        if not first:
            # Of the first look no share of time is known.
            self._remember("cpu", seen.cpu)
        self._remember("memory", seen.memory_used / max(1, seen.memory_total))
        for gpu in seen.gpus:
            self._remember(f"gpu{gpu.index}", gpu.busy if gpu.busy is not None else gpu.used / gpu.total)
        self.catch_up()
        if first:
            self.set_timer(0.5, self.look)

    def _remember(self, name: str, part: float) -> None:
        self._past.setdefault(name, deque(maxlen=_HISTORY)).append(part)

    def catch_up(self) -> None:
        super().catch_up()
        if not self.is_mounted:
            return
        title = Text().append(say("system.title"), "bold")
        if self.paused:
            title.append(f"  {say('system.is_paused')}", "bold yellow")
        self.query_one("#system-title", Quiet).say(title)
        text = Text(say("runs.loading"), "dim") if self.seen is None else self._text(self.seen)
        self.query_one("#system-text", Quiet).say(text)

    def _text(self, seen: Machine) -> Text:
        width = max(40, self.size.width - 4)
        text = Text(no_wrap=True, overflow="ellipsis")
        load = say("system.load", load=f"{seen.load[0]:.2f}")
        self._row(text, "CPU", seen.cpu, f"{seen.cpu:4.0%}  {load}", "cpu", width)
        if len(seen.cores) > 1:
            cores = "".join(_block(share) for share in seen.cores)
            text.append(f"{fit(say('system.cores', count=len(cores)), _LABEL)} {cores}\n")
        self._sized(text, say("system.label.memory"), seen.memory_used, seen.memory_total, "memory", width)
        if seen.swap_total:
            self._sized(text, say("system.label.swap"), seen.swap_used, seen.swap_total, "", width)
        used = seen.disk_total - seen.disk_free
        self._sized(text, say("system.label.disk"), used, seen.disk_total, "", width)
        for gpu in seen.gpus:
            text.append(f"\nGPU {gpu.index}  {gpu.name}", "bold")
            more = [f"{gpu.celsius:.0f} °C"] if gpu.celsius is not None else []
            more += [f"{gpu.watts:.0f} W"] if gpu.watts is not None else []
            text.append(f"  {'  '.join(more)}\n", "dim")
            if gpu.busy is not None:
                self._row(text, say("system.label.busy"), gpu.busy, f"{gpu.busy:4.0%}", "", width)
            name = f"gpu{gpu.index}" if gpu.busy is None else ""
            self._sized(text, say("system.label.memory"), gpu.used, gpu.total, name, width)
        if not seen.gpus:
            text.append(f"{say('system.no_gpu')}\n", "dim")
        text.append("\n")
        for line, process in zip(told.processes(seen), [None, *seen.processes], strict=False):
            style = "bold cyan" if process is None else "bold" if process.run else ""
            text.append(f"{line if cell_len(line) <= width else fit(line, width)}\n", style)
        return text

    def _sized(self, text: Text, label: str, used: int, total: int, past: str, width: int) -> None:
        part = used / max(1, total)
        self._row(text, label, part, f"{part:4.0%}  {size_words(used)} / {size_words(total)}", past, width)

    def _row(self, text: Text, label: str, part: float, words: str, past: str, width: int) -> None:
        """One bar with its words and what it was in the last minutes; a '!' where little is left."""
        full = round(min(1.0, part) * _BAR)
        high = part >= _BUSY
        text.append(f"{fit(label, _LABEL)} ")
        text.append("█" * full, "red" if high else "green")
        text.append("─" * (_BAR - full), "dim")
        text.append(f" {'!' if high else ' '} {words}", "bold" if high else "")
        room = width - _LABEL - _BAR - 6 - cell_len(words)
        history = list(self._past.get(past, ()))[-max(0, room) :] if room > 8 else []
        text.append(f"  {''.join(_block(one) for one in history)}\n", "dim")

    # -- actions -----------------------------------------------------------------------------------------

    def action_scroll_by(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    def action_pause(self) -> None:
        """Hold still, or go on."""
        self.paused = not self.paused
        self.catch_up()

    def action_copy(self) -> None:
        """Copy what `spectui system` prints."""
        if self.seen is not None:
            text = "\n".join([*told.facts(self.seen), "", *told.processes(self.seen)])
            self.spectui.copy(text, say("system.title"))


def _block(part: float) -> str:
    return _BLOCKS[max(1, min(8, round(part * 8)))]
