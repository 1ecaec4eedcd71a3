"""Where the tables of a data set are, in whichever form they came, without reading a single flux.

Owns the rules for folders and file names. Never imports numpy or pandas, so a form or a parser can ask it
at any time; `preflight` is what `train` asks before anything is written.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BadInput
from engine.spectra import BRANCHES, PARTS, DataConf
from engine.spectra.headers import find_obsid, find_targets, header_cells, same_grid, spectra_header
from engine.words import say
from engine.workspace import Workspace

NAMES = (*BRANCHES, "labels")
OLD_NAMES = {"continuum": "continuum.csv", "normalized": "normalized.csv", "labels": "labels.csv"}
FEATURES = "feature.csv"
_ENDINGS = (".csv", ".csv.gz", ".feather", ".parquet")


@dataclass(frozen=True)
class Tables:
    """The files of one data set, all of them there.

    `files` holds, by name of the table (those of `branches`, and labels), its file in each of `parts`; a set
    that is not divided into folders has one file a table and no parts. `root` is what paths are shown from.
    """

    form: str
    branches: tuple[str, ...]
    parts: tuple[str, ...]
    files: dict[str, tuple[Path, ...]]
    root: Path

    @property
    def names(self) -> tuple[str, ...]:
        """The tables that there are: one or two branches, and labels."""
        return (*self.branches, "labels")

    def shown(self, name: str, part: int | None = None) -> str:
        """Return the path of one table as the user would type it from the workspace's root.

        Without a number, a table of several parts is shown as folder/{train,val,test}/file.
        """
        files = self.files[name]
        if part is not None or len(files) == 1:
            return self._relative(files[part or 0])
        if len({path.name for path in files}) == 1:
            return f"{self._relative(files[0].parents[1])}/{{{','.join(self.parts)}}}/{files[0].name}"
        return ", ".join(self._relative(path) for path in files)

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


@dataclass(frozen=True)
class Promise:
    """What the headers promise before anything is read: the files, the grid in Å, the targets."""

    tables: Tables
    wavelength: tuple[float, ...]
    targets: tuple[str, ...]
    branches: tuple[str, ...]
    """those that a network may take: those of the data, and both under data.missing_branch: copy"""


def resolve(workspace: Workspace, path: str) -> Path:
    """Return the data folder: dataset/PATH, else PATH itself (absolute, or relative to the root).

    Raises:
        BadInput: there is no such folder, or it is a file.
    """
    given = Path(path).expanduser()
    places = [given] if given.is_absolute() else [workspace.dataset / given, workspace.root / given]
    for place in places:
        if place.is_dir():
            return place.resolve()
    for place in places:
        if place.exists():
            raise BadInput(say("data.not_a_folder", path=path))
    inside = workspace.dataset.iterdir() if workspace.dataset.is_dir() else ()
    there = sorted(p.name for p in inside if p.is_dir())
    near = difflib.get_close_matches(path, there, n=3, cutoff=0.5) or there[:8]
    raise BadInput(say("data.no_folder", path=path, there=", ".join(near) or "-"))


def find_tables(folder: Path, conf: DataConf, root: Path | None = None) -> Tables:
    """Return the tables in `folder`, in the form that the conf names or, for 'auto', that is there.

    Each is looked for under the conf's name, then under that name with another ending (.csv, .csv.gz,
    .feather, .parquet), then under its old name (continuum.csv, normalized.csv, labels.csv).

    Raises:
        BadInput: a file is not there; all that are missing are named at once.
    """
    form = _form(folder, conf) if conf.form == "auto" else conf.form
    branches = BRANCHES if conf.branches == "both" else (conf.branches,)
    wanted = {name: _candidates(name, conf) for name in (*branches, "labels")}
    parts: tuple[str, ...] = ()
    if form == "features":
        branches = (conf.branches,) if conf.branches != "both" else ("normalized",)
        wanted = {branches[0]: _feature_names(conf), "labels": _candidates("labels", conf)}
    elif form == "folders":
        parts = tuple(part for part in PARTS if (folder / part).is_dir())
        if "train" not in parts:
            raise BadInput(say("spectra.no_train_folder", folder=folder))
    files: dict[str, tuple[Path, ...]] = {}
    lines = []
    for name, names in wanted.items():
        found = []
        for place in [folder / part for part in parts] or [folder]:
            there = [place / file for file in names if (place / file).is_file()]
            if there:
                found.append(there[0])
            elif form == "features" and name != "labels":
                lines.append(say("spectra.no_features", folder=place, file=names[0]))
            else:
                lines.append(say("data.no_table", folder=place, file=names[0], name=name))
        files[name] = tuple(found)
    if lines:
        raise BadInput(lines)
    return Tables(form, branches, parts, files, root or folder)


def twin(path: Path) -> Path:
    """Return the same table's other spelling: NAME.csv for NAME.csv.gz, NAME.csv.gz for anything else."""
    return path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")


def labels_there(workspace: Workspace, conf: DataConf) -> tuple[str, ...]:
    """Return those of the conf's targets that every label file has a column for; for looking, not training.

    Raises:
        BadInput: files that are missing or cannot be read.
    """
    tables = find_tables(resolve(workspace, conf.path), conf, workspace.root)
    files = tables.files["labels"]
    headers = [header_cells(path, tables.shown("labels", part)) for part, path in enumerate(files)]
    return tuple(target for target in conf.targets if all(target in cells for cells in headers))


def preflight(workspace: Workspace, conf: DataConf, targets: Sequence[str] | None = None) -> Promise:
    """Check folder, files and headers of a data set in milliseconds, and return what they promise.

    `targets` are the labels wanted, those of the conf unless given.

    Raises:
        BadInput: anything that would stop `stars.load` at the door.
    """
    tables = find_tables(resolve(workspace, conf.path), conf, workspace.root)
    wanted = tuple(conf.targets if targets is None else targets)
    first = None
    for name in tables.branches:
        for part, path in enumerate(tables.files[name]):
            shown = tables.shown(name, part)
            header = spectra_header(header_cells(path, shown), shown)
            if first is None:
                first = (header, shown)
            same_grid(first[0], header, first[1], shown)
    for part, path in enumerate(tables.files["labels"]):
        shown = tables.shown("labels", part)
        cells = header_cells(path, shown)
        find_obsid(cells, shown)
        find_targets(cells, wanted, shown)
    assert first is not None
    branches = BRANCHES if conf.missing_branch == "copy" else tables.branches
    return Promise(tables, first[0].wavelength, wanted, branches)


def needs(branches: Sequence[str], inputs: Sequence[str]) -> None:
    """Check that the branches that a network takes are there.

    `inputs` are those of `models.contract.inputs_of`: continuum, normalized, stacked or concatenated.

    Raises:
        BadInput: a branch is not there; says which one the data has and what to do.
    """
    wanted = [branch for branch in BRANCHES if not {branch, "stacked", "concatenated"}.isdisjoint(inputs)]
    lacking = [branch for branch in wanted if branch not in branches]
    if lacking:
        raise BadInput(say("spectra.no_branch", lacking=", ".join(lacking), there=", ".join(branches)))


def _form(folder: Path, conf: DataConf) -> str:
    """Return the form that the files in a folder have; 'tables' when nothing is there to tell."""

    def there(names: list[str]) -> bool:
        return any((folder / name).is_file() for name in names)

    divided = (folder / "train").is_dir()
    if divided and conf.split.method == "folder":
        return "folders"
    if any(there(_candidates(name, conf)) for name in BRANCHES):
        return "tables"
    if divided:
        return "folders"
    return "features" if there(_feature_names(conf)) else "tables"


def _candidates(name: str, conf: DataConf) -> list[str]:
    """Return the file names under which a table may be found, the likeliest first."""
    return _spellings(str(getattr(conf, name))) + _spellings(OLD_NAMES[name])


def _feature_names(conf: DataConf) -> list[str]:
    return _spellings(conf.features) + _spellings(FEATURES)


def _spellings(name: str) -> list[str]:
    """Return a file name and the same table's other endings; NAME.gz and NAME stand in for each other."""
    twins = [name, twin(Path(name)).as_posix()]
    stem = next((name.removesuffix(e) for e in reversed(_ENDINGS) if name.endswith(e)), None)
    return list(dict.fromkeys(twins + ([] if stem is None else [stem + ending for ending in _ENDINGS])))
