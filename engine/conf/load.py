"""From a conf file and overrides to a checked `Conf`, or to every mistake at once.

Owns composition (`base:`, a section given by name) and overrides (`--set`, known flags, `--model_conf`).
Never writes.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.conf import mistakes
from engine.conf.marks import Location, Mark, Marked, parse_value, read
from engine.conf.schema import KNOWN_FLAGS, TEXT_FLAGS, Conf
from engine.conf.tree import difference as difference
from engine.conf.tree import flatten as flatten
from engine.conf.tree import get as get
from engine.conf.tree import to_yaml as to_yaml
from engine.errors import BadInput
from engine.words import say
from engine.workspace import Workspace

_SECTIONS = ("model", "data", "training", "finetune", "tracking")
_MAX_BASES = 20


@dataclass(frozen=True)
class Resolved:
    """A checked conf, the file it came from, and what the overrides changed in it."""

    conf: Conf
    source: str | None
    patch: dict[str, dict[str, Any]]


def resolve(
    workspace: Workspace,
    path: str | Path | None,
    *,
    sets: Sequence[str] = (),
    flags: Mapping[str, str] | None = None,
    model_conf: str | Path | None = None,
) -> Resolved:
    """Read `path` (None: all defaults), apply the overrides in order, check the whole.

    Args:
        sets: words of the form 'section.key=value'; the value is YAML.
        flags: known flags without dashes ('batch_size') and their text.
        model_conf: a YAML file with the network's fields.

    Raises:
        BadInput: every mistake found, one line each, with its place.
    """
    if path is None:
        base, source = Marked({}, {}), None
    else:
        file = locate(workspace, path)
        source = workspace.relative(file)
        base = _compose(workspace, file, ())
    plain = Marked(_copy(base.data), dict(base.marks))
    if model_conf is not None:
        _merge_model_conf(workspace, plain, Path(model_conf))
    elif flags and "model" in flags:
        _drop_other_network(plain, flags["model"])
    for flag, text in (flags or {}).items():
        value = text if flag in TEXT_FLAGS else parse_value(text)
        _set(plain, KNOWN_FLAGS[flag], value, Mark(f"--{flag}"))
    for word in sets:
        key, sign, text = word.partition("=")
        if not sign or not key.strip():
            raise BadInput(say("conf.bad_set", word=word))
        _set(plain, key.strip(), parse_value(text), Mark(f"--set {key.strip()}"))
    conf = check(workspace, plain)
    patch: dict[str, dict[str, Any]] = {}
    if path is not None and (sets or flags or model_conf):
        try:
            patch = difference(check(workspace, base).plain(), conf.plain())
        except BadInput:
            # The overrides repaired a conf that was wrong alone: all that can be said is what was set.
            patch = {key: {"was": None, "is": get(conf.plain(), key)} for key in _overridden(sets, flags)}
    return Resolved(conf, source, patch)


def locate(workspace: Workspace, path: str | Path) -> Path:
    """Return the conf file meant by `path`: from the root, from here, or a name under conf/.

    The root comes first: `--root OTHER train conf/demo.yaml` means OTHER's, whatever is in this folder.
    `./x.yaml` and `../x.yaml` are from here.

    Raises:
        BadInput: none of these exists; names the near misses.
    """
    given = Path(path).expanduser()
    places = [workspace.root / given, given]
    if str(path).startswith("."):
        places.reverse()
    tries = [*places, workspace.conf / given, workspace.conf / f"{given}.yaml"]
    for candidate in tries:
        if candidate.is_file():
            return candidate.resolve()
    known = {workspace.relative(file): file.stem for file in conf_files(workspace)}
    near = difflib.get_close_matches(str(path), known, n=3, cutoff=0.5)
    # `train demoo`: people leave conf/ and .yaml out, and then little is left to be like a whole path.
    stems = difflib.get_close_matches(given.stem, set(known.values()), n=3, cutoff=0.6)
    near = near or [name for name, stem in known.items() if stem in stems]
    hint = say("conf.near", names=", ".join(near)) if near else say("conf.list_hint")
    raise BadInput(say("conf.missing", file=path) + hint)


def conf_files(workspace: Workspace) -> list[Path]:
    """Return the confs that can be run: the YAML files directly under conf/."""
    return sorted(p for p in workspace.conf.glob("*.y*ml") if p.suffix in (".yaml", ".yml"))


def check(workspace: Workspace, marked: Marked) -> Conf:
    """Check data against the schema and the network's own fields.

    Raises:
        BadInput: every mistake, one line each: place, key, what is wrong, near miss.
    """
    conf, problems = mistakes.find(workspace, marked.data)
    if problems or conf is None:
        raise BadInput([_line(marked, location, text) for location, text in problems])
    return conf


def from_plain(workspace: Workspace, data: dict[str, Any], shown: str) -> Conf:
    """Check plain data that came from a run folder or the launch form."""
    return check(workspace, Marked(data, {(): Mark(shown)}))


def _compose(workspace: Workspace, file: Path, above: tuple[Path, ...]) -> Marked:
    shown = workspace.relative(file)
    if file in above or len(above) > _MAX_BASES:
        raise BadInput(say("conf.base_loop", file=shown))
    marked = read(file, shown)
    base_name = marked.data.pop("base", None)
    if base_name is not None:
        marked = _merge(
            _compose(workspace, _base_file(workspace, file, base_name, shown), (*above, file)), marked
        )
    for section in _SECTIONS:
        name = marked.data.get(section)
        if isinstance(name, str):
            part = workspace.conf / section / f"{name}.yaml"
            if not part.is_file():
                known = sorted(p.stem for p in part.parent.glob("*.yaml"))
                text = say("conf.no_part", section=section, name=name, known=", ".join(known) or "-")
                raise BadInput(_line(marked, (section,), text))
            loaded = read(part, workspace.relative(part))
            marked.data[section] = loaded.data
            marked.marks |= {(section, *loc): mark for loc, mark in loaded.marks.items() if loc}
    return marked


def _base_file(workspace: Workspace, file: Path, name: Any, shown: str) -> Path:
    for candidate in (file.parent / str(name), workspace.root / str(name), workspace.conf / str(name)):
        if candidate.is_file():
            return candidate.resolve()
    raise BadInput(say("conf.no_base", file=shown, base=name))


def _merge(below: Marked, above: Marked) -> Marked:
    def deep(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
        both = dict(low)
        for key, value in high.items():
            kept = both.get(key)
            both[key] = deep(kept, value) if isinstance(kept, dict) and isinstance(value, dict) else value
        return both

    return Marked(deep(below.data, above.data), below.marks | above.marks)


def _merge_model_conf(workspace: Workspace, marked: Marked, path: Path) -> None:
    """Put a network's YAML into the model section; `name:` inside is kept unless --model says otherwise."""
    given = read(path if path.is_file() else workspace.root / path, str(path))
    fields = given.data.get("model", given.data)
    inside: Location = ("model",) if "model" in given.data else ()
    if not isinstance(fields, dict):
        raise BadInput(say("conf.not_mapping", file=path))
    kept = marked.data.get("model")
    name = kept.get("name") if isinstance(kept, dict) else None
    _forget(marked, ("model",))
    marked.data["model"] = ({"name": name} if name else {}) | dict(fields)
    for location, mark in given.marks.items():
        if location[: len(inside)] == inside:
            marked.marks[("model", *location[len(inside) :])] = mark


def _drop_other_network(marked: Marked, name: str) -> None:
    """Take out the fields of a conf's network when another is asked for: they are not the other's."""
    model = marked.data.get("model")
    if isinstance(model, dict) and model.get("name", name) != name:
        _forget(marked, ("model",))
        marked.data["model"] = {}


def _set(marked: Marked, key: str, value: Any, mark: Mark) -> None:
    *parents, last = [_as_key(part) for part in key.split(".")]
    tree = marked.data
    for depth, part in enumerate(parents):
        below = tree.get(part)
        if not isinstance(below, dict):
            below = {}
            tree[part] = below
            marked.marks[tuple(parents[: depth + 1])] = mark
        tree = below
    tree[last] = value
    _forget(marked, (*parents, last))
    marked.marks[(*parents, last)] = mark


def _as_key(part: str) -> Any:
    """Return a part of a dotted key as YAML would: kernel sizes are whole numbers."""
    value = parse_value(part)
    return value if isinstance(value, int) and not isinstance(value, bool) else part


def _forget(marked: Marked, location: Location) -> None:
    """Drop the places of what is replaced: a message must not point at them."""
    marked.marks = {at: mark for at, mark in marked.marks.items() if at[: len(location)] != location}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _overridden(sets: Sequence[str], flags: Mapping[str, str] | None) -> list[str]:
    return [KNOWN_FLAGS[flag] for flag in flags or {}] + [word.partition("=")[0].strip() for word in sets]


def _line(marked: Marked, location: Location, text: str) -> str:
    mark = marked.mark(location)
    where = f"{mark}: " if mark else ""
    key = ".".join(str(part) for part in location)
    # '--set training.x: training.x: …' would say the key twice.
    return f"{where}{text}" if mark and not mark.line and str(mark).endswith(key) else f"{where}{key}: {text}"
