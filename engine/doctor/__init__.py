"""What is wrong with a workspace and what to do about it; with repair, what is safe is mended.

Each check looks at one thing and says one line. Nothing that a person made is deleted: what is mended is what
a killed process left, and what MLflow was not told.
"""

from __future__ import annotations

from engine.doctor import place, runs
from engine.doctor.check import MENDED, OK, PROBLEM, WARNING, Check
from engine.workspace import Workspace

__all__ = ["MENDED", "OK", "PROBLEM", "WARNING", "Check", "examine"]


def examine(workspace: Workspace, *, repair: bool = False) -> list[Check]:
    """Return what every check says, healthy ones too, in the order of the workspace: place, runs, store."""
    return [*place.checks(workspace), *runs.checks(workspace, repair), *place.store_checks(workspace)]
