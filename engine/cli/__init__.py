"""The command line: words only. Each module owns a group of verbs and calls the engine for the work."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from engine import exit_codes, words
from engine.errors import BadInput
from engine.train.stop import note_early


def main(
    argv: Sequence[str], *, program: str = "spectui", draw: Callable[..., list[str]] | None = None
) -> int:
    """Run one verb and return its exit code; facts on stdout, messages on stderr.

    `draw` returns lines of text for a verb's name and facts: the engine itself cannot draw (see
    `engine.cli.spectrum`).
    """
    note_early(argv)  # asked to stop while the rest is loaded, a run still ends well
    words.choose(_language(argv))
    from engine.cli.parser import build

    arguments = build(program).parse_args(_joined(argv))
    if arguments.lang:
        words.choose(arguments.lang)
    if arguments.root:
        os.environ["SPECTUI_ROOT"] = str(arguments.root)
    arguments.draw = draw
    try:
        code = int(arguments.act(arguments))
        # Here and not at exit, where a reader that is gone would be complained about.
        sys.stdout.flush()
        return code
    except BadInput as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        return exit_codes.BAD_INPUT
    except KeyboardInterrupt:
        return exit_codes.FAILED
    except BrokenPipeError:
        # `spectui runs | head`: the reader has seen enough. Python would complain again while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.DONE


def _joined(argv: Sequence[str]) -> list[str]:
    """Write `--sort -age` as `--sort=-age`: argparse takes a value with a dash for a flag."""
    words: list[str] = []
    for word in argv:
        if words and words[-1] == "--sort" and word.startswith("-") and not word.startswith("--"):
            words[-1] = f"--sort={word}"
        else:
            words.append(word)
    return words


def _language(argv: Sequence[str]) -> str | None:
    """Find --lang before parsing: the help text itself is in that language."""
    for place, word in enumerate(argv):
        if word == "--lang" and place + 1 < len(argv):
            return argv[place + 1]
        if word.startswith("--lang="):
            return word.partition("=")[2]
    return None
