"""The command line as `CLI.md` promises it: JSON shapes, streams, exit codes, and what is not loaded."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

NUMBER = (int, float)
STATES = {"queued", "starting", "running", "finished", "stopped", "failed", "diverged", "died"}
RUN = {
    "run_id": str,
    "name": str,
    "model": str,
    "state": str,
    "started": str,
    "duration_s": NUMBER,
    "best": dict,
    "last": dict,
    "params": dict,
    "mlflow_run_id": (str, type(None)),
    "findings": list,
}
FINDING = {
    "id": str,
    "severity": str,
    "title": str,
    "evidence": dict,
    "steps": (list, type(None)),
    "remedies": list,
}
VERBS = {"init", "train", "runs", "show", "watch", "compare", "diagnose", "confs", "models", "data", "ui"}


def has_shape(value: Any, shape: dict[str, Any]) -> bool:
    """Check that every promised key is there with its type; more keys may be added freely."""
    assert isinstance(value, dict)
    for key, kind in shape.items():
        assert key in value, f"{key} is missing"
        assert isinstance(value[key], kind), f"{key}: {value[key]!r}"
    return True


# -- JSON shapes ---------------------------------------------------------------------------------------------


def test_runs_json(trained: Any, spectui: Any) -> None:
    done = spectui.at(trained.root)("runs", "--json")
    assert (done.code, done.err) == (0, "")
    runs = {run["run_id"]: run for run in done.json}
    assert set(runs) == {trained.finished, trained.mlp, trained.diverged, trained.stopped}
    for run in runs.values():
        assert has_shape(run, RUN) and run["state"] in STATES
        assert all(
            isinstance(value, NUMBER) or value is None
            for value in [*run["best"].values(), *run["last"].values()]
        )
        assert run["params"]["training.seed"] == 42 and run["params"]["model.name"] == run["model"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*", run["started"])
    states = {
        name: runs[getattr(trained, name)]["state"] for name in ("finished", "mlp", "diverged", "stopped")
    }
    assert states == {"finished": "finished", "mlp": "finished", "diverged": "diverged", "stopped": "stopped"}
    assert runs[trained.finished]["best"]["val_loss"] <= runs[trained.finished]["last"]["val_loss"]
    assert re.fullmatch("[0-9a-f]{32}", runs[trained.finished]["mlflow_run_id"])
    assert runs[trained.mlp]["mlflow_run_id"] is None
    assert [f["id"] for f in runs[trained.diverged]["findings"]] == ["SP101"]
    assert runs[trained.finished]["findings"] == []


def test_runs_are_newest_first_filtered_sorted_limited_and_as_csv(trained: Any, spectui: Any) -> None:
    here = spectui.at(trained.root)
    started = [run["started"] for run in here("runs", "--json").json]
    assert started == sorted(started, reverse=True)
    filtered = here("runs", "--json", "--filter", "model=StarNet and state=finished").json
    assert [run["run_id"] for run in filtered] == [trained.finished]
    for key, first in (("name", "demo,StarNet"), ("-name", "small,MLP")):
        done = here("runs", "--sort", key, "--columns", "name,model", "--limit", "1", "--csv")
        assert done.out.splitlines() == ["name,model", first]
    table = here("runs").out
    assert all(run_id in table for run_id in (trained.finished, trained.diverged))
    assert re.search(rf"{trained.diverged} +diverged ", table)


def test_show_json_and_every_way_to_name_a_run(trained: Any, spectui: Any) -> None:
    here = spectui.at(trained.root)
    shown = here("show", trained.finished, "--json").json
    assert has_shape(
        shown,
        RUN | {"epoch": int, "epochs": int, "step": int, "total_steps": int, "test": dict, "folder": str},
    )
    assert (shown["epoch"], shown["step"], shown["state"]) == (4, shown["total_steps"], "finished")
    assert {f"{label}_mae" for label in ("Teff", "logg", "FeH", "CFe")} <= set(shown["test"])
    for word in (trained.finished, trained.finished[:-2], "demo", shown["mlflow_run_id"]):
        assert here("show", word, "--json").json["run_id"] == trained.finished
    newest = here("runs", "--json").json[0]["run_id"]
    assert here("show", "@last", "--json").json["run_id"] == newest
    text = here("show", trained.finished).out
    assert trained.finished in text and f"runs/{trained.finished}" in text and "Teff" in text


def test_show_json_says_null_where_a_number_is_not_finite(trained: Any, spectui: Any) -> None:
    done = spectui.at(trained.root)("show", trained.diverged, "--json")

    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is not JSON")

    shown = json.loads(done.out, parse_constant=refuse)
    assert shown["state"] == "diverged" and shown["message"]


def test_compare_json(trained: Any, spectui: Any) -> None:
    here = spectui.at(trained.root)
    compared = here("compare", trained.finished, trained.mlp, "--json").json
    assert has_shape(compared, {"runs": list, "params": dict, "metrics": dict})
    assert [run["run_id"] for run in compared["runs"]] == [trained.finished, trained.mlp]
    assert compared["params"]["model.name"] == ["StarNet", "MLP"]
    assert "training.seed" not in compared["params"], "only what differs is told"
    assert all(isinstance(value, NUMBER) for value in compared["metrics"]["best.val_loss"])
    text = here("compare", trained.finished, trained.mlp).out
    assert "model.name" in text and "best.val_loss" in text and "training.seed" not in text


def test_diagnose_json_gives_the_three_remedies_first(trained: Any, spectui: Any) -> None:
    here = spectui.at(trained.root)
    (finding,) = here("diagnose", trained.diverged, "--json").json["findings"]
    assert has_shape(finding, FINDING) and finding["severity"] == "error"
    first, last = finding["steps"]
    assert last == finding["evidence"]["step"] and first <= last
    for remedy in finding["remedies"]:
        assert has_shape(remedy, {"title": str, "why": str, "patch": dict})
    norm, clip, gradient = finding["remedies"][:3]
    assert "LayerNorm" in norm["title"] and "FreqInceptionLNet" in norm["why"]
    assert set(clip["patch"]) & {"data.clip.normalized", "data.continuum_scaler"}
    assert set(gradient["patch"]) == {"training.gradient_clip_val"}
    # A patch is made of what --set takes: it must give a conf that can be trained.
    sets = [
        w
        for r in finding["remedies"]
        for k, v in r["patch"].items()
        for w in ("--set", f"{k}={json.dumps(v)}")
    ]
    refused = here("train", "demo", *sets, "--set", "data.path=nowhere")
    assert refused.code == 2 and refused.err.startswith("data.path: nowhere")
    text = here("diagnose", trained.diverged).out
    assert "SP101" in text and text.index("LayerNorm") < text.index("training.gradient_clip_val")
    assert max(len(line) for line in text.splitlines()) <= 80


def test_diagnose_of_a_healthy_run_and_of_a_conf(trained: Any, spectui: Any) -> None:
    here = spectui.at(trained.root)
    assert here("diagnose", trained.finished, "--json").json == {"findings": []}
    assert here("diagnose", trained.finished).out.strip()
    for what in ("conf/demo.yaml", "demo.yaml"):
        assert here("diagnose", what, "--json").json == {"findings": []}


def test_models_json(demo_set: Path, spectui: Any) -> None:
    here = spectui.at(demo_set)
    models = {m["name"]: m for m in here("models", "--json").json}
    assert set(models) == {"FreqInceptionLNet", "StarNet", "MLP"}
    for model in models.values():
        assert has_shape(model, {"name": str, "source": str, "parameters": int})
    assert models["FreqInceptionLNet"]["parameters"] == 3_748_372
    shown = here("models", "show", "FreqInceptionLNet", "--json").json
    assert has_shape(
        shown,
        {"name": str, "source": str, "parameters": int, "fields": list, "parts": dict, "variants": list},
    )
    assert sum(shown["parts"].values()) == shown["parameters"]
    assert shown["variants"] == [{"name": "FreqInceptionLNet", "parameters": 3_748_372}]
    assert {"name", "type", "default"} <= set(shown["fields"][0])
    text = here("models").out
    assert "3,748,372" in text and "StarNet" in text


def test_confs_json(demo_set: Path, checkout: Path, spectui: Any) -> None:
    listed = {conf["conf"]: conf for conf in spectui.at(demo_set)("confs", "--json").json}
    assert set(listed) == {f"conf/{p.name}" for p in (checkout / "conf").glob("*.yaml")}
    for conf in listed.values():
        assert has_shape(conf, {"conf": str, "name": str, "model": str, "description": str, "problems": list})
        assert conf["problems"] == []


def test_schedule_json(demo_set: Path, spectui: Any) -> None:
    here = spectui.at(demo_set)
    words = ("schedule", "demo", "--set", "training.schedule=step", "--set", "training.schedule_epochs=15")
    told = here(*words, "--json").json
    shape = {"schedule": str, "epochs": int, "steps": int, "steps_per_epoch": int, "points": list}
    assert has_shape(told, shape)
    assert (told["epochs"], told["steps_per_epoch"], told["steps"]) == (30, 10, 300)
    first, last = told["points"][0], told["points"][-1]
    assert (first["learning_rate"], last["learning_rate"]) == (1e-3, 5e-4)
    assert last["step"] == 299
    assert "0.0005" in here(*words).out
    assert here("schedule", "demoo").code == 2


def test_a_terminal_is_shown_the_schedule_as_a_chart_too(
    demo_set: Path, spectui: Any, on_terminal: Any
) -> None:
    def curve(text: str) -> int:
        return sum(0x2800 < ord(character) < 0x2900 for character in text)

    words = spectui.at(demo_set).command("schedule", "demo")
    shown = on_terminal(words, cwd=demo_set)
    assert shown.code == 0 and curve(shown.out) > 50
    assert "learning rate: peak 0.001, last " in shown.out and "300 steps" in shown.out
    assert "█" in shown.out, "the table stays"
    piped = on_terminal(words, cwd=demo_set, which=("stderr",))
    assert piped.code == 0 and curve(piped.out) == 0 and "█" in piped.out and "peak" not in piped.out


def test_data_check_json(demo_set: Path, spectui: Any) -> None:
    here = spectui.at(demo_set)
    done = here("data", "check", "--json")
    report = done.json
    assert (done.code, report["stars"], report["matched"]) == (0, 400, 400)
    assert {p["severity"] for p in report["problems"]} == {"info"}, report["problems"]
    assert sum("text" in p for p in report["problems"] if p["id"] == "holes") == 4
    assert report["split"] == {"train": 320, "val": 40, "test": 40}
    assert report["grid"]["points"] == 500
    assert set(report["labels"]) == {"Teff", "logg", "FeH", "CFe"}
    by_path = here("data", "check", demo_set / "dataset" / "spectral", "--json").json
    assert by_path["matched"] == 400
    assert "400" in here("data", "check").out


def test_data_demo_writes_the_same_stars_for_a_seed(demo_set: Path, spectui: Any, tmp_path: Path) -> None:
    here = spectui.at(demo_set)
    for name in ("one", "two"):
        done = here("data", "demo", tmp_path / name, "--stars", "40", "--seed", "3")
        assert (done.code, done.out) == (0, "")
    tables = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert tables == ["final_spectra_continuum.csv", "final_spectra_normalized.csv", "removed_with_rv.csv"]
    assert all((tmp_path / "one" / t).read_bytes() == (tmp_path / "two" / t).read_bytes() for t in tables)
    again = here("data", "demo", tmp_path / "one")
    assert again.code == 2 and "--force" in again.err


# -- streams -------------------------------------------------------------------------------------------------


def test_progress_goes_to_stderr_and_facts_to_stdout(workspace: Path, spectui: Any) -> None:
    done = spectui.at(workspace)("train", "mlp", "--train_epochs", "2", "--set", "tracking.enabled=false")
    assert done.code == 0, done.err
    assert "epoch 2/2" in done.err and "epoch" not in done.out.replace("best epoch", "")
    said = done.out.splitlines()[2:]
    assert [line.split()[0] for line in said[:4]] == ["Teff", "logg", "FeH", "CFe"]
    assert said[-1] == "the test stars were looked at once, with the best weights"
    assert "\x1b" not in done.err + done.out and "\r" not in done.err + done.out
    (run,) = (workspace / "runs").glob("mlp-*")
    kept = (run / "log.txt").read_text()
    assert all(line in kept for line in [*done.err.splitlines(), *done.out.splitlines()])


def test_a_reader_that_goes_away_does_not_end_the_run(
    workspace: Path, spectui: Any, clean_environment: Any
) -> None:
    words = ("train", "mlp", "--train_epochs", "2", "--set", "tracking.enabled=false")
    process = subprocess.Popen(
        spectui.command(*words),
        cwd=workspace,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    assert spectui.at(workspace)("show", "@last", "--json").json["state"] == "finished"


def test_a_terminal_gets_a_progress_bar_with_the_time_left(
    workspace: Path, spectui: Any, on_terminal: Callable[..., Any]
) -> None:
    words = ("train", "demo", "--train_epochs", "6", "--set", "tracking.enabled=false")
    done = on_terminal(spectui.command(*words), cwd=workspace, which=("stderr",))
    assert done.code == 0, done.err
    assert re.search(r"60/60 \[\d\d:\d\d<00:00", done.err), done.err[-500:]
    left = re.findall(r"\d+/60 \[\d\d:\d\d<(\d\d:\d\d|\?)", done.err)
    assert len(left) > 3
    assert "Teff" in done.out and "\x1b" not in done.out


@pytest.mark.parametrize("words", [("runs",), ("show", "@last"), ("confs",), ("models",), ("--help",)])
def test_no_escape_codes_in_text(words: tuple[str, ...], trained: Any, spectui: Any) -> None:
    done = spectui.at(trained.root)(*words, env={"FORCE_COLOR": "1"})
    assert done.code == 0 and done.out
    assert "\x1b" not in done.out + done.err


def test_lists_can_be_cut_short(trained: Any, spectui: Any, clean_environment: Any) -> None:
    command = f"{' '.join(spectui.command('runs', '--json'))} | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=trained.root,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[\n", "")


# -- watching ------------------------------------------------------------------------------------------------


def test_watch_follows_a_live_run_to_its_end(
    workspace: Path,
    spectui: Any,
    once_said: Callable[..., Path],
    background: Callable[..., Any],
    tmp_path: Path,
) -> None:
    here = spectui.at(workspace)
    words = ("train", "mlp", "--train_epochs", "40", "--set", "tracking.enabled=false")
    training = background(here.start(*words, log=tmp_path / "train.log"))
    run = once_said(workspace, "mlp-*", '"phase":"loading"')
    assert '"kind":"end"' not in (run / "events.jsonl").read_text(), (
        "the run was over before it could be watched"
    )
    assert here("show", run.name, "--json").json["state"] in ("starting", "running")
    done = here("watch", run.name)
    assert (done.code, training.wait(timeout=30)) == (0, 0)
    assert re.findall(r"^epoch (\d+)/40 ", done.out, re.M) == [str(n) for n in range(1, 41)]
    assert done.out.splitlines()[-1] == f"{run.name} is finished"


def test_watch_json_gives_every_event(trained: Any, spectui: Any) -> None:
    done = spectui.at(trained.root)("watch", trained.finished, "--json")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 0
    assert events == trained.events(trained.finished)
    assert events[-1]["kind"] == "end" and events[-1]["outcome"] == "finished"


@pytest.mark.parametrize(("which", "code"), [("diverged", 87), ("stopped", 85)])
def test_watch_ends_with_the_code_of_the_run(which: str, code: int, trained: Any, spectui: Any) -> None:
    done = spectui.at(trained.root)("watch", getattr(trained, which))
    assert done.code == code
    assert f"is {which}" in done.out


# -- the program ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("train", "--help"),
        ("runs", "--json"),
        ("show", "@last"),
        ("diagnose", "@last"),
    ],
    ids=" ".join,
)
def test_what_answers_at_once_loads_nothing_heavy(
    words: tuple[str, ...], trained: Any, spectui: Any, clean_environment: Any
) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *spectui.command(*words)],
        cwd=trained.root,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert done.returncode == 0 and "engine" in loaded
    assert not loaded & {"torch", "pandas", "mlflow", "matplotlib", "textual", "plotext"}
    if words[-1].startswith("--") and words[-1] != "--json":
        assert not loaded & {"numpy", "pydantic", "yaml.constructor"}


def test_python_m_engine_takes_the_same_verbs(trained: Any, spectui: Any, checkout: Path) -> None:
    engine = type(spectui)([sys.executable, "-m", "engine"], trained.root)
    here = spectui.at(trained.root)

    def verbs(text: str) -> list[str]:
        return re.findall(r"^    (\w+) ", text, re.M)

    assert set(verbs(here("--help").out)) >= VERBS
    assert verbs(engine("--help").out) == verbs(here("--help").out)
    assert engine("runs", "--json").json == here("runs", "--json").json
    bare = engine()
    assert (bare.code, bare.out, len(bare.err.splitlines())) == (2, "", 1), (
        "the app is not for `python -m engine`"
    )
    assert engine("trian").code == 2


def test_version(spectui: Any, checkout: Path) -> None:
    (version,) = re.findall(r'^version = "(.*)"$', (checkout / "pyproject.toml").read_text(), re.M)
    assert spectui("--version").out == f"spectui {version}\n"


def test_language_by_flag_environment_and_locale(trained: Any, spectui: Any) -> None:
    here = spectui.at(trained.root)
    english = here("--help").out
    assert here("--lang", "zh", "--help").out == here("--help", env={"LANG": "zh_CN.UTF-8"}).out != english
    assert here("--lang", "en", "--help", env={"LANG": "zh_CN.UTF-8"}).out == english
    assert here("runs", "--json", "--lang", "zh").json[0]["state"] in STATES, (
        "JSON is the same in every language"
    )
