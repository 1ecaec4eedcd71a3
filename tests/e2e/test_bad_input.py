"""Every bad input gets one clear line, exit code 2, and leaves nothing behind; in English and in Chinese."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("bad input")]

CONTINUUM, NORMALIZED, LABELS = (
    f"{name}.csv" for name in ("final_spectra_continuum", "final_spectra_normalized", "removed_with_rv")
)
CHINESE = re.compile("[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Case:
    """A command that cannot work, and what its line must name in every language."""

    words: Sequence[str]
    names: Sequence[str]
    lines: int = 1


CASES = {
    "missing CSV": Case(["train", "demo", "--set", "data.path=no_table"], ["no_table", NORMALIZED]),
    "no such data set": Case(
        ["train", "demo", "--set", "data.path=nowhere"], ["data.path", "nowhere", "spectral"]
    ),
    "no common obsid": Case(
        ["train", "demo", "--set", "data.path=no_common"], ["obsid", CONTINUUM, NORMALIZED, LABELS]
    ),
    "label column not there": Case(
        ["train", "demo", "--set", "data.targets=[Teff, FeHH]"], [LABELS, "FeHH", "FeH", "logg"]
    ),
    "unknown conf key": Case(
        ["train", "typo"], ["conf/typo.yaml:4:3", "training.batch_sise", "'batch_size'"]
    ),
    "two mistakes": Case(
        ["train", "two_mistakes"], ["conf/two_mistakes.yaml:2:", "conf/two_mistakes.yaml:3:"], lines=2
    ),
    "unknown key by flag": Case(
        ["train", "demo", "--set", "training.epoch=3"], ["--set training.epoch", "'epochs'"]
    ),
    "wrong value by flag": Case(
        ["train", "demo", "--batch_size", "many"], ["--batch_size", "training.batch_size", "many"]
    ),
    "unknown model": Case(["train", "demo", "--model", "StarNett"], ["--model", "StarNett", "StarNet"]),
    "unknown model, nothing near": Case(
        ["train", "demo", "--model", "zzz"], ["zzz", "FreqInceptionLNet", "MLP", "StarNet"]
    ),
    "unknown model in a conf": Case(
        ["train", "no_model"], ["conf/no_model.yaml:2:", "FreqInceptionNet", "FreqInceptionLNet"]
    ),
    "model to show": Case(["models", "show", "MPL"], ["MPL", "MLP"]),
    "conf that is not YAML": Case(["train", "not_yaml"], ["conf/not_yaml.yaml:3:"]),
    "conf that is no mapping": Case(["train", "a_list"], ["conf/a_list.yaml"]),
    "missing conf": Case(["train", "conf/dem.yaml"], ["conf/dem.yaml", "conf/demo.yaml"]),
    "missing conf, short": Case(["train", "demoo"], ["demoo", "conf/demo.yaml"]),
    "missing conf, nothing near": Case(["train", "zzzzzz"], ["zzzzzz", "spectui confs"]),
    "nothing to train": Case(["train"], ["spectui confs", "--model"]),
    "unknown verb": Case(["trian"], ["trian", "train"]),
    "unknown flag": Case(["train", "demo", "--epocks", "3"], ["--epocks", "--train_epochs"]),
    "flag without a value": Case(["train", "demo", "--seed"], ["--seed"]),
    "verb without its word": Case(["show"], ["RUN", "--help"]),
    "unknown run": Case(["show", "demo-2020"], ["demo-2020", "spectui runs"]),
    "no run yet": Case(["watch", "@last"], ["spectui train conf/demo.yaml"]),
    "unknown run to compare": Case(["compare", "a", "b"], ["a"]),
    "neither run nor conf": Case(["diagnose", "nothing"], ["nothing"]),
    "unknown filter key": Case(["runs", "--filter", "nope > 3"], ["nope", "run_id"]),
    "limit": Case(["runs", "--limit", "none"], ["--limit"]),
    "port": Case(["ui", "--port", "99999"], ["--port", "65535"]),
    "table to check": Case(["data", "check", "nowhere"], ["nowhere", "spectral"]),
    "no workspace": Case(["--root", "/nowhere/at/all", "runs"], ["/nowhere/at/all", "spectui init"]),
    "no terminal for the app": Case([], ["spectui train", "spectui runs"]),
}


@pytest.fixture(scope="module")
def bad(demo_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with every kind of bad thing in it, and no run."""
    root = Path(shutil.copytree(demo_set, tmp_path_factory.mktemp("bad") / "workspace"))
    tables = root / "dataset"
    (tables / "no_table").mkdir()
    (tables / "no_common").mkdir()
    for name in (CONTINUUM, LABELS):
        shutil.copy(tables / "spectral" / name, tables / "no_table" / name)
    for name in (CONTINUUM, NORMALIZED):
        shutil.copy(tables / "spectral" / name, tables / "no_common" / name)
    header, *rows = (tables / "spectral" / LABELS).read_text().splitlines()
    (tables / "no_common" / LABELS).write_text("\n".join([header, *(f"9{row}" for row in rows)]) + "\n")
    confs = {
        "typo": "name: typo\ntraining:\n  epochs: 2\n  batch_sise: 4\n",
        "two_mistakes": "training:\n  epochs: none\n  learning_rate: -1\n",
        "no_model": "model:\n  name: FreqInceptionNet\n",
        "not_yaml": "name: x\ntraining: [1, 2\n  epochs: 2\n",
        "a_list": "- one\n- two\n",
    }
    for name, text in confs.items():
        (root / "conf" / f"{name}.yaml").write_text(text)
    return root


@pytest.fixture(autouse=True)
def leaves_nothing(bad: Path) -> Iterator[None]:
    before = sorted(bad.rglob("*"))
    yield
    left = [path for path in bad.rglob("*") if path not in before and ".cache" not in path.parts]
    assert not left
    assert [path.name for path in (bad / "runs").iterdir()] == ["README.md"]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", CASES)
def test_one_line_and_exit_code_2(name: str, language: str, bad: Path, spectui: Any) -> None:
    case = CASES[name]
    done = spectui.at(bad)(*case.words, env={"SPECTUI_LANG": language})
    said = done.err.splitlines()
    assert (done.code, len(said), done.out) == (2, case.lines, ""), done
    for word in case.names:
        assert word in done.err
    for line in said:
        assert bool(CHINESE.search(line)) is (language == "zh"), line
    assert "Traceback" not in done.err and "{" not in done.err, "a placeholder was left in the sentence"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_terminal_that_cannot_move_its_cursor_is_told_the_runs(
    language: str, bad: Path, spectui: Any, on_terminal: Callable[..., Any]
) -> None:
    for term in ("dumb", ""):
        env = {"TERM": term, "SPECTUI_LANG": language}
        done = on_terminal(spectui.command(), cwd=bad, env=env)
        # Both streams are the one terminal: the line that says why, and the runs, of which there are none.
        assert (done.code, len(done.err.splitlines())) == (0, 2), done
        assert "\x1b" not in done.out + done.err
        assert "TERM" in done.err and "xterm-256color" in done.err
        assert bool(CHINESE.search(done.err)) is (language == "zh")


@pytest.mark.parametrize("which", [("stdin",), ("stdin", "stdout"), ("stdout", "stderr")])
def test_the_app_needs_all_of_its_terminal(
    which: Sequence[str], bad: Path, spectui: Any, on_terminal: Callable[..., Any]
) -> None:
    done = on_terminal(spectui.command(), cwd=bad, which=which)
    assert (done.code, len(done.err.splitlines())) == (2, 1), done
    assert "spectui train" in done.err and "TERM" not in done.err


def test_a_message_on_a_terminal_starts_on_a_line_of_its_own(
    bad: Path, spectui: Any, on_terminal: Callable[..., Any]
) -> None:
    """The row counter, rewritten in place, is cleared before the mistake is told."""
    done = on_terminal(spectui.command("train", "demo", "--set", "data.path=no_common"), cwd=bad)
    assert done.code == 2
    assert re.search(r"\r\x1b\[K[^\r\n]*obsid[^\r\n]*\r\n$", done.err), done.err[-300:]


def test_a_network_that_cannot_be_read_is_named_where_it_is_missed(bad: Path, spectui: Any) -> None:
    broken = bad / "models" / "spectral_prediction" / "broken.py"
    broken.write_text("from models import register_model\ndef oops(:\n")
    try:
        done = spectui.at(bad)("train", "demo", "--model", "MyAwesomeNet")
    finally:
        broken.unlink()
    assert (done.code, len(done.err.splitlines())) == (2, 1), done
    assert "models/spectral_prediction/broken.py" in done.err and "line 2" in done.err


def test_a_device_that_is_not_there_leaves_no_run(bad: Path, spectui: Any) -> None:
    done = spectui.at(bad)("train", "demo", "--device", "cuda:99")
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith("training.device: cuda:99 is not there")
