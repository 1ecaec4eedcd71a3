"""Which data sets a workspace has: folders under dataset/ that hold tables, and what confs point at.

Asks headers and file sizes only, so that a list of large sets is there at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.conf.load import conf_files, resolve
from engine.errors import BadInput
from engine.spectra import DataConf, layout
from engine.spectra.headers import ARROW, open_table
from engine.words import say
from engine.workspace import Workspace

_TABLES = (".csv", ".csv.gz", ".feather", ".parquet")
_DEEP = 2  # levels under dataset/


@dataclass(frozen=True)
class DataSet:
    """One data set as a list shows it, and the conf section that reads it.

    `points` is 0 and `problem` says why where its headers cannot be used. `source` is the conf whose data
    section this is, None for the default; `changed` is the newest table's time of change.
    """

    name: str
    folder: Path
    conf: DataConf
    source: str | None
    points: int
    bytes: int
    changed: float
    problem: str = ""


def data_sets(workspace: Workspace) -> list[DataSet]:
    """Return the data sets of a workspace: those under dataset/ by name, then others that confs name."""
    confs = _by_folder(workspace)
    folders = _folders(workspace.dataset)
    inside = [(str(folder.relative_to(workspace.dataset)), folder) for folder in folders]
    seen = {folder.resolve() for folder in folders}
    outside = [(conf.path, folder) for folder, (conf, _) in confs.items() if folder not in seen]
    return [_look(workspace, name, folder, confs) for name, folder in [*inside, *sorted(outside)]]


def stars_in(workspace: Workspace, found: DataSet) -> int | None:
    """Return about how many stars a set has: the rows of its label tables; None where they cannot be read."""
    try:
        tables = layout.find_tables(found.folder, found.conf, workspace.root)
        return sum(rows_of(file, tables.shown("labels")) for file in tables.files["labels"])
    except (BadInput, OSError, EOFError):
        return None


def rows_of(file: Path, shown: str) -> int:
    """Return how many rows a table has, by its lines; a header is none."""
    if file.suffix in ARROW:
        from engine.spectra.arrow import open_arrow

        return int(open_arrow(file, shown).rows)
    with open_table(file) as stream:
        return max(0, sum(1 for line in stream if line.strip()) - 1)


def _look(workspace: Workspace, name: str, folder: Path, confs: dict[Path, tuple[DataConf, str]]) -> DataSet:
    conf, source = confs.get(folder.resolve(), (None, None))
    conf = conf or DataConf(path=name)
    states = [file.stat() for file in _tables(folder)]
    size, changed = sum(s.st_size for s in states), max((s.st_mtime for s in states), default=0.0)
    try:
        there = layout.labels_there(workspace, conf)
        points = len(layout.preflight(workspace, conf, there).wavelength)
    except BadInput as error:
        return DataSet(name, folder, conf, source, 0, size, changed, error.lines[0])
    return DataSet(name, folder, conf, source, points, size, changed)


def _by_folder(workspace: Workspace) -> dict[Path, tuple[DataConf, str]]:
    """Return the data section of the first conf, by name, that names each folder."""
    found: dict[Path, tuple[DataConf, str]] = {}
    for file in conf_files(workspace):
        try:
            resolved = resolve(workspace, file)
            folder = layout.resolve(workspace, resolved.conf.data.path)
        except BadInput:
            continue  # a conf that cannot be used, or whose data are not here, tells nothing of a folder
        found.setdefault(folder.resolve(), (resolved.conf.data, workspace.relative(file)))
    return found


def _folders(root: Path, depth: int = _DEEP) -> list[Path]:
    """Return the folders below `root` that hold tables, or train/ with tables; not below such a folder."""
    found: list[Path] = []
    try:
        inside = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return found
    for path in inside:
        if _tables(path):
            found.append(path)
        elif depth > 1:
            found += _folders(path, depth - 1)
    return found


def _tables(folder: Path) -> list[Path]:
    """Return the table files in a folder and in its train/, val/ and test/."""
    places = [folder, *(folder / part for part in ("train", "val", "test"))]
    return [
        file
        for place in places
        if place.is_dir()
        for file in sorted(place.iterdir())
        if file.is_file() and file.name.endswith(_TABLES)
    ]


def described(found: DataSet, stars: int | None) -> str:
    """Return one line on a set: how many stars, points and bytes."""
    from engine.spectra.check_words import size_words

    if found.problem:
        return say("datasets.entry_broken")
    count = "?" if stars is None else str(stars)
    return say("datasets.entry", stars=count, points=found.points, size=size_words(found.bytes))
