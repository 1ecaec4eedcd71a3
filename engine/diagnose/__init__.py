"""The advisor: rules over events and confs give findings with evidence and remedies. No torch.

A finding has a stable id, numbers as evidence, the steps it speaks of, and remedies in the order to try
them; a remedy may carry a patch of the conf, so a screen can show it as a diff and launch it.
"""

from __future__ import annotations

from engine.diagnose.findings import Finding, Remedy
from engine.diagnose.rules import of_conf, of_run

__all__ = ["Finding", "Remedy", "of_conf", "of_run"]
