"""The words of the data report: its problems as sentences, and the whole of it as lines of a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from engine.words import say

if TYPE_CHECKING:
    from engine.spectra import DataConf

WIDTH = 80
GLYPHS = {"error": "✗", "warning": "!", "info": "i"}
_ORDER = tuple(GLYPHS)
_POOR = 10.0  # S/N under which a quarter of the stars is worth a word


def problems(report: dict[str, Any], conf: DataConf, refusals: Sequence[str]) -> list[dict[str, str]]:
    """Return {id, severity, text} of all that is wrong or worth knowing, worst first."""
    found: list[tuple[str, str, str]] = []

    def tell(severity: str, name: str, /, **values: Any) -> None:
        found.append((severity, name, say(f"check.{name}", **values)))

    doubled = {name: n for name, n in report["duplicates"].items() if n}
    if doubled:
        where = ", ".join(f"{name} {n}" for name, n in doubled.items())
        tell("error" if conf.duplicates == "fail" else "warning", f"doubled_{conf.duplicates}", where=where)
    found += [("error", "split", line) for line in refusals]
    _pixel_problems(report, conf, tell)
    _label_problems(report, tell)
    if not report["policies"]["kept"]:
        tell("error", "no_star")
    elif not refusals and report["split"]:
        for name in ("val", "test"):
            if not report["split"][name]:
                tell("warning", "empty_part", part=name)
    lost = report["stars"] - report["matched"]
    if lost:
        tell("warning", "unmatched", lost=lost, stars=report["stars"])
    if report["unlabelled"]:
        tell("info", "unlabelled", stars=report["unlabelled"])
    for first, last in report["grid"]["gaps"][:3]:
        tell("warning", "gap", first=_angstrom(first), last=_angstrom(last))
    frame = report["frame"]
    if frame and frame["guess"] != "vacuum":
        tell("warning", f"frame_{frame['guess']}", shift=f"{frame['shift']:+.2f}", lines=frame["lines"])
    told = report["snr"]["column"]
    if told and told["q25"] < _POOR:
        tell("info", "poor_snr", column=told["name"], quarter=f"{told['q25']:g}")
    if not report["memory"]["resident"]:
        tell("info", "streams", size=size_words(report["memory"]["bytes"]))
    found.sort(key=lambda problem: _ORDER.index(problem[0]))
    return [{"id": name, "severity": severity, "text": text} for severity, name, text in found]


def _pixel_problems(report: dict[str, Any], conf: DataConf, tell: Any) -> None:
    policies = report["policies"]
    for branch, bad in report["nonfinite"].items():
        if bad["pixels"]:
            severity = "error" if conf.nonfinite == "fail" and policies["refused"] else "warning"
            tell(severity, f"nonfinite_{conf.nonfinite}", branch=_branch(branch), **_place(bad))
    if policies["dropped"]:
        tell("warning", f"dropped_{conf.nonfinite}", stars=policies["dropped"])
    for branch, bad in report["wild"].items():
        if bad["pixels"]:
            key = "wild_clipped" if policies["clip"][branch] else "wild"
            tell("warning", key, branch=_branch(branch), key=f"data.clip.{branch}", **_place(bad))
    for branch, bad in report["zero"].items():
        if bad["pixels"]:
            tell("info", "zero", branch=_branch(branch), **_place(bad))
    for branch, count in policies["clipped"].items():
        pixels = report["grid"]["points"] * max(1, policies["kept"])
        if count > 0.01 * pixels:
            share = f"{100 * count / pixels:.1f}"
            tell("warning", "clips_much", branch=_branch(branch), share=share, key=f"data.clip.{branch}")
    for branch, same in report["constant"].items():
        if same["columns"]:
            ranges = ", ".join(_range(*ends) for ends in same["first"])
            tell("warning", "constant", branch=_branch(branch), columns=same["columns"], ranges=ranges)
    for branch, count in report["flat"].items():
        if count:
            tell("warning", "flat", branch=_branch(branch), stars=count)


def _label_problems(report: dict[str, Any], tell: Any) -> None:
    if report["lacking"]:
        tell("error", "label_absent", targets=", ".join(report["lacking"]))
    for target, told in report["labels"].items():
        if not told["number"]:
            tell("error", "label_empty", target=target)
            continue
        wrong, far = told["impossible"], told["outliers"]
        if wrong["number"]:
            tell("warning", "impossible", target=target, number=wrong["number"], first=_stars(wrong))
        if far["number"]:
            tell("info", "outliers", target=target, number=far["number"], first=_stars(far))
        if told["missing"]:
            stars = told["number"] + told["missing"]
            tell("info", "holes", target=target, missing=told["missing"], stars=stars)


def format_report(report: dict[str, Any], *, with_problems: bool = True, width: int = WIDTH) -> list[str]:
    """Return the report as lines of at most `width` cells; problems come first if they are wanted."""
    lines = []
    if with_problems:
        lines.append(say("check.title"))
        lines += [f"{GLYPHS[problem['severity']]} {problem['text']}" for problem in report["problems"]]
        if not any(problem["severity"] == "error" for problem in report["problems"]):
            lines.append(say("check.fine"))
        lines.append("")
    for name, file in report["files"].items():
        lines.append(say("check.table", name=name, file=file, rows=report["rows"][name]))
        doubled, missing = report["duplicates"][name], report["missing"][name]
        lines.append("    " + say("check.table_more", doubled=doubled, missing=missing))
    counts = {key: report[key] for key in ("matched", "stars", "unlabelled")}
    lines.append(say("check.matched", **counts))
    grid = report["grid"]
    kind = say(f"check.grid_{grid['kind']}")
    ends = _range(grid["first"], grid["last"])
    lines.append(say("check.grid", points=grid["points"], ends=ends, kind=kind, step=f"{grid['step']:g}"))
    if frame := report["frame"]:
        words = say(f"check.frame.{frame['guess']}")
        shift = f"{frame['shift']:+.2f}"
        lines.append(say("check.frame_line", frame=words, shift=shift, lines=frame["lines"]))
    for branch in report["nonfinite"]:
        bad = {kind: report[kind][branch]["pixels"] for kind in ("nonfinite", "wild", "zero")}
        same = report["constant"][branch]["columns"]
        lines.append(say("check.pixels", branch=_branch(branch), **bad, constant=same))
        for kind in ("nonfinite", "wild"):
            for at in report[kind][branch]["first"]:
                place = {"obsid": at["obsid"], "at": _angstrom(at["wavelength"]), "value": at["value"]}
                lines.append("    " + say(f"check.place_{kind}", **place))
    for target, told in report["labels"].items():
        if told["number"]:
            numbers = {key: f"{told[key]:g}" for key in ("min", "q25", "median", "q75", "max")}
            lines.append(
                say("check.label", target=target, number=told["number"], missing=told["missing"], **numbers)
            )
        else:
            lines.append(say("check.label_none", target=target))
    lines += _snr_lines(report["snr"])
    lines += _policy_lines(report)
    return [piece for line in lines for piece in wrapped(line, width)]


def _snr_lines(snr: dict[str, Any]) -> list[str]:
    lines = []
    if told := snr["column"]:
        lines.append(
            say("check.snr", **{k: f"{v:g}" if isinstance(v, float) else v for k, v in told.items()})
        )
    if told := snr["estimate"]:
        numbers = {k: f"{told[k]:.3g}" for k in ("q25", "median", "q75")}
        lines.append(
            say("check.snr_estimate", number=told["number"], branch=_branch(told["branch"]), **numbers)
        )
    return lines


def _policy_lines(report: dict[str, Any]) -> list[str]:
    policies = report["policies"]
    lines = []
    for branch, count in policies["clipped"].items():
        if bounds := policies["clip"][branch]:
            low, high = (f"{bound:g}" for bound in bounds)
            lines.append(say("check.clipped", branch=_branch(branch), count=count, low=low, high=high))
    mended = policies["interpolated"]
    lines.append(
        say(
            "check.policies", mended=mended["pixels"], stars=mended["stars"], dropped=policies["dropped"],
            kept=policies["kept"],
        )
    )  # fmt: skip
    if report["split"]:
        lines.append(say("check.split", **report["split"]))
    memory = report["memory"]
    lines.append(say("check.memory", size=size_words(memory["bytes"]), machine=size_words(memory["machine"])))
    cache = report["cache"]
    lines.append(say("check.cache", size=size_words(cache["bytes"])) if cache else say("check.no_cache"))
    return lines


def size_words(count: float) -> str:
    """Return bytes as '37 MB'."""
    for power, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= power:
            value = count / power
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{count:.0f} B"


def wrapped(line: str, width: int = WIDTH) -> list[str]:
    """Break a line at `width` terminal cells, between words or Chinese characters, never inside a number."""
    if cell_len(line) <= width:
        return [line]
    indent = " " * min(4 + len(line) - len(line.lstrip()), width // 2)
    words = [
        word[start : start + width - len(indent)]
        for word in re.findall(r"\s+|[!-~ÅÀ-ÿ]+|.", line)
        for start in range(0, len(word), width - len(indent))
    ]
    pieces, current = [], ""
    for word in words:
        if current.strip() and cell_len(current + word.rstrip()) > width:
            pieces.append(current.rstrip())
            current = indent + word.lstrip()
        else:
            current += word
    return [*pieces, current.rstrip()]


def _place(bad: dict[str, Any]) -> dict[str, Any]:
    first = bad["first"][0]
    where = say("check.at", obsid=first["obsid"], at=_angstrom(first["wavelength"]), value=first["value"])
    return {"pixels": bad["pixels"], "stars": bad["stars"], "first": where}


def _stars(found: dict[str, Any]) -> str:
    return ", ".join(f"{star['obsid']} ({star['value']:g})" for star in found["first"][:3])


def _branch(name: str) -> str:
    return say(f"spectrum.branch.{name}")


def _range(first: float, last: float) -> str:
    return f"{_angstrom(first)}-{_angstrom(last)}" if last > first else _angstrom(first)


def _angstrom(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if math.isfinite(value) else str(value)
