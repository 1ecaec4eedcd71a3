"""What a network costs and how far it sees, for `models show`: asked of a child process, no torch here.

Owns which variants of a network are told: the choices that its fields offer, and the confs that use it.
"""

from __future__ import annotations

import ast
import itertools
import statistics
from typing import Any

from engine import catalog
from engine.conf.load import conf_files, resolve
from engine.conf.schema import Conf
from engine.errors import BadInput
from engine.workspace import Workspace

POINTS, LABELS = 4700, 4  # what parameters are counted at
_SECONDS = 240.0  # for the child
_STEP_SECONDS = 5.0  # of it for the time of a step
_MOST = 16  # variants that are built


def about(workspace: Workspace, network: catalog.Network) -> dict[str, Any]:
    """Return {points, flops, step, receptive_field, variants, error} of a network.

    `points` are those of the workspace's spectra, 4700 where there are none; at these, flops are those of one
    star's forward pass, step is a training step {device, batch, seconds}, and the receptive field is told per
    part, in points and, where there is data, in angstrom. Variants are counted at 4700 points. Takes seconds.
    """
    grid = _grid(workspace)
    points = len(grid) or POINTS
    asked = {
        "folder": str(workspace.networks), "name": network.name, "points": POINTS, "labels": LABELS,
        "grid": points, "variants": variants(workspace, network), "seconds": _STEP_SECONDS,
    }  # fmt: skip
    found = catalog.ask("models.describe", asked, _SECONDS)
    steps = [abs(after - before) for before, after in itertools.pairwise(grid)]
    width = statistics.median(steps) if steps else None
    return {
        "points": points,
        "flops": found["flops"],
        "step": found["step"],
        "receptive_field": {
            part: {"points": points, "angstrom": None if width is None else round(points * width, 1)}
            for part, points in found["sees"].items()
        },
        "variants": found["variants"],
        "error": found["error"],
    }


def variants(workspace: Workspace, network: catalog.Network) -> list[dict[str, Any]]:
    """Return the forms of a network that are worth telling apart: {name, fields}.

    Its defaults; every combination of the words that its fields choose from, while these are few; and the
    confs of the workspace that give it fields.
    """
    found: list[dict[str, Any]] = [{"name": network.name, "fields": {}}]
    choices = {field.name: _words(field.annotation) for field in network.fields}
    choices = {name: words for name, words in choices.items() if len(words) > 1}
    defaults = {field.name: field.default for field in network.fields}
    combined = [dict(zip(choices, words, strict=True)) for words in itertools.product(*choices.values())]
    if len(combined) > _MOST:
        combined = [{name: word} for name, words in choices.items() for word in words]
    for fields in combined:
        changed = {name: word for name, word in fields.items() if word != defaults[name]}
        if changed:
            found.append({"name": ", ".join(f"{k}: {v}" for k, v in changed.items()), "fields": changed})
    for file in conf_files(workspace):
        try:
            model = resolve(workspace, file).conf.model
        except BadInput:
            continue
        fields = Conf(model=model).plain()["model"]
        if fields.pop("name") == network.name and fields:
            found.append({"name": workspace.relative(file), "fields": fields})
    return found


def _words(annotation: str) -> list[str]:
    """Return the words of a `Literal[...]` annotation; none when it is something else."""
    try:
        node = ast.parse(annotation, mode="eval").body
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("Literal"):
            value = ast.literal_eval(node.slice)
            words = value if isinstance(value, tuple) else (value,)
            return [word for word in words if isinstance(word, str)]
    except (SyntaxError, ValueError):
        pass
    return []


def _grid(workspace: Workspace) -> list[float]:
    """Return the wavelengths of the workspace's spectra; none where there are none to read."""
    from engine.spectra import layout
    from engine.spectra.headers import DAMAGED

    try:
        return [float(place) for place in layout.preflight(workspace, Conf().data).wavelength]
    except (BadInput, OSError, ValueError, *DAMAGED):
        return []
