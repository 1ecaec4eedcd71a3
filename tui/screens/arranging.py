"""How the list of runs is arranged by keys: sorting, groups, columns, baseline, folding."""

from __future__ import annotations

from typing import Any

from textual import on

from engine.errors import BadInput
from engine.runs.arrange import FLAT, Arranged
from engine.runs.select import check_key
from engine.words import say
from tui.screens.acts import Acts
from tui.screens.columns import ColumnsScreen
from tui.screens.pick import Pick
from tui.widgets.run_columns import DEFAULT, choices, title
from tui.widgets.run_list import RunList


class Arranging(Acts):
    """The actions of `RunsScreen` that arrange its list; `catch_up` shows what they chose."""

    sort_key: str
    group: str
    baseline: str
    folded: dict[str, None]
    arranged: Arranged

    def action_sort(self) -> None:
        """Ask for a key to sort by."""
        first = [("", say("runs.newest_first")), *((key, _words(key)) for key in DEFAULT if key != "run")]

        def answered(key: str | None) -> None:
            if key is not None:
                self._sort_by(key)

        self.app.push_screen(
            Pick(say("runs.ask_sort"), first, self.sort_key.removeprefix("-"), self._more, _is_key), answered
        )

    def action_reverse(self) -> None:
        """Turn the order round; newest first becomes oldest first."""
        key = self.sort_key or "-created"
        self._sort_by(key[1:] if key.startswith("-") else f"-{key}")

    @on(RunList.TitleClicked)
    def _title_clicked(self, message: RunList.TitleClicked) -> None:
        key = message.column.sort_key
        self._sort_by(f"-{key}" if key == self.sort_key else key)

    def _sort_by(self, key: str) -> None:
        self.sort_key = "" if key == "-created" else key
        self.catch_up()

    def action_group(self) -> None:
        """Ask for a key to group by."""
        first = [("", say("runs.as_trees")), (FLAT, say("runs.flat")), ("model", _words("model"))]
        first += [(key, _words(key)) for key in ("state", "host", "source", "experiment")]

        def answered(key: str | None) -> None:
            if key is not None:
                self.group = key
                self.catch_up()

        def more() -> list[tuple[str, str]]:
            # Hardly two runs have one value of anything else.
            return [choice for choice in self._more() if choice[0].startswith(("params.", "tags."))]

        self.app.push_screen(Pick(say("runs.ask_group"), first, self.group, more, _is_key), answered)

    def _more(self) -> list[tuple[str, str]]:
        return [(key, _words(key)) for key in choices(self.spectui.feed.rows) if key != "run"]

    def action_columns(self) -> None:
        """Ask which columns to show."""
        shown = texts(self.spectui.view.get("runs.columns", list(DEFAULT)))

        def answered(chosen: list[str] | None) -> None:
            if chosen is not None:
                self.spectui.view.set("runs.columns", chosen)
                self.query_one(RunList).choose(chosen)

        self.app.push_screen(ColumnsScreen(shown, lambda: choices(self.spectui.feed.rows)), answered)

    def action_baseline(self) -> None:
        """Tell the changed parameters against the run under the cursor, or again against each run's conf."""
        runs = self.query_one(RunList)
        if runs.current is not None:
            self.baseline = "" if self.baseline == runs.current.run_id else runs.current.run_id
            runs.known.clear()
            self.catch_up()

    def action_fold(self) -> None:
        """Fold a group or a run's children; from within, go to what they belong to."""
        line, runs = self.query_one(RunList).line, self.query_one(RunList)
        if line is None:
            return
        if line.inside and not line.folded:
            self._fold(line.id, True)
            return
        depth = len(line.tree)
        for at in range(runs.cursor - 1, -1, -1):
            above = runs.lines[at]
            if above.inside and len(above.tree) < max(depth, 1) and (depth or above.group is not None):
                runs.cursor = at
                return

    def action_unfold(self) -> None:
        line = self.query_one(RunList).line
        if line is not None and line.folded:
            self._fold(line.id, False)

    def action_fold_all(self) -> None:
        """Fold everything, or unfold everything if something is folded."""
        open_ = [line.id for line in self.arranged.lines if line.inside and not line.folded]
        some = any(line.folded for line in self.arranged.lines)
        self.folded = {} if some else dict.fromkeys(open_)
        self.catch_up()

    def _fold(self, line: str, shut: bool) -> None:
        self.folded.pop(line, None)
        if shut:
            self.folded[line] = None
        self.catch_up()


def texts(kept: list[Any]) -> list[str]:
    """Return what was kept as texts, whoever wrote it."""
    return [text for text in kept if isinstance(text, str)]


def _words(key: str) -> str:
    word = title(key)
    return key if word == key else f"{word}  {key}"


def _is_key(text: str) -> bool:
    try:
        check_key(text.removeprefix("-"))
    except BadInput:
        return False
    return True
