"""A page to draw on, and how it gets into the run folder: whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.runs.folder import RunFolder
from engine.whole import whole


def blank(width: float, height: float) -> Any:
    """Return an empty figure of so many inches."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasPdf(figure)
    return figure


def save(folder: RunFolder, name: str, figure: Any) -> Path:
    """Write a figure into figures/ of the run (temporary file beside it, rename)."""
    folder.figures.mkdir(exist_ok=True)
    with whole(folder.figures / name) as beside:
        figure.savefig(beside, format="pdf")
    return folder.figures / name
