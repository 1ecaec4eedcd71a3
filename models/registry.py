"""Names of networks: who registered them, from which file, and how to build one.

Owns the table name -> class and the loading of network files. Never inspects tensors (contract.py does).

A file is imported once per modification time. A file that cannot be imported hides nothing but itself: its
error is kept and told when a name is not found.
"""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from models.errors import BrokenFile, DuplicateModel, UnknownModel

if TYPE_CHECKING:
    from torch import nn

PACKAGE_FOLDER = Path(__file__).resolve().parent / "spectral_prediction"
PACKAGE_NAME = "models.spectral_prediction"
C = TypeVar("C", bound=type)


@dataclass
class _File:
    """One network file: what it registered, or why it could not be imported."""

    stamp: int = -1
    classes: dict[str, type] = field(default_factory=dict)
    error: str | None = None
    hidden: bool = False  # belongs to a folder that was discovered earlier and is not looked at now


_files: dict[Path, _File] = {}


def register_model(name: str, *, inputs: Sequence[str] | None = None) -> Callable[[C], C]:
    """Give the decorated class a name by which confs ask for it.

    Args:
        name: what a conf writes in `model.name`.
        inputs: what `forward` takes, in order (continuum, normalized, stacked, concatenated); by default the
            names of its parameters say so (see contract.py).
    """
    if not isinstance(name, str) or not name:
        raise TypeError('write @register_model("NameOfTheNetwork"), with the name in brackets')
    taken = (inputs,) if isinstance(inputs, str) else inputs

    def register(cls: C) -> C:
        path = _file_of(cls)
        known = _files.setdefault(path, _File()).classes
        other = known.get(name)
        # The same class again (a module reloaded, a notebook cell run twice) replaces the earlier one.
        if other is not None and other.__qualname__ != cls.__qualname__:
            raise DuplicateModel(name, [path, path])
        known[name] = cls
        if taken is not None:
            cls.registered_inputs = tuple(taken)  # type: ignore[attr-defined]
        return cls

    return register


def names(pattern: str = "*") -> list[str]:
    """Return the registered names that match a glob pattern, sorted."""
    _load_package()
    return sorted(fnmatch.filter(_table(), pattern))


def get(name: str) -> type[nn.Module]:
    """Return the class registered under a name.

    Raises:
        UnknownModel: nobody registered it; carries near misses and the files that could not be read.
        DuplicateModel: two files did.
    """
    _load_package()
    table = _table()
    if name not in table:
        known = sorted(table)
        raise UnknownModel(name, near_misses(name, known), known, broken_files())
    places = table[name]
    if len(places) > 1:
        raise DuplicateModel(name, sorted(places))
    return next(iter(places.values()))


def build(name: str, *, points: int, labels: int, fields: Mapping[str, Any] | None = None) -> nn.Module:
    """Build the network `name` for spectra of `points` per branch and `labels` outputs.

    Raises:
        UnknownModel, DuplicateModel: see get().
        ContractError: its __init__ does not take these fields, or failed.
    """
    from models.contract import construct  # torch only when something is built

    return construct(get(name), points=points, labels=labels, fields=fields or {}, name=name)


def discover(folder: Path | str | None = None) -> list[BrokenFile]:
    """Import our own networks and those of `folder`; return the files that could not be imported.

    Networks of a folder discovered earlier are forgotten, and so are files that are gone.
    """
    _load_package()
    wanted: set[Path] = set()
    if folder is not None and Path(folder).resolve() != PACKAGE_FOLDER:
        wanted = set(network_files(Path(folder).resolve()))
    for path, file in _files.items():
        file.hidden = path.parent != PACKAGE_FOLDER and file.stamp >= 0 and path not in wanted
    for path in sorted(wanted):
        if not _is_copy_of_ours(path):
            load_file(path)
    return broken_files()


def load_file(path: Path | str) -> list[str]:
    """Import one network file, once per modification time, and return the names that it registered.

    An error is kept for broken_files() and does not propagate. The next discover() forgets a file that is not
    in its folder.
    """
    path = Path(path).resolve()
    try:
        stamp = path.stat().st_mtime_ns
    except OSError as error:
        _files[path] = _File(0, error=str(error))
        return []
    file = _files.get(path)
    if file is not None and file.stamp == stamp:
        file.hidden = False
        return sorted(file.classes)
    ours = path.parent == PACKAGE_FOLDER
    # Our own files keep their real module name: an ordinary import gives the same class.
    if not ours or file is None or not file.classes:
        file = _files[path] = _File()
    file.stamp = stamp
    try:
        if ours:
            importlib.import_module(f"{PACKAGE_NAME}.{path.stem}")
        else:
            _import_by_path(path, stamp)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's file may raise anything
        file.classes.clear()  # half a file is no file
        file.error = _describe(error, path)
    return sorted(file.classes)


def broken_files() -> list[BrokenFile]:
    """Return the files in sight that could not be imported."""
    return [BrokenFile(path, file.error) for path, file in sorted(_files.items())
            if file.error is not None and not file.hidden]


def files(name: str) -> list[Path]:
    """Return the files that register `name`: one, or several when it is a duplicate."""
    return sorted(_table().get(name, {}))


def network_files(folder: Path) -> list[Path]:
    """Return the files of a folder that may register networks: `*.py`, not `_*.py`."""
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith("_") and path.is_file())


def near_misses(name: str, known: Sequence[str]) -> list[str]:
    """Return the known names most like `name`, whatever the case of the letters."""
    by_lower = {one.lower(): one for one in known}
    return [by_lower[one] for one in difflib.get_close_matches(name.lower(), list(by_lower), n=3, cutoff=0.6)]


def _table() -> dict[str, dict[Path, type[nn.Module]]]:
    table: dict[str, dict[Path, type[nn.Module]]] = {}
    for path, file in _files.items():
        if not file.hidden:
            for name, cls in file.classes.items():
                table.setdefault(name, {})[path] = cls
    return table


def _load_package() -> None:
    for path in network_files(PACKAGE_FOLDER):
        file = _files.get(path)
        if file is None or file.stamp < 0 or file.error is not None:
            load_file(path)


def _is_copy_of_ours(path: Path) -> bool:
    """Tell whether a file is an unchanged copy of ours, as in a checkout next to an install."""
    ours = PACKAGE_FOLDER / path.name
    try:
        return ours.is_file() and ours.read_bytes() == path.read_bytes()
    except OSError:
        return False


def _import_by_path(path: Path, stamp: int) -> None:
    digest = hashlib.sha256(f"{path}:{stamp}".encode()).hexdigest()[:12]
    module_name = f"spectui_network_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # before running it: dataclasses and typing look there
    try:
        with _importable(path.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let a network file import its neighbours (`from _blocks import Block`), shadowing nothing."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _file_of(cls: type) -> Path:
    module = sys.modules.get(cls.__module__)
    source = getattr(module, "__file__", None)
    return Path(source).resolve() if source else Path(f"<{cls.__module__}>")


def _describe(error: BaseException, path: Path) -> str:
    """Return 'line 3: NameError: ...', the line being the last one of this file on the way to the error."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while line is None and trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return (f"line {line}: " if line else "") + f"{type(error).__name__}: {text}".rstrip(": ")
