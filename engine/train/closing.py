"""What is said when an attempt ends, and the wait for MLflow to have it all. No torch."""

from __future__ import annotations

import time
from typing import Any

from engine.runs import folder as folders
from engine.runs.events import FULL
from engine.runs.record import Record
from engine.train.report import Report
from engine.train.stop import Stop
from engine.words import say
from engine.workspace import Workspace

_TRACKING_PATIENCE_SECONDS = 90.0
_STALLED_PATIENCE_SECONDS = 30.0
_AWAY_PATIENCE_SECONDS = 5.0


def is_full(error: BaseException | None) -> bool:
    """Tell whether the disk is full; PyTorch raises something else as it closes what it could not write."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def memory_words(conf: Any, facts: Any) -> str:
    words = {
        "device": conf.training.device, "batch": facts.batch, "peak": _megabytes(facts.peak),
        "asked": _megabytes(facts.asked) if facts.asked is not None else "?", "fits": facts.fits,
    }  # fmt: skip
    return say("train.memory_fits" if facts.fits else "train.memory_nothing_fits", **words)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def last_words(record: Record, conf: Any, stop: Stop, outcome: str) -> list[str]:
    bad = record.nonfinite
    if outcome == "diverged" and bad is not None:
        text = say(
            "train.nonfinite", step=bad.step, epoch=bad.epoch, what=bad.what, value=bad.value,
            loss=_short(bad.last_finite_loss), rate=_short(bad.learning_rate), norm=_short(bad.gradient_norm),
        )  # fmt: skip
        module: list[str] = []
        if bad.module:
            words = {"module": bad.module, "low": _short(bad.input_low), "high": _short(bad.input_high)}
            module = [say(f"train.nonfinite_{bad.direction}", **words)]
        stars = [say("train.nonfinite_stars", obsids=", ".join(bad.obsids))] if bad.obsids else []
        wild = [
            say(
                "train.nonfinite_extreme", obsid=star["obsid"], branch=star["branch"],
                flux=_short(star["flux"]), wavelength=f"{star['wavelength']:.1f}",
            )
            for star in bad.extremes[:1] if star.get("wavelength") is not None
        ]  # fmt: skip
        return [text, *module, *stars, *wild, say("train.nonfinite_advice", run=record.run_id)]
    if outcome == "stopped" and record.checkpoints:
        last = record.checkpoints[-1]
        return [
            say("train.stopped", by=stop.by or "?", step=last["step"], file=last["file"]),
            say("train.resume_with", run=record.run_id),
        ]
    if outcome == "finished":
        monitor = record.monitor
        value = _short(record.best_value)
        lines = [say("train.best_line", epoch=record.best_epoch, monitor=monitor, value=value)]
        if record.step < record.total_steps:
            lines.insert(0, say("train.early", monitor=monitor, patience=conf.training.patience))
        return lines
    return []


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def wait_for_tracking(
    workspace: Workspace, run: folders.RunFolder, conf: Any, tracker: Any, report: Report, stop: Stop
) -> None:
    """Give replication time to finish, so that a script finds the run in MLflow when we return.

    A store that is away gets less of it: whatever is not there then comes later, by itself or by `sync`.
    """
    began = moved = time.monotonic()
    stood = _progress(run)
    said = stop.asked = False  # from here on a wish to stop ends the waiting
    while (answer := tracker.poll()) is None and not stop.asked:
        now, stands = time.monotonic(), _progress(run)
        if stands != stood:
            stood, moved = stands, now
        patience = _AWAY_PATIENCE_SECONDS if tracker.problem() else _STALLED_PATIENCE_SECONDS
        if now - moved > patience or now - began > _TRACKING_PATIENCE_SECONDS:
            break
        if not said and now - began > 2:
            report.line(say("train.waiting_tracking"))
            said = True
        time.sleep(0.1)
    if answer == 0:
        tracked = run.read_json(run.tracking)
        report.line(say("train.tracked", experiment=conf.tracking.experiment, run_id=tracked.get("run_id")))
    else:
        log = workspace.relative(run.tracking_log)
        report.line(say("train.not_tracked", log=log, run=run.run_id))


def _progress(run: folders.RunFolder) -> tuple[Any, ...]:
    state = run.read_json(run.tracking)
    return tuple(state.get(name) for name in ("run_id", "cursor", "status", "closed"))
