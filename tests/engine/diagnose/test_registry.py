"""Rules by id: ours, a user's file, and what happens when one of them is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import engine.words
from engine.diagnose import of_run, registry
from engine.diagnose.findings import Finding
from engine.diagnose.story import Story
from engine.runs.events import EventLog
from engine.runs.folder import RunFolder
from engine.runs.record import Record
from engine.workspace import Workspace

RULE = """\
from engine.diagnose import Finding
from engine.diagnose.registry import rule


@rule("MY001", words={"en": {"title": "a slow one", "diagnose.evidence.seeing": "seeing"},
                      "zh": {"title": "慢", "diagnose.evidence.seeing": "视宁度"}})
def slow(story):
    from engine.words import say

    return Finding("MY001", "warning", say("diagnose.MY001"), {"seeing": 2.5, "moon_phase": 1}, (1, 3))
"""


@pytest.fixture
def record(workspace: Workspace, new_run: Callable[..., RunFolder]) -> Record:
    """A healthy run of three steps."""
    run = new_run()
    log = EventLog(run.events)
    log.append("steps", epoch=1, step=[1, 2, 3], columns={"batch_loss": [3.0, 2.0, 1.0]})
    log.append("end", outcome="finished", exit_code=0, message="")
    log.close()
    record = Record(run.path)
    record.refresh()
    return record


def write(workspace: Workspace, name: str, text: str) -> None:
    folder = workspace.root / "rules"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def test_a_users_rule_is_found_with_its_words_in_both_languages(workspace: Workspace, record: Record) -> None:
    assert of_run(workspace, record) == []
    write(workspace, "mine.py", RULE)
    (finding,) = of_run(workspace, record)
    assert (finding.id, finding.title, finding.steps) == ("MY001", "a slow one", (1, 3))
    text = "\n".join(finding.lines())
    assert "seeing: 2.5" in text
    assert "moon phase: 1" in text, "evidence without a word is called by its name"
    engine.words.choose("zh")
    (finding,) = of_run(workspace, record)
    assert finding.title == "慢"
    assert "视宁度" in "\n".join(finding.lines())


def test_a_changed_file_is_read_again_and_a_removed_one_forgotten(
    workspace: Workspace, record: Record
) -> None:
    write(workspace, "mine.py", RULE)
    assert [f.severity for f in of_run(workspace, record)] == ["warning"]
    write(workspace, "mine.py", RULE.replace('"warning"', '"error"'))
    assert [f.severity for f in of_run(workspace, record)] == ["error"]
    (workspace.root / "rules" / "mine.py").unlink()
    assert of_run(workspace, record) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\nimport nowhere_at_all\n", "rules/bad.py:2: ModuleNotFoundError: No module named"),
        ("def (:\n", "rules/bad.py:1: invalid syntax"),
        ("\n\n\nraise SystemExit('no')\n", "rules/bad.py:4: SystemExit: no"),
    ],
)
def test_a_file_that_fails_is_told_with_its_line_and_takes_nobody_down(
    workspace: Workspace, record: Record, text: str, said: str
) -> None:
    write(workspace, "bad.py", text)
    write(workspace, "mine.py", RULE)
    found = of_run(workspace, record)
    assert [f.id for f in found] == ["MY001", "SP000"]
    assert found[1].severity == "info"
    assert said in found[1].evidence["message"]


def test_a_rule_that_fails_is_told_with_its_line_and_the_others_answer(
    workspace: Workspace, record: Record
) -> None:
    write(workspace, "mine.py", RULE)
    write(workspace, "zero.py", RULE.replace("MY001", "MY002").replace('say("diagnose.MY002")', "1 / 0"))
    found = of_run(workspace, record)
    assert [f.id for f in found] == ["MY001", "SP000"]
    assert "MY002: zero.py:10: ZeroDivisionError" in found[1].evidence["message"]


def test_an_id_that_is_taken_is_refused(workspace: Workspace, record: Record) -> None:
    write(workspace, "ours.py", RULE.replace("MY001", "SP101"))
    (finding,) = of_run(workspace, record)
    assert (finding.id, "DuplicateRule: SP101" in finding.evidence["message"]) == ("SP000", True)
    (workspace.root / "rules" / "ours.py").unlink()
    write(workspace, "a.py", RULE)
    write(workspace, "b.py", RULE.replace('"warning"', '"error"'))
    found = of_run(workspace, record)
    assert [(f.id, f.severity) for f in found] == [("MY001", "warning"), ("SP000", "info")]
    assert "MY001" in found[1].evidence["message"]
    with pytest.raises(registry.DuplicateRule):
        registry.rule("SP101")(lambda story: None)


def test_a_rule_gives_way_to_one_that_says_it_better(workspace: Workspace, record: Record) -> None:
    def finding(identity: str) -> Callable[[Story], Finding]:
        return lambda story: Finding(identity, "warning", identity, {}, None)

    rules = [
        registry.Rule("A1", finding("A1"), ("B",)),
        registry.Rule("B1", finding("B1"), ("B", "C")),
        registry.Rule("D1", finding("D1"), ("X",)),
    ]
    found, failed = registry.run(rules, Story(workspace, record))
    assert ([f.id for f in found], failed) == (["B1", "D1"], [])
