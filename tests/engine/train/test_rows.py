"""Where training reads from: the decision, its reasons, and the same rows whichever it is."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import engine.words
from engine.errors import BadInput
from engine.spectra import memory
from engine.spectra.scale import fit
from engine.spectra.stars import Stars
from engine.train import feed
from engine.train.batches import Batches
from engine.train.rows import Resident, as_tensor

CPU = torch.device("cpu")
STARS, POINTS = 300, 11


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.words, "_chosen", "en")


def some_stars(home: Path | None = None, **more: Any) -> Stars:
    rng = np.random.default_rng(0)
    flux = {
        name: rng.normal(5, 2, (STARS, POINTS)).astype(np.float32) for name in ("continuum", "normalized")
    }
    if home is not None:
        for name, values in flux.items():
            np.save(home / f"{name}.npy", values)
        flux = {name: np.load(home / f"{name}.npy", mmap_mode="r") for name in flux}
    if more.get("branches") == ("continuum",):
        flux["normalized"] = flux["continuum"]
    labels = rng.normal(size=(STARS, 2)).astype(np.float32)
    labels[3, 1] = np.nan
    return Stars(
        np.arange(1000, 1000 + STARS), flux["continuum"], flux["normalized"], labels, ("Teff", "logg"),
        np.arange(POINTS) + 4000.0, "digest", home=home, **more,
    )  # fmt: skip


def part(chosen: feed.Feed, index: np.ndarray) -> Any:
    stars = chosen.stars
    return chosen.part(
        index,
        continuum=fit("standard", stars.continuum, index, pooled=True),
        normalized=fit("robust", stars.normalized, index),
        labels=fit("standard", stars.labels, index),
    )


def test_a_map_of_the_cache_is_used_where_it_lies(tmp_path: Path) -> None:
    stars = some_stars(tmp_path)
    chosen = feed.choose(stars, 0.5, CPU)
    assert chosen.reader == "resident" and chosen.line() is None
    rows = part(chosen, np.arange(0, STARS, 3))
    assert isinstance(rows.source, Resident)
    assert rows.source.continuum_SL.data_ptr() == stars.continuum.ctypes.data  # no copy of set or part
    assert rows.obsids[1] == "1003" and len(rows) == 100


def test_a_set_with_room_is_scaled_once_and_the_map_stays_as_it_was(tmp_path: Path) -> None:
    stars = some_stars(tmp_path)
    before = np.array(stars.continuum)
    scalers = {
        "continuum": fit("standard", stars.continuum, pooled=True),
        "normalized": fit("robust", stars.normalized),
    }
    chosen = feed.choose(stars, 0.5, CPU)
    once = chosen.scaled(*scalers.values())
    assert once.prescaled and once.facts()["prescaled"]
    labels = fit("standard", stars.labels)
    for index in (np.arange(0, STARS, 3), np.arange(7)):
        a, b = (
            each.part(index, **scalers, labels=labels).take(torch.arange(len(index)))
            for each in (chosen, once)
        )
        for name in ("continuum_BL", "normalized_BL", "labels_BT"):
            assert torch.equal(getattr(a, name).nan_to_num(-9), getattr(b, name).nan_to_num(-9))
    assert np.array_equal(stars.continuum, before)
    tight = feed.choose(stars, 0.5, CPU, limit=(3 * chosen.size, "cgroup"))
    assert tight.reader == "resident" and tight.scaled(*scalers.values()) is tight
    far = feed.choose(stars, 0.5, CPU, limit=(20_000, "cgroup"))
    assert far.scaled(*scalers.values()) is far


def test_arrays_in_memory_are_shared_unless_they_lie_across() -> None:
    flux = np.ones((6, 4), np.float32)
    assert as_tensor(flux).data_ptr() == flux.ctypes.data
    assert as_tensor(np.asfortranarray(flux)).is_contiguous()  # rows are then copied once, not per batch
    assert as_tensor(flux.astype(">f4")).dtype == torch.float32


def test_blocks_and_memory_give_the_same_rows_scaled_the_same(tmp_path: Path) -> None:
    stars = some_stars(tmp_path)
    index = np.sort(np.random.default_rng(3).permutation(STARS)[:200])
    near, far = feed.choose(stars, 0.5, CPU), feed.choose(stars, 0.5, CPU, limit=(20_000, "cgroup"))
    assert (near.reader, far.reader) == ("resident", "blocks")
    near_rows, far_rows = part(near, index), part(far, index)
    for start in range(0, 200, 64):
        place = torch.arange(start, min(200, start + 64))
        a, b = near_rows.take(place), far_rows.take(place)
        for name in ("continuum_BL", "normalized_BL", "labels_BT"):
            assert torch.equal(getattr(a, name).nan_to_num(-9), getattr(b, name).nan_to_num(-9))
    assert near.windows(near_rows) is None
    windows = far.windows(far_rows)
    assert windows is not None and windows.blocks < 64  # of so little memory, little is taken
    batches = Batches(far_rows, 16, 0, windows=windows)
    for _, batch in zip(range(30), batches, strict=False):
        assert torch.equal(batch.continuum_BL, near_rows.take(batch.index_B).continuum_BL)
    batches.close()


def test_the_decision_keeps_its_reasons(tmp_path: Path) -> None:
    far = feed.choose(some_stars(tmp_path), 0.25, CPU, limit=(80_000, "ulimit"))
    assert json.loads(json.dumps(far.facts())) == {
        "reader": "blocks", "bytes": 2 * STARS * POINTS * 4, "limit": 80_000, "limited_by": "ulimit",
        "share": 0.25, "device_free": None, "prescaled": False,
    }  # fmt: skip
    assert "ulimit -v" in (far.line() or "") and "blocks" in (far.line() or "")
    assert feed.choose(some_stars(tmp_path), 0.4, CPU, limit=(80_000, "ulimit")).reader == "resident"


def test_one_branch_counts_and_is_held_once(tmp_path: Path) -> None:
    stars = some_stars(tmp_path, branches=("continuum",))
    near, far = feed.choose(stars, 0.5, CPU), feed.choose(stars, 0.5, CPU, limit=(20_000, "machine"))
    assert near.size == far.size == STARS * POINTS * 4
    for chosen in (near, far):
        batch = part(chosen, np.arange(40)).take(torch.arange(40))
        raw = torch.from_numpy(np.array(stars.continuum[:40]))
        centre = fit("standard", stars.continuum, np.arange(40), pooled=True)
        assert torch.allclose(batch.continuum_BL, torch.from_numpy(centre.transform(raw.numpy())), atol=1e-6)
        assert not torch.equal(batch.continuum_BL, batch.normalized_BL)  # each has its own scaling


def test_too_large_and_in_no_cache_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"data\.memory_share") as caught:
        feed.choose(some_stars(), 0.5, CPU, limit=(20_000, "cgroup"))
    assert len(caught.value.lines) == 1 and "cgroup" in caught.value.lines[0]


def test_cache_files_of_another_set_are_refused(tmp_path: Path) -> None:
    stars = some_stars(tmp_path)
    np.save(tmp_path / "normalized.npy", np.ones((STARS - 1, POINTS), np.float32))
    with pytest.raises(BadInput, match=r"normalized\.npy"):
        feed.choose(stars, 0.5, CPU, limit=(20_000, "cgroup"))


def test_statistics_are_taken_from_files_too(tmp_path: Path) -> None:
    stars = some_stars(tmp_path)
    far = feed.choose(stars, 0.5, CPU, limit=(20_000, "cgroup")).stars
    assert not isinstance(far.continuum, np.ndarray)
    for kind in ("standard", "minmax", "robust"):
        for pooled in (True, False):
            index = np.arange(0, STARS, 2)
            a = fit(kind, stars.continuum, index, pooled=pooled)
            b = fit(kind, far.continuum, index, pooled=pooled)
            assert np.array_equal(a.centre, b.centre) and np.array_equal(a.scale, b.scale)
    with pytest.raises(TypeError, match="too large"):
        np.asarray(far.continuum)


def test_stars_whose_branches_are_files_fit_in_memory_too(tmp_path: Path) -> None:
    far = feed.choose(some_stars(tmp_path), 0.5, CPU, limit=(20_000, "cgroup")).stars
    near = feed.choose(far, 0.5, CPU)
    assert near.reader == "resident"
    batch = near.part(np.arange(5, 9), continuum=None, normalized=None, labels=fit("none", far.labels)).take(
        torch.arange(4)
    )
    assert np.array_equal(batch.continuum_BL.numpy(), far.continuum[5:9])


def test_limits_are_the_smallest_of_machine_cgroup_and_ulimit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, groups = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text("0::/jobs/mine\n")
    nothing = memory.limit(groups, own)
    assert nothing[0] > 1 << 28 and nothing[1] in ("machine", "ulimit")
    (groups / "jobs" / "mine").mkdir(parents=True)
    (groups / "jobs" / "mine" / "memory.max").write_text("max\n")
    assert memory.limit(groups, own) == nothing
    (groups / "jobs" / "memory.max").write_text("100000000\n")  # the group that holds ours
    assert memory.limit(groups, own) == (100_000_000, "cgroup")
    (groups / "jobs" / "mine" / "memory.max").write_text("50000000\n")
    assert memory.limit(groups, own) == (50_000_000, "cgroup")
    own.write_text("7:cpu:/x\n5:memory:/docker/abc\n0::/\n")  # version 1, path as the host sees it
    (groups / "memory").mkdir()
    (groups / "memory" / "memory.limit_in_bytes").write_text("70000000\n")
    assert memory.limit(groups, own) == (70_000_000, "cgroup")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (60_000_000, -1))
    assert memory.limit(groups, own) == (60_000_000, "ulimit")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_holds_the_set_when_it_fits_and_else_gets_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, stars, index = torch.device("cuda", 0), some_stars(tmp_path), np.arange(0, STARS, 2)
    chosen = [feed.choose(stars, 0.5, device), feed.choose(stars, 0.5, device, limit=(20_000, "cgroup"))]
    monkeypatch.setattr(feed, "_free", lambda _: 1000)
    chosen.append(feed.choose(stars, 0.5, device))
    assert [c.reader for c in chosen] == ["resident", "blocks", "host"]
    expected = part(feed.choose(stars, 0.5, CPU), index).take(torch.arange(50))
    for c in chosen:
        rows = part(c, index)
        batch = rows.take(torch.arange(50, device=rows.index_device))
        assert batch.continuum_BL.device == batch.labels_BT.device == device
        assert torch.allclose(batch.continuum_BL.cpu(), expected.continuum_BL, atol=1e-6)


def test_a_device_with_little_room_gets_the_batches_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_free", lambda _: 1000)
    chosen = feed.choose(some_stars(tmp_path), 0.5, CPU)
    assert chosen.reader == "host" and chosen.facts()["device_free"] == 1000
    assert "beside the device" in (chosen.line() or "")
