"""The command palette: every key that works here, every run, conf, theme and language, by its words.

Owns what is offered, never what is done: each command is an action of the app or of the screen in front.
Lists are made when something is searched for, so opening the palette costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.command import DiscoveryHit, Hit, Hits, Provider

from engine.words import LANGUAGES, say
from tui import keys
from tui.config import THEMES
from tui.widgets.plain import plain

if TYPE_CHECKING:
    from tui.app import SpectuiApp

_MOST_RUNS = 50
Command = tuple[str, str, str, Callable[[], Any]]
"""A line, what is said of it, why it cannot be done now (else empty), and what it does."""


class _Commands(Provider):
    """What a provider offers: a line, what is said of it, and what it does."""

    @property
    def spectui(self) -> SpectuiApp:
        return self.app  # type: ignore[return-value]

    def commands(self) -> Iterator[Command]:
        """Yield everything that is on offer now."""
        yield from ()

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for line, told, why, act in self.commands():
            score = max(matcher.match(line), matcher.match(told))
            if score > 0:
                yield Hit(score, matcher.highlight(line), act, text=line, help=told + why)


class KeyProvider(_Commands):
    """The keys of the screen in front and of the app; one that cannot act now says why."""

    def commands(self) -> Iterator[Command]:
        where = getattr(self.screen, "where", "app")
        for key in keys.KEYS:
            if key.where not in (where, "app") or key.id == "app.palette":
                continue
            node = None if key.where == "app" else self.screen
            why = self.spectui.why_not(key.action, node)
            why = say("palette.not_now", why=plain(why)) if why else ""
            line = f"{say(f'key.{key.id}')}  ({key.shown(key.where)})"
            yield line, say(f"help.{key.id}"), why, partial(self.app.run_action, key.action, node or self.app)

    async def discover(self) -> Hits:
        for line, told, why, act in self.commands():
            yield DiscoveryHit(line, act, help=told + why)


class RunProvider(_Commands):
    """Every run by its id and name."""

    async def search(self, query: str) -> Hits:
        matcher, found = self.matcher(query), 0
        wanted = query.casefold().split()
        for row in self.spectui.feed.rows:
            # A fuzzy match of ten thousand names would hold up the typing; the words must be there.
            name = f"{row.name} {row.run_id}".casefold()
            if all(word in name for word in wanted):
                line = say("palette.open_run", run=plain(row.run_id))
                score = max(matcher.match(line), 0.5)
                act = partial(self.spectui.open_run, row)
                yield Hit(score, line, act, text=line, help=plain(row.name))
                found += 1
            if found == _MOST_RUNS:
                return


class ConfProvider(_Commands):
    """The launch form of every conf."""

    def commands(self) -> Iterator[Command]:
        from engine.conf.load import conf_files

        for path in conf_files(self.spectui.workspace):
            name = plain(self.spectui.workspace.relative(path))
            yield (
                say("palette.launch", conf=name),
                say("palette.launch_told"),
                "",
                partial(self._launch, path),
            )

    def _launch(self, path: Any) -> None:
        from engine.conf.load import resolve
        from engine.errors import BadInput
        from tui.screens.launch import LaunchScreen

        try:
            resolved = resolve(self.spectui.workspace, path)
        except BadInput as error:
            self.app.notify("\n".join(error.lines), severity="error", markup=False)
            return
        self.app.push_screen(LaunchScreen(resolved.conf, resolved.source))


class SettingProvider(_Commands):
    """Themes, languages, and how much is sent over the line."""

    def commands(self) -> Iterator[Command]:
        app = self.spectui
        for name in THEMES:
            told = say(f"palette.theme_told.{name}")
            yield say("palette.theme", theme=name), told, "", partial(app.action_theme, name)
        for code in LANGUAGES:
            line = say("palette.language", language=say(f"palette.languages.{code}"))
            act = partial(app.action_begin_again, "app.lang", code)
            yield line, say("palette.language_told"), "", act
        other = "no" if app.slow else "yes"
        act = partial(app.action_begin_again, "app.slow_link", other)
        yield say(f"palette.slow_{other}"), say("palette.slow_told"), "", act


PROVIDERS = {KeyProvider, RunProvider, ConfProvider, SettingProvider}
