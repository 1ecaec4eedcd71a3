"""Every line stands where nature put it, in both frames."""

from __future__ import annotations

import numpy as np
import pytest

from engine.spectra.lines import LINES, about, depths, lines_between, to_air, to_vacuum


@pytest.mark.parametrize(
    ("air", "vacuum"),
    # NIST ASD: H alpha, H beta, Na D2, Ca II 8542
    [(6562.79, 6564.60), (4861.35, 4862.71), (5889.951, 5891.583), (8542.09, 8544.44)],
)
def test_the_conversion_gives_known_pairs(air: float, vacuum: float) -> None:
    assert to_vacuum(air) == pytest.approx(vacuum, abs=0.02)
    assert to_air(to_vacuum(air)) == pytest.approx(air, abs=1e-8)


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.name} {line.air:g}")
def test_both_wavelengths_of_a_line_agree(line: object) -> None:
    assert to_vacuum(line.air) == pytest.approx(line.vacuum, abs=0.1)  # type: ignore[attr-defined]
    if line.band is not None:  # type: ignore[attr-defined]
        low, high = line.band  # type: ignore[attr-defined]
        assert low < high and low - 1 <= line.air <= high + 1  # type: ignore[attr-defined]


def test_the_list_holds_what_the_field_looks_at() -> None:
    names = {line.name for line in LINES}
    assert {"Hα", "Hβ", "Hγ", "Hδ", "Ca K", "CH G", "C2 5165", "Mg b", "Na D1", "Ca T", "O2 A"} <= names
    assert all(about(line) for line in LINES)


def test_a_range_picks_lines_in_order_and_frame() -> None:
    vacuum, air = (lines_between(4850, 4870, frame) for frame in ("vacuum", "air"))  # type: ignore[arg-type]
    assert [p.line.name for p in vacuum] == ["Hβ"]
    assert vacuum[0].at - air[0].at == pytest.approx(1.35, abs=0.02)
    assert [p.line.name for p in lines_between(4290, 4300)] == ["CH G"]  # inside the band, beside its head
    everything = [p.at for p in lines_between(0, 1e5)]
    assert len(everything) == len(LINES) and everything == sorted(everything)


def test_only_the_sky_moves_against_the_star() -> None:
    still = {p.line: p.at for p in lines_between(6500, 7000)}
    moved = {p.line: p.at for p in lines_between(6500, 7000, rv=300.0)}
    for line in still.keys() & moved.keys():
        shift = moved[line] - still[line]
        assert shift == (pytest.approx(-6.87, abs=0.1) if line.kind == "telluric" else 0)


def test_depths_are_those_of_the_flux() -> None:
    x = np.arange(4200.0, 4400.0, 0.5)
    flux = 1 - 0.6 * np.exp(-(((x - 4341.68) / 2) ** 2)) - 0.2 * ((x > 4281.2) & (x < 4321.2))
    found = {placed.line.name: depth for placed, depth in depths(x, flux, "vacuum")}
    assert found["Hγ"] == pytest.approx(0.6, abs=0.01) and found["CH G"] == pytest.approx(0.2, abs=0.01)
    assert found["Fe I"] == pytest.approx(0, abs=1e-6)
    flux[(x > 4335) & (x < 4350)] = np.nan
    assert "Hγ" not in {placed.line.name for placed, _ in depths(x, flux, "vacuum")}
