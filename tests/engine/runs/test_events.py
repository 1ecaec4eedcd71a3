"""The event log: whole lines, any number, and what a crash leaves."""

from __future__ import annotations

import contextlib
import json
import math
import os
from pathlib import Path

import pytest

from engine.runs.events import EventLog, Tail, number


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_an_event_is_one_line_in_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    real = os.write

    def count(handle: int, data: bytes) -> int:
        written.append(bytes(data))
        return real(handle, data)

    log = EventLog(path)
    monkeypatch.setattr(os, "write", count)
    log.append("note", text="两行\nin one", values=[1.5] * 1000)
    monkeypatch.undo()
    log.close()
    assert len(written) == 1
    assert written[0].count(b"\n") == 1
    assert written[0].endswith(b"\n")
    assert json.loads(path.read_text(encoding="utf-8"))["text"] == "两行\nin one"


def test_a_short_write_is_completed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    log = EventLog(path)
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, bytes(data)[:7]))
    log.append("note", text="x" * 50)
    monkeypatch.undo()
    log.close()
    assert [event["text"] for event in Tail(path).poll()] == ["x" * 50]


def test_numbers_that_json_cannot_say_are_words_that_any_reader_reads(path: Path) -> None:
    log = EventLog(path)
    log.append("steps", columns={"loss": [1.0, math.nan, math.inf, -math.inf]}, pair=(math.nan, 2))
    log.close()

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    event = json.loads(path.read_text(), parse_constant=refuse)
    assert event["columns"]["loss"] == [1.0, "nan", "inf", "-inf"]
    back = [number(value) for value in event["columns"]["loss"]]
    assert back[0] == 1.0
    assert math.isnan(back[1])
    assert back[2:] == [math.inf, -math.inf]
    assert number("loss") == "loss"


def test_a_file_name_that_is_not_utf8_can_be_told(path: Path) -> None:
    odd = b"/data/caf\xe9.csv".decode("utf-8", "surrogateescape")
    log = EventLog(path)
    log.append("end", message=f"{odd}: no such file")
    log.close()
    assert Tail(path).poll()[0]["message"] == f"{odd}: no such file"


def test_a_torn_line_is_ended_before_the_next_append_and_skipped(path: Path) -> None:
    path.write_bytes(b'{"kind":"a","time":1}\n{"kind":"steps","st')
    tail = Tail(path)
    assert [e["kind"] for e in tail.poll()] == ["a"]
    log = EventLog(path)
    log.append("b")
    log.close()
    assert [e["kind"] for e in tail.poll()] == ["b"]
    assert [e["kind"] for e in Tail(path).poll()] == ["a", "b"]
    again = EventLog(path)
    again.append("c")
    again.close()
    assert path.read_bytes().count(b"\n\n") == 0, "a whole last line is left as it is"


@pytest.mark.parametrize("line", [b"\x00\x00\x00", b"\xff\xfe", b"[1]", b"3", b'{"no":"kind"}', b""])
def test_lines_that_are_no_events_are_skipped(path: Path, line: bytes) -> None:
    path.write_bytes(line + b'\n{"kind":"a"}\n')
    assert Tail(path).poll() == [{"kind": "a"}]


def test_tail_returns_only_what_is_new_and_whole(path: Path) -> None:
    tail = Tail(path)
    assert tail.poll() == [], "the file is not there yet"
    path.write_bytes(b'{"kind":"a"}\n{"kind"')
    assert tail.poll() == [{"kind": "a"}]
    assert tail.poll() == []
    with path.open("ab") as file:
        file.write(b':"b"}\n{"kind":"c"}\n')
    assert tail.poll() == [{"kind": "b"}, {"kind": "c"}]
    assert tail.offset == path.stat().st_size


def test_tail_with_a_limit_gives_everything_in_pieces(path: Path) -> None:
    lines = [json.dumps({"kind": "k", "n": n, "pad": "x" * (n % 37)}) for n in range(200)]
    path.write_text("\n".join(lines) + "\n")
    tail, seen, polls = Tail(path), [], 0
    while events := tail.poll(100):
        seen += [event["n"] for event in events]
        polls += 1
    assert seen == list(range(200))
    assert polls > 20


def test_a_file_that_became_shorter_is_read_anew(path: Path) -> None:
    path.write_bytes(b'{"kind":"a"}\n{"kind":"b"}\n')
    tail = Tail(path)
    tail.poll()
    path.write_bytes(b'{"kind":"c"}\n')
    assert tail.poll() == [{"kind": "c"}]


def test_a_line_torn_within_a_letter_costs_only_itself(path: Path) -> None:
    with contextlib.closing(EventLog(path)) as log:
        log.append("message", text="before")
    with path.open("ab") as file:
        file.write('{"kind":"message","text":"恒'.encode()[:-1] + b"\n")
    with contextlib.closing(EventLog(path)) as log:
        log.append("message", text="恒\u2028星")
    assert [event["text"] for event in Tail(path).poll()] == ["before", "恒\u2028星"]
