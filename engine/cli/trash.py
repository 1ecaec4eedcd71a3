"""`rm` and `trash`: remove runs, list what was removed, bring it back, delete it for good."""

from __future__ import annotations

import argparse
import sys

from engine import exit_codes, workspace
from engine.cli.acting import records_of
from engine.cli.text import age, message, print_json, print_table
from engine.errors import BadInput
from engine.runs import acts, trash
from engine.runs.record import Record
from engine.words import say


def rm(arguments: argparse.Namespace) -> int:
    """Move runs to the trash."""
    here = workspace.find(arguments.root)
    records = records_of(here, arguments.runs)
    live = [record for record in records if record.live and record.stored is None]
    if live:
        raise BadInput([say("trash.live", run=record.run_id) for record in live])
    if not _sure(say("trash.sure_rm"), [_line(record) for record in records], arguments.yes):
        return exit_codes.FAILED
    removed: list[str] = []
    problems: list[str] = []
    for record in records:
        try:
            acts.remove(here, record)
        except BadInput as error:
            problems += error.lines
        except OSError as error:
            problems.append(f"{record.run_id}: {error.strerror or error}")
        else:
            removed.append(record.run_id)
    if arguments.json:
        print_json({"removed": removed})
    elif removed:
        message(say("trash.moved", count=len(removed), run=removed[0]))
    for line in problems:
        message(line)
    return exit_codes.BAD_INPUT if problems else exit_codes.DONE


def listing(arguments: argparse.Namespace) -> int:
    """List the trash."""
    here = workspace.find(arguments.root)
    found = trash.listing(here)
    if arguments.json:
        print_json([one.plain() for one in found])
    elif found:
        heads = [say(f"trash.column.{name}") for name in ("run", "name", "size", "removed")]
        print_table(
            heads, [[one.run_id, one.name, size_text(one.size), age(one.removed_at)] for one in found]
        )
    else:
        message(say("trash.empty"))
    return exit_codes.DONE


def restore(arguments: argparse.Namespace) -> int:
    """Bring runs back."""
    here = workspace.find(arguments.root)
    back = trash.restore(here, arguments.runs)
    if arguments.json:
        print_json({"restored": back})
    else:
        print("\n".join(back))
    return exit_codes.DONE


def empty(arguments: argparse.Namespace) -> int:
    """Delete what is in the trash for good."""
    here = workspace.find(arguments.root)
    chosen = trash.chosen(here, arguments.runs) if arguments.runs else trash.listing(here)
    lines = [f"{one.run_id}  {one.name}  {size_text(one.freed)}  {age(one.removed_at)}" for one in chosen]
    if chosen and not _sure(say("trash.sure_empty"), lines, arguments.yes):
        return exit_codes.FAILED
    freed = trash.empty(here, [one.run_id for one in chosen])
    if arguments.json:
        print_json({"deleted": [one.run_id for one in chosen], "freed": freed})
    else:
        message(say("trash.emptied", count=len(chosen), size=size_text(freed)))
    return exit_codes.DONE


def size_text(size: float) -> str:
    """Return bytes as '3.1 MB'."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _line(record: Record) -> str:
    state = say(f"state.{record.state}")
    if record.stored is not None:
        return f"{record.run_id}  {record.name}  {state}  {say('trash.only_mlflow')}"
    size = size_text(trash.size_of(record.folder.path)[0])
    return f"{record.run_id}  {record.name}  {state}  {size}  {age(record.created_at)}"


def _sure(question: str, lines: list[str], yes: bool) -> bool:
    """Name every object and ask; without a terminal the answer must have been given."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise BadInput(say("trash.needs_yes"))
    for line in lines:
        message(line)
    print(question, end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes", "是")
