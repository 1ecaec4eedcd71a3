"""The person's own settings: what a config may say, what is said of a bad one, and that keys obey it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput
from engine.words import say
from tui import config, keys
from tui.widgets.bars import KeyBar


@pytest.fixture
def written(tmp_path: Path) -> Any:
    """Return write(text): a config file with that text."""

    def write(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def remapped() -> Any:
    yield keys.use
    keys.use({})


def test_without_a_file_everything_is_as_it_is_shipped(tmp_path: Path) -> None:
    assert config.read(tmp_path / "none.toml") == config.Config()


def test_the_file_lies_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config.file() == tmp_path / "spectui" / "config.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/ada")
    assert config.file() == Path("/home/ada/.config/spectui/config.toml")


def test_every_setting_is_read(written: Any) -> None:
    read = config.read(
        written(
            'theme = "spectui-safe"\nlang = "zh"\nmouse = false\ncharset = "ascii"\nchart_hz = 2\n'
            "slow_link = true\nbell = false\nnotify = false\ntitle = false\n"
            '[keys]\n"runs.stop" = "ctrl+x"\nruns.new = ["N", "ins"]\n'
        )
    )
    assert read == config.Config(
        keys={"runs.stop": ("ctrl+x",), "runs.new": ("N", "ins")}, theme="spectui-safe", lang="zh",
        mouse=False, charset="ascii", chart_hz=2, slow_link="yes", bell=False, notify=False, title=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mouse = true\nbell = maybe", "config.toml:2:8: not TOML"),
        ('them = "ansi"', "them: unknown setting; did you mean 'theme'?"),
        ('theme = "spectui-drak"', "did you mean 'spectui-dark'?"),
        ('mouse = "no"', "mouse: no: write true or false"),
        ("chart_hz = 0", "write a number from 0.1 to 10"),
        ("chart_hz = true", "write a number from 0.1 to 10"),
        ('keys = "x"', "write a table"),
        ("[keys]\n'runs.stop' = 3", "runs.stop = 3: write a key in quotes"),
        ("\xff", "not TOML"),
    ],
)
def test_a_bad_file_is_told_in_one_line(text: str, said: str, written: Any) -> None:
    path = written(text)
    with pytest.raises(BadInput) as caught:
        config.read(path)
    assert len(caught.value.lines) == 1 and said in caught.value.lines[0], caught.value.lines
    assert str(path) in caught.value.lines[0]


def test_all_mistakes_are_told_at_once(written: Any) -> None:
    with pytest.raises(BadInput) as caught:
        config.read(written("them = 1\nmouse = 2\n"))
    assert len(caught.value.lines) == 2


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"runs.stopp": ["x"]}, "did you mean 'runs.stop'?"),
        ({"runs.stop": ["x"]}, "runs.stop = x: this key is already runs.rerun there"),
        ({"app.help": ["x"]}, "app.help = x: this key is already"),
        ({"runs.stop": ["J", "?"]}, "runs.stop = ?: this key is already app.help there"),
        ({"runs.stop": ["j"]}, "this key moves in lists"),
        ({"launch.start": ["?"]}, "launch.start = ?: in a form this key is typed"),
    ],
)
def test_a_key_that_cannot_be_put_there_is_told(wanted: Any, said: str, remapped: Any) -> None:
    with pytest.raises(BadInput) as caught:
        remapped(wanted, "config.toml")
    assert said in caught.value.lines[0] and caught.value.lines[0].startswith("config.toml: ")
    assert keys.of("runs") == [key for key in keys.KEYS if key.where == "runs"]
    assert all(key.keys == key.default for key in keys.KEYS), "nothing is half remapped"


def test_two_actions_may_change_their_keys(remapped: Any) -> None:
    assert remapped({"runs.stop": ["x"], "runs.rerun": ["Ctrl+K"]}) == {
        "runs.stop": "x",
        "runs.rerun": "ctrl+k",
    }


@pytest.mark.parametrize(
    ("written_as", "name"),
    [
        ("?", "question_mark"),
        ("Ctrl+K", "ctrl+k"),
        ("+", "plus"),
        ("X", "X"),
        ("esc", "escape"),
        ("F5", "f5"),
    ],
)
def test_keys_are_written_as_a_person_would(written_as: str, name: str) -> None:
    assert keys.textual_name(written_as) == name


async def test_a_remapped_key_acts_and_is_shown_everywhere(make_run: Any, opened: Any, remapped: Any) -> None:
    make_run("finished")
    keymap = remapped({"runs.sort": ["o"], "runs.filter": ["ctrl+f", "W"]})
    async with opened() as glass:
        glass.app.set_keymap(keymap)
        await glass.sees("a-finished")
        await glass.press("s")
        assert say("runs.ask_sort") not in glass.text(), "the table's own key is free now"
        await glass.press("o")
        await glass.sees(say("runs.ask_sort"))
        await glass.press("escape")
        await glass.press("W")
        assert glass.app.screen.query_one("#filter").has_focus
        await glass.press("escape", "f1")
        await glass.sees("ctrl+f W", say("help.runs.filter")[:30])
        assert ("ctrl+f", say("key.runs.filter")) in KeyBar("runs").chosen(78)
        assert "`ctrl+f` `W`" in keys.keymap_markdown()


@pytest.mark.parametrize(
    ("settings", "slow", "ssh", "seconds"),
    [
        ({}, False, False, 0.5),
        ({}, False, True, 1.0),
        ({"slow_link": "no"}, False, True, 0.5),
        ({}, True, True, 2.0),
        ({"chart_hz": 4.0}, True, True, 0.25),
    ],
)
def test_how_often_live_runs_are_looked_at(
    settings: dict[str, Any], slow: bool, ssh: bool, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ssh:
        monkeypatch.setenv("SSH_CONNECTION", "a 1 b 2")
    assert config.poll_seconds(config.Config(**settings), slow) == seconds
