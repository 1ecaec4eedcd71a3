"""When garbage is looked for, and what was freed goes back to the machine.

To look through ten thousand runs for garbage takes a fifth of a second, in which no key is answered; and
reading a long history leaves twenty megabytes behind.
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


class Standing:
    """Keeps what stays, the list of runs, out of the search for garbage.

    Only where the search was off from the start (`tui.__main__`): a test's process looks after itself.
    """

    def __init__(self) -> None:
        self._ours = not gc.isenabled()
        self._rows = -1

    def note(self, rows: int) -> None:
        """Set aside all there is now, if the list has grown by a quarter since the last time."""
        if self._ours and rows > 1.25 * self._rows:
            self._rows = rows
            gc.freeze()
            gc.enable()

    def begin(self) -> None:
        """Look for garbage from now on, however long the list takes to come."""
        if self._ours and self._rows < 0:
            self.note(0)
