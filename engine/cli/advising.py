"""`diagnose` and `rerun --remedy`: what is wrong, what would help, and trying it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from engine import diagnose as advisor
from engine import exit_codes, workspace
from engine.cli.inspect import is_conf
from engine.cli.text import message, print_json
from engine.diagnose import outcome, relaunch, replay, shown
from engine.errors import BadInput
from engine.runs.record import Record
from engine.track import listing
from engine.words import say
from engine.workspace import Workspace


def diagnose(arguments: argparse.Namespace) -> int:
    """Say what is wrong with a run, or with a conf before it is run."""
    here = workspace.find(arguments.root)
    if is_conf(here, arguments.what):
        return _conf(here, arguments)
    record = listing.find(here, arguments.what)
    findings = advisor.of_run(here, record)
    tried = outcomes_of(here, [record])
    again = replay.of(record)
    if arguments.json:
        facts = {"findings": [shown.plain(record, finding) for finding in findings]}
        more: dict[str, Any] = {} if again is None else {"replay": again.plain()}
        more |= {"outcomes": [one.plain() for one in tried]} if tried else {}
        print_json(facts | more)
        return exit_codes.DONE
    blocks = ["\n".join(lines) for lines in shown.run_lines(record, findings)]
    blocks = blocks or [say("diagnose.none")]
    blocks += [] if again is None else ["\n".join(again.lines())]
    print("\n\n".join([*blocks, *outcome_lines(tried)]))
    return exit_codes.DONE


def _conf(here: Workspace, arguments: argparse.Namespace) -> int:
    from engine.conf.load import resolve

    conf = resolve(here, arguments.what).conf
    findings = advisor.of_conf(here, conf)
    if arguments.json:
        told = [shown.plain_of_conf(arguments.what, conf.plain(), finding) for finding in findings]
        print_json({"findings": told})
    elif not findings:
        print(say("diagnose.none"))
    else:
        blocks = shown.conf_lines(arguments.what, conf.plain(), findings)
        print("\n\n".join("\n".join(lines) for lines in blocks))
    return exit_codes.DONE


def outcomes_of(here: Workspace, records: list[Record]) -> list[outcome.Outcome]:
    """Return how the remedies ended that these runs tried, or that were tried on them."""
    found = {}
    for record in records:
        if record.stored is not None:
            continue
        own = outcome.of_child(here, record)
        for one in [*([own] if own is not None else []), *outcome.settle(here, record)]:
            found[one.child] = one
    return list(found.values())


def outcome_lines(tried: list[outcome.Outcome], width: int = 80) -> list[str]:
    """Return each outcome as a paragraph."""
    return ["\n".join(shown.wrap(one.line(), "  ", width)) for one in tried]


def rerun(arguments: argparse.Namespace) -> int:
    """Launch remedies of a run as its children, or train one here and now."""
    here = workspace.find(arguments.root)
    if len(arguments.runs) > 1:
        raise BadInput(say("advice.one_run"))
    if arguments.foreground and (len(arguments.remedies) > 1 or arguments.queue):
        raise BadInput(say("acts.one_in_foreground"))
    if arguments.from_weights:
        raise BadInput(say("advice.from_which"))
    record = listing.find(here, arguments.runs[0])
    findings = advisor.of_run(here, record)
    wanted = _chosen(findings, arguments.remedies)
    if arguments.foreground:
        return _foreground(here, arguments, record, wanted)
    begins = [relaunch.beginning(record, one, arguments.start_from) for one in wanted]
    try:
        done = relaunch.relaunch(
            here, record, wanted, how=arguments.start_from, sets=arguments.sets, name=arguments.name,
            queue=arguments.queue, command=sys.argv,
        )  # fmt: skip
    except OSError as error:
        message(say("train.no_folder", place=here.relative(here.runs), error=error.strerror or error))
        return exit_codes.FAILED
    if arguments.json:
        print_json([
            launched.plain() | {"remedy": one.address} for launched, one in zip(done, wanted, strict=True)
        ])  # fmt: skip
        return exit_codes.DONE
    for launched, one, begin in zip(done, wanted, begins, strict=True):
        print(launched.folder.run_id, flush=True)
        message(say("advice.launching", address=one.address, title=one.remedy.title))
        message(shown.start_line(begin))
    message(say("advice.compare_later", runs=" ".join([record.run_id, *(d.folder.run_id for d in done)])))
    return exit_codes.DONE


def _foreground(
    here: Workspace, arguments: argparse.Namespace, record: Record, wanted: list[relaunch.Choice]
) -> int:
    from engine.train import attempt
    from engine.train.stop import Stop

    stop = Stop.early()
    (made,) = relaunch.relaunch(
        here, record, wanted, how=arguments.start_from, sets=arguments.sets, name=arguments.name,
        start=False, command=sys.argv,
    )  # fmt: skip
    print(made.folder.run_id, flush=True)
    return attempt.detached(here, made.folder.run_id, stop)


def _chosen(findings: list[advisor.Finding], words: list[str]) -> list[relaunch.Choice]:
    problems: list[str] = []
    wanted: dict[str, relaunch.Choice] = {}
    for word in words:
        try:
            choice = relaunch.chosen(findings, word)
        except BadInput as error:
            problems += error.lines
        else:
            wanted[choice.address] = choice
    if problems:
        raise BadInput(problems)
    return list(wanted.values())
