"""What the policies of a conf changed while a set was read, as sentences for the run's log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.spectra import DataConf
from engine.words import say


def sentences(report: Mapping[str, Any], conf: DataConf) -> list[str]:
    """Return a sentence for each thing that was changed or left out; `report` is that of `stars.Stars`."""
    found = []

    def tell(name: str, /, **values: Any) -> None:
        found.append(say(f"spectra.policy.{name}", **values))

    if lost := report["stars"] - report["matched"]:
        tell("unmatched", lost=lost, stars=report["stars"])
    if report["unlabelled"]:
        tell("unlabelled", stars=report["unlabelled"])
    if doubled := sum(report["duplicates"].values()):
        tell(f"doubled_{conf.duplicates}", obsids=doubled)
    if pixels := sum(report["nonfinite"].values()):
        tell(f"nonfinite_{conf.nonfinite}", pixels=pixels, stars=report["nonfinite_stars"])
    if report["dropped"]:
        tell("dropped", stars=report["dropped"])
    for name, pixels in report["clipped"].items():
        bounds = getattr(conf.clip, name)
        branch = say(f"spectrum.branch.{name}")
        if pixels and bounds is not None:
            tell("clipped", pixels=pixels, branch=branch, low=f"{bounds[0]:g}", high=f"{bounds[1]:g}")
        if report["wild"][name] and bounds is None:
            tell("wild", pixels=report["wild"][name], branch=branch, key=f"data.clip.{name}")
    holes = {target: count for target, count in report["labels_missing"].items() if count}
    if holes:
        tell("holes", holes=", ".join(f"{target} {count}" for target, count in holes.items()))
    return found
