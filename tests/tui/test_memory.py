"""What was freed goes back to the machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROBE = """
from tui.memory import give_back
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
# Small pieces, of which the last one stays: the C library keeps what lies under it.
pieces = [bytearray(1000) for _ in range(40_000)]
last = bytearray(1000)
full = resident()
del pieces
kept = resident()
give_back()
print(full - kept, kept - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc and /proc are of Linux")
def test_what_was_freed_goes_back_to_the_machine() -> None:
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True)
    by_itself, given_back = (int(word) for word in done.stdout.split())
    assert given_back > 20e6, f"{by_itself} bytes went by themselves, {given_back} when asked"

_STANDING = """
import gc
gc.disable()
from tui.memory import Standing
standing = Standing()
seen, kept = [], []
for rows in (100, 110, 200):
    kept += [[] for _ in range(1000)]
    standing.note(rows)
    seen.append(gc.get_freeze_count())
print(gc.isenabled(), *seen)
"""


def test_what_stays_is_set_aside_when_the_list_has_grown() -> None:
    done = subprocess.run([sys.executable, "-c", _STANDING], capture_output=True, text=True, check=True)
    enabled, first, little, much = done.stdout.split()
    assert enabled == "True"
    assert int(first) > 1000 and int(little) <= int(first) and int(much) > int(first) + 1000
