"""The grammar of the command line: verbs, options, and one clear line for a wrong word."""

from __future__ import annotations

import argparse
import difflib
import importlib
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import engine
from engine import exit_codes
from engine.cli.fits_options import add_options as add_import_options
from engine.words import say

_ARGPARSE_SAYS = {
    r"the following arguments are required: (?P<words>.+)": "cli.missing_words",
    r"argument (?P<flag>\S+): expected (one|at least one) argument": "cli.missing_value",
    r"argument (?P<flag>\S+): (?P<why>[^:]+)": "cli.wrong_value",
    r"argument (?P<flag>\S+): invalid int value: (?P<given>.+)": "cli.not_whole",
}


_LIKE = 0.6


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line, with the near miss."""

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown:
            flag = unknown[1].partition("=")[0]
            message = say("cli.unknown_word", word=flag)
            option = _nearest(flag, self._words())
            message += say("conf.did_you_mean", near=option) if option else ""
        bad_verb = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if bad_verb:
            known = re.findall(r"[\w-]+", bad_verb[2])
            message = say("cli.unknown_word", word=bad_verb[1])
            near = difflib.get_close_matches(bad_verb[1], known, n=1, cutoff=0.5)
            hint = say("conf.did_you_mean", near=near[0]) if near else ""
            message += hint or say("cli.known_words", words=", ".join(known))
        # argparse's own words, in the user's language.
        for pattern, key in _ARGPARSE_SAYS.items():
            said = re.fullmatch(pattern, message)
            if said:
                message = say(key, **said.groupdict())
        print(f"{self.prog}: {message}", file=sys.stderr)
        sys.exit(exit_codes.BAD_INPUT)

    def _words(self) -> list[str]:
        """Return every option of this parser and of the verbs below it."""
        found: list[str] = []
        for action in self._actions:
            found += action.option_strings
            if isinstance(action, argparse._SubParsersAction):
                for below in action.choices.values():
                    found += below._words()
        return found


def _nearest(flag: str, options: list[str]) -> str | None:
    """Return the option most like a flag, as a whole or by its last word: --epocks is --train_epochs."""

    def likeness(option: str) -> float:
        words = (option, f"--{option.rpartition('_')[2].lstrip('-')}")
        return max(difflib.SequenceMatcher(None, flag, word).ratio() for word in words)

    best = max(options, key=likeness, default=None)
    return best if best is not None and likeness(best) >= _LIKE else None


def build(program: str) -> Parser:
    """Return the parser of every verb; the verbs' modules are imported when they are run."""
    top = Parser(prog=program, description=say("cli.about"), epilog=say("cli.epilog"), allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"spectui {engine.__version__}")
    _globals(top, first=True)
    verbs = top.add_subparsers(dest="verb", metavar=say("cli.verb"), required=True, parser_class=Parser)

    add = _adder(verbs)
    init = add("init", "workspace:init")
    init.add_argument("dir", metavar="DIR", help=say("cli.init_dir"))

    train = add("train", "training:train")
    train.add_argument("conf", nargs="?", metavar="CONF", help=say("cli.conf"))
    _training_options(train)
    train.add_argument("--from", dest="from_run", metavar="RUN", help=say("cli.from_run"))
    train.add_argument("--partial", action="store_true", help=say("cli.partial"))
    _process_options(train)
    train.add_argument("--run", help=argparse.SUPPRESS)
    train.add_argument("--again", action="store_true", help=argparse.SUPPRESS)
    resume = add("resume", "training:resume")
    resume.add_argument("runs", nargs="+", metavar="RUN", help=say("cli.run"))
    resume.add_argument("--detach", action="store_true", help=say("cli.detach"))
    _process_options(resume)
    _add_acts(add)

    confs = add("confs", "things:confs", json=True)
    confs.set_defaults()
    schedule = add("schedule", "schedule:schedule", json=True)
    schedule.add_argument("conf", metavar="CONF", help=say("cli.conf"))
    schedule.add_argument("--set", dest="sets", action="append", metavar="K=V", help=say("cli.set"))
    size = add("size", "size:size", json=True)
    size.add_argument("conf", metavar="CONF", help=say("cli.conf"))
    size.add_argument("--set", dest="sets", action="append", metavar="K=V", help=say("cli.set"))
    models = add("models", "things:models", json=True)
    models_verbs = models.add_subparsers(dest="sub", metavar=say("cli.sub"), parser_class=Parser)
    show_model = _adder(models_verbs, "models.")("show", "things:show_model", json=True)
    show_model.add_argument("name", metavar="NAME")

    runs = add("runs", "inspect:runs", json=True)
    runs.add_argument("--filter", metavar="E", help=say("cli.filter"))
    runs.add_argument("--sort", metavar="K", help=say("cli.sort"))
    runs.add_argument("--columns", metavar="K,K", help=say("cli.columns"))
    runs.add_argument("--limit", metavar="N", type=_count, help=say("cli.limit"))
    runs.add_argument("--csv", action="store_true", help=say("cli.csv"))
    add("show", "inspect:show", json=True).add_argument("run", metavar="RUN", help=say("cli.run"))
    watch = add("watch", "inspect:watch", json=True)
    watch.add_argument("run", metavar="RUN", help=say("cli.run"))
    watch.add_argument("--until-bad", action="store_true", help=say("cli.until_bad"))
    compare = add("compare", "comparing:compare", json=True)
    compare.add_argument("runs", nargs="+", metavar="RUN", help=say("cli.run"))
    compare.add_argument("--baseline", metavar="RUN", help=say("cli.baseline"))
    compare.add_argument("--all", action="store_true", help=say("cli.compare_all"))
    shown = compare.add_mutually_exclusive_group()
    shown.add_argument("--markdown", action="store_true", help=say("cli.markdown"))
    shown.add_argument("--csv", action="store_true", help=say("cli.compare_csv"))
    shown.add_argument("--curves", action="store_true", help=say("cli.compare_curves"))
    shown.add_argument("--figure", metavar="FILE", help=say("cli.compare_figure"))
    compare.add_argument("--quantity", metavar="K", help=say("cli.quantity"))
    compare.add_argument("--log", action="store_true", help=say("cli.log_y"))
    diagnose = add("diagnose", "inspect:diagnose", json=True)
    diagnose.add_argument("what", metavar="RUN|CONF", help=say("cli.run_or_conf"))

    _queue_verbs(add("queue", "queueing:show", json=True))

    data = add("data", "data:check")
    data_verbs = data.add_subparsers(dest="sub", metavar=say("cli.sub"), required=True, parser_class=Parser)
    add_data = _adder(data_verbs, "data.")
    check = add_data("check", "data:check", json=True)
    check.add_argument("path", nargs="?", metavar="PATH", help=say("cli.data_path"))
    check.add_argument("--conf", metavar="CONF", help=say("cli.data_conf"))
    spectrum = add_data("spectrum", "spectrum:spectrum", json=True)
    spectrum.add_argument("obsid", metavar="OBSID", help=say("cli.spectrum_obsid"))
    spectrum.add_argument("--path", metavar="DATA", help=say("cli.spectrum_path"))
    spectrum.add_argument("--conf", metavar="CONF", help=say("cli.data_conf"))
    spectrum.add_argument("--from", type=float, dest="low", metavar="Å", help=say("cli.spectrum_from"))
    spectrum.add_argument("--to", type=float, dest="high", metavar="Å", help=say("cli.spectrum_to"))
    spectrum.add_argument("--with", dest="with_obsid", metavar="OBSID", help=say("cli.spectrum_with"))
    spectrum.add_argument(
        "--frame", choices=("vacuum", "air"), default="vacuum", help=say("cli.spectrum_frame")
    )
    spectrum.add_argument("--width", type=_count, metavar="N", help=say("cli.spectrum_width"))
    spectrum.add_argument("--height", type=_count, metavar="N", help=say("cli.spectrum_height"))
    demo = add_data("demo", "data:demo")
    demo.add_argument("dir", nargs="?", metavar="DIR", help=say("cli.demo_dir"))
    demo.add_argument("--stars", type=_count, default=400, metavar="N", help=say("cli.demo_stars"))
    demo.add_argument("--seed", type=int, default=7, metavar="N", help=say("cli.demo_seed"))
    demo.add_argument("--force", action="store_true", help=say("cli.demo_force"))
    cache = add_data("cache", "cache:show")
    cache_verbs = cache.add_subparsers(
        dest="cache", metavar=say("cli.sub"), required=True, parser_class=Parser
    )
    add_cache = _adder(cache_verbs, "data.cache.")
    add_cache("list", "cache:show", json=True)
    add_cache("check", "cache:check", json=True)
    clear = add_cache("clear", "cache:clear", json=True)
    clear.add_argument("--unused", action="store_true", help=say("spectra.cache.unused"))

    add_import_options(add_data("import", "fits:import_", json=True))

    add("keys", "keys:keys", json=True)
    add("system", "system:system", json=True)
    doctor = add("doctor", "doctor:doctor", json=True)
    doctor.add_argument("--repair", action="store_true", help=say("cli.repair"))

    sync = add("sync", "tracking:sync", json=True)
    sync.add_argument("runs", nargs="*", metavar="RUN", help=say("cli.run"))
    sync.add_argument("--upgrade", action="store_true", help=say("cli.sync_upgrade"))
    sync.add_argument("--migrate", action="store_true", help=say("cli.sync_migrate"))
    ui = add("ui", "workspace:ui")
    ui.add_argument("--port", type=_port, default=5000, metavar="N", help=say("cli.port"))
    return top


def _queue_verbs(queue: argparse.ArgumentParser) -> None:
    verbs = queue.add_subparsers(dest="sub", metavar=say("cli.sub"), parser_class=Parser)
    add = _adder(verbs, "queue.")
    add("list", "queueing:show", json=True)
    for name in ("add", "remove"):
        add(name, f"queueing:{name}").add_argument("runs", nargs="+", metavar="RUN", help=say("cli.run"))
    add("pause", "queueing:pause")
    add("resume", "queueing:resume")
    move = add("move", "queueing:move")
    move.add_argument("run", metavar="RUN", help=say("cli.run"))
    move.add_argument("where", metavar="first|last|up|down|N", help=say("cli.queue_place"))
    add("slots", "queueing:slots").add_argument("slots", metavar="auto|N|cpu:N", help=say("cli.queue_slots"))
    policy = add("policy", "queueing:policy")
    policy.add_argument("policy", metavar="continue|pause", help=say("cli.queue_policy"))


def _training_options(parser: argparse.ArgumentParser) -> None:
    from_flags = parser.add_argument_group(say("cli.known_flags"))
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="K=V", help=say("cli.set"))
    from_flags.add_argument("--model", metavar="NAME", help=say("cli.model"))
    from_flags.add_argument("--model_conf", metavar="FILE", help=say("cli.model_conf"))
    from_flags.add_argument("--model_id", metavar="NAME", help=say("cli.model_id"))
    for flag in (
        "batch_size",
        "learning_rate",
        "train_epochs",
        "gradient_clip_val",
        "patience",
        "seed",
        "device",
    ):
        from_flags.add_argument(f"--{flag}", metavar="V", help=say(f"cli.{flag}"))


def _process_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(say("cli.processes"))
    group.add_argument("--nproc", type=_count, metavar="N", help=say("cli.nproc"))
    group.add_argument("--nnodes", type=_count, metavar="N", help=say("cli.nnodes"))
    group.add_argument("--node_rank", type=_natural, metavar="N", help=say("cli.node_rank"))
    group.add_argument("--rdzv_endpoint", metavar="HOST:PORT", help=say("cli.rdzv_endpoint"))
    group.add_argument("--restarts", type=_natural, metavar="N", help=say("cli.restarts"))


def _adder(verbs: Any, prefix: str = "") -> Callable[..., argparse.ArgumentParser]:
    def add(name: str, target: str, *, json: bool = False) -> argparse.ArgumentParser:
        text = say(f"cli.verbs.{prefix}{name}")
        parser = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        _globals(parser, first=False)
        if json:
            parser.add_argument("--json", action="store_true", help=say("cli.json"))
        parser.set_defaults(act=_later(target))
        return parser

    return add


def _globals(parser: argparse.ArgumentParser, *, first: bool) -> None:
    """Add the options that may stand before or after the verb."""
    absent = None if first else argparse.SUPPRESS
    parser.add_argument("--root", metavar="DIR", default=absent, help=say("cli.root"))
    parser.add_argument("--lang", choices=("en", "zh"), default=absent, help=say("cli.lang"))


def _later(target: str) -> Callable[[argparse.Namespace], int]:
    """Return a function that imports 'module:function' when it is called: `--help` loads no verb."""
    module, _, function = target.partition(":")

    def act(arguments: argparse.Namespace) -> int:
        return int(getattr(importlib.import_module(f"engine.cli.{module}"), function)(arguments))

    return act


def _add_acts(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs that act on runs."""
    launch = add("launch", "acting:launch", json=True)
    launch.add_argument("confs", nargs="*", metavar="CONF", help=say("cli.conf"))
    _training_options(launch)
    launch.add_argument("--from", dest="from_run", metavar="RUN", help=say("cli.from_run"))
    launch.add_argument("--partial", action="store_true", help=say("cli.partial"))
    launch.add_argument("--queue", action="store_true", help=say("cli.queue"))
    _process_options(launch)

    stop = add("stop", "acting:stop", json=True)
    stop.add_argument("runs", nargs="+", metavar="RUN", help=say("cli.run"))
    stop.add_argument("--now", action="store_true", help=say("cli.stop_now"))
    stop.add_argument("--grace", type=_seconds, metavar="S", help=say("cli.grace"))

    rerun = add("rerun", "acting:rerun", json=True)
    rerun.add_argument("runs", nargs="+", metavar="RUN", help=say("cli.run"))
    rerun.add_argument("--set", action="append", default=[], dest="sets", metavar="K=V", help=say("cli.set"))
    rerun.add_argument("--name", metavar="NAME", help=say("cli.model_id"))
    rerun.add_argument("--from-weights", action="store_true", help=say("cli.from_weights"))
    rerun.add_argument("--queue", action="store_true", help=say("cli.queue"))
    rerun.add_argument("--foreground", action="store_true", help=say("cli.foreground"))

    rename = add("rename", "acting:rename")
    rename.add_argument("run", metavar="RUN", help=say("cli.run"))
    rename.add_argument("name", metavar="NAME", help=say("cli.new_name"))
    note = add("note", "acting:note", json=True)
    note.add_argument("run", metavar="RUN", help=say("cli.run"))
    note.add_argument("text", nargs="?", metavar="TEXT", help=say("cli.note_text"))
    tag = add("tag", "acting:tag", json=True)
    tag.add_argument("words", nargs="+", metavar="RUN|K=V|K-", help=say("cli.tag_words"))

    remove = add("rm", "trash:rm", json=True)
    remove.add_argument("runs", nargs="+", metavar="RUN", help=say("cli.run"))
    remove.add_argument("--yes", action="store_true", help=say("cli.do_not_ask"))
    trash = add("trash", "trash:listing", json=True)
    trash_verbs = trash.add_subparsers(dest="sub", metavar=say("cli.sub"), parser_class=Parser)
    add_trash = _adder(trash_verbs, "trash.")
    add_trash("list", "trash:listing", json=True)
    restore = add_trash("restore", "trash:restore", json=True)
    restore.add_argument("runs", nargs="+", metavar="RUN", help=say("cli.run"))
    empty = add_trash("empty", "trash:empty", json=True)
    empty.add_argument("runs", nargs="*", metavar="RUN", help=say("cli.run"))
    empty.add_argument("--yes", action="store_true", help=say("cli.do_not_ask"))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e7:
        raise argparse.ArgumentTypeError(say("cli.seconds"))
    return seconds


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(say("cli.count"))
    return int(text)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(say("cli.natural"))
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(say("cli.port_range"))
    return int(text)
