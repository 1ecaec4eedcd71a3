"""What every full screen has: the top bar, the key bar, and the place its keys belong to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.screen import Screen

from tui import reasons
from tui.widgets.bars import KeyBar, TopBar

if TYPE_CHECKING:
    from tui.app import SpectuiApp


class Place(Screen[None]):
    """A full screen between the two bars."""

    where: ClassVar[str] = "app"
    mode: ClassVar[str] = ""

    @property
    def spectui(self) -> SpectuiApp:
        """Return the app, typed."""
        return self.app  # type: ignore[return-value]

    def compose(self) -> ComposeResult:
        yield TopBar()
        yield from self.compose_body()
        yield KeyBar(self.where)

    def why_not(self, action: str) -> str:
        """Return why an action of this place cannot act now; empty when it can."""
        return reasons.why_not(self, action)

    def compose_body(self) -> ComposeResult:
        """Yield what stands between the bars."""
        yield from ()

    def on_screen_resume(self) -> None:
        self.catch_up()
        # The bar's width is known only after the layout that follows.
        self.call_after_refresh(self.tell_bar)

    def on_resize(self) -> None:
        self.call_after_refresh(self.tell_bar)

    def runs_changed(self) -> None:
        """Something in the list of runs changed."""
        self.catch_up()

    def catch_up(self) -> None:
        """Bring everything on the screen up to date."""
        self.tell_bar()

    def tell_bar(self) -> None:
        """Show mode, workspace and live runs in the top bar."""
        if self.is_mounted and self.query(TopBar):
            app = self.spectui
            self.query_one(KeyBar).tell()
            self.query_one(TopBar).tell(
                self.mode or app.current_mode, _from_home(app.workspace.root), app.feed.live()
            )


def _from_home(path: Path) -> str:
    """Return a path as a shell shows it: ~ for the home folder."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) and path != home else str(path)
