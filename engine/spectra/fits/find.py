"""Which files an import means: files, folders and lists of files become one ordered list.

Owns the search. Opens no FITS file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BadInput
from engine.words import say

LOOKS_LIKE_FITS = re.compile(r"\.(fits?|fts)(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """One file to import: where it is, how the user's words name it, and the state it was found in."""

    path: Path
    shown: str
    key: str


def state(path: Path) -> str:
    """Return what tells this file, as it is now, from every other: path, size and time of change."""
    try:
        stat = path.stat()
    except OSError:
        return f"{path}\0-"  # a dangling link: reading it will say so
    return f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}"


def find(words: Sequence[str]) -> list[Source]:
    """Return the files that the words mean, in their order, a folder's by name; none of them twice.

    A word is a file (whatever its name), a folder (searched to its depths for *.fits, *.fit, *.fts, packed
    or not) or @LIST, a text file with one such word a line; `#` begins a comment.

    Raises:
        BadInput: a path that does not exist, or nothing found at all; every missing path is named.
    """
    missing: list[str] = []
    found: dict[str, Source] = {}
    for word, place, within in _spoken(words, missing):
        path = Path(word).expanduser()
        if within and not path.is_absolute() and not path.exists():
            path = within / path
        if path.is_dir():
            candidates: Iterable[Path] = _walk(path)
        elif path.exists():
            candidates = [path]
        else:
            missing.append(say("fits.no_path", path=word, place=place))
            continue
        for file in candidates:
            real = Path(os.path.realpath(file))
            if str(real) not in found:
                found[str(real)] = Source(real, str(file), state(real))
    if missing:
        kept, more = missing[:10], len(missing) - 10
        raise BadInput([*kept, say("fits.more", number=more)] if more > 0 else kept)
    if not found:
        raise BadInput(say("fits.nothing_found", paths=", ".join(words)))
    return list(found.values())


def _spoken(words: Sequence[str], missing: list[str]) -> Iterator[tuple[str, str, Path | None]]:
    """Yield (word, where it was said, the list's folder), lists opened."""
    for word in words:
        if not word.startswith("@"):
            yield word, "", None
            continue
        listing = Path(word[1:]).expanduser()
        try:
            text = listing.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            missing.append(say("fits.bad_list", file=word[1:], why=error.strerror or error))
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            entry = line.strip()
            if entry and not entry.startswith("#"):
                yield entry, say("fits.in_list", file=listing, line=number), listing.parent


def _walk(folder: Path) -> Iterator[Path]:
    """Yield FITS files below a folder in a fixed order; links are followed, loops are not."""
    seen = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        # an interrupted import beside its input holds no FITS, but may hold a great many files
        folders[:] = [name for name in folders if not name.startswith(".import-")]
        for name in sorted(names):
            if LOOKS_LIKE_FITS.search(name):
                yield Path(here) / name
