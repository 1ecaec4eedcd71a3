"""`python -m engine VERB …`: the same verbs as `spectui`, without the app."""

from __future__ import annotations

import sys

from engine.train.stop import note_early

note_early(sys.argv[1:])

from engine.cli import main  # noqa: E402 - asked to stop while this is loaded, a run still ends well

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], program="python -m engine"))
