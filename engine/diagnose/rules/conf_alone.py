"""SP3xx: what a conf alone tells, before it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.diagnose import remedies
from engine.diagnose.findings import Finding, Remedy, Severity
from engine.words import say
from engine.workspace import Workspace

if TYPE_CHECKING:
    from engine.conf.schema import Conf


def of_conf(workspace: Workspace, conf: Conf) -> list[Finding]:
    """Return what the conf alone tells, before it is run."""
    plain = conf.plain()
    found: list[Finding] = []
    rate = conf.training.learning_rate

    def add(identity: str, severity: Severity, remedy: Remedy | None, **evidence: float) -> None:
        remedy_or_none = (remedy,) if remedy is not None else ()
        found.append(
            Finding(identity, severity, say(f"diagnose.{identity}"), dict(evidence), None, remedy_or_none)
        )

    if rate >= remedies.HIGH_RATE:
        add("SP301", "warning", remedies.lower_rate(plain), learning_rate=rate)
    if conf.training.gradient_clip_val is None:
        add("SP302", "info", remedies.clip_gradients(plain))
    if conf.data.clip.normalized is None:
        add("SP303", "info", remedies.clip_inputs(plain))
    if remedies.norm_of(workspace, plain)[1] == "bn":
        add("SP304", "info", remedies.layer_norm(workspace, plain))
    return found
