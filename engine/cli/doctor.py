"""`doctor`: what is wrong with a workspace, and with --repair what was mended."""

from __future__ import annotations

import argparse

from engine import doctor as examining
from engine import exit_codes, workspace
from engine.cli.text import print_json
from engine.words import say

_MARKS = {
    examining.OK: "✓",
    examining.WARNING: "!",
    examining.PROBLEM: "✗",
    examining.MENDED: "+",
}


def doctor(arguments: argparse.Namespace) -> int:
    """Check the workspace; exit 1 when a problem is left."""
    here = workspace.find(arguments.root)
    found = examining.examine(here, repair=arguments.repair)
    if arguments.json:
        print_json([check.plain() for check in found])
    else:
        for check in found:
            print(f"{_MARKS[check.status]} {say(f'doctor.{check.status}')}: {check.text}")
            if check.advice:
                print(f"  {check.advice}")
    sick = any(check.status == examining.PROBLEM for check in found)
    return exit_codes.FAILED if sick else exit_codes.DONE
