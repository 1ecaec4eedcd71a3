"""Runs side by side: what differs, how far each is from a baseline, errors per label, exports.

Plain logic over records. Never imports torch, MLflow or Textual; matplotlib only where a figure is drawn.
"""

from __future__ import annotations

from engine.compare.tables import Change, Table, change, comparison, metrics, params, written

__all__ = ["Change", "Table", "change", "comparison", "metrics", "params", "written"]
