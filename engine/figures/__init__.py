"""Figures of a run, drawn once at its end or by whoever needs them later; never while training.

Nothing here uses pyplot, which keeps global state, and matplotlib is imported inside functions.
"""

from __future__ import annotations

from engine.figures.curves import draw_curves

__all__ = ["draw_curves"]
