"""The one table of keys: no clash, words for everything, actions that exist, a keymap up to date."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from textual.screen import Screen

from engine import words
from tui import keys
from tui.app import SpectuiApp
from tui.screens.compare import CompareScreen
from tui.screens.data import DataScreen
from tui.screens.experiments import ExperimentsScreen
from tui.screens.help import HelpScreen
from tui.screens.launch import LaunchScreen
from tui.screens.queue import QueueScreen
from tui.screens.run import RunScreen
from tui.screens.runs import RunsScreen
from tui.screens.spectrum import SpectrumScreen
from tui.screens.system import SystemScreen
from tui.screens.trash import TrashScreen
from tui.widgets.bars import KeyBar
from tui.widgets.conf_pane import ConfPane
from tui.widgets.files_pane import FilesPane
from tui.widgets.log_pane import FilePane, LogPane
from tui.widgets.predictions_pane import PredictionsPane

KEYMAP = Path(__file__).resolve().parents[2] / "docs" / "keymap.md"
SCREENS = {
    "runs": RunsScreen, "run": RunScreen, "experiments": ExperimentsScreen, "compare": CompareScreen,
    "launch": LaunchScreen, "queue": QueueScreen, "trash": TrashScreen, "data": DataScreen,
    "spectrum": SpectrumScreen, "system": SystemScreen,
}  # fmt: skip
# Tabs of a run whose keys go before those of the run while they are in front.
PANES = {"log": LogPane, "conf": ConfPane, "files": FilesPane, "predictions": PredictionsPane,
         "pager": FilePane}  # fmt: skip


@pytest.mark.parametrize("place", [*SCREENS, *PANES, "app"])
def test_no_key_does_two_things_in_one_place(place: str) -> None:
    bound = [
        (pressed, key.id)
        for key in keys.KEYS
        if key.where in (place, "app")
        for pressed in key.keys.split(",")
        if not (key.where == "app" and (place, pressed) in keys.TAKEN_OVER)
    ]
    twice = [pressed for pressed, count in Counter(pressed for pressed, _ in bound).items() if count > 1]
    assert not twice, [pair for pair in bound if pair[0] in twice]


def test_every_id_is_there_once_and_in_a_known_place() -> None:
    assert len({key.id for key in keys.KEYS}) == len(keys.KEYS)
    assert {key.where for key in keys.KEYS} == set(keys.PLACES) == {*SCREENS, *PANES, "app"}


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_every_key_and_place_has_words_in_both_languages(language: str) -> None:
    catalogue = words.catalogue(language)
    wanted = [f"{kind}.{key.id}" for key in keys.KEYS for kind in ("key", "help")]
    wanted += [f"help.{kind}.{place}" for place in keys.PLACES for kind in ("place", "about")]
    assert [name for name in wanted if not catalogue.get(name, "").strip()] == []


@pytest.mark.parametrize("key", keys.KEYS, ids=lambda key: key.id)
def test_every_action_exists_where_it_is_bound(key: keys.Key) -> None:
    name = key.action.partition("(")[0]
    target: type = SpectuiApp if key.where == "app" else (SCREENS | PANES)[key.where]
    if name.startswith("app."):
        name, target = name.removeprefix("app."), SpectuiApp
    assert callable(getattr(target, f"action_{name}", None)), f"{target.__name__} has no action {name}"
    bound = {binding for bindings in keys.bindings(key.where) for binding in bindings.key.split(",")}
    assert set(key.keys.split(",")) <= bound


def test_the_keymap_in_the_docs_is_the_table() -> None:
    assert KEYMAP.read_text(encoding="utf-8") == keys.keymap_markdown(), (
        "docs/keymap.md is stale; write it again from tui.keys.keymap_markdown()"
    )


@pytest.mark.parametrize("place", [*SCREENS, *PANES])
def test_the_key_bar_has_help_and_a_way_out_and_at_most_seven_keys(place: str) -> None:
    chosen = KeyBar(place).chosen(78)
    assert len(chosen) <= 7
    assert ("f1" if place == "launch" else "?") in [shown for shown, _ in chosen]
    assert {"q", "esc"} & {shown for shown, _ in chosen}


def test_screens_take_their_keys_from_the_table() -> None:
    for place, screen in (SCREENS | PANES).items():
        assert [b.id for b in screen.BINDINGS] == [key.id for key in keys.of(place)]
        assert screen.where == place and (issubclass(screen, Screen) or place in PANES)
    assert [b.id for b in SpectuiApp.BINDINGS] == [key.id for key in keys.of("app")]
    assert issubclass(HelpScreen, Screen)
