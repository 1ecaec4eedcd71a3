"""Reading is shown with rows/s and time left on a terminal, in lines elsewhere, and can be stopped."""

from __future__ import annotations

import io
import signal

import pytest

import engine.words
from engine.train import report as reports
from engine.train.stop import Stop, Stopped


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test moves."""
    now = [100.0]
    monkeypatch.setattr(engine.words, "_chosen", "en")
    monkeypatch.setattr(reports.time, "monotonic", lambda: now[0])
    return now


def test_on_a_terminal_it_is_rewritten_in_place(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    stream = Terminal()
    report = reports.Report(stream=stream)
    report.rows("converting a.csv", 0)
    clock[0] += 2
    report.rows("converting a.csv", 1000, 4000)
    assert stream.getvalue().endswith(
        "\r\x1b[Kconverting a.csv: 1000 of about 4000 rows, 500 rows/s, 6 s left"
    )
    assert "\n" not in stream.getvalue()
    report.rows("converting b.csv", 0)
    assert stream.getvalue().endswith("\r\x1b[Kconverting b.csv")
    report.rows_done()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_narrow_terminal_gets_one_line(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    report = reports.Report(stream=stream)
    report.rows("converting " + "dataset/" * 20, 0)
    clock[0] += 1
    report.rows("converting " + "dataset/" * 20, 5, 10)
    assert all(len(piece) <= 39 for piece in stream.getvalue().split("\r\x1b[K"))


def test_elsewhere_a_line_now_and_then(clock: list[float]) -> None:
    stream = io.StringIO()
    report = reports.Report(stream=stream)
    for seconds in range(25):
        report.rows("converting a.csv", seconds * 100, 4000)
        clock[0] += 1
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and lines[0] == "converting a.csv: 1100 of about 4000 rows, 100 rows/s, 29 s left"


def test_a_wish_to_stop_ends_reading() -> None:
    stop = Stop()
    told = reports.Polled(reports.Report(stream=io.StringIO()), stop)
    told.rows("converting a.csv", 1, 2)
    stop._note(signal.SIGTERM, None)
    with pytest.raises(Stopped, match="SIGTERM"):
        told.rows("converting a.csv", 2, 2)
