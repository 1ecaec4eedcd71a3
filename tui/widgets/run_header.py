"""The two lines over a run that are always true: who it is, how far, how it stands, how old that is.

State, step, time left (or taken) and the age of the data are always said, in fewer words where there is
little room; what else is known fills what is left. Drawn from a record; owns nothing.
"""

from __future__ import annotations

import time

from rich.cells import cell_len

from engine.cli.text import duration, figure
from engine.runs.record import Record
from engine.words import has, say
from tui import since
from tui.charts.axes import label
from tui.theme import state_markup, state_words
from tui.widgets.bars import Quiet
from tui.widgets.plain import fit, fit_middle, plain
from tui.widgets.progress import bar, percent

_GAP = 2
_BARS = (24, 16, 10)  # cells of the bar, the widest that fits
_STALL_SECONDS = 60.0  # silence shorter than this is never called a stall
_STALL_PACES = 10.0  # nor one of fewer paces than this
_TAIL = 11


class RunHeader(Quiet):
    """Two lines that fit whatever the width."""

    def tell(self, record: Record) -> None:
        """Show how the run stands now."""
        width = max(20, self.app.size.width - 2)
        self.say(f"{title(record, width)}\n{facts(record, width)}")


def title(record: Record, width: int) -> str:
    """Return the first line as markup: the run's id and network, and at its right how much is done."""
    done = ""
    if record.total_steps:
        share = percent(record.step, record.total_steps)
        for cells in _BARS:
            done = f"▕{bar(record.step, record.total_steps, cells)}▏{share:>4}"
            if cell_len(record.run_id) + cell_len(record.model) + 4 + cell_len(done) <= width:
                break
    room = width - (cell_len(done) + _GAP if done else 0)
    name = plain(record.run_id)
    if cell_len(name) > room:
        name = fit_middle(name, room, _TAIL)
    model = ""
    if cell_len(name) + _GAP + 6 <= room and record.model:
        model = fit(plain(record.model), min(cell_len(record.model), room - cell_len(name) - _GAP))
    gap = " " * (width - cell_len(name) - (cell_len(model) + _GAP if model else 0) - cell_len(done))
    middle = f"{' ' * _GAP}{_escape(model)}" if model else ""
    return f"[bold]{_escape(name)}[/]{middle}{gap}{done}"


def facts(record: Record, width: int) -> str:
    """Return the second line as markup: state, step, time left, age of the data; then what else has room."""
    must = [part for part in (_step(record), _time(record), _age(record)) if part[0]]
    room = width - cell_len(state_words(record.state)) - sum(_GAP for _ in must)
    # Shorten from the end until it fits: the step is what is looked for first.
    chosen = [words for words, _ in must]
    for place in reversed(range(len(must))):
        if sum(map(cell_len, chosen)) > room:
            chosen[place] = must[place][1]
    room -= sum(map(cell_len, chosen))
    late = stalled(record) is not None
    shown = [_escape(words) for words in chosen]
    if late and shown:
        shown[-1] = f"[bold $error]{shown[-1]}[/]"
    for words, short in _more(record):
        word = words if cell_len(words) + _GAP <= room else short
        if word and cell_len(word) + _GAP <= room:
            shown.append(_escape(word))
            room -= cell_len(word) + _GAP
    return (" " * _GAP).join([state_markup(record.state), *shown])


def stalled(record: Record) -> float | None:
    """Return the pace of a live run, in seconds, that says nothing for far longer; None of any other."""
    if record.state != "running" or not record.last_event_at:
        return None
    silence = time.time() - record.last_event_at
    pace = record._pace
    each = (pace[-1][0] - pace[0][0]) / (len(pace) - 1) if len(pace) > 1 else 0.0
    if silence < _STALL_SECONDS or not each or silence < _STALL_PACES * each:
        return None
    return each


def _step(record: Record) -> tuple[str, str]:
    if record.state == "starting" and record.phase and not record.total_steps:
        known = has(f"phase.{record.phase}")
        words = say(f"phase.{record.phase}") if known else record.phase
        return words, words
    if not record.total_steps:
        step = say("run.step_alone", step=record.step) if record.step else say("run.no_step")
        return step, step
    words = say("run.step", step=record.step, total=record.total_steps)
    return words, f"{record.step}/{label(record.total_steps)}"


def _time(record: Record) -> tuple[str, str]:
    if record.eta is not None:
        time_left = duration(record.eta)
        return say("run.eta", time=time_left), say("run.eta_short", time=time_left)
    if record.live:
        return say("run.eta_unknown"), say("run.eta_short", time="?")
    if record.duration is None:
        return "", ""
    taken = duration(record.duration)
    return say("run.took", time=taken), taken


def _age(record: Record) -> tuple[str, str]:
    if not record.last_event_at:
        return "", ""
    ended = record.ended_at
    if not record.live and ended:
        # A time of day: an age would have to be drawn again every second, for a run that says nothing more.
        clock = since.clock(ended)
        return say("run.ended", clock=clock), clock
    age = duration(max(0.0, time.time() - record.last_event_at))
    each = stalled(record)
    if each is not None:
        return (
            say("run.stalled", time=age, each=duration(max(1.0, each))),
            say("run.stalled_short", time=age),
        )
    return say("run.data_age", time=age), say("run.age_short", time=age)


def _more(record: Record) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if record.epochs:
        short = f"{record.epoch}/{record.epochs}"
        found.append((say("run.epoch", epoch=record.epoch, epochs=record.epochs), short))
    if record.device:
        found.append((plain(record.device), ""))
    best = record.best.get("val_loss")
    if best is not None:
        words = say("run.best", value=figure(best), epoch=record.best_epoch or "-")
        found.append((words, say("run.best_short", value=figure(best))))
    return found


def _escape(text: str) -> str:
    return plain(text).replace("[", "\\[")
