"""Confs written by the screen: an edited one keeps its source's comments, sections by name, and base.

The only user of ruamel.yaml. Whatever is written is read back first: a text that would not mean the conf is
never kept. Whole or nothing. Owns no widgets.
"""

from __future__ import annotations

import difflib
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.conf.load import check, conf_files, difference, flatten, get, resolve, to_yaml
from engine.conf.marks import parse
from engine.conf.schema import Conf
from engine.errors import BadInput
from engine.words import say
from engine.workspace import Workspace

_NAME = re.compile(r"[\w][\w.+-]*")
_LONGEST = 80


def target_of(workspace: Workspace, name: str) -> Path:
    """Return the file under conf/ that a conf of this name is saved in; it may be there already.

    Raises:
        BadInput: no name for a file, or one that differs from that of another conf by capitals alone.
    """
    stem = name.strip().removeprefix("conf/").removesuffix(".yaml")
    if not _NAME.fullmatch(stem) or len(stem) > _LONGEST or stem.endswith(".yml"):
        raise BadInput(say("save.bad_name", name=name))
    for file in conf_files(workspace):
        if file.stem != stem and file.stem.casefold() == stem.casefold():
            raise BadInput(say("save.near", name=stem, file=workspace.relative(file)))
        if file.stem == stem and file.suffix != ".yaml":
            return file
    return workspace.conf / f"{stem}.yaml"


def text_of(workspace: Workspace, source: str | None, conf: Conf) -> str:
    """Return the text of a conf file that means `conf`, as like its source as can be."""
    from ruamel.yaml.error import YAMLError

    file = None if source is None else workspace.root / source
    if file is not None and file.is_file() and file.parent == workspace.conf:
        try:
            text = file.read_text(encoding="utf-8")
            # Twice: a section that was a name and is text now lets through what the base says of it.
            for _ in range(2):
                text = _edited(workspace, text, difference(_meaning(workspace, text), conf.plain()), conf)
                if _meaning(workspace, text) == conf.plain():
                    return text
        except (BadInput, OSError, ValueError, TypeError, YAMLError):
            pass  # a source that is broken by now, or of a form that cannot be edited: written whole
    plain = conf.plain()
    default = Conf().plain() | {"model": {}}
    said = flatten(plain)
    kept = _nested({key: said[key] for key in difference(default, plain) if key in said})
    head = {"version": 1, "name": conf.name, "model": {"name": conf.model.name}}
    text = to_yaml({**head, **kept})
    return text if _meaning(workspace, text) == plain else to_yaml(plain)


def write(workspace: Workspace, target: Path, text: str, *, replace: bool = False) -> None:
    """Write a conf file whole; without `replace` only where there is none.

    Raises:
        BadInput: the text is no conf, or there is such a file.
        OSError: it cannot be written.
    """
    with _beside(target, text) as scratch:
        resolve(workspace, scratch)
        if replace:
            scratch.replace(target)
            return
        try:
            os.link(scratch, target)  # refuses what is there, whoever made it
        except FileExistsError:
            raise BadInput(say("save.exists", file=workspace.relative(target))) from None


def changes(before: str, after: str) -> list[str]:
    """Return the lines that go and come, marked - and +."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def read_back(workspace: Workspace, text: str, shown: str) -> Conf:
    """Return the conf that a text from an editor means.

    Raises:
        BadInput: every mistake, with its line.
    """
    return check(workspace, parse(text, shown))


def _meaning(workspace: Workspace, text: str) -> dict[str, Any]:
    """Return the plain conf that a text means as a file under conf/.

    Raises:
        BadInput: it means none.
    """
    with _beside(workspace.conf / "check.yaml", text) as scratch:
        return resolve(workspace, scratch).conf.plain()


@contextmanager
def _beside(target: Path, text: str) -> Iterator[Path]:
    """Give a finished file beside the target: base: and sections by name are found from there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with scratch.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)


def _edited(workspace: Workspace, before: str, changed: dict[str, dict[str, Any]], conf: Conf) -> str:
    """Return the source's text with only what changed in it changed."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    tree = yaml.load(before)
    if tree is None:
        tree = yaml.map()
    for key, values in changed.items():
        _set(workspace, yaml, tree, key.split("."), values["is"], conf.plain())
    out = io.StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def _set(
    workspace: Workspace, yaml: Any, tree: Any, parts: list[str], value: Any, plain: dict[str, Any]
) -> None:
    for depth, part in enumerate(parts[:-1]):
        below = tree.get(part)
        if isinstance(below, str) and depth == 0:
            # A section by name that is not that of the file any more: its text comes here, and is changed.
            below = tree[part] = yaml.load((workspace.conf / part / f"{below}.yaml").read_text("utf-8"))
        elif below is None:
            below = tree[part] = {}
        elif not isinstance(below, dict):
            tree[part] = get(plain, ".".join(parts[: depth + 1]))  # a bare list of shares, become a section
            return
        tree = below
    last = parts[-1]
    if value is None and get(plain, ".".join(parts[:-1])) is not None and last not in _at(plain, parts[:-1]):
        tree.pop(last, None)
        return
    was = tree.get(last)
    if isinstance(value, list) and hasattr(was, "fa"):
        was[:] = value  # keeps its brackets
    elif isinstance(value, list):
        tree[last] = _flow(value)
    else:
        tree[last] = value


def _flow(value: list[Any]) -> Any:
    from ruamel.yaml.comments import CommentedSeq

    made = CommentedSeq(value)
    made.fa.set_flow_style()
    return made


def _at(plain: dict[str, Any], parts: list[str]) -> Any:
    return get(plain, ".".join(parts)) if parts else plain


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        place = tree
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = value
    return tree
