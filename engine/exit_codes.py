"""Exit codes of the engine: a contract with scripts and schedulers."""

from __future__ import annotations

DONE = 0
FAILED = 1
BAD_INPUT = 2
STOPPED = 85
OUT_OF_MEMORY = 86
NON_FINITE = 87
