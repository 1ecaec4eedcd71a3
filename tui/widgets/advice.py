"""Findings as they stand on a screen: what is wrong, the numbers, and the remedies in order."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from engine.diagnose.findings import GLYPHS, Finding, shown, yaml_value
from engine.words import say
from tui.widgets.bars import Quiet

_COLOURS = {"error": "bold red", "warning": "bold yellow", "info": "bold"}


def full_text(findings: list[Finding]) -> Text:
    """Return findings with evidence, reasons and conf keys."""
    text = Text()
    if not findings:
        return Text(say("diagnose.none"))
    for finding in findings:
        text.append(f"{GLYPHS[finding.severity]} {finding.title}", _COLOURS[finding.severity])
        text.append(f"  {finding.id}\n", "dim")
        for name, value in finding.evidence.items():
            text.append(f"    {say(f'diagnose.evidence.{name}')}: {shown(value)}\n")
        for number, remedy in enumerate(finding.remedies, 1):
            text.append(f"\n  {number}. {remedy.title}\n", "bold")
            text.append(f"     {remedy.why}\n")
            for key, value in remedy.patch.items():
                text.append(f"     {say('diagnose.set', key=key, value=yaml_value(value))}\n", "green")
        text.append("\n")
    return text


def short_text(finding: Finding) -> Text:
    """Return one finding in a few lines: the title, and each remedy with the keys that do it, or why."""
    text = Text().append(f"{GLYPHS[finding.severity]} {finding.title}\n", _COLOURS[finding.severity])
    for number, remedy in enumerate(finding.remedies, 1):
        text.append(f"{number}. {remedy.title}", "bold")
        how = "  ".join(f"{key}: {yaml_value(value)}" for key, value in remedy.patch.items())
        text.append(f"  {how}\n" if how else f"  {remedy.why}\n", "green" if how else "")
    if not finding.remedies:
        # What the run itself said is the best advice there is.
        for name, value in finding.evidence.items():
            text.append(f"{say(f'diagnose.evidence.{name}')}: {shown(value)}\n")
    text.rstrip()
    return text


class AdviceBox(Quiet):
    """The first finding, inline under the charts; absent while there is nothing to say."""

    DEFAULT_CSS = """
    AdviceBox { display: none; height: auto; max-height: 9; padding: 0 1; border-left: thick $error; }
    AdviceBox.-some { display: block; }
    """

    def tell(self, findings: list[Finding]) -> None:
        """Show the worst finding, or nothing."""
        worst = [f for f in findings if f.severity != "info"]
        self.set_class(bool(worst), "-some")
        if worst:
            self.say(short_text(worst[0]))


class AdvicePane(VerticalScroll):
    """Every finding in full."""

    def compose(self) -> ComposeResult:
        yield Quiet(id="findings")

    def tell(self, findings: list[Finding]) -> None:
        self.query_one("#findings", Quiet).say(full_text(findings))
