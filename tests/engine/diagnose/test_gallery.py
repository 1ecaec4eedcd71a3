"""The rules against the gallery: each sickness is found at its step, and no healthy run is called ill."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from rich.cells import cell_len

import engine.words
from engine.conf.tree import get
from engine.diagnose import registry
from engine.diagnose.findings import Finding
from engine.diagnose.remedies import check_patch
from engine.diagnose.rules import of_story
from engine.diagnose.story import Story
from engine.spectra.synthetic import write_demo
from tests.engine.diagnose import gallery
from tests.engine.diagnose.gallery_cases import CASES, HEALTHY, SICK, Case
from tests.engine.diagnose.gallery_table import Row, figures

REMADE = ("mlp", "nan_out_of_the_blue", "predicts_the_mean", "starved_label", "failed", "star_in_both")


def kept(case: Case, root: Path) -> Story:
    """Return the story of a kept run."""
    return gallery.opened(gallery.KEPT / f"{case.name}.jsonl.gz", root / case.name)


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)
def test_a_healthy_run_is_left_in_peace(case: Case, tmp_path: Path) -> None:
    found = of_story(kept(case, tmp_path))
    assert [f.id for f in found if f.severity != "info"] == []


@pytest.mark.parametrize("case", SICK, ids=lambda case: case.name)
def test_a_sick_run_is_found_at_its_step_and_nothing_else_is_imagined(case: Case, tmp_path: Path) -> None:
    row = Row(case, of_story(kept(case, tmp_path)))
    assert (row.missed, row.false) == ([], [])
    assert all(0 < finding.confidence <= 1 for finding in row.found)


def test_the_gallery_is_large_enough_and_holds_every_rule() -> None:
    assert (len(CASES) >= 40, len(HEALTHY) >= 15) == (True, True)
    assert len({case.name for case in CASES}) == len(CASES)
    shown = {identity for case in SICK for identity in case.finds}
    assert [rule.id for rule in registry.ours() if rule.id not in shown] == []
    files = sorted(path.name.partition(".")[0] for path in gallery.KEPT.glob("*.jsonl.gz"))
    assert files == sorted(case.name for case in CASES)


def test_precision_and_recall(tmp_path: Path) -> None:
    table = [Row(case, of_story(kept(case, tmp_path))) for case in CASES]
    told = figures(table)
    assert (told["precision"], told["recall"]) == (1.0, 1.0)
    # the table itself tells a miss and a false alarm: what was found is taken for another run's
    mixed = figures([Row(SICK[0], table[-1].found), Row(HEALTHY[0], table[-1].found)])
    assert (mixed["missed"], mixed["false"]) == (1, 2)


@pytest.mark.parametrize("case", SICK, ids=lambda case: case.name)
def test_every_remedy_gives_a_good_conf_that_differs_in_keys_that_exist(case: Case, tmp_path: Path) -> None:
    story = kept(case, tmp_path)
    for finding in of_story(story):
        of_guide = 3 if finding.id in ("SP101", "SP102", "SP103", "SP106", "SP406") else 0
        if finding.id != "SP104":
            places = [bool(remedy.patch) for remedy in finding.remedies[of_guide:]]
            assert places == sorted(places, reverse=True), (
                "after the guide's own, what a key can do comes first"
            )
        for remedy in finding.remedies:
            if remedy.patch:
                patched = check_patch(story.workspace, story.conf, remedy.patch).plain()
                assert all(get(patched, key) == value for key, value in remedy.patch.items())
                assert all(get(story.conf, key) != value for key, value in remedy.patch.items())


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("case", SICK, ids=lambda case: case.name)
def test_what_is_told_has_its_words_in_both_languages_and_fits(
    case: Case, language: str, tmp_path: Path
) -> None:
    engine.words.choose(language)
    for finding in of_story(kept(case, tmp_path)):
        assert finding.title and all(remedy.title and remedy.why for remedy in finding.remedies)
        for name in finding.evidence:
            assert f"diagnose.evidence.{name}" in engine.words.catalogue(language)
        assert max(cell_len(line) for line in finding.lines(80)) <= 80
        json.dumps(finding.plain(), allow_nan=False)
        if language == "zh":
            assert any(ord(letter) > 0x2E80 for letter in finding.title)


NAN = {
    "en": ("Use LayerNorm in place of BatchNorm", "Clip the inputs, or scale them robustly",
           "Turn gradient clipping on"),
    "zh": ("用 LayerNorm 代替 BatchNorm", "裁剪输入，或用稳健的缩放", "打开梯度裁剪"),
}  # fmt: skip
SWINGS = {
    "en": ("Use LayerNorm in place of BatchNorm", "Make BatchNorm's momentum smaller (0.01)",
           "Take a larger batch, as memory allows"),
    "zh": ("用 LayerNorm 代替 BatchNorm", "减小 BatchNorm 的动量（0.01）", "在内存允许时用更大的批次"),
}  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_guides_two_cases_get_the_guides_three_remedies_each(language: str, tmp_path: Path) -> None:
    engine.words.choose(language)
    cases = {case.name: case for case in SICK}
    nan, swings = (
        of_story(kept(cases[name], tmp_path))[0] for name in ("nan_bn_no_clip", "small_batch_norm")
    )
    assert (nan.id, swings.id) == ("SP101", "SP406")
    # hundreds of wild pixels are the evidence here: what bounds the inputs comes first of the three
    assert sorted(r.title for r in nan.remedies[:3]) == sorted(NAN[language])
    assert nan.remedies[0].patch == {"data.clip.normalized": [-1.0, 3.0]}
    assert {key for r in nan.remedies[1:3] for key in r.patch} == {"model.norm", "training.gradient_clip_val"}
    assert [r.title for r in swings.remedies[:3]] == list(SWINGS[language])
    assert [r.patch for r in swings.remedies[:3]] == [
        {"model.norm": "ln"}, {"model.norm_momentum": 0.01}, {"training.batch_size": 32},
    ]  # fmt: skip


def test_a_run_says_as_much_in_steps_of_another_size(tmp_path: Path) -> None:
    """Findings do not hang on how often a run was recorded: the same run, its pace events left out."""
    for name in ("spike_that_stays", "diverging", "schedule_ends_early", "small_batch_norm", "overfitted"):
        case = next(case for case in CASES if case.name == name)
        source = gallery.KEPT / f"{name}.jsonl.gz"
        lines = gzip.decompress(source.read_bytes()).decode().split("\n")
        fewer = [line for line in lines if '"kind":"pace"' not in line]
        folder = tmp_path / "fewer"
        folder.mkdir(exist_ok=True)
        (folder / source.name).write_bytes(gzip.compress("\n".join(fewer).encode()))
        found = of_story(gallery.opened(folder / source.name, tmp_path / f"{name}-fewer"))
        assert set(case.finds) <= {finding.id for finding in found}


def remade(name: str, tmp_path: Path) -> tuple[Case, list[Finding]]:
    """Return what is found in a run that is made here and now."""
    case = next(case for case in CASES if case.name == name)
    tables, out = tmp_path / "tables", tmp_path / "out"
    write_demo(tables, stars=gallery.STARS, points=gallery.POINTS)
    out.mkdir()
    gallery.make(case, tmp_path / name, tables, out)
    return case, of_story(gallery.opened(out / f"{name}.jsonl.gz", tmp_path / f"{name}-opened"))


@pytest.mark.parametrize("name", REMADE)
def test_a_few_are_made_again_for_real(name: str, tmp_path: Path) -> None:
    row = Row(*remade(name, tmp_path))
    assert (row.missed, row.false) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("name", [case.name for case in CASES if case.name not in REMADE])
def test_all_are_made_again_for_real(name: str, tmp_path: Path) -> None:
    row = Row(*remade(name, tmp_path))
    assert (row.missed, row.false) == ([], [])
