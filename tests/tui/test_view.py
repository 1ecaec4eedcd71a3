"""What was chosen on the screens is there at the next start, and a spoilt file costs nothing."""

from __future__ import annotations

from engine.workspace import Workspace
from tui.view import View


def test_what_was_chosen_is_there_at_the_next_start(workspace: Workspace) -> None:
    view = View(workspace)
    assert view.get("runs.sort", "created") == "created"
    view.set("runs.sort", "best.val_loss")
    view.set("runs.columns", ["state", "run"])
    view.save()
    again = View(workspace)
    assert again.get("runs.sort", "created") == "best.val_loss"
    assert again.get("runs.columns", [""]) == ["state", "run"]
    assert again.get("runs.sort", 3) == 3, "a value of another type is not what was asked for"


def test_a_spoilt_file_is_nothing_chosen(workspace: Workspace) -> None:
    view = View(workspace)
    view.set("a", 1)
    view.save()
    for text in ("", "[1]", '{"a": ', "\x00"):
        view.path.write_text(text)
        assert View(workspace).get("a", 2) == 2
    view.path.unlink()
    view.path.mkdir()
    view.set("a", 3)
    view.save()  # cannot be written: the choice lasts as long as the app
    assert view.get("a", 2) == 3
