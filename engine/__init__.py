"""Spectra, confs, training, runs, tracking and diagnosis; everything works from the command line.

The engine never imports Textual. Only `engine.train` imports torch.
"""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"


def presets_folder() -> Path:
    """Return the folder of preset confs: conf/ of a checkout, or the copy inside an installed wheel."""
    inside = Path(__file__).parent / "presets"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "conf"
