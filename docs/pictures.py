"""Make the pictures of the README from the real app on a real run: `python docs/pictures.py`.

Trains the demo conf in a throw-away workspace, opens the app on it while it trains, and saves the screens
as SVG beside this file.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from engine import init, presets_folder, words
from engine.conf.load import resolve
from engine.runs import folder, launch
from engine.runs.record import Record
from engine.workspace import Workspace
from tui import boot

HERE = Path(__file__).parent
SIZE = (110, 34)
_DEADLINE_SECONDS = 180


async def take_pictures(here: Workspace) -> None:
    """Launch two runs, one that learns and one that diverges, and save what the screen shows."""
    from tui.app import SpectuiApp

    diverging = resolve(
        here, "demo", sets=["name=too_fast", "training.gradient_clip_val=null"],
        flags={"model": "MLP", "learning_rate": "1e10"},
    )  # fmt: skip
    bad = folder.create(here, diverging)
    launch.start(here, bad)
    await _until(lambda: not _refreshed(bad).live)
    good = folder.create(here, resolve(here, "demo", flags={"train_epochs": "60"}))
    launch.start(here, good)
    app = SpectuiApp(here)
    async with app.run_test(size=SIZE) as pilot:
        await _until(lambda: _refreshed(good).epoch >= 25)
        await pilot.pause(1.0)
        _save(app, "runs.svg")
        await pilot.press("enter")
        await pilot.pause(2.0)
        _save(app, "run.svg")
        await pilot.press("escape", "down", "enter")
        await pilot.pause(2.0)
        _save(app, "diverged.svg")
        await pilot.press("escape", "space", "up", "space", "c")
        await pilot.pause(4.0)
        _save(app, "compare.svg")
        await pilot.press("2")
        await pilot.pause(1.0)
        await pilot.press("n")
        await pilot.pause(6.0)  # the size of the network is worked out beside
        _save(app, "launch.svg")
        await pilot.press("escape", "4")
        await pilot.pause(15.0)
        _save(app, "data.svg")
        await pilot.press("enter")
        await pilot.pause(2.0)
        _save(app, "spectrum.svg")
    launch.ask_to_stop(good)


def _refreshed(run: folder.RunFolder) -> Record:
    record = Record(run.path, keep_curves=False)
    record.refresh()
    return record


async def _until(true: object) -> None:
    for _ in range(_DEADLINE_SECONDS * 4):
        if true():  # type: ignore[operator]
            return
        await asyncio.sleep(0.25)
    raise SystemExit("the run did not get there in time")


def _save(app: object, name: str) -> None:
    (HERE / name).write_text(app.export_screenshot(simplify=True), encoding="utf-8")  # type: ignore[attr-defined]
    print(f"docs/{name}")


def main() -> None:
    words.choose("en")
    os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    boot.set_defaults()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        os.environ["HOME"] = place  # the bar then says ~/spectra, whoever makes the pictures
        root = Path(place) / "spectra"
        init.make_workspace(root, presets_folder())
        asyncio.run(take_pictures(Workspace(root)))


if __name__ == "__main__":
    main()
