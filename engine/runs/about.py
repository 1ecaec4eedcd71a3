"""What people say of a run at any time: its name, a note, tags. Owns about.json of the run folder.

Two who change it at once lose nothing: each change is made to what is there, under a lock.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from engine.errors import BadInput
from engine.runs.folder import write_json
from engine.runs.locks import locked
from engine.runs.record import Record
from engine.words import say
from engine.workspace import Workspace

_LONGEST = 250
_TAG = re.compile(r"[\w.:/ -]+")
_TAKEN = ("mlflow.", "spectui.")


def rename(record: Record, name: str) -> None:
    """Give a run another name; an empty one gives back the name of its conf. Its id stays.

    Raises:
        BadInput: it is no name, or only MLflow knows the run.
    """
    name = name.strip()
    if len(name) > _LONGEST or any(not c.isprintable() for c in name):
        raise BadInput(say("acts.bad_name", longest=_LONGEST))
    _change(record, lambda about: about | {"name": name})


def note(record: Record, text: str) -> None:
    """Set the note of a run; an empty text removes it.

    Raises:
        BadInput: only MLflow knows the run.
    """
    _change(record, lambda about: about | {"note": text.strip()})


def tag(record: Record, changes: Mapping[str, str | None]) -> None:
    """Set tags of a run; None removes one.

    Raises:
        BadInput: a key that MLflow would not take, or only MLflow knows the run.
    """
    for key in changes:
        if not _TAG.fullmatch(key) or len(key) > _LONGEST or key.startswith(_TAKEN):
            raise BadInput(say("acts.bad_tag", key=key, longest=_LONGEST))

    def changed(about: dict[str, Any]) -> dict[str, Any]:
        tags = dict(about["tags"]) if isinstance(about.get("tags"), dict) else {}
        tags |= changes
        return about | {"tags": {key: value for key, value in tags.items() if value is not None}}

    _change(record, changed)


def follow_up(record: Record) -> None:
    """Have MLflow follow what changed in an ended run; a living one's replicator sees it by itself."""
    if record.stored is not None or record.live:
        return
    if not (record.conf().get("tracking") or {}).get("enabled", True):
        return
    try:
        sync = importlib.import_module("engine.track.sync")
    except ModuleNotFoundError:
        return
    sync.start(Workspace(record.folder.path.parent.parent), record.folder)


def _change(record: Record, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    if record.stored is not None:
        raise BadInput(say("acts.only_in_mlflow", run=record.run_id))
    folder = record.folder
    with locked(folder.path.parent / ".acts.lock"):
        if not folder.path.is_dir():
            raise BadInput(say("acts.gone", run=record.run_id))
        write_json(folder.about, change(folder.read_json(folder.about)))
    record.refresh()
    follow_up(record)
