"""Random keys over live data: no exception, flat memory. Replayable: the seed and the keys are printed.

    python tests/soak/soak_keys.py [--keys 20000] [--seed N] [--megabytes 30]

The app runs as in the tests (Textual's Pilot) on a scratch workspace in which runs appear, write, end, break
and are removed while keys are pressed: those of the table, mostly of the place that is shown, with typing and
changes of the window's size between. What removes is allowed. What would start training is refused, the
queue gets no owner, quitting is counted and not done; a live run is a sleeping process that may be stopped.

Memory may grow while screens are opened for the first time; from half of the keys on it must be flat:
the slope of the resident size, for as many keys as were pressed, is at most `--megabytes`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks" / "terminal"))

import stories

import tui
from engine import catalog
from engine.errors import BadInput
from engine.runs import launch, queue
from tui import keys
from tui.app import SpectuiApp

MOST_RUNS, MOST_STEPS = 25, 1200
SIZES = ((80, 24), (60, 20), (160, 48), (200, 60), (100, 30))
MOVES = (
    "up", "down", "left", "right", "pageup", "pagedown", "home", "end", "j", "k", "g", "G", "enter",
    "escape", "tab", "shift+tab", "space", "backspace",
)  # fmt: skip
# So often the keys begin anew at one of the modes: a form or a question holds random keys for long.
ANEW = 50
TYPED = [*"abelr019._-", "slash", "equals_sign", "greater_than_sign", "space", "backspace"]


class SoakApp(SpectuiApp):
    """The app, which stays when it is asked to go."""

    CSS_PATH = Path(tui.__file__).with_name("app.tcss")
    left = 0

    def exit(self, *words: Any, **more: Any) -> None:
        if words or more or self._exception is not None:
            super().exit(*words, **more)
        else:
            self.left += 1


class World:
    """Runs that come and go in a workspace."""

    def __init__(self, place: Any, dice: random.Random) -> None:
        self.place, self.dice, self.number = place, dice, 0
        self.live: list[tuple[stories.Story, subprocess.Popen[bytes]]] = []
        for _ in range(6):
            self.appear(self.dice.randint(0, 400))
        for _ in range(2):
            self.end()

    def appear(self, steps: int = 0) -> None:
        sleeper = subprocess.Popen(["sleep", "86400"])
        self.number += 1
        name = self.dice.choice(
            ["run", "star-\u6052\u661f", "a very long name that no column has room for", "x"]
        )
        story = stories.Story(self.place, f"{name}-{self.number}", MOST_STEPS, self.dice.random())
        story.begin(alive=True, pid=sleeper.pid)
        if steps:
            story.steps(steps)
        self.live.append((story, sleeper))

    def end(self) -> None:
        story, sleeper = self.live.pop(self.dice.randrange(len(self.live)))
        with contextlib.suppress(OSError):  # it may have been removed meanwhile
            if self.dice.random() < 0.3:
                story.log.append(
                    "nonfinite", step=story.step + 1, epoch=1, last_finite_loss=0.3, learning_rate=1e-3,
                    what="loss", value=float("nan"), gradient_norm=None, obsids=["1"], parameter="a.weight",
                )  # fmt: skip
            if self.dice.random() < 0.8:
                story.end()
            else:
                story.log.close()
        sleeper.kill()
        sleeper.wait()

    def turn(self) -> None:
        """Let a little time pass."""
        for story, _ in self.live:
            with contextlib.suppress(OSError):
                story.steps(5)
                story.folder.log.open("a").write(f"step {story.step} \x1b[31mred\x1b[0m\n")
                if story.step % 100 < 5:
                    story.epoch()
        chance = self.dice.random()
        full = [story for story, _ in self.live if story.step >= MOST_STEPS]
        if len(self.live) > 1 and (full or chance < 0.02):
            self.end()
        folders = sorted(path for path in self.place.runs.iterdir() if (path / "run.json").is_file())
        busy = {story.folder.run_id for story, _ in self.live}
        if len(self.live) < 2 or (chance > 0.97 and len(folders) < MOST_RUNS):
            self.appear()
        elif len(folders) >= MOST_RUNS or 0.5 < chance < 0.52:
            ended = [path for path in folders if path.name not in busy]
            if ended:
                shutil.rmtree(self.dice.choice(ended), ignore_errors=True)

    def close(self) -> None:
        while self.live:
            self.end()


def resident() -> float:
    """Return the megabytes of this process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found.group(1)) * 1024 / 1e6


def choose(dice: random.Random, where: str) -> str:
    """Return the next key: mostly one that means something where the app is."""
    chance = dice.random()
    if chance < 0.35:
        return dice.choice(MOVES)
    if chance < 0.45:
        return dice.choice(TYPED)
    here = [key for key in keys.KEYS if key.where in ((where, "app") if chance < 0.9 else keys.PLACES)]
    return dice.choice(dice.choice(here).keys.split(","))


def slope(points: list[tuple[int, float]]) -> float:
    """Return the growth per key of the second half of what was measured, by least squares."""
    late = points[len(points) // 2 :]
    if len(late) < 2:
        return 0.0
    x, y = [float(n) for n, _ in late], [m for _, m in late]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True)) / sum(
        (a - middle_x) ** 2 for a in x
    )


def refuse(*_words: Any, **_more: Any) -> Any:
    raise BadInput("the soak starts no training")


async def soak(root: Path, count: int, seed: int) -> tuple[list[tuple[int, float]], int]:
    """Press so many keys; return the memory along the way and how often the app was asked to leave.

    Raises:
        Exception: what the app raised; the keys before it have been printed.
    """
    from tui.charts import warm_up

    warm_up()
    launch.start = refuse
    queue.ensure_owner = lambda *_words, **_more: None
    catalog.parameter_counts = lambda *_words, **_more: {}
    dice = random.Random(seed)
    world = World(stories.workspace(root / "stars"), dice)
    app = SoakApp(world.place)
    app.tends, app.poll_seconds = False, 0.1
    pressed: list[str] = []
    points: list[tuple[int, float]] = []
    try:
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            for number in range(count):
                if number % 5 == 0:
                    world.turn()
                if dice.random() < 0.01:
                    size = dice.choice(SIZES)
                    pressed.append(f"{size[0]}x{size[1]}")
                    await pilot.resize_terminal(*size)
                anew = ["escape"] * 4 + [dice.choice("1113344")]
                chosen = [choose(dice, getattr(app.screen, "where", "app"))]
                for key in anew if number % ANEW == ANEW - 1 else chosen:
                    pressed.append(key)
                    await pilot.press(key)
                if app._exception is not None or not app.is_running:
                    break
                if number % max(1, count // 40) == 0:
                    points.append((number, resident()))
                    print(
                        f"{number:>7} keys  {points[-1][1]:6.1f} MB  {type(app.screen).__name__}",
                        file=sys.stderr,
                    )
            assert app._exception is not None or len(pressed) >= count, "the app ended"
    except BaseException:
        print(
            f"after {len(pressed)} keys of seed {seed}; the last: {' '.join(pressed[-60:])}", file=sys.stderr
        )
        raise
    finally:
        world.close()
    return points, app.left


def main() -> int:
    """Soak, and say whether it held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--keys", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--megabytes", type=float, default=30.0)
    a = parser.parse_args()
    seed = a.seed if a.seed is not None else random.SystemRandom().randrange(1 << 30)
    root = Path(tempfile.mkdtemp(prefix="soak-"))
    os.environ |= {"HOME": str(root), "TEXTUAL_ANIMATIONS": "none", "EDITOR": "true", "VISUAL": "true"}
    print(f"seed {seed}, {a.keys} keys", flush=True)
    began = time.monotonic()
    try:
        points, left = asyncio.run(soak(root, a.keys, seed))
    except Exception:  # noqa: BLE001 - whatever it is, it is what the soak was for
        traceback.print_exc(file=sys.stdout)
        print(f"MISSED no exception (repeat: --seed {seed} --keys {a.keys})")
        return 1
    finally:
        shutil.rmtree(root, ignore_errors=True)
    grown = slope(points) * a.keys
    print(f"{a.keys} keys in {time.monotonic() - began:.0f} s, asked to leave {left} times")
    print("met    no exception")
    print(f"{'met   ' if grown <= a.megabytes else 'MISSED'} memory grew by {grown:.1f} MB <= {a.megabytes:g}"
          f" ({points[0][1]:.0f} MB at first, {points[-1][1]:.0f} MB at last)")  # fmt: skip
    return 0 if grown <= a.megabytes else 1


if __name__ == "__main__":
    sys.exit(main())
