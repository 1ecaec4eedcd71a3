"""What a finished run leaves: which files, what stands in them, and one look at the test rows."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from engine import words
from engine.conf.load import Resolved
from engine.figures import page
from engine.figures import predictions as figures
from engine.runs import find
from engine.runs.events import EventLog, Tail
from engine.runs.folder import RunFolder
from engine.spectra import stars as reading
from engine.spectra.scale import fit
from engine.spectra.split import Split
from engine.spectra.stars import Stars
from engine.train import attempt, ground, model_text, outputs
from engine.train.evaluate import Evaluation
from engine.train.metrics import label_errors
from engine.train.report import Report
from engine.train.rows import Rows
from engine.train.stop import Stop
from engine.workspace import Workspace

NAN = math.nan
ALL = "all (scaled)"
DRAWN = [
    "feh_classes_test.pdf", "one_to_one_test.pdf", "one_to_one_val.pdf", "residuals_test.pdf",
    "residuals_val.pdf",
]  # fmt: skip


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Finished:
    """A run folder into which the outputs of made-up predictions were written."""

    def __init__(self, run: RunFolder, conf: Any) -> None:
        self.run, self.conf = run, conf
        self.said = io.StringIO()
        self.looks: list[str] = []

    def write(
        self,
        truth: Sequence[Sequence[float]],
        predicted: Sequence[Sequence[float]],
        *,
        val: int = 2,
        obsids: Sequence[str] | None = None,
        seen_truth: Any = None,
    ) -> Finished:
        """Write for these stars: the first four trained, the next `val` validate, the rest are the test."""
        labels = np.array(truth, np.float32)
        count, targets = len(labels), self.conf.data.targets
        dark = np.zeros((count, 2), np.float32)
        names = np.array(obsids if obsids is not None else [str(100 + i) for i in range(count)])
        stars = Stars(names, dark, dark, labels, tuple(targets), np.array([4000.0, 4001.0]), "made up")
        split = Split(np.arange(4), np.arange(4, 4 + val), np.arange(4 + val, count))
        source: Any = None  # nobody looks at the spectra
        parts = {
            name: Rows(source, torch.zeros(0), [str(o) for o in names[split.part(name)]])
            for name in ("train", "val", "test")
        }

        def look_at(part: str) -> Evaluation:
            self.looks.append(part)
            rows = split.part(part)
            true = labels[rows] if seen_truth is None else np.array(seen_truth, np.float32)[rows]
            made_up = np.array(predicted, np.float32)[rows]
            return Evaluation(0.25, made_up, true, label_errors(made_up, true, targets))

        events = EventLog(self.run.events)
        outputs.write_outputs(
            self.conf, self.run, parts, stars, split, events, Report(stream=self.said), look_at, 7,
            fit("standard", labels[:4]),
        )  # fmt: skip
        events.close()
        return self

    @property
    def values(self) -> dict[str, Any]:
        (event,) = [e for e in Tail(self.run.events).poll() if e["kind"] == "test"]
        values: dict[str, Any] = event["values"]
        return values

    @property
    def metrics(self) -> dict[tuple[str, str], dict[str, str]]:
        return {(row["part"], row["label"]): row for row in table(self.run.metrics)}


@pytest.fixture
def finished(new_run: Callable[..., RunFolder], tiny: Callable[..., Resolved]) -> Callable[..., Finished]:
    """`finished('FeH', 'Teff')` is a run of these targets, ready to be written to."""
    return lambda *targets: Finished(new_run(), tiny(f"data.targets=[{', '.join(targets)}]").conf)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures cost most; not here."""
    monkeypatch.setattr(outputs, "draw", lambda *_: None)


# training: FeH -1 +- 1, Teff 5000 +- 500
TRAIN = [[-2.0, 4500.0], [0.0, 5500.0], [-2.0, 5500.0], [0.0, 4500.0]]


# -- a real run ---------------------------------------------------------------------------------------------


def test_a_finished_run_leaves_exactly_these_files(
    workspace: Workspace, tiny: Callable[..., Resolved], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    real = ground.evaluate
    monkeypatch.setattr(ground, "evaluate", lambda *a, **k: looked.append(id(a[2])) or real(*a, **k))
    resolved = tiny("model.hidden=[8, 4]", "training.epochs=2", "data.split=[0.6, 0.2, 0.2]")
    assert attempt.foreground(workspace, resolved, Stop()) == 0
    run = find.find(workspace, "@last").folder
    files = {str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file()}
    assert {f for f in files if not f.startswith("checkpoints/step-")} == {
        "conf.yaml", "conf.patch", "run.json", "process.json", "lock", "events.jsonl", "log.txt", "split.csv",
        "checkpoints/last.pt", "checkpoints/best.pt", "metrics.csv", "metrics_feh.csv", "confusion_feh.csv",
        "export/best.safetensors", "export/conf.yaml", "export/scaling.json",
        "model.txt", "predictions/val.csv", "predictions/test.csv",
        *(f"figures/{name}" for name in (*DRAWN, "loss_curve.pdf", "lr_curve.pdf")),
    }  # fmt: skip
    assert all(p.read_bytes().startswith(b"%PDF") for p in run.figures.iterdir())
    assert looked.count(looked[-1]) == 1, "the test rows are looked at once, and last"
    assert "the test stars were looked at once, with the best weights" in run.log.read_text()

    network = ground.build_network(workspace, resolved.conf, 64)
    count = sum(p.numel() for p in network.parameters())
    text = run.model_text.read_text()
    assert re.findall(r"^(network|parameters|trainable): (.+)$", text, re.MULTILINE) == [
        ("network", "MLP"), ("parameters", str(count)), ("trainable", str(count)),
    ]  # fmt: skip
    shapes = re.findall(r"^  (\S+) +(\[[\d, ]+\]) +(\d+)$", text, re.MULTILINE)
    assert [(n, s) for n, s, _ in shapes] == [(n, str([*p.shape])) for n, p in network.named_parameters()]
    assert sum(int(c) for _, _, c in shapes) == count

    stars = reading.load(workspace, resolved.conf.data)
    order = table(run.split)
    assert [row["obsid"] for row in order] == [str(o) for o in stars.obsid], "the order that the data has"
    for part in ("val", "test"):
        rows = table(run.predictions / f"{part}.csv")
        assert [r["obsid"] for r in rows] == [r["obsid"] for r in order if r["part"] == part]
        assert len(rows) == 12
        for row in rows:
            truth = stars.labels[stars.obsid == int(row["obsid"])][0]
            for value, label in zip(truth, resolved.conf.data.targets, strict=True):
                written = row[f"{label}_true"]
                assert (
                    written == "" if math.isnan(value) else float(written) == pytest.approx(value, rel=1e-4)
                )


# -- tables -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("undrawn")
def test_feh_is_looked_up_by_name_and_the_aggregate_is_in_scaled_units(
    finished: Callable[..., Finished], capsys: pytest.CaptureFixture[str]
) -> None:
    truth = [*TRAIN, [-2.5, 5000.0], [-1.5, 5000.0], [-3.5, 5000.0], [-0.5, 5500.0], [NAN, 4000.0]]
    predicted = [*TRAIN, [-2.5, 5000.0], [-1.5, 5000.0], [-2.5, 5500.0], [-0.5, 5000.0], [0.0, 4000.0]]
    done = finished("FeH", "Teff").write(truth, predicted)
    assert done.looks == ["val", "test"]
    assert list(done.metrics) == [(p, lab) for p in ("val", "test") for lab in ("FeH", "Teff", ALL)]
    assert list(done.metrics["test", ALL]) == [
        "part", "label", "n", "mae", "rmse", "bias", "sigma_mad", "r2", "mean_mae", "outlier_rate",
    ]  # fmt: skip
    # scaled errors: FeH 1 0, Teff 1 -1 0; from the training mean: FeH 2.5 0.5, Teff 0 1 2
    row = {k: float(v) for k, v in done.metrics["test", ALL].items() if k not in ("part", "label")}
    assert row == pytest.approx({
        "n": 5, "mae": 3 / 5, "rmse": math.sqrt(3 / 5), "bias": 1 / 5, "sigma_mad": 1.4826, "mean_mae": 6 / 5,
        "outlier_rate": 0, "r2": 1 - 3 / (2 * 1.5**2 + (1 / 3) ** 2 + (4 / 3) ** 2 + (5 / 3) ** 2),
    })  # fmt: skip
    assert float(done.metrics["test", "Teff"]["mae"]) == pytest.approx(1000 / 3)
    assert float(done.metrics["test", "Teff"]["mean_mae"]) == pytest.approx(500)

    assert [tuple(row.values()) for row in table(done.run.confusion_feh)] == [
        ("val", "EMP", "0", "0", "0", "0"), ("val", "VMP", "0", "1", "0", "0"),
        ("val", "MP", "0", "0", "1", "0"), ("val", "Normal", "0", "0", "0", "0"),
        ("test", "EMP", "0", "1", "0", "0"), ("test", "VMP", "0", "0", "0", "0"),
        ("test", "MP", "0", "0", "0", "0"), ("test", "Normal", "0", "0", "0", "1"),
    ]  # fmt: skip
    scores = {(r.pop("part"), r.pop("class")): r for r in table(done.run.metrics_feh)}
    assert [name for part, name in scores if part == "test"] == [
        "EMP", "VMP", "MP", "Normal", "accuracy", "macro", "weighted",
    ]  # fmt: skip
    assert scores["test", "EMP"] == {"precision": "0.0", "recall": "0.0", "f1": "0.0", "support": "1"}
    half = {"precision": "0.5", "recall": "0.5", "f1": "0.5", "support": "2"}
    assert scores["test", "accuracy"] == scores["test", "macro"] == scores["test", "weighted"] == half
    assert scores["val", "macro"] == {"precision": "1.0", "recall": "1.0", "f1": "1.0", "support": "2"}

    assert set(done.values) == {
        *(f"{lab}_{kind}" for lab in ("FeH", "Teff") for kind in (
            "n", "mae", "rmse", "bias", "sigma_mad", "r2", "mean_mae", "outlier_rate")),
        "loss", "scaled_mae", "scaled_rmse", "feh_accuracy", "feh_macro_f1",
    }  # fmt: skip
    shown = {k: done.values[k] for k in ("scaled_mae", "scaled_rmse", "feh_accuracy", "feh_macro_f1", "loss")}
    assert shown == pytest.approx({
        "scaled_mae": 0.6, "scaled_rmse": 0.6**0.5, "feh_accuracy": 0.5, "feh_macro_f1": 0.5, "loss": 0.25,
    })  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["test", "label", "FeH", "Teff"]
    assert lines[4:] == [
        "all labels, each error in units of its label's scale: MAE 0.6, RMSE 0.7746",
        "FeH classes: accuracy 0.500, macro F1 0.500",
        "the test stars were looked at once, with the best weights",
    ]


@pytest.mark.parametrize("targets", [("Teff",), ("Teff", "logg")])
def test_without_feh_there_are_no_classes(
    finished: Callable[..., Finished], targets: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    truth = [[4000.0 + 10 * i, 1.0 + 0.1 * i][: len(targets)] for i in range(8)]
    done = finished(*targets).write(truth, truth[::-1])
    assert not done.run.metrics_feh.exists()
    assert not done.run.confusion_feh.exists()
    assert not [name for name in done.values if name.startswith("feh")]
    assert "FeH" not in capsys.readouterr().out
    assert sorted(p.name for p in done.run.figures.iterdir()) == [n for n in DRAWN if "feh" not in n]
    if len(targets) == 1:
        scale = np.std([4000, 4010, 4020, 4030])
        alone, pooled = done.metrics["test", "Teff"], done.metrics["test", ALL]
        assert float(pooled["mae"]) == pytest.approx(float(alone["mae"]) / scale)
        assert float(pooled["r2"]) == pytest.approx(float(alone["r2"]))


def test_a_label_that_no_star_has_is_an_empty_row(finished: Callable[..., Finished]) -> None:
    truth = [*TRAIN, *[[NAN, 5000.0 + i] for i in range(5)]]
    done = finished("FeH", "Teff").write(truth, np.zeros((9, 2)).tolist())
    row = done.metrics["test", "FeH"]
    assert {k: v for k, v in row.items() if v} == {"part": "test", "label": "FeH", "n": "0"}
    assert done.metrics["test", ALL]["n"] == done.metrics["test", "Teff"]["n"] == "3"
    assert done.values["FeH_n"] == 0
    assert not done.run.confusion_feh.exists()
    assert "could not" not in done.said.getvalue()
    assert sorted(p.name for p in done.run.figures.iterdir()) == [n for n in DRAWN if "feh" not in n]


def test_one_test_star_is_enough(finished: Callable[..., Finished]) -> None:
    truth = [*TRAIN, [-1.5, 5000.0], [-0.5, 5100.0], [-2.5, 4800.0]]
    done = finished("FeH", "Teff").write(truth, [*truth[:6], [-2.4, 5000.0]])
    row = done.metrics["test", "Teff"]
    assert [row[k] for k in ("n", "mae", "bias", "sigma_mad", "r2", "outlier_rate")] == [
        "1", "200.0", "200.0", "0.0", "", "0.0",
    ]  # fmt: skip
    assert done.values["feh_accuracy"] == 1.0
    assert sorted(p.name for p in done.run.figures.iterdir()) == DRAWN


@pytest.mark.usefixtures("undrawn")
def test_no_test_rows_no_test_event(
    finished: Callable[..., Finished], capsys: pytest.CaptureFixture[str]
) -> None:
    truth = [*TRAIN, [-1.5, 5000.0], [-0.5, 5100.0]]
    done = finished("FeH", "Teff").write(truth, truth)
    assert done.looks == ["val"]
    assert {part for part, _ in done.metrics} == {"val"}
    assert [e for e in Tail(done.run.events).poll() if e["kind"] == "test"] == []
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("undrawn")
def test_obsids_stand_as_they_are_and_in_order(finished: Callable[..., Finished]) -> None:
    obsids = ["1", "2", "3", "4", "0010", "0009", "007", 'a,"b"', "星", "x", "00"]
    truth = [[float(i)] for i in range(len(obsids))]
    done = finished("Teff").write(truth, [[10.0 * i] for [i] in truth], obsids=obsids)
    for part, span in (("val", slice(4, 6)), ("test", slice(6, None))):
        rows = table(done.run.predictions / f"{part}.csv")
        assert [row["obsid"] for row in rows] == obsids[span]
        assert [float(row["Teff_true"]) for row in rows] == [i for [i] in truth[span]]
        assert [float(row["Teff_pred"]) for row in rows] == [10 * i for [i] in truth[span]]


@pytest.mark.usefixtures("undrawn")
def test_a_star_on_the_edge_of_a_class_is_not_moved_by_scaling_there_and_back(
    finished: Callable[..., Finished],
) -> None:
    truth = [*TRAIN, [-1.5, 5000.0], [-0.5, 5100.0], [-2.0, 4800.0]]
    hair = np.nextafter(np.float32(-2.0), np.float32(0.0))
    back = [*truth[:6], [float(hair), 4800.0]]
    done = finished("FeH", "Teff").write(truth, [*truth[:6], [-2.1, 4800.0]], seen_truth=back)
    assert [r["VMP"] for r in table(done.run.confusion_feh) if (r["part"], r["true"]) == ("test", "VMP")] == [
        "1"
    ]


@pytest.mark.usefixtures("undrawn")
def test_a_table_is_whole_or_not_there(
    finished: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    truth = [*TRAIN, *[[-1.0 * i, 5000.0] for i in range(6)]]
    done = finished("FeH", "Teff")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        done.write(truth, truth)
    assert list(done.run.predictions.iterdir()) == []
    assert not done.run.metrics.exists()


# -- figures ------------------------------------------------------------------------------------------------


def test_a_figure_that_cannot_be_drawn_is_said_and_costs_nothing_else(
    finished: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = page.save

    def fail(folder: RunFolder, name: str, figure: Any) -> Path:
        if name == "residuals_test.pdf":
            raise RuntimeError("no font")
        return real(folder, name, figure)

    monkeypatch.setattr(page, "save", fail)
    truth = [*TRAIN, *[[-1.0 * i, 5000.0] for i in range(6)]]
    done = finished("FeH", "Teff").write(truth, truth)
    assert "residuals_test.pdf could not be drawn: RuntimeError: no font" in done.said.getvalue()
    assert sorted(p.name for p in done.run.figures.iterdir()) == [
        n for n in DRAWN if n != "residuals_test.pdf"
    ]


def test_half_a_figure_never_stands(new_run: Callable[..., RunFolder]) -> None:
    class Torn:
        def savefig(self, path: Path, **_: Any) -> None:
            path.write_bytes(b"%PDF-1.4")
            raise OSError(28, "No space left on device")

    run = new_run()
    with pytest.raises(OSError, match="No space left"):
        page.save(run, "one_to_one_val.pdf", Torn())
    assert list(run.figures.iterdir()) == []


class Drawn:
    """Keeps figures instead of writing them, so that a test can ask what is on them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.figure: Any = None
        monkeypatch.setattr(page, "save", self._keep)

    def _keep(self, folder: RunFolder, name: str, figure: Any) -> Path:
        self.figure = figure
        return folder.figures / name


def test_what_stands_on_the_figures(
    monkeypatch: pytest.MonkeyPatch, new_run: Callable[..., RunFolder]
) -> None:
    drawn, run = Drawn(monkeypatch), new_run()
    rng = np.random.default_rng(0)
    truth = np.stack((rng.uniform(4000, 7000, 50), rng.uniform(-3, 0, 50)), axis=1)
    predicted = truth + [50.0, 0.1] * rng.standard_normal((50, 2)) + [20.0, 0.0]
    errors = label_errors(predicted, truth, ["Teff", "FeH"])

    figures.draw_one_to_one(run, "val", ["Teff", "FeH"], truth, predicted, errors)
    first, second = drawn.figure.axes
    assert (first.get_xlabel(), first.get_ylabel()) == ("Teff true [K]", "Teff predicted [K]")
    assert second.get_xlabel() == "FeH true [dex]"
    assert first.get_xlim() == first.get_ylim()
    np.testing.assert_array_equal(
        first.lines[0].get_xydata(), np.stack((truth[:, 0], predicted[:, 0]), axis=1)
    )
    (box,) = first.texts
    wanted = [
        f"{n} {errors['Teff'][k]:.4g}"
        for n, k in (("MAE", "mae"), ("RMSE", "rmse"), ("sigma_MAD", "sigma_mad"), ("R2", "r2"))
    ]
    assert box.get_text().splitlines() == ["N 50", *wanted]

    figures.draw_residuals(run, "val", ["Teff", "FeH"], truth, predicted, errors)
    first = drawn.figure.axes[0]
    assert first.get_ylabel() == "Teff predicted - true [K]"
    error = predicted[:, 0] - truth[:, 0]
    points, *lines = first.lines
    np.testing.assert_array_equal(points.get_xydata(), np.stack((truth[:, 0], error), axis=1))
    middle, width = np.median(error), 3 * errors["Teff"]["sigma_mad"]
    assert [line.get_ydata()[0] for line in lines] == pytest.approx([0, middle - width, middle + width])

    counts = np.arange(16).reshape(4, 4)
    figures.draw_classes(run, "test", counts, ("EMP", "VMP", "MP", "Normal"))
    axes = drawn.figure.axes[0]
    assert [t.get_text() for t in axes.texts] == [str(n) for n in range(16)]
    assert [(t.get_position()) for t in axes.texts[:5]] == [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1)]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")


def test_many_points_become_a_picture_so_that_the_file_stays_small(new_run: Callable[..., RunFolder]) -> None:
    run, rng = new_run(), np.random.default_rng(0)
    sizes = {}
    for count in (500, 60_000):
        truth, predicted = rng.normal(size=(2, count, 1))
        errors = label_errors(predicted, truth, ["Teff"])
        path = figures.draw_one_to_one(run, "val", ["Teff"], truth, predicted, errors)
        sizes[count] = len(path.read_bytes())
        assert (b"/Subtype /Image" in path.read_bytes()) is (count > 5000)
    assert sizes[60_000] < 150_000


@pytest.mark.parametrize("label", ["$^$", "log_g", "光度", "{x}", "%"])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_label_name_can_be_drawn(new_run: Callable[..., RunFolder], label: str) -> None:
    truth = np.array([[1.0], [1.0]])
    errors = label_errors(truth, truth, [label])
    for draw in (figures.draw_one_to_one, figures.draw_residuals):
        assert draw(new_run(), "val", [label], truth, truth, errors).read_bytes().startswith(b"%PDF")


def test_predictions_that_are_no_numbers_are_not_drawn_and_do_no_harm(
    new_run: Callable[..., RunFolder],
) -> None:
    truth = np.array([[1.0], [2.0], [3.0], [NAN]])
    predicted = np.array([[1.0], [NAN], [math.inf], [1.0]])
    errors = label_errors(predicted, truth, ["FeH"])
    for draw in (figures.draw_one_to_one, figures.draw_residuals):
        assert draw(new_run(), "val", ["FeH"], truth, predicted, errors).exists()


def test_words_on_figures_can_be_drawn_in_every_language() -> None:
    """Matplotlib's own fonts have no Chinese."""
    for name in words.LANGUAGES:
        texts = {k: v for k, v in words.catalogue(name).items() if k.startswith("figure.")}
        assert len(texts) > 5
        assert all(text.isascii() for text in texts.values())


# -- model.txt ----------------------------------------------------------------------------------------------


class Odd(nn.Module):
    """A shared weight, a frozen layer and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.frozen = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(2, 1)
        self.second.weight = self.first.weight
        self.frozen.requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(5))


def test_every_parameter_counts_once(tiny: Callable[..., Resolved]) -> None:
    text = model_text.describe(tiny("model.hidden=[8]").conf, Odd())
    lines = [line.split() for line in text.splitlines()]
    assert ["parameters:", "23"] in lines  # 9 + 3 + 3 + 3 + 5
    assert ["trainable:", "20"] in lines
    assert "fields: {hidden: [8], dropout: 0.0}" in text
    for part in (["first", "12"], ["second", "12"], ["frozen", "3"], ["(the", "network", "itself)", "5"]):
        assert part in lines
    assert "second.weight [3, 3] 0 shared with first.weight, counted there" in map(" ".join, lines)
    assert ["frozen.weight", "[1,", "2]", "2", "frozen"] in lines
    counts = re.findall(r"^  \S+ +\[[\d, ]+\] +(\d+)", text, re.MULTILINE)
    assert sum(map(int, counts)) == sum(p.numel() for p in Odd().parameters()) == 23
    assert text.rstrip().endswith(repr(Odd()))
