"""Beyond memory: what blocks give is what indexing gives, in an order that a position says exactly."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import engine.words
from engine.conf.data import Resample
from engine.errors import BadInput
from engine.spectra import resample
from engine.spectra.ondisk import FluxFile
from engine.spectra.stars import Stars
from engine.train.batches import Batches
from engine.train.blocks import BLOCK, Stored, Windows, block_order, fitting_window
from engine.train.rows import Batch, Rows

CPU = torch.device("cpu")
POINTS = 7


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.words, "_chosen", "en")


class Set:
    """Two branches in files, a part of them, and the same in memory to compare with."""

    def __init__(self, folder: Path, stars: int, part: np.ndarray, *, branches: int = 2) -> None:
        rng = np.random.default_rng(1)
        self.flux = [rng.normal(size=(stars, POINTS)).astype(np.float32) for _ in range(branches)]
        files = []
        for number, flux in enumerate(self.flux):
            np.save(folder / f"{number}.npy", flux)
            files.append(FluxFile(folder / f"{number}.npy"))
        self.part = part
        labels_NT = torch.from_numpy(part.astype(np.float32))[:, None]
        self.rows = Rows(Stored(tuple(files), part, CPU), labels_NT, [str(i) for i in part.tolist()])

    def batches(self, size: int = 32, seed: int = 4, window: int = 4) -> Batches:
        assert isinstance(self.rows.source, Stored)
        return Batches(self.rows, size, seed, windows=Windows(self.rows.source, window))

    def check(self, batch: Batch) -> None:
        rows = self.part[batch.index_B.numpy()]
        assert np.array_equal(batch.continuum_BL.numpy(), self.flux[0][rows])
        assert np.array_equal(batch.normalized_BL.numpy(), self.flux[-1][rows])
        assert np.array_equal(batch.labels_BT[:, 0].numpy(), rows)


@pytest.fixture
def gappy(tmp_path: Path) -> Iterator[Set]:
    """1,000 of 1,400 stars at random: a short last block, windows of 256 rows and a short last one."""
    part = np.sort(np.random.default_rng(0).permutation(1400)[:1000])
    before = threading.active_count()
    yield Set(tmp_path, 1400, part)
    assert threading.active_count() <= before + 1


def taken(batches: Batches, count: int) -> list[Batch]:
    return [batch for _, batch in zip(range(count), batches, strict=False)]


@pytest.mark.parametrize(
    ("stars", "size", "window"), [(1000, 32, 4), (1000, 333, 1), (63, 8, 64), (129, 128, 1), (130, 128, 2)]
)
def test_every_row_once_an_epoch_with_the_values_of_direct_indexing(
    tmp_path: Path, stars: int, size: int, window: int
) -> None:
    part = np.sort(np.random.default_rng(stars).permutation(2 * stars)[:stars])
    made = Set(tmp_path, 2 * stars, part)
    batches = made.batches(size, window=window)
    for epoch in (1, 2):
        seen = taken(batches, batches.per_epoch)
        assert batches.epoch_ended and batches.epoch == epoch
        index = torch.cat([batch.index_B for batch in seen]).tolist()
        left_out = 1 if stars > size and stars % size == 1 else 0
        assert len(set(index)) == len(index) == stars - left_out
        assert min(len(batch.index_B) for batch in seen) > 1
        for batch in seen:
            made.check(batch)
    batches.close()


def test_a_stopped_run_goes_on_with_the_same_stream_at_every_step(gappy: Set) -> None:
    straight = gappy.batches(70)  # 15 a epoch: batches straddle windows, and the 30 steps an epoch
    stream = taken(straight, 34)
    straight.close()
    for stopped_at in range(30):
        before = gappy.batches(70)
        taken(before, stopped_at)
        state = before.state_dict()
        before.close()
        after = gappy.batches(70, seed=77, window=64)  # another machine's window does not change the order
        after.load_state_dict(state)
        for expected, got in zip(stream[stopped_at : stopped_at + 4], after, strict=False):
            assert torch.equal(expected.index_B, got.index_B)
            assert torch.equal(expected.continuum_BL, got.continuum_BL)
            assert torch.equal(expected.normalized_BL, got.normalized_BL)
        after.close()


def test_a_position_can_go_back_in_the_same_object(gappy: Set) -> None:
    batches = gappy.batches()
    state = batches.state_dict()
    first = taken(batches, 40)
    batches.load_state_dict(state)
    for expected, got in zip(first, taken(batches, 40), strict=True):
        assert torch.equal(expected.continuum_BL, got.continuum_BL)
    batches.close()


def test_order_is_blocks_of_neighbours_shuffled_inside_and_out() -> None:
    order = block_order(10_000, seed=1, epoch=1, window=8)
    assert torch.equal(order.index_N.sort().values, torch.arange(10_000))
    for first, last in zip(order.edges, order.edges[1:], strict=False):
        window = order.index_N[first:last]
        assert len({i // BLOCK for i in window.tolist()}) <= 8
        assert not torch.equal(window, window.sort().values)
    other = block_order(10_000, seed=1, epoch=2, window=8).index_N
    assert not torch.equal(order.index_N, other)
    assert torch.equal(order.index_N, block_order(10_000, seed=1, epoch=1, window=8).index_N)


def test_evaluation_reads_in_order_and_any_rows(gappy: Set) -> None:
    for index in (torch.arange(300), torch.tensor([999, 3, 3, 500]), torch.tensor([0])):
        gappy.check(gappy.rows.take(index))


def test_one_branch_is_read_once_and_given_twice(tmp_path: Path) -> None:
    made = Set(tmp_path, 200, np.arange(200), branches=1)
    assert isinstance(made.rows.source, Stored)
    first, second = Windows(made.rows.source).raw(1, 1, 0, 10)
    assert first is second
    batches = made.batches(24, window=1)
    for batch in taken(batches, 20):
        made.check(batch)
    batches.close()


def test_what_the_reading_thread_meets_reaches_the_run(gappy: Set, tmp_path: Path) -> None:
    batches = gappy.batches(256, window=4)
    os.truncate(tmp_path / "1.npy", 4096)
    with pytest.raises(OSError, match="became shorter"):
        taken(batches, 4)
    batches.close()


def test_close_ends_the_thread_and_reading_can_begin_again(gappy: Set) -> None:
    batches = gappy.batches()
    taken(batches, 3)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("spectui-blocks")]
    for batch in taken(batches, 3):
        gappy.check(batch)
    batches.close()


@pytest.mark.parametrize("rows", [[0], [0, 1, 2], [5, 9, 10, 11, 900], list(range(0, 3000, 3)), [2999]])
def test_files_give_the_rows_that_were_asked_for(tmp_path: Path, rows: list[int]) -> None:
    # rows of 40 kB: a gap of 3 rows is read over, one of 4 is not; a run of gaps needs more than one preadv
    flux = np.arange(3000 * 10, dtype=np.float32).reshape(3000, 10)
    np.save(tmp_path / "x.npy", flux)
    file = FluxFile(tmp_path / "x.npy")
    for gap in (1, 2, 50):
        file._gap = gap
        file._rubbish = np.empty((gap, 10), np.float32)
        out = np.full((len(rows), 10), np.nan, np.float32)
        file.read(np.array(rows), out)
        assert np.array_equal(out, flux[rows])
    assert np.array_equal(file[np.array(rows[::-1] + rows)], flux[rows[::-1] + rows])
    assert np.array_equal(file[10:20], flux[10:20]) and len(file) == 3000 and file.shape == (3000, 10)


def test_short_reads_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flux = np.random.default_rng(0).normal(size=(50, 9)).astype(np.float32)
    np.save(tmp_path / "x.npy", flux)
    file = FluxFile(tmp_path / "x.npy")

    def stingy(handle: int, views: list[memoryview], offset: int) -> int:
        return real(handle, [views[0][:37]], offset)

    real = os.preadv
    monkeypatch.setattr(os, "preadv", stingy)
    assert np.array_equal(file[np.array([1, 2, 4, 40])], flux[[1, 2, 4, 40]])


def test_files_that_cannot_be_the_set_are_refused(tmp_path: Path) -> None:
    good = np.ones((10, 4), np.float32)
    np.save(tmp_path / "double.npy", good.astype(np.float64))
    np.save(tmp_path / "columns.npy", np.asfortranarray(good))
    np.save(tmp_path / "cut.npy", good)
    os.truncate(tmp_path / "cut.npy", 200)
    (tmp_path / "text.npy").write_text("obsid,Teff\n")
    for name in ("double", "columns", "cut", "text", "nowhere"):
        with pytest.raises(BadInput, match=f"{name}.npy") as caught:
            FluxFile(tmp_path / f"{name}.npy")
        assert len(caught.value.lines) == 1


def test_wide_spectra_take_smaller_windows() -> None:
    assert fitting_window(37_600, 12 << 30) == 64
    assert fitting_window(4_000_000, 12 << 30) == 4
    assert fitting_window(1 << 40, 1) == 1


CONSTANT = """
import os, resource, sys
import numpy as np, torch
torch.set_num_threads(1)
from pathlib import Path
from engine.spectra.ondisk import FluxFile
from engine.train.batches import Batches
from engine.train.blocks import Stored, Windows
from engine.train.rows import Rows

def rss():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

folder, stars = Path(sys.argv[1]), int(sys.argv[2])
file = FluxFile(folder / "x.npy")
rows = Rows(Stored((file,), np.arange(stars), torch.device("cpu")), torch.zeros(stars, 1), ["s"] * stars)
batches = Batches(rows, 64, 0, windows=Windows(rows.source, 4))
def grown(steps, warm):
    seen = []
    for _ in steps:
        seen.append(rss())
    return max(seen[warm:]) - min(seen[warm:])

print(grown((b for _, b in zip(range(3 * batches.per_epoch), batches)), 20))
batches.close()
print(grown((rows.take(torch.arange(i, min(stars, i + 64))) for i in range(0, stars, 64)), 10))
print(file.nbytes)
"""


def test_memory_does_not_grow_with_the_rows_read(tmp_path: Path) -> None:
    stars = 3000
    np.save(tmp_path / "x.npy", np.ones((stars, 4000), np.float32))  # 48 MB; a window is 4 MB
    done = subprocess.run(
        [sys.executable, "-c", CONSTANT, str(tmp_path), str(stars)],
        capture_output=True, text=True, check=False, env={**os.environ, "MALLOC_ARENA_MAX": "2"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    training, evaluating, size = map(int, done.stdout.split())
    assert size == 48e6
    assert training < 6e6 and evaluating < 6e6


def test_uneven_draws_read_what_is_drawn_and_go_on_after_a_stop(gappy: Set) -> None:
    feh = np.where(np.arange(1000) < 40, -3.5, np.where(np.arange(1000) < 700, -2.5, 0.0))[:, None]
    stars = Stars(np.arange(1000), feh, feh, feh, ("FeH",), np.zeros(1), "f")
    for conf in (
        Resample(strategy="auto"),
        Resample(strategy="balanced"),
        Resample(strategy="weights", weights=[1.0, 0.0, 0.0, 0.0]),  # most windows give nothing
    ):
        resampler = resample.plan(conf, stars, np.arange(1000))
        assert resampler is not None and isinstance(gappy.rows.source, Stored)

        def batches(window: int, drawn: resample.Resampler = resampler) -> Batches:
            windows = Windows(gappy.rows.source, window, drawn)
            return Batches(gappy.rows, 64, 4, drawn, windows=windows)

        straight = batches(2)
        stream = taken(straight, 2 * straight.per_epoch)
        straight.close()
        for epoch in (1, 2):
            seen = stream[(epoch - 1) * straight.per_epoch : epoch * straight.per_epoch]
            index = torch.cat([batch.index_B for batch in seen]).numpy()
            times = np.bincount(index, minlength=1000)
            assert np.abs(times - resampler.repeats(4, epoch)).sum() <= resampler.length - len(index) <= 1
            for batch in seen:
                gappy.check(batch)
        before = batches(2)
        taken(before, straight.per_epoch + 3)
        after = batches(64)
        after.load_state_dict(before.state_dict())
        before.close()
        for expected, got in zip(stream[straight.per_epoch + 3 :], after, strict=False):
            assert torch.equal(expected.index_B, got.index_B)
            assert torch.equal(expected.continuum_BL, got.continuum_BL)
        after.close()
