"""Which rules there are: ours by id, and those of the files in a workspace's `rules/`.

A rule is a small function from a story to a finding, several, or none. A file of the user that cannot be
imported hides nothing but itself, and so does a rule that fails. Owns no rule.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine import words
from engine.diagnose.findings import SEVERITIES, Finding
from engine.diagnose.story import Story
from engine.workspace import Workspace

Answer = Finding | Iterable[Finding] | None
Function = Callable[[Story], Answer]
Words = Mapping[str, Mapping[str, str]]


class DuplicateRule(Exception):  # noqa: N818 - it says what it is
    """Two rules claim one id."""


@dataclass(frozen=True)
class Rule:
    """A rule: its id, and the beginnings of ids that say the same better."""

    id: str
    function: Function
    yields_to: tuple[str, ...] = ()


@dataclass
class _File:
    """A file of the user: its rules, or why it could not be imported."""

    stamp: tuple[int, int]
    rules: dict[str, Rule] = field(default_factory=dict)
    error: str | None = None


_ours: dict[str, Rule] = {}
_files: dict[Path, _File] = {}
_filling: list[dict[str, Rule]] = [_ours]


def rule(
    identity: str, *, yields_to: Iterable[str] = (), words: Words | None = None
) -> Callable[[Function], Function]:
    """Register the decorated function as the rule with an id such as SP102.

    Args:
        identity: the id that its findings have.
        yields_to: beginnings of ids; when one of those is found, and is as severe, this one is left out.
        words: by language, then by key: the sentences that our catalogues do not have. A key is `title`, or
            a whole one such as `diagnose.evidence.seeing`.

    Raises:
        DuplicateRule: another rule has the id.
    """

    def register(function: Function) -> Function:
        target = _filling[-1]
        taken = _ours.get(identity) or target.get(identity)
        if taken is not None and taken.function.__qualname__ != function.__qualname__:
            raise DuplicateRule(f"{identity}: {taken.function.__name__} and {function.__name__}")
        target[identity] = Rule(identity, function, tuple(yields_to))
        if words is not None:
            _teach(identity, words)
        return function

    return register


def ours() -> list[Rule]:
    """Return the rules that come with spectui, by id."""
    return [_ours[identity] for identity in sorted(_ours)]


def of_user(workspace: Workspace) -> tuple[list[Rule], list[str]]:
    """Return the rules of the workspace's files, and one line for each file that has none to give."""
    found: dict[str, Rule] = {}
    problems = []
    folder = workspace.root / "rules"
    for path in sorted(folder.glob("*.py")) if folder.is_dir() else []:
        if path.name.startswith("_"):
            continue
        file = _read(path)
        twice = sorted(set(file.rules) & set(found))
        if file.error is not None:
            problems.append(f"{workspace.relative(path)}:{file.error}")
        if twice:
            problems.append(words.say("diagnose.rule_twice", file=workspace.relative(path), rule=twice[0]))
        found |= {identity: one for identity, one in file.rules.items() if identity not in found}
    return list(found.values()), problems


def run(rules: Iterable[Rule], story: Story) -> tuple[list[Finding], list[str]]:
    """Return what the rules find, and one line for each that failed."""
    found: list[Finding] = []
    failed = []
    yielding: dict[str, tuple[str, ...]] = {}
    for one in rules:
        try:
            answer = one.function(story)
            mine = [answer] if isinstance(answer, Finding) else list(answer or ())
        except Exception as error:  # noqa: BLE001 - a rule that fails must not hide what the others see
            failed.append(f"{one.id}: {_place(error)}{type(error).__name__}: {error}")
            continue
        yielding |= {finding.id: one.yields_to for finding in mine}
        found += mine

    def better_said(finding: Finding) -> bool:
        return any(
            other.id != finding.id
            and other.id.startswith(yielding[finding.id])
            and SEVERITIES.index(other.severity) <= SEVERITIES.index(finding.severity)
            for other in found
        )

    return [finding for finding in found if not (yielding[finding.id] and better_said(finding))], failed


def _read(path: Path) -> _File:
    """Import a file once per modification."""
    stat = path.stat()
    stamp = (stat.st_mtime_ns, stat.st_size)
    known = _files.get(path)
    if known is not None and known.stamp == stamp:
        return known
    file = _files[path] = _File(stamp)
    with _registering(file.rules):
        try:
            name = f"_spectui_rules_{abs(hash(path))}"
            spec = importlib.util.spec_from_file_location(name, path)
            if spec is None or spec.loader is None:
                raise ImportError(path.name)
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            # not by the loader: bytecode of the same second and size would be taken for the new text
            exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
        except SyntaxError as error:
            file.error = f"{error.lineno}: {error.msg}"
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's file does, the advisor goes on
            file.error = f"{_line_in(error, path)}: {type(error).__name__}: {error}"
    if file.error is not None:
        file.rules.clear()
    return file


@contextlib.contextmanager
def _registering(target: dict[str, Rule]) -> Iterator[None]:
    _filling.append(target)
    try:
        yield
    finally:
        _filling.pop()


def _line_in(error: BaseException, path: Path) -> int:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (frames[-1].lineno or 0) if frames else 0


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""


def _teach(identity: str, sentences: Words) -> None:
    for language, texts in sentences.items():
        named = {key if "." in key else f"diagnose.{identity}": text for key, text in texts.items()}
        words.teach(language, named)
