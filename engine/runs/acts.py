"""What people do with runs, from the app and the shell alike: launch, stop, resume, rerun, name, remove.

Each act refuses in one line what it cannot do, and leaves nothing half-done. No torch.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.conf.tree import to_yaml
from engine.errors import BadInput
from engine.runs import devices, find, folder
from engine.runs import launch as launching
from engine.runs import queue as waiting_line
from engine.runs.about import follow_up, note, rename, tag
from engine.runs.folder import RunFolder
from engine.runs.record import Record
from engine.runs.stopping import GRACE_SECONDS, Stopping, stop
from engine.runs.trash import remove
from engine.words import say
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.conf.load import Resolved

__all__ = [
    "GRACE_SECONDS", "Launched", "Stopping", "Weights", "check_rerun", "conf_of", "follow_up", "launch",
    "note", "prepare", "refuse_to_resume", "remove", "rename", "rerun", "resume", "stop", "tag", "weights_of",
]  # fmt: skip


@dataclass(frozen=True)
class Launched:
    """A run that was started; no pid for one that waits in the queue."""

    folder: RunFolder
    pid: int | None

    def plain(self) -> dict[str, Any]:
        return {"run_id": self.folder.run_id, "pid": self.pid}


@dataclass(frozen=True)
class Weights:
    """A checkpoint whose weights another run starts from, and the run it is of."""

    checkpoint: Path
    run: RunFolder | None = None
    partial: bool = False

    @property
    def run_id(self) -> str | None:
        return None if self.run is None else self.run.run_id

    def plain(self) -> dict[str, Any]:
        source = f"{self.run_id or '-'}/{self.checkpoint.name}"
        return {"run": self.run_id, "source": source, "partial": self.partial}


# -- launch ----------------------------------------------------------------------------------------------


def prepare(workspace: Workspace, resolved: Resolved) -> None:
    """Look at all of a conf that can be looked at in a moment, before a run is made of it.

    Raises:
        BadInput: the tables or the network do not fit.
    """
    from engine import catalog
    from engine.spectra import layout, stats

    conf = resolved.conf
    promised = layout.preflight(workspace, conf.data)
    layout.needs(promised.branches, catalog.find(workspace, conf.model.name).inputs)
    stats.fixed(workspace, conf.data)


def launch(
    workspace: Workspace, confs: Sequence[Resolved], *, parent: str | None = None,
    weights: Weights | None = None, words: Sequence[str] = (), environment: Mapping[str, str] | None = None,
    queue: bool = False, command: list[str] | None = None,
) -> list[Launched]:  # fmt: skip
    """Make a run of each conf and start it, detached, or put it in the queue.

    All confs are looked at first; when one is bad, or the folders cannot be made, there is none of them.

    Raises:
        BadInput: every mistake of every conf; nothing was made.
        OSError: the disk is full, or no process can be started; what was not started is gone again.
    """
    problems: list[str] = []
    for resolved in confs:
        try:
            prepare(workspace, resolved)
        except BadInput as error:
            problems += [line for line in error.lines if line not in problems]
    if problems:
        raise BadInput(problems)
    made: list[RunFolder] = []
    try:
        for resolved in confs:
            one = folder.create(
                workspace, resolved, parent=parent, command=command,
                weights=None if weights is None else weights.checkpoint,
                source=None if weights is None else weights.plain(),
            )  # fmt: skip
            made.append(one)
        if queue:
            waiting_line.add(workspace, [one.run_id for one in made])
            return [Launched(one, None) for one in made]
    except BaseException:
        for one in made:
            shutil.rmtree(one.path, ignore_errors=True)
        raise
    started: list[Launched] = []
    given = _Devices(words)
    try:
        for one, resolved in zip(made, confs, strict=True):
            seen, facts = given.to(resolved.conf.training.device)
            pid = launching.start(
                workspace, one, words=words, environment=seen | dict(environment or {}), **facts
            )
            started.append(Launched(one, pid))
    except BaseException:
        for one in made[len(started) :]:
            shutil.rmtree(one.path, ignore_errors=True)
        raise
    return started


class _Devices:
    """Gives each run of one launch the freest GPU, another one as long as there are some."""

    def __init__(self, words: Sequence[str]) -> None:
        # a run of several processes needs to see them all
        self._found: list[devices.Gpu] | None = [] if words else None
        self._taken: set[str] = set()

    def to(self, wanted: str) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the environment and the noted facts of a run that wants this device."""
        if wanted == "cpu":
            return {}, {}
        if self._found is None:
            self._found = devices.gpus()
        gpu = devices.choose(wanted, found=self._found, taken=self._taken)
        if gpu is not None:
            self._taken.add(gpu.uuid)
        return devices.given(gpu, wanted)


def weights_of(workspace: Workspace, given: str, *, partial: bool = False) -> Weights:
    """Return the weights that `--from` means: a run's best, or a checkpoint file.

    Raises:
        BadInput: there is no such run, or it has saved nothing.
    """
    path = Path(given)
    if path.suffix == ".pt" and path.is_file():
        home = path.resolve().parent.parent
        run = RunFolder(home) if (home / "run.json").is_file() else None
        return Weights(path.resolve(), run, partial)
    run = find.find(workspace, given, keep_curves=False).folder
    for name in ("best.pt", "last.pt"):
        if (run.checkpoints / name).is_file():
            return Weights(run.checkpoints / name, run, partial)
    raise BadInput(say("train.from_nothing", run=run.run_id))


# -- resume and rerun ------------------------------------------------------------------------------------


def refuse_to_resume(record: Record) -> None:
    """Refuse to go on with a run that is at work, waits, has finished, or has no folder.

    Raises:
        BadInput: it is, does, has.
    """
    if record.stored is not None:
        raise BadInput(say("acts.only_in_mlflow", run=record.run_id))
    if record.state == "queued":
        raise BadInput(say("acts.waits", run=record.run_id))
    if record.live and record.pid is not None:
        raise BadInput(say("train.still_running", run=record.run_id, pid=record.pid))
    if record.state == "finished":
        raise BadInput(say("train.nothing_to_resume", run=record.run_id))


def resume(
    workspace: Workspace, record: Record, *, words: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> int:  # fmt: skip
    """Go on with a run from its newest checkpoint, detached; return the pid of its engine.

    Raises:
        BadInput: it is at work, has finished, or its conf is not valid any more; nothing was started.
    """
    from engine.conf.load import from_plain

    record.refresh()
    refuse_to_resume(record)
    conf = from_plain(workspace, record.conf(), workspace.relative(record.folder.conf))
    seen, facts = _Devices(words).to(conf.training.device)
    return launching.start(
        workspace, record.folder, again=True, words=words, environment=seen | dict(environment or {}), **facts
    )


def rerun(
    workspace: Workspace, record: Record, sets: Sequence[str] = (), *, name: str | None = None,
    from_weights: bool = False, start: bool = True, queue: bool = False, command: list[str] | None = None,
) -> RunFolder:  # fmt: skip
    """Make a child of a run: its conf with changes; start it detached, or put it in the queue.

    With `start=False` only the folder is made. `from_weights` takes the parent's best weights too.

    Raises:
        BadInput: the conf is not valid, or the parent has saved nothing; nothing was made.
        OSError: the disk is full, or no process can be started; nothing was made.
    """
    resolved = conf_of(workspace, record, sets, {} if name is None else {"model_id": name})
    weights = _weights_of_parent(workspace, record) if from_weights else None
    if start or queue:
        done = launch(
            workspace, [resolved], parent=record.run_id, weights=weights, queue=queue, command=command
        )
        return done[0].folder
    prepare(workspace, resolved)
    return folder.create(
        workspace, resolved, parent=record.run_id, command=command,
        weights=None if weights is None else weights.checkpoint,
        source=None if weights is None else weights.plain(),
    )  # fmt: skip


def check_rerun(workspace: Workspace, record: Record, sets: Sequence[str], from_weights: bool) -> None:
    """Refuse what `rerun` would refuse; nothing is made.

    Raises:
        BadInput: the conf is not valid, or the parent has saved nothing.
    """
    prepare(workspace, conf_of(workspace, record, sets))
    if from_weights:
        _weights_of_parent(workspace, record)


def _weights_of_parent(workspace: Workspace, record: Record) -> Weights:
    if record.stored is not None:
        raise BadInput(say("acts.only_in_mlflow", run=record.run_id))
    return weights_of(workspace, record.run_id)


def conf_of(
    workspace: Workspace, record: Record, sets: Sequence[str] = (), flags: Mapping[str, str] | None = None,
    model_conf: str | None = None,
) -> Resolved:  # fmt: skip
    """Return the conf of a run with changes; the patch is what they change.

    Raises:
        BadInput: a change is wrong, or what is known of the run makes no conf (a run of another program).
    """
    from engine.conf.load import from_plain, resolve

    if record.stored is None:
        return resolve(workspace, record.folder.conf, sets=sets, flags=flags, model_conf=model_conf)
    plain = record.conf()
    try:
        if not plain:
            raise BadInput(say("acts.no_params"))
        # MLflow keeps everything as text: an empty one and a number were no null and no number
        plain |= {key: str(plain[key] or "") for key in ("name", "description") if key in plain}
        from_plain(workspace, plain, "MLflow")
    except BadInput as error:
        raise BadInput(say("acts.no_conf", run=record.run_id, problem=error.lines[0])) from error
    with tempfile.TemporaryDirectory(prefix="spectui-") as place:
        file = Path(place) / "conf.yaml"
        file.write_text(to_yaml(plain), encoding="utf-8")
        resolved = resolve(workspace, file, sets=sets, flags=flags, model_conf=model_conf)
    return dataclasses.replace(resolved, source=record.source)
