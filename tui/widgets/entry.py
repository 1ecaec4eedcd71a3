"""An input line that takes its keys in the order in which they were pressed."""

from __future__ import annotations

from textual import events
from textual.binding import Binding
from textual.widgets import Input

_EDITS = {
    key: binding.action
    for binding in Input.BINDINGS
    if isinstance(binding, Binding)
    for key in binding.key.split(",")
}


class Entry(Input):
    """An input line; for typing that is quicker than the screen.

    Textual inserts a letter where the key arrives, but sends backspace and its like up to the app, which acts
    later: typed fast, `backspace 5` would put the 5 in first and then delete it. Here both act on arrival.
    """

    async def on_key(self, event: events.Key) -> None:
        action = _EDITS.get(event.key)
        if action is not None:
            event.stop()
            event.prevent_default()
            await self.run_action(action)
