"""The command palette: every action of the key table that works here, by its sentence."""

from __future__ import annotations

from functools import partial
from typing import Any

from textual.command import DiscoveryHit, Hit, Hits, Provider

from engine.words import say
from tui import keys


class KeyProvider(Provider):
    """Offers the keys of the screen in front and of the app."""

    def _here(self) -> list[keys.Key]:
        where = getattr(self.screen, "where", "app")
        return [key for key in keys.KEYS if key.where in (where, "app") and key.id != "app.palette"]

    async def discover(self) -> Hits:
        for key in self._here():
            yield DiscoveryHit(self._line(key), self._run(key), help=say(f"help.{key.id}"))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for key in self._here():
            line = self._line(key)
            score = max(matcher.match(line), matcher.match(say(f"help.{key.id}")))
            if score > 0:
                yield Hit(score, matcher.highlight(line), self._run(key), help=say(f"help.{key.id}"))

    def _line(self, key: keys.Key) -> str:
        return f"{say(f'key.{key.id}')}  ({key.shown(key.where)})"

    def _run(self, key: keys.Key) -> Any:
        return partial(self.app.run_action, key.action, self.app if key.where == "app" else self.screen)
