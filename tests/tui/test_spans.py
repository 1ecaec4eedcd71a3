"""A partial repaint costs what changed: proved by reading it back with a terminal's own eyes."""

from __future__ import annotations

import pyte
from rich.style import Style
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.strip import Segment, Strip
from textual.widget import Widget

from tui import spans
from tui.widgets.bars import Quiet


class Wall(Widget):
    """Rows of colours and wide characters, of which a few cells are changed."""

    DEFAULT_CSS = "Wall { width: 1fr; height: 1fr; }"
    shown = "."

    def render_line(self, y: int) -> Strip:
        pieces = [
            (f"{y:02}甲乙", "bold red"),
            ("." * 50, "green"),
            (self.shown, "color(5) on blue"),
            ("|", "red"),
        ]
        return Strip([Segment(text, Style.parse(style)) for text, style in pieces])


class WallApp(App[None]):
    def compose(self) -> ComposeResult:
        yield Quiet("who is at step 1", id="told", markup=False)
        yield Wall()

    CSS = "#told { height: 1; width: 1fr; }"


def read(screen: pyte.Screen, text: str) -> list[str]:
    pyte.Stream(screen).feed(text)
    return list(screen.display)


async def test_one_changed_cell_of_each_row_costs_few_bytes_and_lands_where_it_belongs() -> None:
    spans.install()
    app = WallApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        compositor = app.screen._compositor
        whole = "\r\n".join(
            "".join(segment.text for segment in strip) for strip in compositor.render_strips()
        )
        terminal = pyte.Screen(80, 24)
        before = read(terminal, whole)
        wall = app.query_one(Wall)
        wall.shown = "#"
        wall.refresh(*(Region(56, y, 1, 1) for y in range(20)))
        wall._check_refresh()
        compositor.update_widgets({wall})
        update = compositor.render_update()
        assert update is not None
        text = update.render_segments(app.console)
        after = read(terminal, text)
        assert [row.replace("#", ".") for row in after] == before
        assert [row.index("#") - row.index("甲") for row in after if "#" in row] == [
            52
        ] * 20  # pyte shows a wide character once
        # To get there, a colour once, the cell: not the row before it.
        assert len(text) < 20 * 12 + 60


async def test_a_text_of_which_two_letters_change_repaints_two_cells() -> None:
    app = WallApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        told = app.query_one(Quiet)
        told.say("who is at step 1")
        await pilot.pause()
        told.say("who is at step 2")
        assert set(told._repaint_regions) == {Region(15, 0, 1, 1)}
        # Another change before the screen was painted takes nothing from the first.
        told.say("why is at step 2")
        assert set(told._repaint_regions) == {Region(15, 0, 1, 1), Region(2, 0, 1, 1)}
        await pilot.pause()
        assert "why is at step 2" in "".join(
            segment.text for segment in told.render_lines(Region(0, 0, 80, 1))[0]
        )


def test_a_style_is_said_only_where_it_changes() -> None:
    red, green, bold = "\x1b[38;5;1;48;5;0m", "\x1b[38;5;2;48;5;0m", "\x1b[1;38;5;2;48;5;0m"
    end, move = "\x1b[0m", "\x1b[3;4H"
    assert spans.fewer(f"{red}a{end}{red}b{end}") == f"{red}ab{end}"
    assert spans.fewer(f"{red}a{end}{move}{red}b{end}") == f"{red}a{move}b{end}"
    assert spans.fewer(f"{red}a{end}{green}b{end}") == f"{red}a\x1b[38;5;2mb{end}"
    assert spans.fewer(f"{green}a{end}{bold}b{end}{green}c{end}") == (
        f"{green}a\x1b[0;1;38;5;2;48;5;0mb\x1b[0;38;5;2;48;5;0mc{end}"
    )
    assert spans.fewer(f"{red}a{end}b{red}c{end}") == f"{red}a{end}b{red}c{end}"
    true = "\x1b[38;2;1;48;5;48;2;9;9;9m", "\x1b[38;2;1;48;6;48;2;9;9;9m"
    assert spans.fewer(f"{true[0]}a{end}{true[1]}b{end}") == f"{true[0]}a\x1b[38;2;1;48;6mb{end}"
