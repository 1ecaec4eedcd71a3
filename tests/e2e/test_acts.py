"""Acting on runs from the shell: real commands, terminals that go away, a full disk, a moved workspace."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import engine
from engine import presets_folder
from engine.runs import crew
from engine.runs.folder import RunFolder
from engine.runs.process import is_alive
from engine.runs.record import Record

pytestmark = pytest.mark.e2e

TINY = """\
name: tiny
model: {name: MLP, hidden: [8]}
training: {epochs: 3, batch_size: 16, record_seconds: 0, save_steps: 20, device: cpu, threads: 1}
tracking: {enabled: false}
"""
ENDLESS = ("--set", "training.epochs=100000")


class Site:
    """A workspace of its own and the commands that run in it."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root = root
        # Figures take longer than training here; a run does without them where they cannot be drawn.
        without = root.parent / "without"
        (without / "matplotlib").mkdir(parents=True)
        (without / "matplotlib" / "__init__.py").write_text("raise ImportError('left out')")
        home = Path(engine.__file__).parents[1]
        self.environment = environment | {"PYTHONPATH": f"{home}{os.pathsep}{without}"}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "engine", "--root", str(self.root), *words]

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
            env=self.environment,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def record(self, run_id: str) -> Record:
        record = Record(self.root / "runs" / run_id, keep_curves=False)
        record.refresh()
        return record

    def folders(self) -> list[RunFolder]:
        return [RunFolder(path) for path in (self.root / "runs").iterdir() if not path.name.startswith(".")]

    def end(self) -> None:
        for folder in self.folders():
            for one in crew.crew(folder):
                os.kill(one.pid, signal.SIGKILL)


@pytest.fixture
def site(tmp_path: Path, tables: Path, clean_environment: Callable[..., dict[str, str]]) -> Iterator[Site]:
    root = (tmp_path / "workspace").resolve()
    shutil.copytree(presets_folder(), root / "conf")
    (root / "conf" / "tiny.yaml").write_text(TINY, encoding="utf-8")
    shutil.copytree(tables, root / "dataset" / "spectral")
    for place in ("models/spectral_prediction", "runs"):
        (root / place).mkdir(parents=True)
    made = Site(root, clean_environment())
    yield made
    made.end()


def in_a_terminal(site: Site, words: str) -> tuple[int, int]:
    """Type a command into a shell on a terminal of its own; return the shell and our end of the terminal."""
    shell, ours = pty.fork()
    if shell == 0:
        os.execvpe("bash", ["bash", "--norc", "-i"], site.environment)
    os.write(ours, f"{words}\n".encode())
    return shell, ours


def test_a_run_outlives_the_terminal_that_is_closed_and_the_shell_that_is_killed(
    site: Site, until: Callable[..., Any]
) -> None:
    words = " ".join(site.command("launch", "tiny", "--set", "training.epochs=30"))
    closed, our_end = in_a_terminal(site, words)
    killed, kept = in_a_terminal(site, words)
    try:
        until(lambda: len([f for f in site.folders() if f.process.exists()]) == 2)
        runs = site.folders()
        assert all(Record(run.path).end is None for run in runs)
        os.close(our_end)  # the terminal hangs up
        os.kill(killed, signal.SIGKILL)
        for shell in (closed, killed):
            os.waitpid(shell, 0)

        def ends() -> list[str]:
            return [site.record(run.run_id).state for run in runs]

        until(lambda: not {"starting", "running"} & set(ends()))
        assert ends() == ["finished", "finished"], [run.log.read_text() for run in runs]
        assert all(site.record(run.run_id).epoch == 30 for run in runs)
    finally:
        os.close(kept)


def test_from_launch_to_the_trash_and_back(site: Site, until: Callable[..., Any]) -> None:
    refused = site.run("launch", "tiny", "nothing", *ENDLESS, "--set", "training.sed=1", code=2)
    assert len(refused.stderr.splitlines()) == 2 and not site.folders()
    first, second = site.json("launch", "tiny", "tiny", *ENDLESS)
    ids = [first["run_id"], second["run_id"]]
    until(lambda: all(site.record(run_id).checkpoints for run_id in ids))
    assert site.record(ids[0]).pid == first["pid"] == os.getsid(first["pid"])
    assert "at work" in site.run("rm", ids[0], "--yes", code=2).stderr
    engines = [one for run_id in ids for one in crew.crew(RunFolder(site.root / "runs" / run_id))]
    assert [one.pid for one in engines] == [first["pid"], second["pid"]]
    done = site.json("stop", *ids)
    assert [(one["rung"], one["stopped"], one["resumable"]) for one in done] == [("ask", True, True)] * 2
    assert [site.record(run_id).state for run_id in ids] == ["stopped", "stopped"]
    assert [is_alive(one) for one in engines] == [False, False]

    site.run("tag", *ids, "field=dark", "old=1")
    site.run("tag", ids[0], "old-")
    assert [one["tags"] for one in site.json("tag", *ids)] == [
        {"field": "dark"},
        {"field": "dark", "old": "1"},
    ]
    site.run("rename", ids[0], "the first")
    site.run("note", ids[0], "so far so good")
    assert site.run("note", "the first").stdout == "so far so good\n"

    assert "--yes" in site.run("rm", ids[0], code=2).stderr, "nobody can be asked"
    assert site.json("rm", "the first", "--yes") == {"removed": [ids[0]]}
    assert [run["run_id"] for run in site.json("runs")] == [ids[1]]
    assert [(one["run_id"], one["name"]) for one in site.json("trash")] == [(ids[0], "the first")]
    assert site.run("trash", "restore", ids[0]).stdout.strip() == ids[0]
    site.run("rm", *ids, "--yes")
    assert "--yes" in site.run("trash", "empty", code=2).stderr
    assert site.json("trash", "empty", "--yes")["freed"] > 0
    assert not site.folders() and site.json("trash") == []


def test_a_question_names_every_run_and_takes_no_for_an_answer(site: Site, until: Callable[..., Any]) -> None:
    run_id = site.run("launch", "tiny").stdout.strip()
    site.run("stop", run_id, "--now")
    shell, ours = in_a_terminal(site, "exec " + " ".join(site.command("rm", run_id)))
    shown = b""
    while b"y/N" not in shown:
        shown += os.read(ours, 4096)
    assert run_id.encode() in shown.partition(b"rm ")[2].partition(b"\n")[2], "after the command itself"
    os.write(ours, b"\n")
    assert os.waitstatus_to_exitcode(os.waitpid(shell, 0)[1]) == 1
    os.close(ours)
    assert (site.root / "runs" / run_id).is_dir()


def test_all_processes_of_a_run_of_several_are_gone_after_now(site: Site, until: Callable[..., Any]) -> None:
    (one,) = site.json("launch", "tiny", "--nproc", "2", "--restarts", "3", *ENDLESS)
    folder = RunFolder(site.root / "runs" / one["run_id"])
    until(lambda: site.record(one["run_id"]).checkpoints, 150)
    people = crew.crew(folder)
    assert len(people) >= 4, "supervisor, torchrun, two ranks"
    assert people[0].pid == one["pid"], "the supervisor is asked first"
    (done,) = site.json("stop", one["run_id"], "--now")
    assert done["stopped"] and done["rung"] in ("term", "kill")
    assert crew.crew(folder) == []
    assert not [one for one in people if is_alive(one)]
    # with --restarts the supervisor would have begun again
    assert len(site.record(one["run_id"]).attempts) == 1


def test_a_moved_workspace_works_on(site: Site, until: Callable[..., Any]) -> None:
    run_id = site.run("launch", "tiny", *ENDLESS).stdout.strip()
    until(lambda: site.record(run_id).checkpoints)
    site.run("stop", run_id)
    step = site.record(run_id).step
    moved = site.root.with_name("elsewhere")
    site.root.rename(moved)
    site.root = moved
    assert [(run["run_id"], run["state"]) for run in site.json("runs")] == [(run_id, "stopped")]
    assert site.json("show", run_id)["folder"] == str(moved / "runs" / run_id)
    assert site.run("resume", run_id, "--detach").stdout.strip() == run_id
    until(lambda: site.record(run_id).step > step)
    site.run("stop", run_id)
    child = site.run("rerun", run_id, "--set", "training.epochs=1", "--foreground").stdout.split()[0]
    assert (site.record(child).state, site.record(child).parent) == ("finished", run_id)
    assert site.run("doctor").returncode == 0


def test_on_a_full_disk_nothing_is_launched_and_one_line_says_so(site: Site) -> None:
    runs = site.root / "runs"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(runs)]).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        room = os.statvfs(runs)
        with (runs / ".ballast").open("wb", buffering=0) as file:
            file.write(bytes(room.f_bavail * room.f_frsize))
        done = site.run("launch", "tiny", "tiny", code=1)
        assert done.stdout == "" and len(done.stderr.splitlines()) == 1 and "No space left" in done.stderr
        assert [path.name for path in runs.iterdir() if path.name != ".ballast"] == []
    finally:
        subprocess.run(["umount", "--lazy", str(runs)], check=True)


def test_of_two_who_make_a_workspace_at_once_one_does(
    tmp_path: Path, clean_environment: Callable[..., dict[str, str]]
) -> None:
    target = tmp_path / "new"
    environment = clean_environment() | {"PYTHONPATH": str(Path(engine.__file__).parents[1])}
    words = [sys.executable, "-m", "engine", "init", str(target)]
    both = [subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate(timeout=120)[1] for one in both]
    assert sorted(one.returncode for one in both) == [0, 2], said
    assert (target / "conf" / "demo.yaml").is_file()
    assert [path.name for path in target.iterdir() if path.name.startswith(".")] == []
    assert len(said[[one.returncode for one in both].index(2)].splitlines()) == 1


def test_a_second_ctrl_c_while_stopping_changes_nothing(site: Site, until: Callable[..., Any]) -> None:
    """The run does not listen: its process sleeps, and its end is only waited for."""
    made = site.run("launch", "tiny", *ENDLESS)
    run_id = made.stdout.strip()
    until(lambda: site.record(run_id).state == "running")
    pid = site.record(run_id).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    stopping = subprocess.Popen(
        site.command("stop", run_id), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=site.environment,
    )  # fmt: skip
    assert stopping.stderr is not None
    assert "asked" in stopping.stderr.readline()
    for _ in range(2):
        stopping.send_signal(signal.SIGINT)
    out, _ = stopping.communicate(timeout=30)
    assert stopping.returncode == 1 and "no longer waited for" in out
    os.kill(pid, signal.SIGCONT)
    until(lambda: site.record(run_id).state == "stopped")


def test_a_run_that_is_long_gone_is_not_waited_for(site: Site) -> None:
    run_id = site.run("launch", "tiny", *ENDLESS).stdout.strip()
    pid = site.record(run_id).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    (done,) = site.json("stop", run_id)
    assert (done["rung"], done["stopped"], done["state"]) == ("none", True, "died")
    assert site.json("show", run_id)["death"]["reason"] == "early"
