"""One run on its way into MLflow: from its events, by a cursor kept in its folder.

Owns mlflow.json of the run folder. A point that is logged again is the same point to MLflow (same key, time,
step and value), so the cursor is written after the points and a death between the two changes nothing.
"""

from __future__ import annotations

import fcntl
import time
from typing import IO, Any

from engine.runs.events import Tail
from engine.runs.folder import RunFolder, write_json
from engine.runs.record import Record
from engine.track import artifacts, database, facts, store
from engine.workspace import Workspace

TRASH = ".trash"
STATUS = {
    "queued": "SCHEDULED",
    "starting": "RUNNING",
    "running": "RUNNING",
    "finished": "FINISHED",
    "stopped": "KILLED",
    "died": "KILLED",
    "failed": "FAILED",
    "diverged": "FAILED",
}
_POINTS_A_BATCH = 900
_BYTES_AT_ONCE = 1_000_000


class BusyError(Exception):
    """Another process replicates this run."""


def place_of(workspace: Workspace, run_id: str) -> RunFolder | None:
    """Return the folder of a run, in the trash too; None when it is gone."""
    for parent in (workspace.runs, workspace.runs / TRASH):
        if (parent / run_id / "run.json").is_file():
            return RunFolder(parent / run_id)
    return None


def in_trash(folder: RunFolder) -> bool:
    return folder.path.parent.name == TRASH


def uri_of(workspace: Workspace, folder: RunFolder, conf: dict[str, Any] | None = None) -> str:
    """Return the store of a run: that it began in, whatever the environment says later."""
    state = folder.read_json(folder.tracking)
    if state.get("run_id") and state.get("uri"):
        uri = str(state["uri"])
        path = store.sqlite_path(uri)
        # The workspace may have been moved, and its database with it.
        moved = path is not None and path.name == workspace.mlflow_db.name and not path.exists()
        return f"sqlite:///{workspace.mlflow_db}" if moved or state.get("own") else uri
    conf = Record(folder.path, keep_curves=False).conf() if conf is None else conf
    return store.tracking_uri(workspace, (conf.get("tracking") or {}).get("uri"))


def stamp_of(folder: RunFolder) -> int:
    """Return what changes when people rename, note or tag a run; 0 when they never did."""
    try:
        return folder.about.stat().st_mtime_ns
    except OSError:
        return 0


def is_whole(folder: RunFolder, state: dict[str, Any] | None = None) -> bool:
    """Tell whether MLflow has all that the folder says; for an ended run, its end too."""
    state = folder.read_json(folder.tracking) if state is None else state
    if state.get("gone"):
        return True
    if in_trash(folder):
        return bool(state.get("deleted")) or not state.get("run_id")
    try:
        size = folder.events.stat().st_size
    except OSError:
        size = 0
    return (
        state.get("closed") is not None
        and not state.get("deleted")
        and int(state.get("cursor", 0)) >= size
        and int(state.get("about", 0)) == stamp_of(folder)
    )


class Follower:
    """The one process's hold on a run: where its replication stands, and its lock."""

    def __init__(self, workspace: Workspace, folder: RunFolder) -> None:
        """Take the run's lock.

        Raises:
            BusyError: another process has it.
        """
        self.workspace, self.folder = workspace, folder
        self._lock: IO[str] = folder.tracking_lock.open("a")
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise BusyError(folder.run_id) from error
        self.record = Record(folder.path, keep_curves=False)
        self.conf = self.record.conf()
        self.uri = uri_of(workspace, folder, self.conf)
        self.state = folder.read_json(folder.tracking)
        self._tail = Tail(folder.events, int(self.state.get("cursor", 0)))
        self._api: Any = None
        self._artifacts: Any = None
        self._process_stamp = 0

    def release(self) -> None:
        """Let another process have the run."""
        self._lock.close()

    @property
    def run_id(self) -> str:
        """MLflow's name of the run; empty as long as it has none."""
        return str(self.state.get("run_id") or "")

    @property
    def live(self) -> bool:
        self.record.refresh()
        return self.record.live

    def advance(self) -> bool:
        """Bring what is new into MLflow; tell whether there may be more at once.

        Raises:
            Exception: whatever the store does. Nothing is lost: the next call goes on from the cursor.
        """
        if in_trash(self.folder):
            self._forget()
            return False
        self._open()
        self._restore()
        self.record.refresh()
        ended = not self.record.live  # looked at before the events: one that is gone has written all
        self._tell_status()
        self._tell_words()
        self._tell_process()
        cursor = self._tail.offset
        events = self._tail.poll(_BYTES_AT_ONCE)
        if events:
            try:
                self._log(events)
            except BaseException:
                self._tail.offset = cursor  # read again: they may not be there
                raise
            return True
        if ended and not is_whole(self.folder, self.state):
            self._close()
        self.solved()
        return False

    # -- what went wrong ----------------------------------------------------------------------------------

    def trouble(self, text: str) -> None:
        """Note why the run is not in MLflow yet: for `sync`, and in the run's mlflow.log."""
        if not self.folder.identity.is_file():
            return
        if not self.run_id:
            self.state |= {"uri": self.uri}
        self._save(problem={"text": text, "time": time.time()})
        with self.folder.tracking_log.open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def solved(self) -> None:
        if self.state.pop("problem", None) is not None:
            self._save()

    def _save(self, **changes: Any) -> None:
        self.state |= changes
        write_json(self.folder.tracking, self.state)

    # -- the MLflow run -----------------------------------------------------------------------------------

    def _open(self) -> None:
        """Find or make the MLflow run."""
        if self._api is None:
            settings = self.conf.get("tracking") or {}
            name = settings.get("experiment", "spectral_prediction")
            api, experiment = store.ensure_experiment(self.workspace, self.uri, name)
            if self.run_id and not self._exists(api):
                self.state, self._tail.offset = {}, 0  # another store than it was: all over again
            if not self.run_id:
                self.state = {
                    "uri": self.uri,
                    "own": store.sqlite_path(self.uri) == self.workspace.mlflow_db,
                    "experiment_id": experiment,
                    "run_id": self._create(api, experiment),
                    "cursor": 0,
                }
                self._save()
            self._api = api
            self._where(api)
        if self.record.parent and not self.state.get("parent"):
            self._tell_parent()

    def _exists(self, api: Any) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            run = api.get_run(self.run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        if run.info.lifecycle_stage == "deleted" and not self.state.get("deleted"):
            self._save(gone=True)  # somebody deleted it in MLflow, and meant it
        return True

    def _create(self, api: Any, experiment: str) -> str:
        """Make the MLflow run with its parameters and tags, all known before training; return its id."""
        record = self.record
        tags = facts.identity_tags(self.workspace, record) | facts.words_tags(record, self.conf)
        # A try that broke off half-way has made it already: it is filled, not made twice.
        made = api.search_runs([experiment], f"tags.`spectui.run_id` = '{record.run_id}'", max_results=1)
        run_id = (
            made[0].info.run_id
            if made
            else api.create_run(
                experiment, start_time=int(record.created_at * 1000), tags=tags, run_name=record.name
            ).info.run_id
        )
        parameters = facts.parameters(self.conf)
        for first in range(0, len(parameters), 100):
            api.log_batch(run_id, params=parameters[first : first + 100], synchronous=True)
        return str(run_id)

    def _where(self, api: Any) -> None:
        uri = api.get_run(self.run_id).info.artifact_uri
        self._artifacts = artifacts.local_folder(self.uri, uri)
        self._reachable = not artifacts.out_of_reach(self.uri, uri)
        if not self._reachable:
            api.set_tag(self.run_id, "spectui.artifacts", str(self.folder.path))

    def _tell_parent(self) -> None:
        """Nest the run under the one it comes from, which is begun in the store when it is not there yet."""
        parent = place_of(self.workspace, str(self.record.parent))
        if parent is None or in_trash(parent) or parent.run_id == self.folder.run_id:
            return
        known = parent.read_json(parent.tracking) or self._begin(parent)
        if known.get("run_id") and uri_of(self.workspace, parent) == self.uri:
            self._api.set_tag(self.run_id, "mlflow.parentRunId", str(known["run_id"]))
            self._save(parent=known["run_id"])

    def _begin(self, parent: RunFolder) -> dict[str, Any]:
        """Make another run known to the store; its points come when it is caught up."""
        try:
            other = Follower(self.workspace, parent)
        except BusyError:
            return {}  # it will be there the next time
        try:
            if (other.conf.get("tracking") or {}).get("enabled", True) and other.uri == self.uri:
                other._open()
            return other.state
        finally:
            other.release()

    def _tell_status(self) -> None:
        status = STATUS[self.record.state]
        if not self.record.live or status == self.state.get("status"):
            return
        self._api.update_run(self.run_id, status=status)
        self.state.pop("closed", None)  # resumed: it was closed as stopped, failed or killed
        self._save(status=status)

    def _tell_words(self) -> None:
        """Bring name, note and tags as people have them now."""
        stamp = stamp_of(self.folder)
        if stamp == int(self.state.get("about", 0)):
            return
        tags = facts.words_tags(self.record, self.conf)
        theirs = sorted(name for name in tags if not name.startswith(facts.OURS))
        for name in set(self.state.get("tags", [])) - set(theirs):
            self._api.delete_tag(self.run_id, name)
        self._log_tags(tags)
        self._save(about=stamp, tags=theirs)

    def _tell_process(self) -> None:
        """Say who runs the run now: another process after it was resumed."""
        try:
            stamp = self.folder.process.stat().st_mtime_ns
        except OSError:
            return
        if stamp != self._process_stamp and stamp != self.state.get("process"):
            self._log_tags(facts.process_tags(self.folder.read_json(self.folder.process)))
            self.state["process"] = stamp
        self._process_stamp = stamp

    def _log(self, events: list[dict[str, Any]]) -> None:
        seen = dict(self.state.get("nonfinite", {}))
        batch = facts.translate(events, self._data(), seen)
        for first in range(0, len(batch.metrics), _POINTS_A_BATCH):
            points = batch.metrics[first : first + _POINTS_A_BATCH]
            self._api.log_batch(self.run_id, metrics=points, synchronous=True)
        if batch.tags:
            self._log_tags(batch.tags)
        if batch.datasets:
            self._api.log_inputs(self.run_id, datasets=batch.datasets)
        if self._artifacts is not None and any(e["kind"] == "checkpoint" and e.get("best") for e in events):
            artifacts.link_checkpoints(self.folder, self._artifacts)
        for name in ("problem", "closed"):  # more came after its end: it was resumed, and ends anew
            self.state.pop(name, None)
        self._save(cursor=self._tail.offset, nonfinite=seen)

    def _log_tags(self, tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        all_tags = [RunTag(name, value) for name, value in tags.items()]
        for first in range(0, len(all_tags), 100):
            self._api.log_batch(self.run_id, tags=all_tags[first : first + 100], synchronous=True)

    def _data(self) -> str:
        path = str((self.conf.get("data") or {}).get("path") or "")
        beside = self.workspace.dataset / path
        return str(beside if beside.exists() else self.workspace.root / path)

    def _close(self) -> None:
        """Set how the run ended, then bring its files: a file that cannot be sent hides no end."""
        record = self.record
        self._log_tags(facts.end_tags(record))
        ended = record.ended_at or record.created_at or time.time()
        self._api.set_terminated(self.run_id, STATUS[record.state], end_time=int(ended * 1000))
        self._save(status=STATUS[record.state])
        _draw(self.folder)
        if self._reachable:
            artifacts.log_all(self._api, self.run_id, self.folder, self._artifacts)
        path = store.sqlite_path(self.uri)
        if path is not None:
            database.analyze(path)
        self.state.pop("problem", None)
        self._save(closed=record.state, cursor=self._tail.offset)

    # -- the trash ----------------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Let MLflow's soft delete follow the run into the trash."""
        if self.run_id and not self.state.get("deleted"):
            api = self._reach()
            if self._exists(api) and not self.state.get("gone"):
                api.delete_run(self.run_id)
            self.state.pop("problem", None)
            self._save(deleted=True)

    def _restore(self) -> None:
        if self.state.get("deleted"):
            self._api.restore_run(self.run_id)
            self._save(deleted=False)

    def _reach(self) -> Any:
        path = store.sqlite_path(self.uri)
        if path is not None:
            database.check(path)
        return store.client(self.workspace, self.uri)


def _draw(folder: RunFolder) -> None:
    """Draw the curves of a run that died before it could."""
    from engine.figures import draw_curves

    drawn = {p.name for p in folder.figures.glob("*.pdf")}
    if not {"loss_curve.pdf", "lr_curve.pdf"} <= drawn:
        full = Record(folder.path)
        full.refresh()
        draw_curves(full)
