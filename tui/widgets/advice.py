"""What is wrong with a run in a few lines under its charts: the worst finding and its remedies in order."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from engine.diagnose.findings import GLYPHS, Finding, shown, yaml_value
from engine.words import say
from tui import keys
from tui.advising import Tried
from tui.widgets.advice_rows import COLOURS
from tui.widgets.bars import Quiet
from tui.widgets.plain import plain

_KEYS = ("run.advice", "advice.relaunch")
_MOST_TRIED = 2
_TALL = 32  # rows, as in the app's breakpoints


def short_text(finding: Finding, *, low: bool = False) -> Text:
    """Return one finding in a few lines: the title, and each remedy with the keys that do it, or why.

    On a low screen no reasons: they are on the Advice tab, and the room is the charts'.
    """
    text = Text().append(f"{GLYPHS[finding.severity]} {finding.title}\n", COLOURS[finding.severity])
    for number, remedy in enumerate(finding.remedies, 1):
        text.append(f"{number}. {remedy.title}", "bold")
        how = "  ".join(f"{key}: {yaml_value(value)}" for key, value in remedy.patch.items())
        why = "…" if low else f"  {remedy.why}"
        text.append(f"  {how}\n" if how else f"{why}\n", "green" if how else "")
    if not finding.remedies:
        # What the run itself said is the best advice there is.
        for name, value in finding.evidence.items():
            text.append(f"{say(f'diagnose.evidence.{name}')}: {shown(value)}\n")
    text.rstrip()
    return text


class AdviceBox(Quiet):
    """The first finding, inline under the charts, or how a remedy went; absent when there is neither."""

    DEFAULT_CSS = """
    AdviceBox { display: none; height: auto; max-height: 9; padding: 0 1; border-left: thick $error; }
    AdviceBox.-some { display: block; }
    AdviceBox.-tried { border-left: thick $success; }
    """

    def tell(self, findings: Sequence[Finding], tried: Sequence[Tried] = ()) -> None:
        """Show the worst finding with the keys that act on it, else what was tried, or nothing."""
        worst = [f for f in findings if f.severity != "info"]
        self.set_class(bool(worst or tried), "-some")
        self.set_class(bool(tried and not worst), "-tried")
        if not (worst or tried):
            return
        text = short_text(worst[0], low=self.app.size.height < _TALL) if worst else Text()
        lines = [plain(one.line()) for one in tried[-_MOST_TRIED:]]
        for line in lines:
            text.append(("\n" if text else "") + line, "green" if line[0] == "✓" else "")
        advice, relaunch = (next(key for key in keys.KEYS if key.id == one).shown("run") for one in _KEYS)
        hint = "advice_tab.box_hint" if worst else "advice_tab.box_tried"
        text.append("\n" + say(hint, advice=advice, relaunch=relaunch), "dim")
        self.say(text)
