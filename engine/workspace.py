"""Where things are: a workspace is a folder with conf/, models/, dataset/, runs/ and MLflow's store.

Owns paths only. Creates nothing but the folders that a run needs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BadInput
from engine.words import say


@dataclass(frozen=True)
class Workspace:
    """Absolute paths of one workspace."""

    root: Path

    @property
    def conf(self) -> Path:
        return self.root / "conf"

    @property
    def networks(self) -> Path:
        """The folder in which a user drops a network file."""
        return self.root / "models" / "spectral_prediction"

    @property
    def dataset(self) -> Path:
        return self.root / "dataset"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def mlflow_db(self) -> Path:
        """MLflow's own default store for this folder: what a bare `mlflow ui` opens here."""
        return self.root / "mlflow.db"

    @property
    def cache(self) -> Path:
        """Things that can be thrown away at any time."""
        return self.root / ".cache"

    def relative(self, path: Path) -> str:
        """Return the path as the user would type it from the root."""
        try:
            return str(path.resolve().relative_to(self.root))
        except ValueError:
            return str(path)


def find(root: str | Path | None = None) -> Workspace:
    """Return the workspace at `root`, else at `SPECTUI_ROOT`, else here.

    Raises:
        BadInput: the folder does not exist or has no conf/.
    """
    chosen = Path(root or os.environ.get("SPECTUI_ROOT") or ".").expanduser().resolve()
    if not chosen.is_dir():
        raise BadInput(say("workspace.missing", root=chosen))
    if not (chosen / "conf").is_dir():
        raise BadInput(say("workspace.not_one", root=chosen))
    return Workspace(chosen)
