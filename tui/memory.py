"""Memory that was freed goes back to the machine: reading a long history leaves twenty megabytes behind.

Owns nothing. Where the C library cannot do it (not glibc), nothing happens.
"""

from __future__ import annotations

import gc


def give_back() -> None:
    """Collect what is garbage, and let the C library return the pages that are free; takes milliseconds."""
    import ctypes  # numpy has it by now; the start of the app does without

    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return
