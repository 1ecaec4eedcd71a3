"""The one table of keys: bindings, the key bar, the help screen and docs/keymap.md all come from it.

Words are in the catalogue under `key.<id>` (short, for the bar) and `help.<id>` (a sentence). A person may
put an action on other keys (`use`); what is shown anywhere is what is in force.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textual.binding import Binding, BindingType
from textual.keys import _character_to_key

from engine.errors import BadInput
from engine.words import say
from tui.config import file, near, read


@dataclass(frozen=True)
class Key:
    """One action: where it works, the keys that do it, and how much it matters in the key bar."""

    id: str
    default: str
    action: str
    where: str
    rank: int = 99
    """Place in the key bar; 99 is only in the help."""

    @property
    def keys(self) -> str:
        """Return the keys in force: the person's own, else the table's."""
        return _remapped.get(self.id, self.default)

    def shown(self, where: str) -> str:
        """Return the key to print at a place: in a form a letter would be typed, so its other key."""
        choices = self.keys.split(",")
        return pretty(choices[-1] if where == "launch" and self.where == "app" else choices[0])


# By id: what a person's config says instead of the table.
_remapped: dict[str, str] = {}

PLACES = (
    "app",
    "runs",
    "run",
    "log",
    "conf",
    "files",
    "predictions",
    "pager",
    "experiments",
    "compare",
    "launch",
    "queue",
    "trash",
    "data",
    "spectrum",
    "system",
)

# Tabs of a run whose widgets have keys of their own, before those of the run.
IN_A_RUN = ("log", "conf", "files", "predictions")

KEYS: tuple[Key, ...] = (
    Key("app.runs", "1", "mode('runs')", "app"),
    Key("app.experiments", "2", "mode('experiments')", "app"),
    Key("app.compare", "3", "mode('compare')", "app"),
    Key("app.data", "4", "mode('data')", "app"),
    Key("app.queue", "Q", "queue_screen", "app"),
    Key("app.system", "ctrl+g", "system_screen", "app"),
    Key("app.theme", "f9", "next_theme", "app"),
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
    Key("runs.duplicate", "D", "duplicate", "runs"),
    Key("runs.wait", "A", "queue", "runs"),
    Key("runs.rename", "N", "rename", "runs"),
    Key("runs.note", "e", "note", "runs"),
    Key("runs.tag", "t", "tag", "runs"),
    Key("runs.remove", "delete,X", "remove", "runs"),
    Key("runs.trash", "ctrl+t", "trash", "runs"),
    Key("runs.unmark", "u", "unmark", "runs"),
    Key("runs.range", "v", "range", "runs"),
    Key("runs.sort", "s", "sort", "runs"),
    Key("runs.reverse", "S", "reverse", "runs"),
    Key("runs.columns", "C", "columns", "runs"),
    Key("runs.group", "b", "group", "runs"),
    Key("runs.fold", "h,left", "fold", "runs"),
    Key("runs.unfold", "l,right", "unfold", "runs"),
    Key("runs.fold_all", "z", "fold_all", "runs"),
    Key("runs.baseline", "B", "baseline", "runs"),
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
    Key("run.chart_next", "down,j", "chart(1)", "run"),
    Key("run.chart_previous", "up,k", "chart(-1)", "run"),
    Key("run.page_next", "pagedown,ctrl+d", "chart_page(1)", "run"),
    Key("run.page_previous", "pageup,ctrl+u", "chart_page(-1)", "run"),
    Key("run.full", "F", "full", "run", 5),
    Key("run.cursor_right", "right,l", "cursor(1)", "run"),
    Key("run.cursor_left", "left,h", "cursor(-1)", "run"),
    Key("run.cursor_far_right", "shift+right", "cursor(10)", "run"),
    Key("run.cursor_far_left", "shift+left", "cursor(-10)", "run"),
    Key("run.x_axis", "T", "x_axis", "run"),
    Key("run.clip", "O", "clip", "run"),
    Key("run.filter", "slash", "filter", "run"),
    Key("run.charset", "B", "charset", "run"),
    Key("run.back", "escape", "back", "run"),
    Key("run.stop", "ctrl+k", "stop", "run", 6),
    Key("run.resume", "R", "resume", "run"),
    Key("run.rerun", "x", "rerun", "run"),
    Key("run.duplicate", "D", "duplicate", "run"),
    Key("run.wait", "A", "queue", "run"),
    Key("run.rename", "N", "rename", "run"),
    Key("run.note", "e", "note", "run"),
    Key("run.tag", "t", "tag", "run"),
    Key("run.remove", "delete,X", "remove", "run"),
    Key("run.copy", "y", "copy", "run"),
    Key("run.copy_all", "Y", "copy_all", "run"),
    Key("log.search", "slash", "search", "log", 2),
    Key("log.next", "n", "found(1)", "log", 3),
    Key("log.previous", "N", "found(-1)", "log"),
    Key("log.step", "enter", "step", "log", 4),
    Key("log.level", "W", "level", "log", 7),
    Key("log.follow", "f", "follow", "log", 5),
    Key("log.wrap", "w", "wrap", "log"),
    Key("conf.differences", "d", "differences", "conf", 2),
    Key("conf.search", "slash", "search", "conf", 3),
    Key("conf.next", "n", "found(1)", "conf", 4),
    Key("conf.previous", "N", "found(-1)", "conf"),
    Key("files.open", "enter", "open", "files", 2),
    Key("files.export", "ctrl+e", "export", "files", 3),
    Key("files.edit", "e", "edit", "files", 4),
    Key("pager.search", "slash", "search", "pager", 1),
    Key("pager.next", "n", "found(1)", "pager", 2),
    Key("pager.previous", "N", "found(-1)", "pager"),
    Key("pager.wrap", "w", "wrap", "pager", 3),
    Key("pager.follow", "f", "follow", "pager", 4),
    Key("predictions.open", "enter", "open", "predictions", 2),
    Key("predictions.label", "m", "label", "predictions", 3),
    Key("predictions.part", "P", "part", "predictions", 4),
    Key("experiments.open", "enter", "open", "experiments", 1),
    Key("experiments.new", "n", "new", "experiments", 2),
    Key("experiments.next", "tab", "next_list", "experiments", 3),
    Key("experiments.edit", "e", "edit", "experiments", 4),
    Key("experiments.duplicate", "D", "duplicate", "experiments", 5),
    Key("experiments.refresh", "r,f5", "refresh_now", "experiments"),
    Key("compare.view_next", "right_square_bracket,tab", "view(1)", "compare", 1),
    Key("compare.view_previous", "left_square_bracket,shift+tab", "view(-1)", "compare"),
    Key("compare.quantity", "m", "quantity", "compare", 2),
    Key("compare.choose_quantity", "M", "choose_quantity", "compare"),
    Key("compare.scatter_x", "z", "scatter_x", "compare"),
    Key("compare.hide", "space", "hide", "compare", 4),
    Key("compare.baseline", "b,B", "baseline", "compare", 3),
    Key("compare.pin", "p", "pin", "compare"),
    Key("compare.differences", "d", "differences", "compare", 7),
    Key("compare.choose", "c", "choose", "compare", 5),
    Key("compare.remove", "delete,X", "remove", "compare"),
    Key("compare.open", "enter", "open", "compare"),
    Key("compare.export", "ctrl+e", "export", "compare", 7),
    Key("compare.copy", "y", "copy", "compare"),
    Key("compare.log_axis", "o", "log_axis", "compare", 7),
    Key("compare.smooth", "i", "smooth", "compare"),
    Key("compare.zoom_in", "plus,equals_sign", "zoom(2)", "compare"),
    Key("compare.zoom_out", "minus", "zoom(0.5)", "compare"),
    Key("compare.pan_left", "less_than_sign,comma", "pan(-0.5)", "compare"),
    Key("compare.pan_right", "greater_than_sign,full_stop", "pan(0.5)", "compare"),
    Key("compare.fit", "0", "fit", "compare"),
    Key("compare.cursor_right", "right,l", "cursor(1)", "compare"),
    Key("compare.cursor_left", "left,h", "cursor(-1)", "compare"),
    Key("compare.cursor_far_right", "shift+right", "cursor(10)", "compare"),
    Key("compare.cursor_far_left", "shift+left", "cursor(-10)", "compare"),
    Key("compare.x_axis", "T", "x_axis", "compare"),
    Key("compare.clip", "O", "clip", "compare"),
    Key("compare.full", "F", "full", "compare"),
    Key("compare.filter", "slash", "filter", "compare"),
    Key("compare.back", "escape", "back", "compare"),
    Key("launch.start", "ctrl+s,ctrl+enter", "start", "launch", 1),
    Key("launch.queue", "f3", "queue", "launch", 6),
    Key("launch.next", "down,enter,ctrl+n", "app.focus_next", "launch", 3),
    Key("launch.previous", "up,ctrl+b", "app.focus_previous", "launch"),
    Key("launch.reset", "ctrl+r", "reset", "launch", 4),
    Key("launch.schedule", "f2", "schedule", "launch", 5),
    Key("launch.difference", "f4", "difference", "launch"),
    Key("launch.save", "f6,ctrl+o", "save", "launch", 7),
    Key("launch.edit", "ctrl+e", "edit", "launch"),
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
    Key("system.up", "k,up", "scroll_by(-1)", "system"),
    Key("system.down", "j,down", "scroll_by(1)", "system", 1),
    Key("system.pause", "p", "pause", "system", 2),
    Key("system.copy", "y", "copy", "system", 3),
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
        # The table's own keys: those of a person are laid over them by `App.set_keymap`.
        Binding(
            key.default,
            key.action,
            say(f"key.{key.id}"),
            id=key.id,
            show=False,
            # At once: what is typed after it belongs to the next field, what was typed before to this one.
            # And what a line of text would take for itself (ctrl+e is its end), the form takes first.
            priority=key.action.startswith("app.focus") or key.id in ("launch.edit", "runs.filter"),
        )
        for key in KEYS
        if key.where == where
    ]


# What lists and text boxes need for themselves; an action put on one of these would never be reached.
_MOVES = ("up", "down", "j", "k", "g", "G", "home", "end", "pageup", "pagedown", "ctrl+d", "ctrl+u", "ctrl+c")
_PLAIN_NAMES = {"esc": "escape", "del": "delete", "return": "enter", "pgup": "pageup", "pgdn": "pagedown"}
# A place may take over a key of the whole app where that is the meaning of it there.
TAKEN_OVER = {("launch", "escape"), ("spectrum", "escape"), ("run", "escape"), ("compare", "escape")}


def use(wanted: Mapping[str, Sequence[str]], source: object = "") -> dict[str, str]:
    """Put actions on the keys that a person wants; return them as Textual's keymap. An empty map resets.

    Raises:
        BadInput: an id that no action has, or a key that already does something else in that place.
    """
    _remapped.clear()
    ids = {key.id for key in KEYS}
    unknown = [name for name in wanted if name not in ids]
    if unknown:
        raise BadInput([say("config.no_action", file=source, id=name) + near(name, ids) for name in unknown])
    chosen = {name: ",".join(textual_name(one) for one in given) for name, given in wanted.items()}
    _remapped.update(chosen)
    problems = _clashes(chosen, source)
    if problems:
        _remapped.clear()
        raise BadInput(problems)
    return chosen


def _clashes(chosen: Mapping[str, str], source: object) -> list[str]:
    problems: list[str] = []
    for key in KEYS:
        if key.id not in chosen:
            continue
        places = [key.where] if key.where != "app" else list(PLACES)
        for pressed in key.keys.split(","):
            if pressed in _MOVES and pressed not in key.default.split(","):
                problems.append(say("config.key_moves", file=source, id=key.id, key=pretty(pressed)))
                continue
            if key.where == "launch" and (len(pressed) == 1 or len(pretty(pressed)) == 1):
                problems.append(say("config.key_typed", file=source, id=key.id, key=pretty(pressed)))
                continue
            others = [
                other
                for other in KEYS
                if other is not key
                and (other.where in places or other.where == "app")
                and pressed in other.keys.split(",")
                and not {(key.where, pressed), (other.where, pressed)} & TAKEN_OVER
            ]
            if others:
                told = {"file": source, "id": key.id, "key": pretty(pressed), "other": others[0].id}
                problems.append(say("config.key_clash", **told))
    return problems


def textual_name(key: str) -> str:
    """Return Textual's name of a key as a person writes it: '?' is question_mark, 'Ctrl+K' is ctrl+k."""
    if key == "+":
        return "plus"
    *held, last = key.strip().split("+") if not key.endswith("++") else [*key[:-2].split("+"), "plus"]
    if len(last) > 1:
        last = _PLAIN_NAMES.get(last.lower(), last.lower())
    elif not last.isalnum():
        last = _character_to_key(last)
    elif held:
        # With ctrl a capital is no other key
        last = last.lower()
    return "+".join([*(name.lower() for name in held), last])


def of(where: str) -> list[Key]:
    """Return the keys of one place, in table order."""
    return [key for key in KEYS if key.where == where]


def bar(where: str) -> list[Key]:
    """Return the keys for the key bar of a place, most wanted first; the app's own come last."""
    # In a form letters are typed: what stays is what works with a modifier or a function key.
    typed = where == "launch"
    ranked = [key for key in KEYS if key.where in (where, "app") and key.rank < 99 and key.id != "app.back"]
    ranked = [key for key in ranked if key.where == where or not typed or key.id == "app.help"]
    if where in IN_A_RUN:
        # Under the keys of a tab: the way to the next one, and what is copied.
        ranked += [key for key in KEYS if key.id in ("run.tab_next", "run.copy")]
    if where in ("run", "queue", "trash", "pager", "system", *IN_A_RUN):
        # One level in, the way back matters more than the way out (which the same key is, one level up).
        back = next(key for key in KEYS if key.id == "app.back")
        ranked = [back if key.id == "app.quit" else key for key in ranked]
    return sorted(ranked, key=lambda key: key.rank)


def pretty(key: str) -> str:
    """Return a key as a person would write it."""
    head, plus, last = key.rpartition("+")
    name = _NAMES.get(last, last)
    return f"{head}+{name}" if plus else name


def listed() -> list[str]:
    """Return the table for `spectui keys`: where a person changes it, then id, place, keys, the table's own
    keys and what they do, with tabs between them.

    Raises:
        BadInput: the config cannot be used.
    """
    path = file()
    use(read(path).keys, path)
    lines = [str(path) if path.is_file() else say("config.none_yet", file=path)]
    for key in KEYS:
        now, table = (" ".join(pretty(one) for one in given.split(",")) for given in (key.keys, key.default))
        lines.append("\t".join((key.id, key.where, now, table, say(f"help.{key.id}"))))
    return lines


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
