"""The workspace's SQLite file of MLflow: which MLflow made it, and made whole when there is none.

Owns what is true of the file before MLflow opens it: its schema version against the installed MLflow's, the
template that it is copied from, its journal mode, its statistics. Never imports MLflow but to build the
template, and never touches a file of another version.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path

# A write-ahead log is shared memory between processes: on a network disk it corrupts.
_NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.juicefs", "fuse.s3fs",
    "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "panfs", "smb3", "smbfs",
    "virtiofs", "wekafs",
}  # fmt: skip
_ANALYSIS_LIMIT = 400
_FEW_ROWS = 10_000


class OtherVersionError(Exception):
    """The database was made by an MLflow with another schema; it has not been touched."""

    def __init__(self, path: Path, found: str, *, newer: bool) -> None:
        super().__init__(
            f"{path}: schema {found} is {'newer' if newer else 'older'} than the installed MLflow's"
        )
        self.path, self.found, self.newer = path, found, newer


@cache
def schemas() -> tuple[str, frozenset[str]]:
    """Return the schema version of the installed MLflow and all that it knows, read from its migrations."""
    spec = importlib.util.find_spec("mlflow")  # finds, does not import
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("mlflow")
    folder = Path(spec.submodule_search_locations[0]) / "store" / "db_migrations" / "versions"
    known, below = set[str](), set[str]()
    for file in folder.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        for name, into in (("revision", known), ("down_revision", below)):
            line = re.search(rf"^{name}(?::[^=]*)?\s*=\s*(.+)$", text, re.MULTILINE)
            if line:
                into.update(re.findall(r"[\"']([0-9a-z_]+)[\"']", line[1]))
    heads = known - below
    if len(heads) != 1:
        raise RuntimeError(f"{folder}: MLflow's migrations end in {sorted(heads)}")
    return heads.pop(), frozenset(known)


def schema_of(path: Path) -> str | None:
    """Return the schema version of a database; None when there is no whole one (yet).

    Raises:
        sqlite3.DatabaseError: it cannot be read as a database.
    """
    if not path.is_file() or not path.stat().st_size:
        return None
    with closing(connect(path, seconds=5.0)) as connection:
        try:
            row = connection.execute("select version_num from alembic_version").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            raise
    return None if row is None else str(row[0])


def check(path: Path) -> None:
    """Look before MLflow does: it would change a database of an older version, and refuse a newer one.

    Raises:
        OtherVersionError: the database is another MLflow's.
        sqlite3.DatabaseError: it cannot be read.
    """
    found = schema_of(path)
    head, known = schemas()
    if found is not None and found != head:
        raise OtherVersionError(path, found, newer=found not in known)


def make(path: Path, experiments: Path) -> None:
    """Make an empty database whole: a copy of the template of this MLflow version, renamed in.

    `experiments` is where the artifacts of its first experiment go. The caller holds the workspace's lock;
    one that another program made meanwhile is left as it is.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        shutil.copyfile(_template(), beside)
        with closing(sqlite3.connect(beside, isolation_level=None)) as connection:
            connection.execute(
                "update experiments set artifact_location = ? || '/' || experiment_id",
                (experiments.as_uri(),),
            )
            _set_journal(connection, path.parent)
        if path.exists() and not path.stat().st_size:
            beside.replace(path)  # an empty file: somebody's sqlite looked for one that was not there
            return
        with contextlib.suppress(FileExistsError):
            try:
                os.link(beside, path)
            except FileExistsError:
                raise
            except OSError:  # a file system without links
                if not path.exists():
                    beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Give an existing database the journal mode that its disk can bear; later, when it is busy."""
    with contextlib.suppress(sqlite3.OperationalError), closing(connect(path, write=True)) as connection:
        _set_journal(connection, path.parent)


def rehome(path: Path, mlruns: Path) -> None:
    """Let a database that was moved with its workspace find its artifacts: MLflow keeps whole paths.

    Touches only what pointed to a folder that is gone while one of that name lies beside the database.
    """
    with closing(connect(path)) as connection:
        places = connection.execute("select experiment_id, artifact_location from experiments").fetchall()
    for experiment, location in places:
        old = Path(str(location).removeprefix("file://"))
        new = mlruns / str(experiment)
        if old.parts[-2:] != ("mlruns", str(experiment)) or old == new or old.exists() or not new.is_dir():
            continue
        home = new.as_uri() if str(location).startswith("file:") else str(new)
        with closing(connect(path, write=True)) as connection:
            connection.execute("begin immediate")
            connection.execute(
                "update experiments set artifact_location = ? where experiment_id = ?", (home, experiment)
            )
            connection.execute(
                "update runs set artifact_uri = ? || substr(artifact_uri, ?)"
                " where experiment_id = ? and substr(artifact_uri, 1, ?) = ?",
                (home, len(location) + 1, experiment, len(location) + 1, f"{location}/"),
            )
            connection.execute("commit")


def analyze(path: Path) -> bool:
    """Let SQLite look at its tables when they doubled since it last did; tell whether it did so.

    Without statistics MLflow sorts runs by a metric in quadratic time (10,000 runs: 30 s for 1.5 s).
    """
    with closing(connect(path, write=True)) as connection:
        rows = connection.execute("select max(rowid) from metrics").fetchone()[0] or 0
        if rows < max(_FEW_ROWS, 2 * _analysed(connection)):
            return False
        connection.execute(f"pragma analysis_limit = {_ANALYSIS_LIMIT}")
        connection.execute("analyze")
        return True


def _analysed(connection: sqlite3.Connection) -> int:
    """Return how many points there were when SQLite last looked: it notes that itself."""
    try:
        rows = connection.execute("select stat from sqlite_stat1 where tbl = 'metrics'").fetchall()
    except sqlite3.OperationalError:  # never
        return 0
    return max((int(str(stat).split()[0]) for (stat,) in rows), default=0)


def is_network(folder: Path) -> bool:
    """Tell whether a folder is on a disk that other machines share; where nobody knows, it is local."""
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return False
    return _kind(text, folder.resolve()) in _NETWORK


def _kind(mountinfo: str, folder: Path) -> str:
    """Return the kind of file system that a folder is on; the last of the deepest mount points counts."""
    deepest, kind = -1, ""
    for line in mountinfo.splitlines():
        place, _, source = line.partition(" - ")
        words = place.split()
        if len(words) < 5 or not source:
            continue
        point = Path(re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), words[4]))
        if folder.is_relative_to(point) and len(point.parts) >= deepest:
            deepest, kind = len(point.parts), source.split()[0]
    return kind


def connect(path: Path, *, write: bool = False, seconds: float = 20.0) -> sqlite3.Connection:
    """Open an existing database, read-only unless said otherwise, without a transaction of its own."""
    mode = "rw" if write else "ro"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=seconds, isolation_level=None
    )


def backup(source: Path, target: Path) -> None:
    """Copy a database whole, its write-ahead log included, beside its place and renamed in."""
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with closing(connect(source)) as old, closing(sqlite3.connect(beside)) as new:
            old.backup(new)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _set_journal(connection: sqlite3.Connection, folder: Path) -> None:
    wanted = "delete" if is_network(folder) else "wal"
    if connection.execute("pragma journal_mode").fetchone()[0] != wanted:
        connection.execute(f"pragma journal_mode = {wanted}")


def _template() -> Path:
    """Return the empty database of the installed MLflow, built once: its migrations take seconds."""
    import importlib.metadata

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spectui"
    version = importlib.metadata.version("mlflow")
    template = home / f"mlflow-{version}-{schemas()[0]}.db"
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home / "mlflow.lock"):
        if template.is_file():
            return template
        building = home / f".building-{os.getpid()}.db"
        building.unlink(missing_ok=True)
        try:
            _build(building)
            building.replace(template)
        finally:
            building.unlink(missing_ok=True)
    return template


def _build(path: Path) -> None:
    """Run MLflow's migrations into a new file, its first experiment made."""
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{path}").search_experiments(max_results=1)
    found = schema_of(path)
    if found != schemas()[0]:
        raise RuntimeError(f"MLflow made a database of schema {found}, its migrations end in {schemas()[0]}")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as handle:
        fcntl.lockf(handle, fcntl.LOCK_EX)
        yield
