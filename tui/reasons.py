"""Why a key cannot act now, in a sentence: what it needs and what to do instead.

One rule per action, asked before the key acts, by the palette and by the key bar. Rules only look at what a
screen already holds: they never read files, and where they do not know they say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from engine.runs.record import Record
from engine.words import say
from tui import keys
from tui.widgets.run_list import RunList

Rule = Callable[[Any, str], str]


def why_not(screen: Any, action: str) -> str:
    """Return why an action of a place cannot act now; empty when it can."""
    name, _, given = action.partition("(")
    rule = _RULES.get((screen.where, name))
    return rule(screen, given.rstrip(")").strip("'\"")) if rule is not None else ""


def why_not_app(app: Any, action: str) -> str:
    """Return why an action of the whole app cannot act now."""
    found = re.fullmatch(r"mode\('(\w+)'\)", action)
    alone = len(app.screen_stack) == 1
    if found and alone and app.current_mode == found[1]:
        return say("reason.there", mode=say(f"mode.{found[1]}"))
    if action == "back" and alone and hasattr(app.screen, "where"):
        quit_key = next(key for key in keys.KEYS if key.id == "app.quit")
        return say("reason.top", key=quit_key.shown("app"))
    if action.removesuffix("_screen") == str(getattr(app.screen, "where", "app")):
        return say("reason.there", mode=say(f"help.place.{app.screen.where}"))
    return ""


def _no_run(screen: Any, _given: str) -> str:
    return "" if screen.chosen() else say("reason.no_run")


def _no_row(screen: Any, _given: str) -> str:
    """Of the list of runs: a group is a row, too."""
    return "" if screen.query_one(RunList).line is not None else say("reason.no_run")


def _folds(screen: Any, _given: str) -> str:
    lines = screen.query_one(RunList).lines
    return "" if any(line.inside or line.tree for line in lines) else say("reason.nothing_folds")


def _compared(screen: Any, _given: str) -> str:
    return "" if screen.compared.current else say("compare.empty")


def _all(screen: Any, true: Callable[[Record], bool], words: str) -> str:
    runs = screen.chosen()
    if not runs:
        return say("reason.no_run")
    if not all(true(run) for run in runs):
        return ""
    named = runs[0].run_id if len(runs) == 1 else say("run_acts.several", count=len(runs))
    return say(words, run=named)


def _stop(screen: Any, _given: str) -> str:
    return _all(screen, lambda run: run.stored is not None or not run.live, "runs.not_live")


def _ours(screen: Any, _given: str) -> str:
    return _all(screen, lambda run: run.stored is not None, "run_acts.only_stored")


def _resume(screen: Any, given: str) -> str:
    return (
        _ours(screen, given)
        or _all(screen, lambda run: run.state == "finished", "reason.finished")
        or _all(screen, lambda run: run.live, "reason.at_work")
    )


def _compare(screen: Any, _given: str) -> str:
    return "" if len(screen.spectui.marked) >= 2 else say("compare.mark_first")


def _unmark(screen: Any, _given: str) -> str:
    return "" if screen.spectui.marked else say("reason.none_marked")


def _points(screen: Any, _given: str) -> str:
    charts = list(screen.query("Chart"))
    drawn = any(len(line.series) for chart in charts for line in getattr(chart, "_chart_lines", ()))
    return "" if drawn or not charts else say("reason.no_points")


def _curves(rule: Rule) -> Rule:
    """Return the rule for the comparison: the keys of charts mean its curves."""

    def checked(screen: Any, given: str) -> str:
        return rule(screen, given) if screen.view_name == "curves" else say("compare.only_curves")

    return checked


def _zoomed(screen: Any, given: str) -> str:
    nothing = _points(screen, given)
    if nothing:
        return nothing
    views = [getattr(chart, "view", True) for chart in screen.query("Chart")]
    return say("reason.not_zoomed") if all(view is None for view in views) else ""


def _waiting(screen: Any, _given: str) -> str:
    return _all(screen, lambda run: run.state != "queued", "queue_screen.not_waiting")


def _move(screen: Any, given: str) -> str:
    reason = _waiting(screen, given)
    if reason or screen.listing is None:
        return reason
    waiting = [one.run_id for one in screen.listing.waiting]
    run = screen.chosen()[0].run_id
    edge = waiting[:1] if given.startswith("-") else waiting[-1:]
    return say("reason.at_edge", run=run) if [run] == edge else ""


def _data_set(screen: Any, _given: str) -> str:
    return "" if screen.current is not None else say("reason.no_set")


def _to_launch(screen: Any, _given: str) -> str:
    listed = screen.networks if screen.query_one("#networks").has_focus else screen.confs
    return "" if listed else say("reason.nothing_to_launch")


def _trash(screen: Any, _given: str) -> str:
    return "" if screen.rows else say("trash_screen.is_empty")


_RUN_ACTS: dict[str, Rule] = {
    "open": _no_run, "mark": _no_run, "copy": _no_run, "rerun": _no_run, "remove": _no_run, "stop": _stop,
    "resume": _resume, "queue": _resume, "rename": _ours, "note": _ours, "tag": _ours, "duplicate": _no_run,
}  # fmt: skip
_CHART_ACTS: dict[str, Rule] = {
    "zoom": _points, "pan": _zoomed, "fit": _zoomed, "log_axis": _points, "smooth": _points,
    "quantity": _points, "cursor": _points, "clip": _points,
}  # fmt: skip
_RULES: dict[tuple[str, str], Rule] = {
    **{("runs", name): rule for name, rule in _RUN_ACTS.items()},
    ("runs", "open"): _no_row,
    ("runs", "range"): _no_row,
    ("runs", "baseline"): _no_run,
    **{("runs", name): _folds for name in ("fold", "unfold", "fold_all")},
    ("runs", "compare"): _compare,
    ("runs", "unmark"): _unmark,
    **{("run", name): rule for name, rule in _RUN_ACTS.items()},
    **{("run", name): rule for name, rule in _CHART_ACTS.items()},
    **{("compare", name): _curves(rule) for name, rule in _CHART_ACTS.items() if name != "quantity"},
    **{("compare", name): _curves(_points) for name in ("cursor", "x_axis", "clip", "full")},
    ("compare", "filter"): _curves(lambda _screen, _given: ""),
    **{("spectrum", name): rule for name, rule in _CHART_ACTS.items() if name in ("zoom", "pan", "fit")},
    **{("compare", name): _compared for name in ("hide", "pin", "baseline", "open")},
    ("queue", "open"): _no_run,
    ("queue", "shift"): _move,
    ("queue", "take_out"): _waiting,
    ("queue", "stop"): _stop,
    ("experiments", "open"): _to_launch,
    ("experiments", "new"): _to_launch,
    ("data", "open"): _data_set,
    ("data", "copy"): _data_set,
    **{("trash", name): _trash for name in ("restore", "mark", "empty")},
}
