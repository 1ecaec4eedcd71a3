"""torchrun as a child of the supervisor: `python -m engine.train.torchrun LOG PROBLEM WORDS OF TORCHRUN`.

What it says goes to LOG and not to the screen, which belongs to the first process of the run. A process that
ended badly makes it raise: that is in LOG too, and its last line in PROBLEM.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path


def main(argv: list[str]) -> int:
    """Start the processes and wait for their end; return 0 when all of them returned 0."""
    log, problem, *words = argv
    # Its own words only: the processes inherit the true stdout and stderr of this one.
    sys.stdout = sys.stderr = Path(log).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115 - to the end
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from torch.distributed.run import parse_args, run

    try:
        run(parse_args(words))
    except Exception as error:  # noqa: BLE001 - whatever it was, it is told and ends in an exit code
        traceback.print_exc()
        Path(problem).write_text(f"{type(error).__name__}: {error}".splitlines()[0], encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
