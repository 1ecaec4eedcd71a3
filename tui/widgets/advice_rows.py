"""The advice on a run as rows: every finding, and under the chosen one numbers, replay and remedies.

Plain data for the Advice tab. Owns no widget; finds nothing and launches nothing.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.text import Text

from engine.diagnose import shown
from engine.diagnose.findings import GLYPHS, Finding
from engine.diagnose.findings import _wrap as wrap
from engine.diagnose.findings import shown as figure
from engine.diagnose.replay import Replay, star_words
from engine.words import say
from tui.advising import Told, Tried
from tui.widgets.plain import plain

COLOURS = {"error": "bold red", "warning": "bold yellow", "info": "bold"}
_VERDICTS = {"helped": "green", "no_change": "yellow", "worse": "bold red"}
_DIFF = {"-": "red", "+": "green"}
_MARKED, _UNMARKED = "◆", "◇"


@dataclass(frozen=True)
class Stop:
    """Where the cursor can stand: a finding, a star of the replay, or a remedy (`number` from 1)."""

    finding: int
    kind: Literal["finding", "star", "remedy"] = "finding"
    number: int = 0


@dataclass
class Rows:
    """The rows, and where in them each stop begins and ends."""

    lines: list[Text]
    places: dict[Stop, tuple[int, int]]

    def add(self, text: str, style: str, indent: int, width: int, hang: int = 2) -> None:
        """Add a text as so many rows as it needs."""
        lead = " " * indent
        for line in wrap(lead + plain(text).replace("\n", " "), " " * (indent + hang), max(20, width)):
            self.lines.append(Text(line, style, no_wrap=True))


def stops(told: Told) -> list[Stop]:
    """Return where the cursor can stand, in order; those of findings that are not chosen too."""
    found = []
    for at, finding in enumerate(told.findings):
        found.append(Stop(at))
        found += [Stop(at, "star", number) for number in range(len(_stars(told, at)))]
        found += [Stop(at, "remedy", number) for number in range(1, len(finding.remedies) + 1)]
    return found


def obsid_of(told: Told, stop: Stop) -> tuple[str, float | None]:
    """Return the star that a stop is, and the wavelength to look at."""
    star = _stars(told, stop.finding)[stop.number]
    wave = star.get("wavelength")
    return str(star.get("obsid")), wave if isinstance(wave, float) else None


def laid_out(
    told: Told, tried: Sequence[Tried], chosen: int, marked: Container[str], width: int
) -> Rows:  # fmt: skip
    """Return the rows; the finding `chosen` is told in full, of the others the first line."""
    rows = Rows([], {})
    for one in tried:
        rows.add(one.line(), _VERDICTS.get(one.verdict, "cyan"), 0, width)
    if tried:
        rows.lines.append(Text(say("advice_tab.compare_hint"), "dim"))
        rows.lines.append(Text())
    if not told.findings:
        rows.add(say("diagnose.none"), "", 0, width)
    for at, finding in enumerate(told.findings):
        first = len(rows.lines)
        _head(rows, finding, width)
        if at == chosen:
            _facts(rows, finding, width)
            again = told.again if at == told.replayed else None
            if again is not None:
                _replay(rows, again, width)
        rows.places[Stop(at)] = (first, len(rows.lines) - 1)
        if at == chosen:
            _acts(rows, told, at, marked, width)
    return rows


def _stars(told: Told, at: int) -> list[dict[str, object]]:
    return list(told.again.seen.extremes) if told.again is not None and at == told.replayed else []


def _head(rows: Rows, finding: Finding, width: int) -> None:
    word = say(f"advice_tab.severity.{finding.severity}")
    text = f"{GLYPHS[finding.severity]} {word} {finding.id}  {finding.title}"
    rows.add(text, COLOURS[finding.severity], 0, width)


def _facts(rows: Rows, finding: Finding, width: int) -> None:
    about = [say("advice_tab.sure", share=f"{100 * finding.confidence:.0f}")]
    if finding.steps is not None:
        first, last = finding.steps
        one = first == last
        about.insert(0, say("advice_tab.step" if one else "advice_tab.steps", first=first, last=last))
    rows.add(" · ".join(about), "dim", 2, width)
    for name, value in finding.evidence.items():
        rows.add(f"{say(f'diagnose.evidence.{name}')}: {figure(value)}", "", 4, width)


def _replay(rows: Rows, again: Replay, width: int) -> None:
    seen = again.seen
    rows.add(say("replay.title", step=seen.step, what=seen.what, value=seen.value), "bold", 2, width)
    if seen.module:
        words = {"module": seen.module, "low": figure(seen.input_low), "high": figure(seen.input_high)}
        rows.add(say(f"replay.{seen.direction}", **words), "", 4, width)
    elif not seen.reproduced:
        rows.add(say("replay.not_again"), "", 4, width)


def _acts(rows: Rows, told: Told, at: int, marked: Container[str], width: int) -> None:
    """Add what can be acted on: stars to look at, remedies; and last the table of the steps before."""
    for number, star in enumerate(_stars(told, at)):
        first = len(rows.lines)
        rows.add(f"* {say('replay.star', **star_words(star))}", "cyan", 4, width)
        rows.places[Stop(at, "star", number)] = (first, len(rows.lines) - 1)
    finding = told.findings[at]
    for number, remedy in enumerate(finding.remedies, 1):
        address, first = f"{finding.id}:{number}", len(rows.lines)
        sign = (_MARKED if address in marked else _UNMARKED) if remedy.patch else " "
        rows.add(f"{sign} {number}. {remedy.title}", "bold", 2, width, 5)
        rows.add(remedy.why, "", 7, width, 0)
        for line in shown.diff_lines(told.conf, remedy.patch):
            rows.add(line, _DIFF[line[0]], 7, width)
        if told.starts.get(address):
            rows.add(told.starts[address], "dim", 7, width, 0)
        rows.places[Stop(at, "remedy", number)] = (first, len(rows.lines) - 1)
    if told.again is not None and at == told.replayed:
        _before(rows, told.again, width)
    rows.lines.append(Text())


def _before(rows: Rows, again: Replay, width: int) -> None:
    for part, norm in again.seen.weights.items():
        words = {"part": part, "weight": figure(norm), "gradient": figure(again.seen.gradients.get(part))}
        rows.add(say("replay.norms", **words), "", 2, width)
    for place, line in enumerate(again.table()):
        rows.lines.append(Text(line, "dim" if place < 2 else "", no_wrap=True))
