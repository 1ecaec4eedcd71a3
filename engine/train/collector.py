"""Python's garbage collector, kept from work that cannot pay. No torch.

Loading torch makes half a million objects that stay until the end. The collector would look through them
again and again for garbage: an eighth of the time from the command to the first step.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_off() -> Iterator[None]:
    """Do without the collector, and count what is there at the end as here to stay."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
