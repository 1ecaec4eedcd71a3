"""A table is parsed once, whole or not at all, by one process; what is damaged or changed is noticed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.cli import main
from engine.errors import BadInput
from engine.spectra import cache_care, cache_npy, cache_store, cache_tables, layout, stars, synthetic

CONTINUUM, NORMALIZED, LABELS = synthetic.FILES
REPOSITORY = Path(__file__).resolve().parents[3]

# a process that loads dataset/small when told to, slowly, in chunks of a few rows, and says what it did
CHILD = """
import json, os, resource, sys, time
from pathlib import Path
import pandas
from engine.conf.data import Data
from engine.errors import BadInput
from engine.spectra import stars, tables
from engine.workspace import Workspace

pause, most = float(sys.argv[2]), int(sys.argv[3])
tables.CELLS, tables.LEAST_ROWS = 1, 4
done = {"converting": 0, "lines": []}

class Told:
    def rows(self, what, rows, total=None):
        done["converting"] += what.startswith("converting") and rows > 0
        time.sleep(pause)
    def line(self, text):
        done["lines"].append(text)
        print(text, file=sys.stderr, flush=True)

print("ready", flush=True)
sys.stdin.readline()
if most:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
try:
    loaded = stars.load(Workspace(Path(sys.argv[1])), Data(path="small"), Told())
    done["sum"] = float(loaded.continuum.sum() + loaded.normalized.sum())
except BadInput as error:
    done["refused"] = error.lines
print(json.dumps(done), flush=True)
"""


class Told:
    """Progress that remembers; `act` is called at every number of rows."""

    def __init__(self, act: Any = None) -> None:
        self.whats: list[str] = []
        self.lines: list[str] = []
        self.act = act

    def rows(self, what: str, done: int, total: int | None = None) -> None:
        self.whats.append(what)
        if self.act:
            self.act(what, done)

    def line(self, text: str) -> None:
        self.lines.append(text)

    @property
    def converted(self) -> set[str]:
        return {what.split("/")[-1] for what in self.whats if what.startswith("converting")}


def load(small: Any, told: Told | None = None) -> stars.Stars:
    return stars.load(small.workspace, small.conf, told)


def same(a: stars.Stars, b: stars.Stars) -> None:
    for name in ("obsid", "continuum", "normalized", "labels", "wavelength"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.report == b.report


def left_over(small: Any) -> list[Path]:
    return list(cache_store.shelf(small.workspace).glob("*/.*.part"))


def table_of(small: Any, branch: str) -> Path:
    """Return the folder of the cached table of a branch."""
    files = cache_tables.sources(layout.preflight(small.workspace, small.conf).tables)
    return cache_store.shelf(small.workspace) / "tables" / cache_tables.table_key(files[branch])


@pytest.fixture
def start(small: Any) -> Iterator[Any]:
    """Start a loading process that waits for a word; the rest of them end with the test."""
    running = []

    def begin(pause: float = 0.0, most: int = 0) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(small.workspace.root), str(pause), str(most)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "SPECTUI_LANG": "en"},
        )
        running.append(child)
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        return child

    yield begin
    for child in running:
        child.kill()
        child.communicate()


def go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def finish(child: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    answer: dict[str, Any] = json.loads(out)
    return answer


def test_second_start_opens_what_the_first_made(small: Any) -> None:
    small.write()
    first, second = Told(), Told()
    loaded = load(small, first)
    assert first.converted == {CONTINUUM, NORMALIZED}
    again = load(small, second)
    same(loaded, again)
    assert second.whats == [] and second.lines == [] and again.home == loaded.home
    for flux in (again.continuum, again.normalized):
        assert isinstance(flux, np.memmap) and not flux.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            flux[0, 0] = 1


def test_second_start_needs_no_pandas(small: Any) -> None:
    small.write()
    small.conf.nonfinite = "interpolate"  # the conf's own default, as the child has it
    load(small)
    code = (
        "import sys; from pathlib import Path; from engine.conf.data import Data;"
        "from engine.spectra import stars; from engine.workspace import Workspace;"
        "stars.load(Workspace(Path(sys.argv[1])), Data(path='small'));"
        "print(sorted({'pandas', 'pyarrow', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(small.workspace.root)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_changed_file_is_noticed_and_only_it_is_parsed(small: Any) -> None:
    small.write()
    load(small)
    small.tables[NORMALIZED][3][2] = "0.1234"
    text = "".join(",".join(row) + "\n" for row in small.tables[NORMALIZED])
    (small.folder / NORMALIZED).write_text(text)
    told = Told()
    assert load(small, told).normalized[2, 1] == np.float32(0.1234)
    assert told.converted == {NORMALIZED}
    small.tables[LABELS][3][1] = "5000"
    text = "".join(",".join(row) + "\n" for row in small.tables[LABELS])
    (small.folder / LABELS).write_text(text)
    told = Told()
    assert load(small, told).labels[2, 0] == 5000 and told.converted == set()


def test_a_change_in_the_middle_is_noticed_by_its_time(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.spectra.cache_tables.MB", 100)  # so that this small file has a middle
    small.write()
    load(small)
    path = small.folder / CONTINUUM
    data = path.read_bytes()
    at = data.index(b",", len(data) // 2) + 1
    changed = b"1" if data[at : at + 1] != b"1" else b"2"
    time.sleep(0.02)
    path.write_bytes(data[:at] + changed + data[at + 1 :])
    told = Told()
    load(small, told)
    assert told.converted == {CONTINUUM}


@pytest.mark.parametrize(
    "change",
    [
        {"duplicates": "first"},
        {"nonfinite": "drop"},
        {"max_rows": 5},
        {"targets": ["Teff"]},
        {"branches": "normalized"},
    ],
)
def test_another_policy_is_another_set_of_the_same_tables(small: Any, change: dict[str, Any]) -> None:
    small.write()
    first = load(small).home
    for name, value in change.items():
        setattr(small.conf, name, value)
    told = Told()
    assert load(small, told).home != first and told.converted == set()


def test_what_no_policy_changes_is_not_written_twice(small: Any) -> None:
    small.write()
    home = load(small).home
    assert home is not None
    for branch in ("continuum", "normalized"):
        assert (home / f"{branch}.npy").samefile(table_of(small, branch) / "flux.npy")
    small.conf.clip.normalized = [0.6, 1.0]
    home = load(small).home
    assert home is not None
    assert (home / "continuum.npy").samefile(table_of(small, "continuum") / "flux.npy")
    assert not (home / "normalized.npy").samefile(table_of(small, "normalized") / "flux.npy")


def test_without_hard_links_it_is_written(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    small.write()
    first = load(small)
    expected = {name: np.array(getattr(first, name)) for name in ("continuum", "normalized")}
    shutil.rmtree(small.workspace.cache)
    monkeypatch.setattr(os, "link", refuse)
    loaded = load(small)
    for name, flux in expected.items():
        np.testing.assert_array_equal(getattr(loaded, name), flux)


def overwrite(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff\x00\xff\x00")


SPOILERS = {
    "cut": lambda home, flux, few: os.truncate(home / flux, 700),
    "grown": lambda home, flux, few: os.truncate(home / few, 9000),
    "header": lambda home, flux, few: overwrite(home / flux, 20),
    "pixel": lambda home, flux, few: overwrite(home / flux, 400),
    "gone": lambda home, flux, few: (home / few).unlink(),
    "no index": lambda home, flux, few: (home / "index.json").unlink(),
    "torn index": lambda home, flux, few: os.truncate(home / "index.json", 300),
    "odd index": lambda home, flux, few: (home / "index.json").write_text("[1]"),
}


@pytest.mark.parametrize("how", SPOILERS)
@pytest.mark.parametrize("kind", ["tables", "sets"])
def test_a_damaged_cache_is_made_again_and_said(small: Any, how: str, kind: str) -> None:
    small.write()
    first = load(small)
    expected = {
        name: np.array(getattr(first, name)) for name in ("continuum", "normalized", "labels", "obsid")
    }
    assert first.home is not None
    if kind == "sets":
        SPOILERS[how](first.home, "continuum.npy", "labels.npy")
    else:
        shutil.rmtree(first.home)  # the set would not ask for its tables
        SPOILERS[how](table_of(small, "normalized"), "flux.npy", "obsid.npy")
    told = Told()
    again = load(small, told)
    assert any("the cache is damaged" in line for line in told.lines)
    for name, values in expected.items():
        np.testing.assert_array_equal(getattr(again, name), values)
    quiet = Told()
    load(small, quiet)
    assert quiet.lines == [] and quiet.whats == []


def test_a_pixel_in_the_middle_is_noticed_by_time_or_by_a_full_look(small: Any) -> None:
    small.write()
    home = load(small).home
    assert home is not None
    path = home / "continuum.npy"
    known = cache_npy.describe(path)
    overwrite(path, 800)
    known["ends"] = cache_npy.describe(path)["ends"]  # as if the file were larger than both ends
    assert cache_npy.problem(path, known) == "content"
    os.utime(path, ns=(known["mtime_ns"], known["mtime_ns"]))
    assert cache_npy.problem(path, known) is None  # a disk that lies: only a full look sees it
    assert cache_npy.problem(path, known, full=True) == "content"


def test_a_copied_cache_is_looked_at_once(small: Any, tmp_path: Path) -> None:
    small.write()
    home = load(small).home
    assert home is not None
    before = {path.name: path.stat().st_mtime_ns for path in home.iterdir()}
    for path in home.iterdir():
        os.utime(path)
    told = Told()
    load(small, told)
    assert told.lines == [] and told.whats == []
    assert {p.name: p.stat().st_mtime_ns for p in home.glob("*.npy")} == {
        name: time_ns for name, time_ns in before.items() if name.endswith(".npy")
    }


@pytest.mark.parametrize("after", range(1, 7))
def test_an_interrupted_conversion_leaves_nothing(small: Any, after: int) -> None:
    def stop(_what: str, _done: int) -> None:
        if len(told.whats) == after:
            raise KeyboardInterrupt

    small.write()
    told = Told(stop)
    with pytest.raises(KeyboardInterrupt):
        load(small, told)
    assert not left_over(small) and not list(cache_care.survey(small.workspace, full=True))[2:]
    assert all(one["state"] == "current" for one in cache_care.survey(small.workspace, full=True))
    np.testing.assert_array_equal(load(small).continuum, small.flux.astype(np.float32))


def test_a_file_that_changes_while_it_is_read(small: Any) -> None:
    def change(what: str, done: int) -> None:
        if done and what.startswith("converting"):
            with (small.folder / CONTINUUM).open("a") as file:
                file.write(",".join(["9", *["1"] * 24]) + "\n")

    small.write()
    with pytest.raises(BadInput, match=r"continuum\.csv: changed while it was read"):
        load(small, Told(change))
    assert not cache_care.survey(small.workspace) and not left_over(small)


def test_kill_at_random_moments(small: Any, start: Any) -> None:
    """Ten times kill -9 while it converts, joins or moves in: afterwards all is whole, and equal."""
    small.write()
    small.conf.nonfinite = "interpolate"
    draw = random.Random(4)
    strays = 0
    for _ in range(10):
        child = start(pause=0.01)
        go(child)
        time.sleep(draw.uniform(0.0, 0.35))
        child.kill()
        child.wait()
        strays += len(left_over(small))
        assert all(one["state"] == "current" for one in cache_care.survey(small.workspace, full=True))
        if cache_care.survey(small.workspace) and draw.random() < 0.5:
            cache_care.clear(small.workspace)
    assert strays, "no kill fell into a conversion: the test shows nothing"
    told = Told()
    loaded = load(small, told)
    assert not any("damaged" in line for line in told.lines)
    np.testing.assert_array_equal(loaded.continuum, small.flux.astype(np.float32))
    cache_store.sweep(small.workspace)
    assert not left_over(small)


def test_two_at_once_share_one_conversion(small: Any, start: Any) -> None:
    small.write()
    children = [start(pause=0.05) for _ in range(2)]
    for child in children:
        go(child)
    answers = sorted((finish(child) for child in children), key=lambda one: one["converting"])
    assert answers[0]["converting"] == 0 and answers[1]["converting"] == 6
    assert answers[0]["lines"] == ["small: another process is converting it; waiting"]
    assert answers[1]["lines"] == [] and answers[0]["sum"] == answers[1]["sum"]
    assert len(cache_care.survey(small.workspace)) == 3


def test_who_waits_takes_over_when_the_other_is_killed(small: Any, start: Any) -> None:
    small.write()
    first, second = start(pause=0.5), start()
    go(first)
    wait_for(lambda: left_over(small))
    go(second)
    assert second.stderr is not None and "waiting" in second.stderr.readline()
    first.send_signal(signal.SIGKILL)
    assert finish(second)["converting"] == 6
    assert not left_over(small)


def test_waiting_can_be_stopped(small: Any, start: Any) -> None:
    def stop(what: str, _done: int) -> None:
        if "waiting" in what:
            raise KeyboardInterrupt

    small.write()
    small.conf.nonfinite = "interpolate"
    child = start(pause=0.3)
    go(child)
    wait_for(lambda: left_over(small))
    with pytest.raises(KeyboardInterrupt):
        load(small, Told(stop))
    assert finish(child)["converting"] == 6


def test_a_sweep_leaves_a_conversion_that_goes_on(small: Any, start: Any) -> None:
    small.write()
    child = start(pause=0.2)
    go(child)
    wait_for(lambda: left_over(small))
    stray = cache_store.shelf(small.workspace) / "sets" / ".0123.99-ab.part"
    stray.mkdir()
    (stray / "flux.npy").write_bytes(b"half")
    cache_care.clear(small.workspace)
    assert not stray.exists() and left_over(small)
    assert "sum" in finish(child)


@pytest.mark.parametrize("most", [200, 700, 1300])
def test_a_full_disk_is_one_line_and_nothing_half_written(small: Any, start: Any, most: int) -> None:
    """No file may grow beyond a few bytes: what a full disk answers, in a process of its own."""
    small.write()
    child = start(most=most)
    go(child)
    (line,) = finish(child)["refused"]
    assert "no room for the cache of spectra" in line and "data cache clear" in line and "\n" not in line
    assert not left_over(small)
    assert all(one["state"] == "current" for one in cache_care.survey(small.workspace, full=True))
    np.testing.assert_array_equal(load(small).continuum, small.flux.astype(np.float32))


@pytest.fixture
def full(small: Any) -> Iterator[Any]:
    """Make the cache a file system of so many bytes, where this machine lets us."""
    cache = small.workspace.cache
    mounted = []

    def mount(size: int) -> None:
        cache.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", cache]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("needs the right to mount a tmpfs")
        mounted.append(cache)

    yield mount
    for folder in mounted:
        # lazily: the traceback of a refusal still has maps
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("pages", [2, 5, 8, 11])
def test_a_full_file_system(small: Any, full: Any, pages: int) -> None:
    """The same on a file system that really is full."""
    small.write()
    full(pages * 4096)
    with pytest.raises(BadInput, match="no room for the cache of spectra") as caught:
        load(small)
    assert len(caught.value.lines) == 1 and not left_over(small)
    assert all(one["state"] == "current" for one in cache_care.survey(small.workspace, full=True))
    subprocess.run(["mount", "-o", "remount,size=1m", small.workspace.cache], check=True)
    assert len(load(small)) == 12


def test_a_full_disk_for_an_arrow_table_is_no_crash(small: Any, full: Any, start: Any) -> None:
    """Its columns are put through a memory map: without the room promised first this would be a SIGBUS."""
    import pandas as pd

    synthetic.write_demo(small.folder, stars=24, points=500)
    for name in (CONTINUUM, NORMALIZED):
        pd.read_csv(small.folder / name).to_feather(small.folder / name.replace(".csv", ".feather"))
        (small.folder / name).unlink()
    full(32 << 10)
    child = start()
    go(child)
    assert "no room" in finish(child)["refused"][0]
    assert not left_over(small)


def test_a_cache_that_cannot_be_written(small: Any) -> None:
    small.write()
    small.workspace.cache.write_text("a file where the folder should be")
    with pytest.raises(BadInput, match="the cache of spectra cannot be written"):
        load(small)


def test_memory_stays_at_one_block(small: Any, tmp_path: Path) -> None:
    """Reading every row of a table of 240 MB through blocks keeps less than a fifth of it."""
    path = tmp_path / "wide.npy"
    writer = cache_npy.NpyWriter(path, 4000)
    block = np.ones((1000, 4000), np.float32)
    for _ in range(15):
        writer.append(block)
    known = writer.close()
    assert cache_npy.problem(path, known, full=True) is None and np.load(path, mmap_mode="r").shape == (
        15_000,
        4000,
    )
    before = resident()
    rows = np.arange(15_000)[::-1]
    total = sum(float(part[:, 0].sum()) for _, part in cache_npy.row_blocks(cache_npy.open_table(path), rows))
    assert total == 15_000 and resident() - before < 48


def resident() -> float:
    """Return the most memory in MB that this process has had since the last call."""
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    Path("/proc/self/clear_refs").write_text("5")
    return peak


def wait_for(there: Any) -> None:
    deadline = time.monotonic() + 20
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def command(small: Any, *words: str) -> int:
    (small.workspace.root / "conf").mkdir(exist_ok=True)
    return main(["data", "cache", *words, "--root", str(small.workspace.root), "--lang", "en"])


def test_the_command_line(small: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(small, "list") == 0 and "the cache is empty" in capsys.readouterr().err
    small.write()
    home = load(small).home
    assert home is not None
    assert command(small, "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert sorted(one["kind"] for one in listed) == ["sets", "tables", "tables"]
    assert {one["state"] for one in listed} == {"current"} and {one["rows"] for one in listed} == {12}
    assert command(small, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["KIND", "KEY"] and len(lines) == 4
    assert any(f"dataset/small/{CONTINUUM}" in line for line in lines)
    assert command(small, "check") == 0 and "3 entries read" in capsys.readouterr().out
    os.truncate(home / "labels.npy", 9)
    assert command(small, "check") == 1 and home.name in capsys.readouterr().out
    assert command(small, "list") == 0 and "DAMAGED" in capsys.readouterr().out


def test_clear_says_what_it_freed(small: Any, capsys: pytest.CaptureFixture[str]) -> None:
    small.write()
    loaded = load(small)
    on_disk = {p.stat().st_ino: p.stat().st_size for p in small.workspace.cache.rglob("*") if p.is_file()}
    (small.folder / NORMALIZED).write_text((small.folder / NORMALIZED).read_text().replace("0.5", "0.6", 1))
    assert command(small, "clear", "--unused", "--json") == 0
    freed = json.loads(capsys.readouterr().out)
    assert freed["entries"] == 2 and 0 < freed["bytes"] < sum(on_disk.values())
    assert [one["sources"] for one in cache_care.survey(small.workspace)] == [[f"dataset/small/{CONTINUUM}"]]
    assert command(small, "clear") == 0 and "1 entries removed" in capsys.readouterr().out
    assert not cache_care.survey(small.workspace)
    assert np.isfinite(loaded.continuum).all()  # what a run has open it keeps
    assert command(small, "clear") == 0 and "0 entries removed, 0.0 MB freed" in capsys.readouterr().out
