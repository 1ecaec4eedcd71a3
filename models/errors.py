"""What can be wrong with a network: plain English, and attributes for wording it otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BrokenFile:
    """A network file that could not be imported, and why."""

    path: Path
    error: str

    def __str__(self) -> str:
        return f"{self.path}: {self.error}"


class ModelError(Exception):
    """A network cannot be found, built or used as the contract says."""


class UnknownModel(ModelError):  # noqa: N818 - reads as what it is
    """No network has this name; `near` are similar names, `broken` the files that might have held it."""

    def __init__(self, name: str, near: Sequence[str], known: Sequence[str],
                 broken: Sequence[BrokenFile] = ()) -> None:
        self.name, self.near, self.known, self.broken = name, list(near), list(known), list(broken)
        text = f"unknown model {name!r}"
        if near:
            text += "; did you mean " + " or ".join(repr(one) for one in near) + "?"
        text += f"; known: {', '.join(known) or 'none'}"
        for file in broken:
            text += f"\nnot readable, it may hold the model: {file}"
        super().__init__(text)


class DuplicateModel(ModelError):  # noqa: N818
    """Two classes ask for the same name; `files` are the places."""

    def __init__(self, name: str, files: Sequence[Path]) -> None:
        self.name, self.files = name, list(files)
        places = " and ".join(str(file) for file in files)
        super().__init__(f"two models are called {name!r}: {places}; rename one of them")


class ContractError(ModelError):
    """A network does not take, build from or give back what the engine promised."""

    def __init__(self, reason: str, *, name: str = "", near: Sequence[str] = (),
                 got: tuple[int, ...] | None = None, wanted: tuple[int, ...] | None = None) -> None:
        self.reason, self.name, self.near = reason, name, list(near)
        self.got, self.wanted = got, wanted
        super().__init__(f"model {name}: {reason}" if name else reason)
