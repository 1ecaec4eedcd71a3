"""`python -m engine VERB …`: the same verbs as `spectui`, without the app."""

from __future__ import annotations

import sys

from engine.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], program="python -m engine"))
