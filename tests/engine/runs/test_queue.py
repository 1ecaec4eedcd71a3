"""The queue: nobody loses a place, nothing is started twice, slots and GPUs are kept to.

Engines are stand-ins here: real processes, started and named as engines are, that write a run's events and
wait to be told how to end. The owner is looked through step by step, or runs as the process that it is.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from engine.runs import devices, launch, queue, queue_owner, queue_state
from engine.runs.folder import RunFolder, note_process, write_json
from engine.runs.process import Identity, identify, is_alive
from engine.runs.record import Record
from engine.workspace import Workspace

ENGINE = """
import os, sys, time
from pathlib import Path
from engine.runs.events import EventLog
folder = Path(sys.argv[sys.argv.index("--root") + 1]) / "runs" / sys.argv[sys.argv.index("--run") + 1]
log = EventLog(folder / "events.jsonl")
log.append("attempt", number=1, gpu=os.environ.get("CUDA_VISIBLE_DEVICES"), again="--again" in sys.argv)
while not (folder / "how").exists():
    time.sleep(0.02)
how = (folder / "how").read_text()
if how != "died":
    log.append("end", outcome=how, exit_code=0, message="")
"""


class Stage:
    """An owner whose engines are stand-ins."""

    def __init__(self, workspace: Workspace, until: Callable[..., Any]) -> None:
        self.workspace = workspace
        self.until = until
        self.started: list[str] = []
        self.dies_before_noting = False
        self.children: list[subprocess.Popen[bytes]] = []
        self.owner = queue_owner.OwnerOfQueue(workspace)

    def start(self, workspace: Workspace, folder: RunFolder, **options: Any) -> int:
        words = ["--root", str(workspace.root), "train", "--run", folder.run_id]
        child = subprocess.Popen(
            [sys.executable, "-c", ENGINE, *words, *(["--again"] if options.pop("again") else [])],
            start_new_session=True, env=launch.child_environment() | dict(options.pop("environment") or {}),
        )  # fmt: skip
        self.children.append(child)
        self.started.append(folder.run_id)
        if self.dies_before_noting:
            raise KeyboardInterrupt
        note_process(folder, identity=identify(child.pid), **options)
        return child.pid

    def attempts(self, run: RunFolder) -> list[dict[str, Any]]:
        lines = run.events.read_text().splitlines()
        return [event for line in lines if (event := json.loads(line))["kind"] == "attempt"]

    def end(self, run: RunFolder, how: str = "finished") -> None:
        (run.path / "how").write_text(how)
        self.until(lambda: not is_alive(Identity.read(run.read_json(run.process))))

    def at_work(self) -> list[str]:
        return [run.run_id for run in queue.listing(self.workspace).running]

    def waiting(self) -> list[str]:
        return [run.run_id for run in queue.listing(self.workspace).waiting]


@pytest.fixture
def stage(
    workspace: Workspace, until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    made = Stage(workspace, until)
    monkeypatch.setattr(launch, "start", made.start)
    monkeypatch.setattr(queue, "ensure_owner", lambda workspace: None)
    monkeypatch.setattr(queue, "_SECONDS_BETWEEN_LOOKS", 0.0)
    # the stand-ins are this process's children: those that ended are seen as zombies, and waited for here
    monkeypatch.setattr(queue_owner, "_reap", lambda: None)
    yield made
    for child in made.children:
        child.kill()
        child.wait()


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`gpus(10, 30)`: two GPUs of 40 GiB with so many of them free, told by an nvidia-smi on PATH."""
    place = tmp_path / "bin"
    place.mkdir()
    told = tmp_path / "gpus.csv"
    script = f'#!/bin/sh\ncase "$1" in --query-gpu=*) cat "{told}";; esac\n'
    (place / "nvidia-smi").write_text(script)
    (place / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(devices, "_by_nvml", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def tell(*free: int) -> None:
        told.write_text("".join(f"{i}, GPU-{i}, Big {i}, 40960, {f * 1024}\n" for i, f in enumerate(free)))

    return tell


def test_runs_start_in_order_and_never_more_than_there_are_slots(
    stage: Stage, workspace: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    runs = [new_run() for _ in range(4)]
    ids = [run.run_id for run in runs]
    queue.add(workspace, ids)
    assert Record(runs[0].path).refresh() and _state(runs[0]) == "queued"
    queue.set_slots(workspace, "2")
    stage.owner.step()
    assert stage.started == ids[:2] and stage.at_work() == ids[:2] and stage.waiting() == ids[2:]
    stage.owner.step()
    assert stage.started == ids[:2], "no slot is free"
    queue.move(workspace, ids[3], "up")
    assert stage.waiting() == [ids[3], ids[2]]
    stage.end(runs[1])
    stage.owner.step()
    assert stage.started == [*ids[:2], ids[3]]
    queue.pause(workspace)
    stage.end(runs[0])
    stage.owner.step()
    assert stage.waiting() == [ids[2]] and queue.listing(workspace).paused
    queue.resume(workspace)
    stage.owner.step()
    assert stage.at_work() == [ids[3], ids[2]]
    assert not runs[2].queued.exists()


def test_a_run_started_by_hand_holds_a_slot(
    stage: Stage, workspace: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    by_hand, queued = new_run(), new_run()
    note_process(by_hand)
    queue.add(workspace, [queued.run_id])
    stage.owner.step()
    assert stage.started == []
    note_process(by_hand, identity=replace(identify(), start_time="1"))
    stage.owner.step()
    assert stage.started == [queued.run_id]


@pytest.mark.parametrize("noted", [True, False])
@pytest.mark.parametrize("ended", [True, False])
def test_an_owner_killed_between_start_and_mark_starts_nothing_twice(
    stage: Stage, workspace: Workspace, new_run: Callable[..., RunFolder], noted: bool, ended: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = new_run()
    queue.add(workspace, [run.run_id])

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    stage.dies_before_noting = not noted
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(queue_owner.OwnerOfQueue, "_mark_started", killed)
        stage.owner.step()
    assert run.queued.exists() and run.process.exists() == noted
    if ended:
        (run.path / "how").write_text("finished")
        stage.children[0].wait()
    stage.owner = queue_owner.OwnerOfQueue(workspace)
    stage.owner.step()
    assert not run.queued.exists()
    assert stage.started == [run.run_id]
    if not ended:
        assert stage.at_work() == [run.run_id]
        assert run.read_json(run.process)["pid"] == stage.children[0].pid
        stage.end(run)
    stage.owner.step()
    assert _state(run) == "finished" and len(stage.attempts(run)) == 1
    assert queue_state.read(workspace).started == {}


def test_after_a_reboot_what_was_started_has_died_and_the_rest_goes_on(
    stage: Stage, workspace: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    runs = [new_run(), new_run()]
    queue.add(workspace, [run.run_id for run in runs])
    note_process(runs[0], identity=replace(identify(), boot_id="another"))  # and its queued.json still there
    stage.owner.step()
    assert stage.started == [runs[1].run_id]
    assert [_state(run) for run in runs] == ["died", "starting"]


@pytest.mark.parametrize(("policy", "waits"), [("pause", True), ("continue", False)])
@pytest.mark.parametrize("how", ["failed", "diverged", "died"])
def test_what_follows_a_failure(
    stage: Stage, workspace: Workspace, new_run: Callable[..., RunFolder], policy: str, waits: bool, how: str
) -> None:
    runs = [new_run(), new_run()]
    queue.set_policy(workspace, policy)
    queue.add(workspace, [run.run_id for run in runs])
    stage.owner.step()
    stage.end(runs[0], how)
    stage.owner = queue_owner.OwnerOfQueue(workspace)  # it is seen by the next one too
    stage.owner.step()
    now = queue.listing(workspace)
    assert (now.paused, now.paused_by) == ((True, runs[0].run_id) if waits else (False, ""))
    assert bool(now.waiting) == waits


def test_a_run_is_taken_out_stopped_and_queued_again(
    stage: Stage, workspace: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    run = new_run()
    queue.add(workspace, [run.run_id])
    queue.take_out(workspace, run.run_id)
    assert _state(run) == "stopped" and stage.waiting() == []
    stage.owner.step()
    assert stage.started == []
    queue.add(workspace, [run.run_id])
    stage.owner.step()
    stage.until(lambda: stage.attempts(run))
    assert stage.attempts(run)[0]["again"] is True
    with pytest.raises(BadInput, match="does not wait"):
        queue.take_out(workspace, run.run_id)


def test_what_cannot_wait_is_refused_and_nothing_is_queued(
    stage: Stage, workspace: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    good, live, waiting = new_run(), new_run(), new_run()
    note_process(live)
    queue.add(workspace, [waiting.run_id])
    for bad in (live.run_id, waiting.run_id, "nothing"):
        with pytest.raises(BadInput):
            queue.add(workspace, [good.run_id, bad])
        assert stage.waiting() == [waiting.run_id] and not good.queued.exists()
    with pytest.raises(BadInput, match="no place"):
        queue.move(workspace, waiting.run_id, "0")
    for text in ("0", "-1", "cpu:", "many", "gpu:2"):
        with pytest.raises(BadInput, match="not a number of slots"):
            queue.set_slots(workspace, text)


def test_folders_are_right_where_the_order_disagrees(
    stage: Stage, workspace: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    placed, lost = new_run(), new_run()
    queue.add(workspace, [lost.run_id, placed.run_id])
    write_json(queue_state.place(workspace) / "queue.json", {"order": ["gone", placed.run_id], "slots": 7})
    assert stage.waiting() == [placed.run_id, lost.run_id]
    (queue_state.place(workspace) / "queue.json").write_text("{torn")
    assert sorted(stage.waiting()) == sorted([placed.run_id, lost.run_id])


def test_a_run_waits_for_its_own_person_and_host(
    stage: Stage, workspace: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    theirs, away, mine = new_run(), new_run(), new_run()
    queue.add(workspace, [run.run_id for run in (theirs, away, mine)])
    write_json(theirs.queued, theirs.read_json(theirs.queued) | {"uid": os.getuid() + 1, "by": "another"})
    write_json(away.queued, away.read_json(away.queued) | {"host": "elsewhere"})
    told = queue_state.place(workspace) / f"owner-{identify().host}-{os.getuid() + 1}.json"
    write_json(told, {**identify().plain(), "user": "another"})
    stage.owner.step()
    assert stage.started == [], "the one slot is for the person before"
    told.unlink()
    stage.owner.step()
    assert stage.started == [mine.run_id], "who is not there holds nobody up"


ADDER = """
import sys
from pathlib import Path
from engine.runs import queue
from engine.workspace import Workspace
queue.ensure_owner = lambda workspace: None
print("ready", flush=True)
sys.stdin.readline()
for run_id in sys.argv[2:]:
    queue.add(Workspace(Path(sys.argv[1])), [run_id])
"""


def test_two_people_who_queue_at_once_lose_nothing(
    stage: Stage, workspace: Workspace, new_run: Callable[..., RunFolder]
) -> None:
    first = new_run()
    ids = []
    for number in range(60):
        copy = RunFolder(workspace.runs / f"copy-{number:02d}")
        copy.path.mkdir()
        write_json(copy.identity, first.read_json(first.identity) | {"run_id": copy.run_id})
        ids.append(copy.run_id)
    halves = ids[:30], ids[30:]
    people = [
        subprocess.Popen(
            [sys.executable, "-c", ADDER, str(workspace.root), *half],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=launch.child_environment(),
        )
        for half in halves
    ]  # fmt: skip
    for one in people:
        assert one.stdout is not None and one.stdout.readline() == "ready\n"
    for one in people:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in people:
        one.communicate(timeout=60)
        assert one.returncode == 0
    order = queue_state.read(workspace).order
    assert sorted(order) == ids
    assert [r for r in order if r in halves[0]] == halves[0], "each in its own order"
    assert [r for r in order if r in halves[1]] == halves[1]


def test_each_run_gets_the_gpu_with_the_most_free_memory_for_itself(
    stage: Stage, workspace: Workspace, new_run: Callable[..., RunFolder], gpus: Callable[..., None]
) -> None:
    gpus(30, 39, 10)
    runs = [new_run("training.device=auto") for _ in range(3)]
    on_cpu = new_run("training.device=cpu")
    queue.add(workspace, [run.run_id for run in (*runs, on_cpu)])
    stage.owner.step()
    stage.owner.step()
    assert stage.started == [runs[0].run_id, runs[1].run_id, on_cpu.run_id], "the third GPU is another's"
    noted = [run.read_json(run.process)["gpu"] for run in runs[:2]]
    assert [gpu["index"] for gpu in noted] == [1, 0]
    assert noted[0] == {"index": 1, "name": "Big 1", "uuid": "GPU-1", "free_bytes": 39 << 30}
    for run, uuid in ((runs[0], "GPU-1"), (runs[1], "GPU-0"), (on_cpu, None)):
        stage.until(lambda run=run: stage.attempts(run))
        assert stage.attempts(run)[0]["gpu"] == uuid
    gpus(30, 39, 25)
    stage.owner.step()
    assert runs[2].read_json(runs[2].process)["gpu"]["index"] == 2


def test_more_slots_than_gpus_share_them_evenly(
    stage: Stage, workspace: Workspace, new_run: Callable[..., RunFolder], gpus: Callable[..., None]
) -> None:
    gpus(5, 39)
    queue.set_slots(workspace, "4")
    runs = [new_run("training.device=auto") for _ in range(5)]
    queue.add(workspace, [run.run_id for run in runs])
    stage.owner.step()
    got = [run.read_json(run.process)["gpu"]["index"] for run in runs[:4]]
    assert got == [1, 0, 1, 0] and len(stage.started) == 4


def test_a_gpu_is_chosen_for_a_run_that_does_not_wait(gpus: Callable[..., None]) -> None:
    gpus(10, 30)
    best = devices.choose("auto")
    assert best is not None and devices.given(best, "auto")[0] == {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    other = devices.choose("cuda", taken={"GPU-1"})
    assert other is not None and other.index == 0
    assert devices.choose("cpu") is None and devices.choose("cuda:5") is None
    named = devices.choose("cuda:0")
    assert named is not None and devices.given(named, "cuda:0")[0] == {}


def test_the_owner_is_one_process_that_ends_when_nothing_waits(
    workspace: Workspace, new_run: Callable[..., RunFolder], until: Callable[..., Any]
) -> None:
    run = new_run()
    queue.pause(workspace)
    queue.add(workspace, [run.run_id])
    until(lambda: queue.listing(workspace).owners)
    [owner] = queue.listing(workspace).owners
    assert queue.ensure_owner(workspace) is None
    second = subprocess.run(
        [sys.executable, "-m", "engine.runs.queue_owner", str(workspace.root)],
        env=launch.child_environment(), timeout=60, check=False,
    )  # fmt: skip
    assert second.returncode == 0 and queue.listing(workspace).owners == [owner]
    os.kill(owner.pid, signal.SIGKILL)
    until(lambda: not queue.listing(workspace).owners)
    assert queue.ensure_owner(workspace) is not None
    until(lambda: queue.listing(workspace).owners)
    queue.take_out(workspace, run.run_id)
    until(lambda: not queue.listing(workspace).owners)
    assert not queue.owner_file(workspace, "json").exists(), "it left by itself"


def _state(run: RunFolder) -> str:
    record = Record(run.path)
    record.refresh()
    return record.state


def test_the_owner_goes_when_it_is_told_to(
    workspace: Workspace, new_run: Callable[..., RunFolder], until: Callable[..., Any]
) -> None:
    queue.pause(workspace)
    queue.add(workspace, [new_run().run_id])
    until(lambda: queue.owners(workspace))
    (owner,) = queue.owners(workspace)
    os.kill(owner.pid, signal.SIGTERM)
    until(lambda: not queue.owners(workspace), 20)
