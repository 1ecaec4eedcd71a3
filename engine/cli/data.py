"""`data check` and `data demo`: tables in, and a synthetic set to try things on."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine import workspace
from engine.cli.text import message, print_json
from engine.conf.load import resolve
from engine.words import say


def check(arguments: argparse.Namespace) -> int:
    """Report on the tables of a data set: joins, holes, wild pixels, grid, split."""
    from engine.spectra import check as checks
    from engine.train.report import Report

    here = workspace.find(arguments.root)
    conf = resolve(here, arguments.conf).conf
    data = conf.data if arguments.path is None else conf.data.model_copy(update={"path": arguments.path})
    told = Report()
    report = checks.check(here, data, told)
    told.rows_done()
    if arguments.json:
        print_json(report)
    else:
        print("\n".join(checks.format_report(report)))
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """Write the synthetic demo set."""
    from engine.spectra import synthetic

    here = workspace.find(arguments.root)
    folder = Path(arguments.dir).expanduser().resolve() if arguments.dir else here.dataset / "spectral"
    synthetic.write_demo(folder, stars=arguments.stars, seed=arguments.seed, force=arguments.force)
    message(say("cli.demo_written", stars=arguments.stars, folder=here.relative(folder)))
    return 0
