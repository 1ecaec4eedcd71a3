"""A workspace, run folders in every state, and the app on them: what the tests of the screen share.

The runs are written through the engine's own API, with events of the shape that the engine writes.
"""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.style import Style
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.widget import Widget

import engine.runs.events
import engine.runs.folder
import engine.runs.record
import engine.size
from engine import catalog, words
from engine.conf.load import resolve
from engine.runs import folder as folders
from engine.runs.events import EventLog
from engine.runs.process import identify
from engine.workspace import Workspace
from tui.app import SpectuiApp
from tui.charts import warm_up

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = Path(__file__).parent / "goldens"
SMALL, LARGE = (80, 24), (160, 48)
_KEYS = {" ": "space", "/": "slash", ".": "full_stop", "=": "equals_sign", "-": "minus", "_": "underscore",
         "<": "less_than_sign", ",": "comma"}  # fmt: skip


class FakeRun:
    """One run folder, written event by event as the engine does."""

    def __init__(self, folder: folders.RunFolder, *, epochs: int = 10, per_epoch: int = 20) -> None:
        self.folder = folder
        self.run_id = folder.run_id
        self.epochs, self.per_epoch, self.step = epochs, per_epoch, 0
        self.rate = 1e-3
        self.log = EventLog(folder.events)

    def process(self, alive: bool) -> FakeRun:
        """Say who runs it: this very process, or one that is gone."""
        me = identify()
        folders.note_process(self.folder, identity=me if alive else replace(me, start_time="1"), attempt=1)
        return self

    def begin(self) -> FakeRun:
        """From the tables to the first step."""
        self.log.append("phase", phase="reading")
        self.log.append(
            "data", stars=400, points=300, fingerprint="f" * 16, wavelength=[3900.0, 4199.0],
            targets=["Teff", "logg", "FeH", "CFe"], train=320, val=40, test=40, report={},
        )  # fmt: skip
        self.log.append("phase", phase="loading")
        self.log.append(
            "machine", device="cpu", device_name="Some CPU", threads=2, cpus=2, torch="2.9", parameters=12_345
        )
        self.log.append(
            "plan", epochs=self.epochs, total_steps=self.epochs * self.per_epoch,
            steps_per_epoch=self.per_epoch, monitor="val_loss", monitored="val",
        )  # fmt: skip
        self.log.append("phase", phase="training")
        return self

    def steps(self, count: int, loss: Callable[[int], float] | None = None) -> FakeRun:
        """One record of some steps of the epoch in hand."""
        loss = loss or (lambda step: 0.02 + math.exp(-step / 60) * (1 + 0.2 * math.sin(step)))
        wanted = list(range(self.step + 1, self.step + count + 1))
        rates = [self.rate * min(1.0, step / 20) for step in wanted]
        columns = {
            "batch_loss": [loss(step) for step in wanted],
            "learning_rate": rates,
            "gradient_norm": [1.0 + 1.0 / step for step in wanted],
        }
        self.log.append("steps", epoch=1 + self.step // self.per_epoch, step=wanted, columns=columns)
        self.step += count
        return self

    def train(self, epochs: int, floor: float = 0.05) -> FakeRun:
        """Whole epochs, each with its evaluation and checkpoint."""
        for _ in range(epochs):
            self.steps(self.per_epoch)
            epoch, decay = self.step // self.per_epoch, math.exp(-self.step / 60)
            values = {"train_loss": 0.02 + decay, "learning_rate": self.rate, "val_loss": floor + decay}
            values |= {f"val_{label}_mae": 0.1 + decay for label in ("Teff", "logg", "FeH", "CFe")}
            self.log.append("epoch", epoch=epoch, step=self.step, values=values)
            self.log.append(
                "checkpoint", step=self.step, epoch=epoch, file=f"step-{self.step}.pt", best=True, size=1000,
                value=floor + decay,
            )  # fmt: skip
        return self

    def nonfinite(self, value: float = math.nan) -> FakeRun:
        """The step that was refused."""
        self.log.append(
            "nonfinite", step=self.step + 1, epoch=1 + self.step // self.per_epoch, last_finite_loss=0.31,
            learning_rate=self.rate, what="loss", value=value, gradient_norm=math.nan,
            obsids=["1001", "1008"], parameter="layers.0.weight",
        )  # fmt: skip
        return self

    def test(self, error: float = 0.1) -> FakeRun:
        """The errors on the test rows."""
        self.log.append("phase", phase="testing")
        values: dict[str, float] = {"loss": error}
        for label in ("Teff", "logg", "FeH", "CFe"):
            values |= {f"{label}_n": 40, f"{label}_mae": error, f"{label}_mean_mae": 8 * error}
        self.log.append("test", epoch=self.step // self.per_epoch, values=values, stars=40)
        return self

    def end(self, outcome: str, code: int, message: str = "") -> FakeRun:
        self.log.append("end", outcome=outcome, exit_code=code, message=message)
        return self

    def says(self, text: str) -> FakeRun:
        """Add to the log."""
        with self.folder.log.open("a", encoding="utf-8") as file:
            file.write(text)
        return self

    def story(self, state: str) -> FakeRun:
        """Everything that leads to one of the states."""
        self.process(alive=state in ("running", "starting"))
        if state == "starting":
            self.log.append("phase", phase="reading")
            return self
        self.begin()
        if state == "running":
            return self.train(4)
        if state == "finished":
            return self.train(self.epochs).test().end("finished", 0, "best epoch 10: val_loss 0.08568")
        if state == "diverged":
            said = "step 41 (epoch 3): loss became nan; nothing was updated."
            return self.train(2).nonfinite().end("diverged", 87, said)
        if state == "stopped":
            return self.train(3).end("stopped", 85, "stopped by SIGTERM; saved at step 60: step-60.pt")
        if state == "failed":
            return self.train(1).end("failed", 1, "failed: RuntimeError: no room")
        assert state == "died", state
        return self.train(2)


class Glass:
    """Looks at the app as a person does: text, styles, and waiting until something is there."""

    def __init__(self, app: SpectuiApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    def rows(self) -> list[str]:
        """What stands on the screen, row by row (the one use of a private attribute of Textual)."""
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.rows())

    def row(self, piece: str) -> str:
        """The first row that holds `piece`."""
        return next(row for row in self.rows() if piece in row)

    def style(self, piece: str, after: str = "") -> Style:
        """The style of the first cell of `piece`, on a row that also holds `after`."""
        for strip in self.app.screen._compositor.render_strips():
            whole = "".join(segment.text for segment in strip)
            place = whole.find(piece)
            if place < 0 or after not in whole:
                continue
            seen = 0
            for segment in strip:
                seen += len(segment.text)
                if seen > place:
                    return segment.style or Style()
        raise AssertionError(f"{piece!r} is not on the screen:\n{self.text()}")

    def reddish(self, piece: str, after: str = "") -> bool:
        """Tell whether the text is drawn in a colour that is mostly red."""
        colour = self.style(piece, after).color
        assert colour is not None
        red, green, blue = colour.get_truecolor()
        return red > 150 and red > 1.4 * max(green, blue)

    def braille(self) -> int:
        """How many cells have points of a curve."""
        return sum(0x2800 < ord(character) < 0x2900 for character in self.text())

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        await self.press(*(character if character.isalnum() else _KEYS[character] for character in text))

    async def until(self, true: Callable[[], Any], seconds: float = 10.0) -> None:
        """Wait until something holds; the screen is in the message when it never does."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"never came true; on the screen:\n{self.text()}"
            await self.pilot.pause(0.02)
        await self.pilot.pause()

    async def sees(self, *pieces: str, seconds: float = 10.0) -> None:
        """Wait until all of these stand on the screen."""
        await self.until(lambda: all(piece in self.text() for piece in pieces), seconds)

    async def settled(self) -> None:
        """Wait until the runs are listed and everything is drawn."""
        await self.until(lambda: self.app.feed.loaded)
        await self.pilot.pause()

    def fits(self) -> None:
        """Assert that the screen is exactly as large as the terminal, no cell more."""
        width, height = self.app.size
        rows = self.rows()
        assert len(rows) == height
        assert [cell_len(row) for row in rows] == [width] * height
        for widget in self.app.screen.walk_children():
            if not widget.display or not widget.region or not widget.is_on_screen:
                continue
            if any(above.allow_horizontal_scroll for above in widget.ancestors if isinstance(above, Widget)):
                continue
            assert widget.region.right <= width, f"{widget} ends at column {widget.region.right}"

    def place_of(self, piece: str) -> Offset:
        """Where a text stands, to click on it."""
        for y, row in enumerate(self.rows()):
            if piece in row:
                return Offset(cell_len(row[: row.index(piece)]), y)
        raise AssertionError(f"{piece!r} is not on the screen:\n{self.text()}")


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    for name in ("NO_COLOR", "SSH_CONNECTION", "SPECTUI_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    words.choose("en")
    warm_up()
    yield
    words.choose(None)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty workspace with the preset confs, called ~/stars."""
    root = tmp_path / "stars"
    shutil.copytree(ROOT / "conf", root / "conf")
    for folder in ("models/spectral_prediction", "dataset", "runs"):
        (root / folder).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    return Workspace(root)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameter counts without the seconds that a child with torch takes."""
    known = {
        "FreqInceptionLNet": catalog.Count(3_748_372, {"trunk": 3_748_372}),
        "MLP": catalog.Count(2_440_580, {"layers": 2_440_580}),
        "StarNet": catalog.Count(3_083_204, {"features": 148, "head": 3_083_056}),
    }
    monkeypatch.setattr(catalog, "parameter_counts", lambda *_args, **_options: known)
    measured = engine.size.Measured(3_748_372, 14_993_488, 13_000_000.0, 21_600_000.0)
    monkeypatch.setattr(engine.size, "measure", lambda *_args: measured)
    monkeypatch.setattr(engine.size, "free_memory", lambda: 16 * 2**30)
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1})


@pytest.fixture
def make_run(workspace: Workspace) -> Iterator[Callable[..., FakeRun]]:
    """Return make(state, name=..., conf=..., sets=..., created_at=...): a run folder in that state."""
    made: list[FakeRun] = []

    def make(
        state: str, *, name: str | None = None, conf: str = "demo", sets: Sequence[str] = (),
        ago: float = 0.0, epochs: int = 10,
    ) -> FakeRun:  # fmt: skip
        flags = {"model_id": name or f"a-{state}", "train_epochs": str(epochs)}
        resolved = resolve(workspace, conf, flags=flags, sets=sets)
        run = FakeRun(folders.create(workspace, resolved, command=["spectui"]), epochs=epochs)
        if ago:
            _date(run, ago)
        made.append(run)
        return run.story(state)

    yield make
    for run in made:
        run.log.close()


def _date(run: FakeRun, ago: float) -> None:
    """Make a run older than it is."""
    data = run.folder.read_json(run.folder.identity)
    at = data["created_at"] - ago
    created = datetime.fromtimestamp(at).astimezone().isoformat(timespec="milliseconds")
    folders.write_json(run.folder.identity, data | {"created_at": at, "created": created})


@pytest.fixture
def opened(workspace: Workspace) -> Callable[..., AbstractAsyncContextManager[Glass]]:
    """Return opened(size): the app on the workspace, with its runs listed.

    It does not see to MLflow (`tends`): each run of a test would start a process that imports it.
    """

    @asynccontextmanager
    async def opened(size: tuple[int, int] = SMALL, *, tends: bool = False) -> AsyncIterator[Glass]:
        app = SpectuiApp(workspace)
        app.tends = tends
        app.poll_seconds = 0.05
        threads = ThreadPoolExecutor(thread_name_prefix="app")
        asyncio.get_running_loop().set_default_executor(threads)
        async with app.run_test(size=size, notifications=True) as pilot:
            glass = Glass(app, pilot)
            await glass.settled()
            yield glass
        # A worker thread that does not end would keep the app from quitting.
        ending = Thread(target=threads.shutdown, daemon=True)
        ending.start()
        ending.join(timeout=5)
        assert not ending.is_alive(), "a worker is still at work after the app has quit"

    return opened


class Clock:
    """A time that only moves when told, a second an event."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def tick(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Freeze what depends on when and where: ids, times and ages."""
    clock = Clock(datetime(2026, 3, 1, 12).timestamp())
    counter = iter(range(0xA000, 0xB000))

    class Frozen(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(clock(), tz)

    monkeypatch.setattr(engine.runs.folder, "datetime", Frozen)
    monkeypatch.setattr(engine.runs.folder.secrets, "token_hex", lambda _size: f"{next(counter):x}")
    monkeypatch.setattr(engine.runs.events, "time", SimpleNamespace(time=clock.tick))
    for module in (
        "engine.runs.record",
        "engine.cli.text",
        "tui.widgets.run_columns",
        "tui.widgets.run_header",
        "tui.since",
    ):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(time=clock))
    return clock


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Return golden(name, text): equal to goldens/<name>.txt, or written there on SPECTUI_GOLDENS=update."""

    def check(name: str, text: str) -> None:
        path = GOLDENS / f"{name}.txt"
        if os.environ.get("SPECTUI_GOLDENS") == "update":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
        wanted = path.read_text(encoding="utf-8") if path.is_file() else "(no such golden)"
        assert text + "\n" == wanted, f"{path.name} differs; if that is meant: SPECTUI_GOLDENS=update\n{text}"

    return check
