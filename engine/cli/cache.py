"""`data cache list`, `check` and `clear`: what the cache of spectra holds, is, and frees."""

from __future__ import annotations

import argparse

from engine import exit_codes, workspace
from engine.cli.text import age, figure, message, print_json, print_table
from engine.words import say


def show(arguments: argparse.Namespace) -> int:
    """List the entries, the latest used first."""
    from engine.spectra import cache_care, cache_store

    here = workspace.find(arguments.root)
    found = cache_care.survey(here)
    if arguments.json:
        print_json(found)
        return 0
    if not found:
        message(say("spectra.cache.empty"))
        return 0
    heads = ("kind", "key", "rows", "points", "size", "used", "state", "source")
    print_table(
        [say(f"spectra.cache.{head}") for head in heads],
        [
            [
                say(f"spectra.cache.{one['kind']}"),
                one["key"][:8],
                figure(one["rows"]),
                figure(one["points"]),
                _megabytes(one["bytes"]),
                age(one["used"]) if one["used"] else "-",
                say(f"spectra.cache.{one['state']}"),
                ", ".join(one["sources"]) or "-",
            ]
            for one in found
        ],
    )
    size = _megabytes(sum(one["bytes"] for one in found))
    folder = here.relative(cache_store.shelf(here))
    message(say("spectra.cache.total", entries=len(found), size=size, folder=folder))
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Read every byte of every entry and compare it with what was written."""
    from engine.spectra import cache_care

    found = cache_care.survey(workspace.find(arguments.root), full=True)
    damaged = [one for one in found if one["state"] == "damaged"]
    if arguments.json:
        print_json({"entries": len(found), "damaged": damaged})
    elif damaged:
        for one in damaged:
            print(say(f"spectra.cache.{one['kind']}"), one["key"], ", ".join(one["sources"]))
        message(say("spectra.cache.found", damaged=len(damaged), entries=len(found)))
    else:
        print(say("spectra.cache.whole", entries=len(found)))
    return exit_codes.FAILED if damaged else exit_codes.DONE


def clear(arguments: argparse.Namespace) -> int:
    """Remove entries and say what that freed."""
    from engine.spectra import cache_care

    freed = cache_care.clear(workspace.find(arguments.root), unused=arguments.unused)
    if arguments.json:
        print_json(freed)
    else:
        print(say("spectra.cache.freed", entries=freed["entries"], size=_megabytes(freed["bytes"])))
    return 0


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
