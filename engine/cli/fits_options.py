"""The options of `data import`: words only, so that `--help` of every verb stays quick."""

from __future__ import annotations

import argparse

from engine.words import say


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `data import` to its parser."""
    option = parser.add_argument
    option("paths", nargs="+", metavar="PATH", help=say("fits.option.paths"))
    option("--out", required=True, metavar="DIR", help=say("fits.option.out"))
    option("--labels", metavar="FILE", help=say("fits.option.labels"))
    option("--grid", metavar="GRID", default="3900:8800:1", help=say("fits.option.grid"))
    option("--continuum", metavar="METHOD", default="spline", help=say("fits.option.continuum"))
    velocity = parser.add_mutually_exclusive_group()
    velocity.add_argument("--rv", choices=("header", "none"), default="header", help=say("fits.option.rv"))
    velocity.add_argument("--rv-column", metavar="NAME", help=say("fits.option.rv_column"))
    option("--frame", choices=("vacuum", "air"), default="vacuum", help=say("fits.option.frame"))
    option("--telluric", choices=("keep", "mask"), default="keep", help=say("fits.option.telluric"))
    option("--any-class", action="store_true", help=say("fits.option.any_class"))
    option("--max-masked", type=_share, default=0.5, metavar="SHARE", help=say("fits.option.max_masked"))
    option("--min-coverage", type=_share, default=0.0, metavar="SHARE", help=say("fits.option.min_coverage"))
    option("--jobs", type=_jobs, metavar="N", help=say("fits.option.jobs"))
    option("--cache", action="store_true", help=say("fits.option.cache"))
    option("--force", action="store_true", help=say("fits.option.force"))


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(say("fits.share"))
    return value


def _jobs(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(say("cli.count"))
    return int(text)
