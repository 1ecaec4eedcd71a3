"""The one table of keys: bindings, the key bar, the help screen and docs/keymap.md all come from it.

Words are in the catalogue under `key.<id>` (short, for the bar) and `help.<id>` (a sentence).
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType

from engine.words import say


@dataclass(frozen=True)
class Key:
    """One action: where it works, the keys that do it, and how much it matters in the key bar."""

    id: str
    keys: str
    action: str
    where: str
    rank: int = 99
    """Place in the key bar; 99 is only in the help."""

    def shown(self, where: str) -> str:
        """Return the key to print at a place: in a form a letter would be typed, so its other key."""
        choices = self.keys.split(",")
        return pretty(choices[-1] if where == "launch" and self.where == "app" else choices[0])


PLACES = ("app", "runs", "run", "experiments", "compare", "launch", "queue", "trash", "data", "spectrum")

KEYS: tuple[Key, ...] = (
    Key("app.runs", "1", "mode('runs')", "app"),
    Key("app.experiments", "2", "mode('experiments')", "app"),
    Key("app.compare", "3", "mode('compare')", "app"),
    Key("app.data", "4", "mode('data')", "app"),
    Key("app.queue", "Q", "queue_screen", "app"),
    Key("app.palette", "colon,ctrl+p", "command_palette", "app", 8),
    Key("app.help", "question_mark,f1", "help", "app", 9),
    Key("app.back", "escape", "back", "app", 6),
    Key("app.quit", "q", "leave", "app", 6),
    Key("runs.open", "enter", "open", "runs", 1),
    Key("runs.mark", "space", "mark", "runs", 2),
    Key("runs.compare", "c", "compare", "runs", 3),
    Key("runs.filter", "slash", "filter", "runs", 4),
    Key("runs.new", "n", "new", "runs", 5),
    Key("runs.stop", "ctrl+k", "stop", "runs", 7),
    Key("runs.resume", "R", "resume", "runs"),
    Key("runs.rerun", "x", "rerun", "runs"),
    Key("runs.wait", "A", "queue", "runs"),
    Key("runs.rename", "N", "rename", "runs"),
    Key("runs.note", "e", "note", "runs"),
    Key("runs.tag", "t", "tag", "runs"),
    Key("runs.remove", "delete,X", "remove", "runs"),
    Key("runs.trash", "ctrl+t", "trash", "runs"),
    Key("runs.unmark", "u", "unmark", "runs"),
    Key("runs.sort", "s", "sort", "runs"),
    Key("runs.refresh", "r,f5", "refresh_now", "runs"),
    Key("runs.copy", "y", "copy", "runs"),
    Key("run.tab_next", "right_square_bracket,tab", "tab(1)", "run", 1),
    Key("run.tab_previous", "left_square_bracket,shift+tab", "tab(-1)", "run"),
    Key("run.advice", "a", "show_tab('advice')", "run", 2),
    Key("run.log_tab", "L", "show_tab('log')", "run"),
    Key("run.log_axis", "o", "log_axis", "run", 3),
    Key("run.smooth", "i", "smooth", "run", 4),
    Key("run.zoom_in", "plus,equals_sign", "zoom(2)", "run", 7),
    Key("run.zoom_out", "minus", "zoom(0.5)", "run"),
    Key("run.pan_left", "less_than_sign,comma", "pan(-0.5)", "run"),
    Key("run.pan_right", "greater_than_sign,full_stop", "pan(0.5)", "run"),
    Key("run.fit", "0", "fit", "run"),
    Key("run.quantity", "m", "quantity", "run"),
    Key("run.follow", "f", "follow", "run"),
    Key("run.stop", "ctrl+k", "stop", "run", 6),
    Key("run.resume", "R", "resume", "run"),
    Key("run.rerun", "x", "rerun", "run"),
    Key("run.wait", "A", "queue", "run"),
    Key("run.rename", "N", "rename", "run"),
    Key("run.note", "e", "note", "run"),
    Key("run.tag", "t", "tag", "run"),
    Key("run.remove", "delete,X", "remove", "run"),
    Key("run.copy", "y", "copy", "run"),
    Key("experiments.open", "enter", "open", "experiments", 1),
    Key("experiments.new", "n", "new", "experiments", 2),
    Key("experiments.next", "tab", "next_list", "experiments", 3),
    Key("experiments.refresh", "r,f5", "refresh_now", "experiments"),
    Key("compare.quantity", "m", "quantity", "compare", 1),
    Key("compare.log_axis", "o", "log_axis", "compare", 2),
    Key("compare.smooth", "i", "smooth", "compare", 3),
    Key("compare.zoom_in", "plus,equals_sign", "zoom(2)", "compare"),
    Key("compare.zoom_out", "minus", "zoom(0.5)", "compare"),
    Key("compare.pan_left", "less_than_sign,comma", "pan(-0.5)", "compare"),
    Key("compare.pan_right", "greater_than_sign,full_stop", "pan(0.5)", "compare"),
    Key("compare.fit", "0", "fit", "compare", 4),
    Key("launch.start", "ctrl+s,ctrl+enter", "start", "launch", 1),
    Key("launch.queue", "f3", "queue", "launch", 6),
    Key("launch.next", "down,enter,ctrl+n", "app.focus_next", "launch", 3),
    Key("launch.previous", "up,ctrl+b", "app.focus_previous", "launch"),
    Key("launch.reset", "ctrl+r", "reset", "launch", 4),
    Key("launch.schedule", "f2", "schedule", "launch", 5),
    Key("launch.cancel", "escape", "cancel", "launch", 2),
    Key("queue.open", "enter", "open", "queue", 1),
    Key("queue.up", "K,shift+up", "shift(-1)", "queue", 2),
    Key("queue.down", "J,shift+down", "shift(1)", "queue", 3),
    Key("queue.pause", "p", "pause", "queue", 4),
    Key("queue.remove", "delete,X", "take_out", "queue", 5),
    Key("queue.slots", "s", "slots", "queue", 7),
    Key("queue.policy", "f", "policy", "queue"),
    Key("queue.stop", "ctrl+k", "stop", "queue"),
    Key("trash.restore", "enter,R", "restore", "trash", 1),
    Key("trash.mark", "space", "mark", "trash", 2),
    Key("trash.empty", "E", "empty", "trash", 3),
    Key("data.open", "enter", "open", "data", 1),
    Key("data.next", "tab", "next_pane", "data", 2),
    Key("data.refresh", "r,f5", "refresh_now", "data", 3),
    Key("data.copy", "y", "copy", "data"),
    Key("spectrum.next", "j,down,n", "step(1)", "spectrum", 1),
    Key("spectrum.previous", "k,up,p", "step(-1)", "spectrum"),
    Key("spectrum.search", "slash", "search", "spectrum", 2),
    Key("spectrum.zoom_in", "plus,equals_sign", "zoom(2)", "spectrum", 3),
    Key("spectrum.zoom_out", "minus", "zoom(0.5)", "spectrum"),
    Key("spectrum.pan_left", "less_than_sign,comma,left", "pan(-0.5)", "spectrum"),
    Key("spectrum.pan_right", "greater_than_sign,full_stop,right", "pan(0.5)", "spectrum"),
    Key("spectrum.fit", "0", "fit", "spectrum"),
    Key("spectrum.lines", "l", "lines", "spectrum", 4),
    Key("spectrum.frame", "v", "frame", "spectrum", 5),
    Key("spectrum.overlay", "o", "overlay", "spectrum", 6),
    Key("spectrum.first", "g,home", "edge(0)", "spectrum"),
    Key("spectrum.last", "G,end", "edge(1)", "spectrum"),
    Key("spectrum.back", "escape", "back", "spectrum"),
    Key("spectrum.copy", "y", "copy", "spectrum"),
)

_NAMES = {
    "colon": ":", "question_mark": "?", "slash": "/", "space": "space", "enter": "enter", "escape": "esc",
    "plus": "+", "minus": "-", "equals_sign": "=", "less_than_sign": "<", "greater_than_sign": ">",
    "comma": ",", "full_stop": ".", "right_square_bracket": "]", "left_square_bracket": "[",
}  # fmt: skip


def bindings(where: str) -> list[BindingType]:
    """Return Textual's bindings of one place."""
    return [
        Binding(
            key.keys,
            key.action,
            say(f"key.{key.id}"),
            id=key.id,
            show=False,
            # At once: what is typed after it belongs to the next field, what was typed before to this one.
            priority=key.action.startswith("app.focus"),
        )
        for key in KEYS
        if key.where == where
    ]


def of(where: str) -> list[Key]:
    """Return the keys of one place, in table order."""
    return [key for key in KEYS if key.where == where]


def bar(where: str) -> list[Key]:
    """Return the keys for the key bar of a place, most wanted first; the app's own come last."""
    # In a form letters are typed: what stays is what works with a modifier or a function key.
    typed = where == "launch"
    ranked = [key for key in KEYS if key.where in (where, "app") and key.rank < 99 and key.id != "app.back"]
    ranked = [key for key in ranked if key.where == where or not typed or key.id == "app.help"]
    if where in ("run", "queue", "trash"):
        # One level in, the way back matters more than the way out (which the same key is, one level up).
        back = next(key for key in KEYS if key.id == "app.back")
        ranked = [back if key.id == "app.quit" else key for key in ranked]
    return sorted(ranked, key=lambda key: key.rank)


def pretty(key: str) -> str:
    """Return a key as a person would write it."""
    head, plus, last = key.rpartition("+")
    name = _NAMES.get(last, last)
    return f"{head}+{name}" if plus else name


def keymap_markdown() -> str:
    """Return docs/keymap.md."""
    lines = [f"# {say('help.title')}", ""]
    for where in PLACES:
        lines += [
            f"## {say(f'help.place.{where}')}",
            "",
            f"| {say('help.key')} | {say('help.does')} |",
            "|---|---|",
        ]
        for key in of(where):
            shown = " ".join(f"`{pretty(k)}`" for k in key.keys.split(","))
            lines.append(f"| {shown} | {say(f'help.{key.id}')} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
